//! Parse: from a block's bytes to tokens.
//!
//! A block of some length is cut into four *lanes*, which are parsed in turn, one step each: a step
//! is a chain of some 50 cycles of waiting (hash, table, bytes to compare, length), and four chains
//! that do not depend on each other run at once on one core. As each lane is a function of its own
//! bytes and those before, the order of the steps changes nothing.
//!
//! `lane` holds a lane's state and what happens between steps, `step` the step itself.

mod lane;
mod step;

use lane::Lane;

use super::point::{BATCH_STEPS, LANES, ONE_LANE_BELOW};
use super::token::Token;

/// The farthest that a match may reach back, and one more than the greatest distance less one.
const WINDOW: u32 = 32 << 10;

/// The memory of the parse.
pub(super) struct Parser {
    lanes: [Lane; LANES],
}

impl Parser {
    pub(super) fn new() -> Self {
        Self { lanes: std::array::from_fn(|_| Lane::new()) }
    }

    /// The tokens of `block`, lane by lane; those of all lanes, one after another, stand for its bytes.
    /// Lanes may be empty. `block` is at most [`LONGEST_BLOCK`](super::LONGEST_BLOCK) long.
    pub(super) fn parse(&mut self, block: &[u8]) -> [&[Token]; LANES] {
        let lanes = if block.len() < ONE_LANE_BELOW { 1 } else { LANES };
        for (lane, state) in self.lanes.iter_mut().enumerate() {
            let bound = |lane: usize| block.len() * lane.min(lanes) / lanes;
            state.begin(block, bound(lane)..bound(lane + 1));
        }
        search(block, self.lanes.iter_mut().collect());
        self.lanes.iter_mut().for_each(|lane| lane.finish(block));
        self.lanes.each_ref().map(Lane::tokens)
    }
}

/// Takes steps in all lanes until each has reached its limit.
fn search(block: &[u8], mut lanes: Vec<&mut Lane>) {
    let mut left = BATCH_STEPS;
    loop {
        lanes.retain(|lane| lane.pos < lane.limit);
        left = match &mut lanes[..] {
            [a, b, c, d] => run(block, &mut [a, b, c, d], left),
            [a, b, c] => run(block, &mut [a, b, c], left),
            [a, b] => run(block, &mut [a, b], left),
            [a] => run(block, &mut [a], left),
            _ => return,
        };
        if left == 0 {
            for lane in &mut lanes {
                lane.end_batch(block);
            }
            left = BATCH_STEPS;
        }
    }
}

/// Takes up to `left` steps in each of `lanes`, fewer when one reaches its limit. Returns how many are
/// left.
fn run<const N: usize>(block: &[u8], lanes: &mut [&mut Lane; N], left: u32) -> u32 {
    if lanes.iter().any(|lane| lane.pos < WINDOW) {
        run_at::<N, true>(block, lanes, left)
    } else {
        run_at::<N, false>(block, lanes, left)
    }
}

/// [`run`], knowing whether a distance might reach beyond the block's beginning.
fn run_at<const N: usize, const EARLY: bool>(block: &[u8], lanes: &mut [&mut Lane; N], left: u32) -> u32 {
    // What changes with each step, and the limits, are kept apart, for the processor's registers.
    let mut pos = lanes.each_ref().map(|lane| lane.pos);
    let mut count = lanes.each_ref().map(|lane| lane.count);
    let limit = lanes.each_ref().map(|lane| lane.limit);
    let mut left = left;
    let mut reached = false;
    while left > 0 && !reached {
        for l in 0..N {
            let lane = &mut *lanes[l];
            let (token, next) = step::step::<EARLY>(block, &mut lane.table, pos[l]);
            lane.tokens[count[l]] = token;
            count[l] += 1;
            pos[l] = next;
            reached |= next >= limit[l];
        }
        left -= 1;
    }
    for l in 0..N {
        lanes[l].pos = pos[l];
        lanes[l].count = count[l];
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend_from_slice(format!("word{} ", state >> 22).as_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// What tokens stand for.
    fn expand(lanes: [&[Token]; LANES]) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        for token in lanes.concat() {
            for value in [token.first(), token.second()] {
                match value {
                    0..256 => bytes.push(value as u8),
                    256..512 => {
                        for _ in 0..value - 253 {
                            bytes.push(bytes[bytes.len() - 1 - token.distance_less_one() as usize]);
                        }
                    }
                    _ => {}
                }
            }
        }
        bytes
    }

    #[test]
    fn tokens_stand_for_the_block() {
        let text = text(4 * ONE_LANE_BELOW + 100);
        let mut parser = Parser::new();
        for length in
            [0, 1, 2, 3, 299, 300, 301, 302, 303, 700, ONE_LANE_BELOW - 1, ONE_LANE_BELOW, text.len()]
        {
            assert!(expand(parser.parse(&text[..length])) == text[..length], "{length}");
        }
    }

    #[test]
    fn lanes_parsed_in_turn_have_the_tokens_of_lanes_parsed_alone() {
        let mut block = text(ONE_LANE_BELOW * 2);
        // Lanes of different speeds, and one that skips.
        block[..70_000].fill(7);
        for (at, byte) in block[100_000..150_000].iter_mut().enumerate() {
            *byte = ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 45) as u8;
        }
        let mut parser = Parser::new();
        let together = parser.parse(&block).map(<[Token]>::to_vec);
        for (lane, together) in together.iter().enumerate() {
            let mut alone = Lane::new();
            alone.begin(&block, block.len() * lane / LANES..block.len() * (lane + 1) / LANES);
            search(&block, vec![&mut alone]);
            alone.finish(&block);
            assert!(alone.tokens() == together, "{lane}");
        }
    }
}
