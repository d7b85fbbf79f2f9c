//! Count: how often each symbol stands in a section, and how many bytes and extra bits that makes.

use super::symbols::{DISTANCE_SYMBOLS, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, LENGTHS, VALUE_SYMBOLS};
use super::token::{INDEXES, MATCH, NO_DISTANCE, SHORTEST, Token, VALUES};

/// What a section holds.
pub(super) struct Counts {
    /// Literals, lengths and the one end of block, by symbol.
    pub(super) values: [u32; VALUE_SYMBOLS],
    /// Distances, by symbol.
    pub(super) distances: [u32; DISTANCE_SYMBOLS],
    /// How many bytes of input the tokens stand for.
    pub(super) bytes: usize,
    /// How many extra bits follow the codes, in all.
    pub(super) extra_bits: usize,
}

/// Counts by the token's fields. The symbols are worked out afterwards, once for each value instead of
/// once for each token.
struct Fields {
    values: [u32; VALUES],
    indexes: [u32; INDEXES],
}

impl Fields {
    const ZERO: Self = Self { values: [0; VALUES], indexes: [0; INDEXES] };

    #[inline]
    fn add(&mut self, token: Token) {
        self.values[token.first()] += 1;
        self.values[token.second()] += 1;
        self.indexes[token.index()] += 1;
    }
}

/// Counts the tokens of all `slices`.
pub(super) fn count(slices: &[&[Token]]) -> Counts {
    // Neighbours are often alike; an increment need not wait for the one before when they go to
    // different sets.
    let (mut even, mut odd) = (Fields::ZERO, Fields::ZERO);
    for tokens in slices {
        let (pairs, last) = tokens.as_chunks::<2>();
        for [a, b] in pairs {
            even.add(*a);
            odd.add(*b);
        }
        for token in last {
            even.add(*token);
        }
    }
    let value = |value: usize| even.values[value] + odd.values[value];
    let index = |index: usize| even.indexes[index] + odd.indexes[index];
    fold(value, index)
}

/// The counts by symbol of counts by value and by index.
fn fold(value: impl Fn(usize) -> u32, index: impl Fn(usize) -> u32) -> Counts {
    let mut counts =
        Counts { values: [0; VALUE_SYMBOLS], distances: [0; DISTANCE_SYMBOLS], bytes: 0, extra_bits: 0 };
    for byte in 0..256 {
        counts.values[byte] = value(byte);
        counts.bytes += value(byte) as usize;
    }
    counts.values[END_OF_BLOCK] = 1;
    for (length, symbol) in (SHORTEST as usize..).zip(LENGTHS) {
        let n = value(MATCH as usize + length);
        counts.values[FIRST_LENGTH + usize::from(symbol.number)] += n;
        counts.bytes += n as usize * length;
        counts.extra_bits += n as usize * usize::from(symbol.extra_bits);
    }
    for (at, symbol) in DISTANCES.iter().enumerate().filter(|(at, _)| *at != NO_DISTANCE as usize) {
        counts.distances[usize::from(symbol.number)] += index(at);
        counts.extra_bits += index(at) as usize * usize::from(symbol.extra_bits);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_symbols_bytes_and_extra_bits() {
        let tokens = [
            Token::literals(b'a', b'b'),
            Token::repeat(258, 0),
            Token::literal(b'a'),
            Token::repeat(11, 299),
        ];
        let counts = count(&[&tokens[..1], &[], &tokens[1..]]);
        let used = |counts: &[u32]| counts.iter().filter(|n| **n > 0).count();
        assert_eq!((counts.values[97], counts.values[98], counts.values[END_OF_BLOCK]), (2, 1, 1));
        assert_eq!((counts.values[285], counts.values[265], used(&counts.values)), (1, 1, 5));
        assert_eq!((counts.distances[0], counts.distances[16], used(&counts.distances)), (1, 1, 2));
        assert_eq!((counts.bytes, counts.extra_bits), (2 + 258 + 1 + 11, 1 + 7));
    }
}
