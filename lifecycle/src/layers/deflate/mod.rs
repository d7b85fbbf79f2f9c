//! Deflate (RFC 1951): an encoder for layers, made for speed at the compression of `gzip -1`.
//!
//! It takes blocks of [`BLOCK`] bytes. Each is compressed by itself: no match reaches into an earlier
//! block, and what comes out ends on a byte. So blocks may be compressed on any threads, in any order,
//! and their outputs, put one after another and closed by [`END`], are one deflate stream whose bytes
//! depend on nothing but the input:
//!
//! ```text
//! block ── parse ──► tokens ──┬─ count ──► how often each symbol ── codes ──► two Huffman codes
//!        (4 lanes)            │                                                    │
//!                             └────────────────── emit ◄── header ◄────────────────┘
//!                                                  │
//!                     dynamic or stored blocks … , an empty stored block ── join (`gzip`) ──► stream
//! ```
//!
//! - `parse` finds the matches. It takes two thirds of the time, and its shape is what makes this
//!   encoder fast: no branch depends on the data, and four places of the block are parsed in turn,
//!   so that the processor works on one while it waits for the memory of another.
//! - `count`, `codes`, `header` and `emit` work on parts of about `point::TOKENS` tokens; each part
//!   becomes one block of RFC 1951 (here called a *section*), with codes of its own, or stored.
//!
//! The numbers that decide the bytes stand in [`point`]. The digests of layers depend on them.
//! Decoding is not done here: `flate2` reads layers, these and everybody else's.

#![forbid(unsafe_code)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "positions fit into 32 bits as blocks are short, and only their lower bits are meant where 16 are kept"
)]

mod bits;
mod codes;
mod count;
mod emit;
mod header;
mod parse;
pub mod point;
mod symbols;
mod token;

use std::ops::Range;

use bits::Bits;
use emit::Tables;
use parse::Parser;
use point::{BLOCK, LANES, TOKENS};
use token::Token;

/// What closes a stream: an empty last block with the fixed code.
pub const END: [u8; 2] = [0b011, 0];

/// The most bytes that [`Encoder::compress`] takes at once. Streams are made of blocks of [`BLOCK`];
/// tests use other lengths.
pub const LONGEST_BLOCK: usize = 16 * BLOCK;

/// The working memory of one thread that compresses: about 2.5 MB.
pub struct Encoder {
    parser: Parser,
    tables: Box<Tables>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { parser: Parser::new(), tables: Box::new(Tables::new()) }
    }
}

impl Encoder {
    /// Appends `block`, compressed, to `out`. The bytes depend on `block` alone. They end with an
    /// empty stored block, hence on a byte, and need [`END`] after the last.
    ///
    /// Panics when `block` is longer than [`LONGEST_BLOCK`].
    pub fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) {
        assert!(block.len() <= LONGEST_BLOCK, "the block is longer than `LONGEST_BLOCK`");
        let mut bits = Bits::new(out);
        let lanes = self.parser.parse(block);
        let tokens = lanes.iter().map(|lane| lane.len()).sum::<usize>();
        let sections = tokens.div_ceil(TOKENS);
        let mut rest = block;
        for section in 0..sections {
            let range = tokens * section / sections..tokens * (section + 1) / sections;
            let tokens = cut(lanes, range);
            let counts = count::count(&tokens);
            let (bytes, after) = rest.split_at(counts.bytes);
            emit::section(&mut self.tables, &tokens, &counts, bytes, &mut bits);
            rest = after;
        }
        debug_assert!(rest.is_empty(), "tokens stand for all bytes");
        bits.stored(&[]);
    }
}

/// The tokens `range` of the lanes, counted through all lanes; a section may begin in one and end in
/// another.
fn cut(lanes: [&[Token]; LANES], range: Range<usize>) -> [&[Token]; LANES] {
    let mut before = 0;
    lanes.map(|lane| {
        let from = range.start.saturating_sub(before).min(lane.len());
        let to = range.end.saturating_sub(before).min(lane.len());
        before += lane.len();
        &lane[from..to]
    })
}
