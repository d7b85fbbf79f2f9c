//! Header: the two codes of a dynamic block as RFC 1951, section 3.2.7, writes them: their lengths in
//! one row, shortened by run lengths, in a third code whose own lengths come first.

use super::bits::Bits;
use super::codes::Code;
use super::symbols::{DISTANCE_SYMBOLS, END_OF_BLOCK, VALUE_SYMBOLS};

/// How many symbols the third code has: lengths 0 to 15 and three kinds of runs.
const SYMBOLS: usize = 19;

/// The third code has codes of up to so many bits.
const LONGEST_CODE: u8 = 7;

/// The order in which the lengths of the third code are written.
const ORDER: [usize; SYMBOLS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Of the header's three bits: not the last block, dynamic codes.
const DYNAMIC: u32 = 0b100;

/// A header, ready to be weighed and written.
pub(super) struct Header {
    /// How many lengths of values are written.
    values: usize,
    /// How many of distances.
    distances: usize,
    /// How many of the third code.
    own: usize,
    code: Code<SYMBOLS>,
    row: Row,
}

/// Symbols of the third code, each with its extra bits' value.
struct Row {
    symbols: [(u8, u8); VALUE_SYMBOLS + DISTANCE_SYMBOLS],
    count: usize,
}

impl Header {
    /// The header of a block with these codes.
    pub(super) fn new(values: &Code<VALUE_SYMBOLS>, distances: &Code<DISTANCE_SYMBOLS>) -> Self {
        let value_count = until_last_used(&values.lengths).max(END_OF_BLOCK + 1);
        let distance_count = until_last_used(&distances.lengths).max(1);
        let mut lengths = [0; VALUE_SYMBOLS + DISTANCE_SYMBOLS];
        let lengths = &mut lengths[..value_count + distance_count];
        lengths[..value_count].copy_from_slice(&values.lengths[..value_count]);
        lengths[value_count..].copy_from_slice(&distances.lengths[..distance_count]);
        let row = Row::new(lengths);
        let mut counts = [0; SYMBOLS];
        row.symbols().iter().for_each(|(symbol, _)| counts[usize::from(*symbol)] += 1);
        let code = Code::new(&counts, LONGEST_CODE);
        let own = until_last_used(&ORDER.map(|symbol| code.lengths[symbol])).max(4);
        Self { values: value_count, distances: distance_count, own, code, row }
    }

    /// How many bits it is.
    pub(super) fn bits(&self) -> usize {
        let row = self.row.symbols().iter();
        let row = row.map(|(symbol, _)| self.code.lengths[usize::from(*symbol)] + extra_bits(*symbol));
        3 + 5 + 5 + 4 + 3 * self.own + row.map(usize::from).sum::<usize>()
    }

    /// Writes it.
    pub(super) fn write(&self, bits: &mut Bits<'_>) {
        bits.put(DYNAMIC, 3);
        bits.put((self.values - 257) as u32, 5);
        bits.put((self.distances - 1) as u32, 5);
        bits.put((self.own - 4) as u32, 4);
        for symbol in &ORDER[..self.own] {
            bits.put(self.code.lengths[*symbol].into(), 3);
        }
        for (symbol, extra) in self.row.symbols() {
            let at = usize::from(*symbol);
            bits.put(self.code.codes[at].into(), self.code.lengths[at].into());
            bits.put((*extra).into(), extra_bits(*symbol).into());
        }
    }
}

impl Row {
    fn new(lengths: &[u8]) -> Self {
        let mut row = Self { symbols: [(0, 0); _], count: 0 };
        for run in lengths.chunk_by(|a, b| a == b) {
            row.push_run(run[0], run.len());
        }
        row
    }

    fn symbols(&self) -> &[(u8, u8)] {
        &self.symbols[..self.count]
    }

    fn push(&mut self, symbol: u8, extra: usize) {
        self.symbols[self.count] = (symbol, extra as u8);
        self.count += 1;
    }

    /// `times` times the length `length`.
    fn push_run(&mut self, length: u8, times: usize) {
        let mut left = times;
        if length > 0 {
            // The repeat symbol repeats the length before it.
            self.push(length, 0);
            left -= 1;
        }
        while left >= 3 {
            let (symbol, least, most) = match (length, left) {
                (0, 11..) => (18, 11, 138),
                (0, _) => (17, 3, 10),
                _ => (16, 3, 6),
            };
            self.push(symbol, left.min(most) - least);
            left -= left.min(most);
        }
        (0..left).for_each(|_| self.push(length, 0));
    }
}

/// How many bits follow the code of `symbol`.
fn extra_bits(symbol: u8) -> u8 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

/// The length of `lengths` without the zeros at its end.
fn until_last_used(lengths: &[u8]) -> usize {
    lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lengths: &[u8], symbols: &[(u8, u8)]) {
        assert_eq!(Row::new(lengths).symbols(), symbols);
    }

    #[test]
    fn runs_are_written_as_runs() {
        check(&[3, 3, 3], &[(3, 0), (3, 0), (3, 0)]);
        check(&[3; 4], &[(3, 0), (16, 0)]);
        check(&[3; 8], &[(3, 0), (16, 3), (3, 0)]);
        check(&[0, 0], &[(0, 0), (0, 0)]);
        check(&[0; 10], &[(17, 7)]);
        check(&[0; 138], &[(18, 127)]);
        check(&[0; 150], &[(18, 127), (18, 1)]);
        check(&[0, 0, 0, 9, 0], &[(17, 0), (9, 0), (0, 0)]);
    }

    #[test]
    fn a_header_has_as_many_bits_as_it_says() {
        let mut counts = [0; VALUE_SYMBOLS];
        counts[END_OF_BLOCK] = 1;
        for (literal, count) in (b'a'..=b'z').zip(1..) {
            counts[usize::from(literal)] = count * count;
            let header = Header::new(&Code::new(&counts, 12), &Code::new(&[0; 30], 13));
            let mut out = Vec::new();
            let mut bits = Bits::new(&mut out);
            header.write(&mut bits);
            assert_eq!(bits.position(), header.bits());
        }
    }
}
