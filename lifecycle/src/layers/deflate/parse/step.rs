//! Step: looks for a match at a position and at the next one, and takes the longer.
//!
//! The outcome is two literals, a match, or a literal and then a match: a lazy evaluation (RFC 1951,
//! section 4) that costs no second step. Everything is computed for both positions and then selected;
//! the only branch that data decides is whether a match goes on after 16 bytes (one step in fifteen).
//!
//! A table entry is the lower half of a position. Any entry, also one that is stale or was never set, is
//! a legal distance: the position less the entry, to 15 bits, is in 1..=32768. Whether it is a match is
//! for the bytes to say, so entries need no check; only where the block has not 32 KiB of history yet
//! must the distance be kept inside it.

use std::hint::select_unpredictable as select;

use super::super::point::{BEHIND, HASH_BITS, HASH_FACTOR, LEAST_MATCH};
use super::super::token::{self, LONGEST, MATCH, NO_DISTANCE, NOTHING, Token};
use super::WINDOW;

/// Positions by the hash of the four bytes there.
pub(super) type Table = [u16; 1 << HASH_BITS];

/// How many bytes are compared without a branch.
const COMPARED: u32 = 16;

/// The table's entry for four bytes.
#[inline]
pub(super) fn slot(word: u32) -> usize {
    (word.wrapping_mul(HASH_FACTOR) >> (32 - HASH_BITS)) as usize
}

/// Takes the step at `pos`, which must be at least [`BEHIND`] and [`SEARCH_MARGIN`](super::super::point::SEARCH_MARGIN)
/// before the end of the block; `EARLY` tells that it may lie less than [`WINDOW`] behind the beginning.
/// Returns the token and the position of the next step.
#[inline]
pub(super) fn step<const EARLY: bool>(block: &[u8], table: &mut Table, pos: u32) -> (Token, u32) {
    let bytes = load(block, pos - BEHIND);
    let (here, next) = look_up(table, pos, bytes);
    let (here, next) = if EARLY { (here.min(pos - 1), next.min(pos)) } else { (here, next) };
    let here_length = compare(block, pos, here);
    let next_length = compare(block, pos + 1, next);

    let later = next_length > here_length;
    let start = pos + u32::from(later);
    let distance_less_one = select(later, next, here);
    let mut length = select(later, next_length, here_length);
    if length == COMPARED {
        length = extend(block, start, distance_less_one);
    }

    let found = length >= LEAST_MATCH;
    let literals = bytes >> (8 * BEHIND);
    let literals = (literals as u32 & 255, (literals >> 8) as u32 & 255);
    let token = Token::new(
        select(found && !later, NOTHING, literals.0),
        select(found, MATCH + length, literals.1),
        select(found, token::index(distance_less_one), NO_DISTANCE),
        select(found, distance_less_one, 0),
    );
    (token, select(found, start + length, pos + 2))
}

/// The distances less one of what the table has for `pos` and the position after it, whose entries
/// become these positions. So do those of the [`BEHIND`] positions before, where a match may have ended
/// that no step began at. `bytes` are those from there on.
#[inline]
fn look_up(table: &mut Table, pos: u32, bytes: u64) -> (u32, u32) {
    let slot_at = |offset: u32| slot((bytes >> (8 * offset)) as u32);
    for offset in 0..BEHIND {
        table[slot_at(offset)] = (pos - BEHIND + offset) as u16;
    }
    let (here_slot, next_slot) = (slot_at(BEHIND), slot_at(BEHIND + 1));
    let here = u32::from(table[here_slot]);
    let next = u32::from(table[next_slot]);
    table[here_slot] = pos as u16;
    table[next_slot] = (pos + 1) as u16;
    (pos.wrapping_sub(here + 1) % WINDOW, pos.wrapping_sub(next) % WINDOW)
}

/// How many bytes at `pos` are the same that far back, up to [`COMPARED`].
#[inline]
fn compare(block: &[u8], pos: u32, distance_less_one: u32) -> u32 {
    let (low, high) = load_two(block, pos);
    let (earlier_low, earlier_high) = load_two(block, pos - 1 - distance_less_one);
    let (low, high) = (low ^ earlier_low, high ^ earlier_high);
    select(low != 0, low.trailing_zeros(), 64 + high.trailing_zeros()) / 8
}

/// The length of a match of at least [`COMPARED`] bytes, up to [`LONGEST`].
#[inline]
fn extend(block: &[u8], pos: u32, distance_less_one: u32) -> u32 {
    let earlier = pos - 1 - distance_less_one;
    let mut length = COMPARED;
    while length < LONGEST {
        let differing = load(block, pos + length) ^ load(block, earlier + length);
        if differing != 0 {
            return (length + differing.trailing_zeros() / 8).min(LONGEST);
        }
        length += 8;
    }
    LONGEST
}

/// The eight bytes at `pos`.
#[inline]
fn load(block: &[u8], pos: u32) -> u64 {
    let pos = pos as usize;
    u64::from_le_bytes(block[pos..pos + 8].try_into().expect("eight bytes"))
}

/// The eight bytes at `pos` and the eight after them, with one check of the bounds.
#[inline]
fn load_two(block: &[u8], pos: u32) -> (u64, u64) {
    let pos = pos as usize;
    let bytes = &block[pos..pos + 16];
    (load(bytes, 0), load(bytes, 8))
}
