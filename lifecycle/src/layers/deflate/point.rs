//! Point: the numbers that decide which bytes the encoder writes, between speed and size.
//!
//! The point in use is called B: one step slower than the fastest that was measured, for 3 % less to
//! upload. **Its bytes are a promise**: an image built again from the same files must have the same
//! digests. So a change of any number here, or of what the parse does with it, is a new point with a
//! new name, changes the golden digests of the tests, and belongs into the change log.

/// The name of the point; the golden digests stand under it.
pub const NAME: &str = "B";

/// How many bytes of input are compressed by themselves. A stream is cut into blocks of this length,
/// the last one shorter. Twice as much saves 0.2 % of the output, but leaves layers of a few
/// megabytes to one core for longer.
pub const BLOCK: usize = 512 << 10;

/// How many lanes a block is parsed in. Three would be as fast; two and one are slower.
pub(super) const LANES: usize = 4;

/// A block below this length has one lane: the others would begin with a poor history.
pub(super) const ONE_LANE_BELOW: usize = 128 << 10;

/// The table of a lane has two to this power entries, of two bytes.
pub(super) const HASH_BITS: u32 = 15;

/// What the four bytes at a position are multiplied with; the upper bits choose the table's entry.
pub(super) const HASH_FACTOR: u32 = 0x9E37_79B1;

/// How many positions before its own a step enters into the table, besides its own and the next. The
/// four bytes at each of these five come from one load of eight.
pub(super) const BEHIND: u32 = 3;

/// A lane's table begins with every so-manieth position of the 32 KiB before the lane.
pub(super) const WARM_STEP: usize = 4;

/// Matches are at least so long.
pub(super) const LEAST_MATCH: u32 = 4;

/// The search ends so many bytes before the end of the lane, and a plainer one does the rest: the
/// longest match, the literal before it and what is read ahead fit in.
pub(super) const SEARCH_MARGIN: usize = 300;

/// After so many steps a lane asks whether searching pays.
pub(super) const BATCH_STEPS: u32 = 64;

/// It does not when they covered fewer bytes; two for each step are covered by literals alone.
pub(super) const BATCH_BYTES: u32 = BATCH_STEPS * 2 + 4;

/// The first skip in bytes; each further one doubles it and adds as much again.
pub(super) const SKIP_FIRST: u32 = 64;

/// No skip is longer.
pub(super) const SKIP_MOST: u32 = 4096;

/// The most tokens of a section.
pub(super) const TOKENS: usize = 8192;

/// The longest code of a literal, length or end-of-block symbol. RFC 1951 allows 15; with 12 and 13
/// the bits of any token (12 + 12 + 5 + 13 + 13 = 55) and 7 left over fit into 64.
pub(super) const LONGEST_VALUE_CODE: u8 = 12;

/// The longest code of a distance symbol.
pub(super) const LONGEST_DISTANCE_CODE: u8 = 13;
