//! Lane: a stretch of a block that is parsed from its beginning to its end.

use std::ops::Range;

use super::super::point::{
    BATCH_BYTES, BEHIND, HASH_BITS, LEAST_MATCH, SEARCH_MARGIN, SKIP_FIRST, SKIP_MOST, WARM_STEP,
};
use super::super::token::{LONGEST, Token};
use super::WINDOW;
use super::step::{Table, slot};

/// A lane's state.
pub(super) struct Lane {
    /// Where four bytes with that hash were last seen: the lower 16 bits of the position.
    pub(super) table: Box<Table>,
    /// Room for the tokens.
    pub(super) tokens: Vec<Token>,
    /// How many there are.
    pub(super) count: usize,
    /// The first byte of the block that no token stands for yet.
    pub(super) pos: u32,
    /// Where the search ends: [`SEARCH_MARGIN`] before the lane does.
    pub(super) limit: u32,
    end: usize,
    batch_start: u32,
    skipped: u32,
}

impl Lane {
    pub(super) fn new() -> Self {
        let table = vec![0; 1 << HASH_BITS].into_boxed_slice();
        let table = table.try_into().expect("a boxed slice of its length becomes a table");
        Self { table, tokens: Vec::new(), count: 0, pos: 0, limit: 0, end: 0, batch_start: 0, skipped: 0 }
    }

    /// The tokens so far.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens[..self.count]
    }

    /// Makes this the lane `range` of `block`. What lies before it is its history, up to [`WINDOW`]
    /// bytes: matches may reach into it.
    pub(super) fn begin(&mut self, block: &[u8], range: Range<usize>) {
        // Two bytes for each token and step, but in the margin.
        let most = range.len() / 2 + SEARCH_MARGIN + 2;
        if self.tokens.len() < most {
            self.tokens.resize(most, Token::default());
        }
        self.count = 0;
        self.pos = range.start as u32;
        self.limit = range.end.saturating_sub(SEARCH_MARGIN) as u32;
        self.end = range.end;
        self.skipped = 0;
        if range.is_empty() {
            return;
        }
        self.table.fill(0);
        for at in (range.start.saturating_sub(WINDOW as usize)..range.start).step_by(WARM_STEP) {
            self.table[slot(word(block, at))] = at as u16;
        }
        // Steps look at what lies before them.
        if self.pos == 0 && self.limit > 0 {
            self.push_literals(&block[..BEHIND.next_multiple_of(2) as usize]);
        }
        self.batch_start = self.pos;
    }

    /// After a batch of steps: where they found nearly nothing, leaves out the search for a while, and
    /// longer each time, until a batch finds something again.
    pub(super) fn end_batch(&mut self, block: &[u8]) {
        if self.pos - self.batch_start >= BATCH_BYTES {
            self.skipped = 0;
        } else {
            self.skipped = (self.skipped * 2 + SKIP_FIRST).min(SKIP_MOST);
            let length = self.skipped.min(self.limit.saturating_sub(self.pos)) as usize;
            self.push_literals(&block[self.pos as usize..][..length & !1]);
        }
        self.batch_start = self.pos;
    }

    /// Parses from the limit of the search to the lane's end: byte by byte, no match beyond the end.
    pub(super) fn finish(&mut self, block: &[u8]) {
        while (self.pos as usize) < self.end {
            let (length, distance_less_one) = self.match_here(block);
            if length >= LEAST_MATCH {
                self.push(Token::repeat(length, distance_less_one), length);
            } else {
                self.push(Token::literal(block[self.pos as usize]), 1);
            }
        }
    }

    /// The length and the distance less one of the match at `pos`; no length where there is none.
    fn match_here(&mut self, block: &[u8]) -> (u32, u32) {
        let at = self.pos as usize;
        if at == 0 || at + 4 > self.end {
            return (0, 0);
        }
        let entry = &mut self.table[slot(word(block, at))];
        let distance_less_one = self.pos.wrapping_sub(u32::from(*entry) + 1) % WINDOW;
        let distance_less_one = distance_less_one.min(self.pos - 1);
        *entry = self.pos as u16;
        let earlier = &block[at - 1 - distance_less_one as usize..];
        let pairs = block[at..self.end].iter().zip(earlier).take(LONGEST as usize);
        (pairs.take_while(|(a, b)| a == b).count() as u32, distance_less_one)
    }

    fn push_literals(&mut self, bytes: &[u8]) {
        for [a, b] in bytes.as_chunks::<2>().0 {
            self.push(Token::literals(*a, *b), 2);
        }
    }

    fn push(&mut self, token: Token, bytes: u32) {
        self.tokens[self.count] = token;
        self.count += 1;
        self.pos += bytes;
    }
}

/// The four bytes at `at`.
fn word(block: &[u8], at: usize) -> u32 {
    let bytes = block[at..].first_chunk().expect("four bytes lie before the lane's end");
    u32::from_le_bytes(*bytes)
}
