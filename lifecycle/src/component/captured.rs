//! What a child wrote, kept up to a limit: the beginning and the end of it.

use std::collections::VecDeque;

use crate::log::{Level, Log, Stream};

/// How much of the beginning is kept, and how much of the end.
const LIMIT_BYTES: usize = 256 * 1024;

/// The output of one child. Takes at most twice `LIMIT_BYTES`, however much was written.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Captured {
    /// Adds what was written next.
    pub fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(LIMIT_BYTES - self.head.len()));
        self.head.extend_from_slice(first);
        let surplus = (self.tail.len() + rest.len()).saturating_sub(LIMIT_BYTES);
        self.left_out += surplus as u64;
        self.tail.drain(..surplus.min(self.tail.len()));
        self.tail.extend(&rest[rest.len().saturating_sub(LIMIT_BYTES)..]);
    }

    /// How many bytes were written, kept or not.
    pub fn total(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64 + self.left_out
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// What is kept; where something is left out, a line says how much.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if self.left_out > 0 {
            bytes.extend_from_slice(
                format!("\n[... {} bytes of output left out ...]\n", self.left_out).as_bytes(),
            );
        }
        bytes.extend(&self.tail);
        bytes
    }

    /// Shows what is kept, if the log shows `level`, and ends its last line.
    pub fn show(&self, log: &Log, level: Level) {
        if self.is_empty() || !log.shows(level) {
            return;
        }
        let mut bytes = self.bytes();
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        log.raw(level, Stream::Out, &bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_end_are_kept_whatever_the_pieces() {
        let written: Vec<u8> =
            (0..3 * LIMIT_BYTES).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
        for piece in [1000, LIMIT_BYTES, LIMIT_BYTES + 1, written.len()] {
            let mut captured = Captured::default();
            written.chunks(piece).for_each(|bytes| captured.push(bytes));
            let kept = captured.bytes();
            assert!(kept.starts_with(&written[..LIMIT_BYTES]), "pieces of {piece}");
            assert!(kept.ends_with(&written[2 * LIMIT_BYTES..]), "pieces of {piece}");
            assert_eq!(captured.total(), written.len() as u64);
            assert!(String::from_utf8_lossy(&kept).contains(&format!("[... {LIMIT_BYTES} bytes")));
        }
    }

    #[test]
    fn shown_output_ends_its_last_line() {
        let (log, buffer) = Log::buffer(Level::Info);
        let mut captured = Captured::default();
        captured.show(&log, Level::Info);
        captured.push(b"text");
        captured.show(&log, Level::Info);
        captured.show(&log, Level::Debug);
        assert_eq!(buffer.text(), "text\n");
    }
}
