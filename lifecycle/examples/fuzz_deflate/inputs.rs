//! Inputs: bytes made from a seed, of the kinds and lengths where an encoder may go wrong.

/// Lengths around which something changes: nothing, the least match, the search's margin and its
/// beginning behind it, the window, one lane and four, stored blocks, the block of a stream.
pub const EDGES: [usize; 12] =
    [0, 4, 258, 300, 302, 32 << 10, 65_535, 64 << 10, 128 << 10, (128 << 10) + 1_204, 256 << 10, 512 << 10];

/// Numbers that look random: splitmix64.
pub struct Numbers(pub u64);

/// What a stretch of an input looks like.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// One byte again and again.
    Run,
    /// Nothing to find.
    Random,
    /// Words and spaces, a few of them often.
    Words,
    /// Letters of which each is about half as frequent as the one before: the longest codes.
    Skewed,
    /// Random bytes of a small alphabet: matches that are short and many.
    Narrow,
    /// Records of a fixed length that count up.
    Records,
    /// What stood before, from some distance: long matches, at the edges of the window too.
    Copy,
}

/// All kinds.
pub const KINDS: [Kind; 7] =
    [Kind::Run, Kind::Random, Kind::Words, Kind::Skewed, Kind::Narrow, Kind::Records, Kind::Copy];

impl Numbers {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// The next number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("what is below a usize is one")
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// One of `all`.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// The input of a seed: a few stretches of some kinds. One in two is shorter than 2,000 bytes, few are
/// longer than 128 KiB; those have lengths near an edge or any.
pub fn input(seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let length = match numbers.below(100) {
        0..50 => numbers.below(2_000),
        50..80 => numbers.of(&EDGES[..5]) + numbers.below(20),
        80..98 => numbers.below(20_000),
        98 => (numbers.of(&EDGES[5..]) + numbers.below(40)).saturating_sub(20),
        _ => numbers.below(700 << 10),
    };
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let left = length - bytes.len();
        let stretch = if numbers.below(3) == 0 { left } else { 1 + numbers.below(left) };
        let kind = numbers.of(&KINDS);
        fill(kind, stretch, &mut numbers, &mut bytes);
    }
    bytes
}

/// Adds `length` bytes of a kind to `bytes`.
pub fn fill(kind: Kind, length: usize, numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    let end = bytes.len() + length;
    let parameter = numbers.next();
    let alphabet = 2 + numbers.byte() % 15;
    let constant = numbers.byte() & numbers.of(&[0, 0xFF]);
    while bytes.len() < end {
        match kind {
            Kind::Run => bytes.resize(end, constant),
            Kind::Random => bytes.extend_from_slice(&numbers.next().to_le_bytes()),
            Kind::Words => word(numbers, bytes),
            Kind::Skewed => bytes.push(constant.wrapping_add(numbers.next().trailing_zeros().min(60) as u8)),
            Kind::Narrow => bytes.push(constant ^ (numbers.byte() % alphabet)),
            Kind::Records => record(parameter, bytes),
            Kind::Copy => copy(numbers, end, bytes),
        }
    }
    bytes.truncate(end);
}

/// A word: which one, by a number that is low more often than high.
fn word(numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    let ceiling = 1 + numbers.below(2_000);
    let mut letters = Numbers(numbers.below(ceiling) as u64);
    for _ in 0..=letters.below(9) {
        bytes.push(b'a' + letters.byte() % 26);
    }
    bytes.push(numbers.of(b"      ,\n(."));
}

/// A record of 4 to 35 bytes, of which two count.
fn record(parameter: u64, bytes: &mut Vec<u8>) {
    let length = 4 + (parameter % 32) as usize;
    let count = bytes.len() / length;
    let mut fields = Numbers(parameter);
    bytes.extend_from_slice(&count.to_le_bytes()[..2]);
    for _ in 2..length {
        bytes.push(fields.byte() & 0x1F);
    }
}

/// Up to 700 bytes from before, or one byte where nothing is before; then often a byte that differs.
fn copy(numbers: &mut Numbers, end: usize, bytes: &mut Vec<u8>) {
    let distances = [1, 2, 3, 4, 8, 255, 256, 257, 258, 4_096, 32_766, 32_767, 32_768, 32_769];
    let distance = if numbers.below(2) == 0 { numbers.of(&distances) } else { 1 + numbers.below(40_000) };
    let length = 1 + numbers.below(700.min(end - bytes.len()));
    if distance <= bytes.len() {
        for at in bytes.len() - distance..bytes.len() - distance + length {
            bytes.push(bytes[at]);
        }
    }
    if numbers.below(3) > 0 || distance > bytes.len() {
        bytes.push(numbers.byte());
    }
}
