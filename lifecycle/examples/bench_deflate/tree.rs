//! Tree: the files of a made-up application, by number: source code, objects, data and pictures, as
//! many small ones as such a directory has. The same on every machine.

use std::io::Write;

/// Numbers that look random: splitmix64.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number below `end`, a small one more often.
    fn rank(&mut self, end: u64) -> u64 {
        let ceiling = 1 + self.below(end);
        let ceiling = 1 + self.below(ceiling);
        self.below(ceiling)
    }
}

/// The name and the bytes of the file `number`.
pub fn file(number: u64) -> (String, Vec<u8>) {
    let mut numbers = Numbers(number << 32);
    // Between 400 bytes and 60 KB, 17 KB on average.
    let length = 400 + usize::try_from(numbers.below(245) * numbers.below(245)).expect("a short length");
    let mut bytes = Vec::with_capacity(length);
    let kind = match numbers.below(100) {
        0..38 => "src/module.rs",
        38..70 => "lib/object.so",
        70..88 => "data/table.json",
        _ => "assets/picture.png",
    };
    while bytes.len() < length {
        match kind {
            "src/module.rs" => source(&mut numbers, &mut bytes),
            "lib/object.so" => object(&mut numbers, &mut bytes),
            "data/table.json" => data(&mut numbers, &mut bytes),
            _ => bytes.extend_from_slice(&numbers.next().to_le_bytes()),
        }
    }
    bytes.truncate(length);
    let (directory, name) = kind.split_once('/').expect("kinds are in directories");
    (format!("{directory}/{:03}/{number}-{name}", number / 50 % 400), bytes)
}

/// The word `number` of a vocabulary.
fn word(number: u64, bytes: &mut Vec<u8>) {
    let syllables =
        ["ar", "con", "de", "er", "fi", "ing", "lo", "me", "no", "per", "re", "se", "st", "tion", "un", "va"];
    let mut letters = Numbers(number);
    for _ in 0..=letters.below(3) {
        let syllable = letters.below(16);
        bytes.extend_from_slice(syllables[usize::try_from(syllable).expect("below 16")].as_bytes());
    }
}

/// A line of code.
fn source(numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    let depth = numbers.below(5);
    bytes.resize(bytes.len() + usize::try_from(depth * 4).expect("a short indent"), b' ');
    for _ in 0..=numbers.below(8) {
        word(numbers.rank(3_000), bytes);
        let between = [&b" "[..], b" ", b".", b"(", b", ", b" = ", b"::", b"_"];
        bytes.extend_from_slice(between[usize::try_from(numbers.rank(8)).expect("below 8")]);
    }
    bytes.extend_from_slice(if numbers.below(4) == 0 { b" {\n" } else { b";\n" });
}

/// A piece of an object file: code that the compiler often writes so, relocations, symbols.
fn object(numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    match numbers.below(20) {
        0 => {
            let offset = numbers.below(1 << 24);
            for entry in 0..8 + numbers.below(40) {
                bytes.extend_from_slice(&(offset + entry * 8).to_le_bytes());
                bytes.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0]);
                bytes.extend_from_slice(&(numbers.rank(1 << 20) * 16).to_le_bytes());
            }
        }
        1 => {
            for _ in 0..4 + numbers.below(30) {
                word(numbers.rank(3_000), bytes);
                bytes.push(b'_');
                word(numbers.rank(3_000), bytes);
                bytes.push(0);
            }
        }
        _ => {
            for _ in 0..4 + numbers.below(40) {
                instructions(numbers, bytes);
            }
        }
    }
}

/// A few instructions in a row, and often an address.
fn instructions(numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    let mut idiom = Numbers(numbers.rank(6_000));
    for _ in 0..2 + idiom.below(8) {
        let opcodes = [0x48, 0x8b, 0x89, 0x44, 0x24, 0xe8, 0x0f, 0x85];
        let is_opcode = idiom.below(3) > 0;
        let byte =
            if is_opcode { opcodes[usize::try_from(idiom.rank(8)).expect("below 8")] } else { idiom.next() };
        bytes.push(byte.to_le_bytes()[0]);
    }
    if numbers.below(4) == 0 {
        let address = numbers.rank(1 << 18);
        let address = if numbers.below(2) == 0 { address } else { !address };
        bytes.extend_from_slice(&address.to_le_bytes()[..4]);
    }
}

/// A record.
fn data(numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    write!(bytes, "{{\"id\":{},\"name\":\"", numbers.below(1_000_000)).expect("memory takes all");
    word(numbers.rank(5_000), bytes);
    let (tag, size) = (numbers.rank(30), numbers.below(10_000));
    let ok = numbers.below(2) == 0;
    writeln!(bytes, "\",\"tag\":\"t{tag}\",\"size\":{size},\"ok\":{ok}}},").expect("memory takes all");
}
