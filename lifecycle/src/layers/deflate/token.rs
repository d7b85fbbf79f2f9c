//! Token: one step of the parse in 64 bits: two literals, a match, or a literal and then a match.
//!
//! All have one shape, so that the stages behind the parse need not ask which it is:
//!
//! ```text
//! bits  0..10  first     a value: 0..=255 a literal, 256..=511 a match of 3..=258 bytes, 512 nothing
//! bits 10..20  second    a value
//! bits 20..29  index     tells the distance's symbol, or NO_DISTANCE
//! bits 32..47  distance  less one; 0 without a match
//! ```
//!
//! The index is the distance less one where that is below 256, else 256 and its upper eight bits:
//! all distances with one index have one symbol, and 512 indexes make small tables.

use std::hint::select_unpredictable as select;

/// A value that stands for no bytes.
pub(super) const NOTHING: u32 = 512;

/// The value of a match of no bytes, were there one: a match of `n` has this plus `n`.
pub(super) const MATCH: u32 = 256 - SHORTEST;

/// How many entries a table by value has; a power of two, so that ten bits are always inside.
pub(super) const VALUES: usize = 1024;

/// An index that no distance has.
pub(super) const NO_DISTANCE: u32 = 257;

/// How many indexes there are.
pub(super) const INDEXES: usize = 512;

/// The shortest match of RFC 1951.
pub(super) const SHORTEST: u32 = 3;

/// The longest.
pub(super) const LONGEST: u32 = 258;

/// One step of the parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Token(u64);

impl Token {
    /// The token with these fields.
    #[inline]
    pub(super) fn new(first: u32, second: u32, index: u32, distance_less_one: u32) -> Self {
        let low = first | second << 10 | index << 20;
        Self(u64::from(low) | u64::from(distance_less_one) << 32)
    }

    /// Two literals.
    pub(super) fn literals(first: u8, second: u8) -> Self {
        Self::new(first.into(), second.into(), NO_DISTANCE, 0)
    }

    /// One literal.
    pub(super) fn literal(byte: u8) -> Self {
        Self::new(NOTHING, byte.into(), NO_DISTANCE, 0)
    }

    /// A match of `length` bytes.
    pub(super) fn repeat(length: u32, distance_less_one: u32) -> Self {
        Self::new(NOTHING, MATCH + length, index(distance_less_one), distance_less_one)
    }

    /// The first value, below [`VALUES`].
    #[inline]
    pub(super) fn first(self) -> usize {
        (self.0 & 1023) as usize
    }

    /// The second value, below [`VALUES`].
    #[inline]
    pub(super) fn second(self) -> usize {
        (self.0 >> 10 & 1023) as usize
    }

    /// The distance's index, below [`INDEXES`].
    #[inline]
    pub(super) fn index(self) -> usize {
        (self.0 >> 20 & 511) as usize
    }

    /// The distance less one; 0 without a match.
    #[inline]
    pub(super) fn distance_less_one(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The index of a distance.
#[inline]
pub(super) fn index(distance_less_one: u32) -> u32 {
    select(distance_less_one < 256, distance_less_one, 256 + (distance_less_one >> 7))
}
