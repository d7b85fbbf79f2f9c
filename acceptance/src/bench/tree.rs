//! A tree as buildpacks leave it: many small text files, some half-compressible libraries, an archive.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

/// How a tree of 1024 MB is made up; smaller ones are like it.
const TEXT_FILES: u64 = 60_000;
const TEXT_SHARE: u64 = 45;
const LIBRARY_SHARE: u64 = 40;
const LIBRARIES: u64 = 60;

/// Writes about `megabytes` below `directory`; the same ones each time. Gives the number of files and
/// their bytes.
///
/// # Panics
///
/// When the directory cannot be written.
pub fn write(directory: &Path, megabytes: u64) -> (usize, u64) {
    let total = megabytes << 20;
    let mut random = Random(1);
    let texts = (TEXT_FILES * megabytes / 1024).max(1);
    let mut written = 0;
    for index in 0..texts {
        let path = directory.join(format!("modules/{:03}/{:04}.js", index / 250, index));
        written += file(&path, total * TEXT_SHARE / 100 / texts, &mut |len| random.text(len));
    }
    for index in 0..LIBRARIES {
        let path = directory.join(format!("lib/lib{index}.so"));
        written += file(&path, total * LIBRARY_SHARE / 100 / LIBRARIES, &mut |len| random.library(len));
    }
    let rest = total * (100 - TEXT_SHARE - LIBRARY_SHARE) / 100;
    written += file(&directory.join("share/archive.bin"), rest, &mut |len| random.noise(len));
    (usize::try_from(texts + LIBRARIES + 1).expect("a small number"), written)
}

/// How many files are below `directory`.
pub fn count(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

fn file(path: &Path, size: u64, piece: &mut dyn FnMut(usize) -> Vec<u8>) -> u64 {
    fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory can be made");
    let mut out = BufWriter::new(fs::File::create(path).expect("a file can be made"));
    let mut left = usize::try_from(size).expect("fits in memory sizes");
    while left > 0 {
        let bytes = piece(left.min(64 << 10));
        out.write_all(&bytes).expect("a file can be written");
        left -= bytes.len();
    }
    out.flush().expect("a file can be written");
    size
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn noise(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..=len / 8).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    fn text(&mut self, len: usize) -> Vec<u8> {
        const WORDS: [&str; 24] = [
            "function", "return", "const", "export", "default", "import", "from", "module", "require",
            "this", "value", "index", "length", "options", "callback", "error", "result", "(", ")", "{", "}",
            ";\n", " = ", "  ",
        ];
        let mut text = Vec::with_capacity(len + 32);
        while text.len() < len {
            let pick = self.next();
            if pick.is_multiple_of(7) {
                text.extend_from_slice(format!("{:x}", pick >> 40).as_bytes());
            } else {
                let word = usize::try_from(pick >> 8).unwrap_or(0) % WORDS.len();
                text.extend_from_slice(WORDS[word].as_bytes());
            }
            text.push(b' ');
        }
        text.truncate(len);
        text
    }

    /// Like machine code: short runs of noise between repeated patterns.
    fn library(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 64);
        while bytes.len() < len {
            let pick = self.next();
            let pattern = [0x48, 0x89, 0xe5, (pick & 15) as u8, 0, 0, 0, (pick >> 4 & 3) as u8];
            for _ in 0..=(pick >> 8 & 3) {
                bytes.extend_from_slice(&pattern);
            }
            bytes.extend_from_slice(&self.next().to_le_bytes()[..5]);
        }
        bytes.truncate(len);
        bytes
    }
}
