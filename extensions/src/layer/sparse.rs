//! Sparse files in archives: which parts of a file are stored, and that the rest is zeros.
//!
//! tar(1) writes the map of the parts in four ways: in header blocks of its own type, and as PAX
//! records of three versions, the last of which puts it in front of the content.

use std::collections::VecDeque;

use super::parse::{BLOCK, number};

/// A map of more parts is refused.
const MAX_PARTS: usize = 100_000;

/// Where the parts of a type `S` header block are, the flag that more blocks follow, and the size of
/// the file.
const FIRST_PARTS: (usize, usize) = (386, 4);
const FIRST_MORE: usize = 482;
const REAL_SIZE: std::ops::Range<usize> = 483..495;

/// The same of the blocks that follow.
const MORE_PARTS: (usize, usize) = (0, 21);
const MORE_MORE: usize = 504;

/// Offset and length of a stored part.
pub(super) type Part = (u64, u64);

/// A file being read, holes and all.
#[derive(Debug)]
pub(super) struct Sparse {
    size: u64,
    parts: VecDeque<Part>,
    position: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many zeros.
    Hole(u64),
    /// So many stored bytes.
    Data(u64),
    End,
}

impl Sparse {
    /// Makes one of a map. `None` unless its parts are in order, within the file, and as many bytes as
    /// are stored.
    pub(super) fn new(size: u64, parts: Vec<Part>, stored: u64) -> Option<Self> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for (offset, length) in &parts {
            if *offset < end {
                return None;
            }
            end = offset.checked_add(*length)?;
            sum = sum.checked_add(*length)?;
        }
        let is_sound = end <= size && sum == stored && parts.len() <= MAX_PARTS;
        is_sound.then(|| Self { size, parts: parts.into(), position: 0 })
    }

    /// Says what comes next.
    pub(super) fn next(&mut self) -> Next {
        while self.parts.front().is_some_and(|(offset, length)| self.position >= offset + length) {
            self.parts.pop_front();
        }
        match self.parts.front() {
            Some((offset, _)) if self.position < *offset => Next::Hole(offset - self.position),
            Some((offset, length)) => Next::Data(offset + length - self.position),
            None if self.position < self.size => Next::Hole(self.size - self.position),
            None => Next::End,
        }
    }

    /// Goes on by bytes that were read.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.position += bytes;
    }
}

/// A map being read from header blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) size: u64,
    pub(super) parts: Vec<Part>,
}

impl Blocks {
    /// Reads a header block of type `S`. Tells whether another block follows; `None` if it is broken.
    pub(super) fn first(&mut self, block: &[u8; BLOCK]) -> Option<bool> {
        self.size = u64::try_from(number(&block[REAL_SIZE])?).ok()?;
        self.add(block, FIRST_PARTS)?;
        Some(block[FIRST_MORE] != 0)
    }

    /// Reads a block that follows.
    pub(super) fn more(&mut self, block: &[u8; BLOCK]) -> Option<bool> {
        self.add(block, MORE_PARTS)?;
        (self.parts.len() <= MAX_PARTS).then_some(block[MORE_MORE] != 0)
    }

    fn add(&mut self, block: &[u8; BLOCK], (start, count): (usize, usize)) -> Option<()> {
        for entry in block[start..].chunks_exact(24).take(count) {
            if entry[0] == 0 {
                break;
            }
            let field = |range| u64::try_from(number(&entry[range])?).ok();
            self.parts.push((field(0..12)?, field(12..24)?));
        }
        Some(())
    }
}

/// A map being read from PAX records.
#[derive(Debug, Default)]
pub(super) struct Pax {
    /// The file's name, which the header replaces by one that says that it is sparse.
    pub(super) name: Option<Vec<u8>>,
    /// The size of the file, once a record said it.
    pub(super) size: Option<u64>,
    numbers: Vec<u64>,
    major: u64,
}

impl Pax {
    /// Takes a record whose key begins with `GNU.sparse.`; the rest of the key is given. `None` if its
    /// value is broken.
    pub(super) fn add(&mut self, key: &str, value: &[u8]) -> Option<()> {
        let decimal = |value: &[u8]| std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        match key {
            "name" => self.name = Some(value.to_vec()),
            "size" | "realsize" => self.size = Some(decimal(value)?),
            "offset" | "numbytes" => self.numbers.push(decimal(value)?),
            "map" => {
                let numbers: Option<Vec<u64>> = match value {
                    [] => Some(Vec::new()),
                    list => list.split(|byte| *byte == b',').map(decimal).collect(),
                };
                self.numbers = numbers?;
            }
            "major" => self.major = decimal(value)?,
            // How many parts there are shows in the map.
            _ => {}
        }
        Some(())
    }

    /// Whether the map stands in front of the content.
    pub(super) fn is_in_content(&self) -> bool {
        self.major == 1
    }

    /// The map of the records.
    pub(super) fn parts(&self) -> Option<Vec<Part>> {
        pairs(&self.numbers)
    }
}

/// A map in front of the content: decimal numbers, each with a newline; their count comes first.
#[derive(Debug, Default)]
pub(super) struct Lines {
    numbers: Vec<u64>,
    digits: Vec<u8>,
}

impl Lines {
    /// Reads one block of it; `None` if it is broken.
    pub(super) fn block(&mut self, block: &[u8]) -> Option<Map> {
        for byte in block {
            if *byte != b'\n' {
                self.digits.push(*byte);
                if self.digits.len() > 20 {
                    return None;
                }
                continue;
            }
            self.numbers.push(std::str::from_utf8(&self.digits).ok()?.parse().ok()?);
            self.digits.clear();
            let count = usize::try_from(self.numbers[0]).ok().filter(|count| *count <= MAX_PARTS)?;
            if self.numbers.len() == 1 + 2 * count {
                return pairs(&self.numbers[1..]).map(Map::Complete);
            }
        }
        Some(Map::GoesOn)
    }
}

/// What a block left of a map.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// More is in the next block.
    GoesOn,
    /// All its parts.
    Complete(Vec<Part>),
}

fn pairs(numbers: &[u64]) -> Option<Vec<Part>> {
    let pairs = numbers.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(size: u64, parts: &[Part]) -> Option<Vec<Next>> {
        let stored = parts.iter().map(|(_, length)| length).sum();
        let mut sparse = Sparse::new(size, parts.to_vec(), stored)?;
        let mut all = Vec::new();
        loop {
            match sparse.next() {
                Next::End => return Some(all),
                next @ (Next::Hole(bytes) | Next::Data(bytes)) => {
                    sparse.advance(bytes);
                    all.push(next);
                }
            }
        }
    }

    #[test]
    fn holes_are_between_and_behind_the_parts() {
        use Next::{Data, Hole};
        assert_eq!(walk(10, &[(2, 3), (7, 1)]), Some(vec![Hole(2), Data(3), Hole(2), Data(1), Hole(2)]));
        assert_eq!(walk(5, &[(0, 2), (2, 3), (5, 0)]), Some(vec![Data(2), Data(3)]));
        assert_eq!(walk(5, &[]), Some(vec![Hole(5)]));
        assert_eq!(walk(0, &[(0, 0)]), Some(vec![]));
    }

    #[test]
    fn maps_that_make_no_sense_are_refused() {
        assert_eq!(walk(10, &[(2, 3), (4, 1)]), None);
        assert_eq!(walk(10, &[(8, 3)]), None);
        assert_eq!(walk(10, &[(u64::MAX, 3)]), None);
        assert!(Sparse::new(10, vec![(0, 5)], 4).is_none());
        assert!(Lines::default().block(b"2\n1\nx\n").is_none());
        assert!(Lines::default().block(b"9999999\n").is_none());
        assert!(Lines::default().block(&[b'1'; 30]).is_none());
        assert!(Pax::default().add("map", b"1,").is_none());
    }

    #[test]
    fn a_map_may_go_on_in_the_next_block() {
        let mut lines = Lines::default();
        assert_eq!(lines.block(b"2\n1\n2\n1"), Some(Map::GoesOn));
        assert_eq!(lines.block(b"0\n20\n\0\0"), Some(Map::Complete(vec![(1, 2), (10, 20)])));
        let mut pax = Pax::default();
        pax.add("map", b"1,2,3,4").expect("a map");
        assert_eq!(pax.parts(), Some(vec![(1, 2), (3, 4)]));
        pax.add("offset", b"5").expect("an offset");
        assert_eq!(pax.parts(), None);
    }
}
