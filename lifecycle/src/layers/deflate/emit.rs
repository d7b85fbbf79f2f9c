//! Emit: writes a section, as a block with dynamic codes or, where that is not shorter, stored.
//!
//! The tables are made for each section from its codes, by the values and indexes that tokens have, with
//! the extra bits merged into the codes: a token is three look-ups and one write of up to 55 bits,
//! whatever it stands for.

use super::bits::{Bits, Pending};
use super::codes::Code;
use super::count::Counts;
use super::header::Header;
use super::point::{LONGEST_DISTANCE_CODE, LONGEST_VALUE_CODE};
use super::symbols::{DISTANCE_SYMBOLS, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, LENGTHS, VALUE_SYMBOLS};
use super::token::{INDEXES, MATCH, NO_DISTANCE, SHORTEST, Token, VALUES};

/// What is written for each field of a token.
pub(super) struct Tables {
    /// By value: how many bits in the lower 8 bits, the bits above.
    values: [u32; VALUES],
    /// By index.
    distances: [Distance; INDEXES],
}

/// How the distances of one index are written: code, then extra bits. As the extra bits are the
/// distance less one less the base, that is `(distance_less_one << code_bits) + addend`.
#[derive(Clone, Copy, Default)]
struct Distance {
    /// The code less the base in the place of the extra bits; wraps.
    addend: u32,
    code_bits: u8,
    /// Code and extra bits.
    all_bits: u8,
}

/// Writes the tokens of all `slices`, which are counted in `counts` and stand for `bytes`.
pub(super) fn section(
    tables: &mut Tables,
    slices: &[&[Token]],
    counts: &Counts,
    bytes: &[u8],
    bits: &mut Bits<'_>,
) {
    let values = Code::new(&counts.values, LONGEST_VALUE_CODE);
    let distances = Code::new(&counts.distances, LONGEST_DISTANCE_CODE);
    let header = Header::new(&values, &distances);
    let body = values.bits(&counts.values) + distances.bits(&counts.distances) + counts.extra_bits;
    if Bits::stored_bits(bytes.len()) <= header.bits() + body {
        return bits.stored(bytes);
    }
    let before = bits.position();
    header.write(bits);
    tables.fill(&values, &distances);
    bits.put_many(body, |out, pending| write(tables, slices, out, pending));
    bits.put(values.codes[END_OF_BLOCK].into(), values.lengths[END_OF_BLOCK].into());
    debug_assert_eq!(bits.position() - before, header.bits() + body, "sections are as long as foreseen");
}

/// Writes tokens to the front of `out`. Returns how many bytes are written, and what is pending.
fn write(tables: &Tables, slices: &[&[Token]], out: &mut [u8], pending: Pending) -> (usize, Pending) {
    let mut at = 0;
    let mut pending = pending;
    let mut flush = |pending: &mut Pending| {
        let next = out[at..].first_chunk_mut().expect("there is room for 16 bytes more than foreseen");
        at += pending.flush(next);
    };
    for tokens in slices {
        let (pairs, last) = tokens.as_chunks::<2>();
        for [a, b] in pairs {
            let (a, a_count) = tables.bits(*a);
            let (b, b_count) = tables.bits(*b);
            pending.push(a, a_count);
            // Two tokens nearly always fit.
            if pending.count() + b_count > 63 {
                flush(&mut pending);
            }
            pending.push(b, b_count);
            flush(&mut pending);
        }
        for token in last {
            let (bits, count) = tables.bits(*token);
            pending.push(bits, count);
            flush(&mut pending);
        }
    }
    (at, pending)
}

impl Tables {
    /// Tables to be filled.
    pub(super) fn new() -> Self {
        Self { values: [0; VALUES], distances: [Distance::default(); INDEXES] }
    }

    fn fill(&mut self, values: &Code<VALUE_SYMBOLS>, distances: &Code<DISTANCE_SYMBOLS>) {
        for literal in 0..256 {
            self.values[literal] = u32::from(values.codes[literal]) << 8 | u32::from(values.lengths[literal]);
        }
        for (less_three, symbol) in (0..).zip(LENGTHS) {
            let at = FIRST_LENGTH + usize::from(symbol.number);
            let code_bits = u32::from(values.lengths[at]);
            let extra = less_three - u32::from(symbol.base);
            let bits = u32::from(values.codes[at]) | extra << code_bits;
            let value = (MATCH + SHORTEST + less_three) as usize;
            self.values[value] = bits << 8 | (code_bits + u32::from(symbol.extra_bits));
        }
        for (distance, symbol) in self.distances.iter_mut().zip(DISTANCES) {
            let at = usize::from(symbol.number);
            let code_bits = distances.lengths[at];
            let base = u32::from(symbol.base) << code_bits;
            let addend = u32::from(distances.codes[at]).wrapping_sub(base);
            *distance = Distance { addend, code_bits, all_bits: code_bits + symbol.extra_bits };
        }
        self.distances[NO_DISTANCE as usize] = Distance::default();
    }

    /// The bits of a token, and how many: at most 55.
    #[inline]
    fn bits(&self, token: Token) -> (u64, u32) {
        let first = self.values[token.first()];
        let second = self.values[token.second()];
        let distance = self.distances[token.index()];
        let (first_count, second_count) = (first & 255, second & 255);
        let code_bits = u32::from(distance.code_bits) & 31;
        let distance_bits = (token.distance_less_one() << code_bits).wrapping_add(distance.addend);
        let bits = u64::from(first >> 8)
            | u64::from(second >> 8) << (first_count & 63)
            | u64::from(distance_bits) << ((first_count + second_count) & 63);
        (bits, first_count + second_count + u32::from(distance.all_bits))
    }
}
