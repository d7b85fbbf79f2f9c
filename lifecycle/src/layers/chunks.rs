//! A reader that has all that is read hashed, by a [`Crew`].
//!
//! What is read lies in chunks that the hash, and whoever writes it to files, share.

use std::io::{self, BufRead, Read};
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::crew::{Crew, Failed, Write};
use crate::digest::DiffId;

/// How many bytes are read at once.
pub const CHUNK: usize = 256 << 10;

/// Bytes that were read. When the last who needs them is done, their memory is used again.
#[derive(Debug)]
pub struct Chunk {
    bytes: Vec<u8>,
    length: usize,
    crew: Arc<Crew>,
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.crew.take_back(std::mem::take(&mut self.bytes));
    }
}

/// A part of a chunk.
#[derive(Debug)]
pub struct Piece {
    chunk: Arc<Chunk>,
    range: Range<usize>,
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk[self.range.clone()]
    }
}

/// Reads in chunks, and has each hashed.
#[derive(Debug)]
pub struct HashedChunks<R> {
    reader: R,
    /// The last one that was read; `None` before the first.
    chunk: Option<Arc<Chunk>>,
    /// How many of its bytes were given out.
    given: usize,
    crew: Arc<Crew>,
    /// How many threads may be begun: none is before a whole chunk was read.
    threads: usize,
}

impl<R: Read> HashedChunks<R> {
    /// Reads from `reader`, with the help of at most so many threads.
    pub fn new(reader: R, threads: usize) -> Self {
        Self { reader, chunk: None, given: 0, crew: Arc::new(Crew::new()), threads }
    }

    /// Reads to the end and waits for all writes. Returns the hash of everything, and the first write that failed.
    pub fn finish(mut self) -> io::Result<(DiffId, Option<Failed>)> {
        while !self.fill_buf()?.is_empty() {
            self.given = self.chunk.as_ref().map_or(0, |chunk| chunk.length);
        }
        self.chunk = None;
        let (hash, failed) = self.crew.finish();
        Ok((DiffId::new(hash), failed))
    }

    /// Gives out at most `limit` bytes of what comes next; none at the end.
    pub fn next_piece(&mut self, limit: u64) -> io::Result<Option<Piece>> {
        let there = self.fill_buf()?.len();
        let count = there.min(usize::try_from(limit).unwrap_or(usize::MAX));
        let begin = self.given;
        self.given += count;
        let chunk = self.chunk.as_ref().filter(|_| count > 0);
        Ok(chunk.map(|chunk| Piece { chunk: Arc::clone(chunk), range: begin..begin + count }))
    }

    /// Has pieces written. Fails if a write before them did.
    pub fn write(&self, writes: Vec<Write>) -> Result<(), Failed> {
        self.crew.write(writes)
    }

    fn read_chunk(&mut self) -> io::Result<()> {
        (self.chunk, self.given) = (None, 0);
        let mut bytes = self.crew.memory(CHUNK);
        let mut length = 0;
        while length < CHUNK {
            match self.reader.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let chunk = Arc::new(Chunk { bytes, length, crew: Arc::clone(&self.crew) });
        self.chunk = Some(Arc::clone(&chunk));
        if length == CHUNK {
            Crew::start(&self.crew, std::mem::take(&mut self.threads));
        }
        self.crew.hash(chunk);
        Ok(())
    }
}

impl<R> Drop for HashedChunks<R> {
    fn drop(&mut self) {
        self.crew.dismiss();
    }
}

impl<R: Read> BufRead for HashedChunks<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.as_ref().is_none_or(|chunk| self.given == chunk.length) {
            self.read_chunk()?;
        }
        Ok(self.chunk.as_ref().map_or(&[], |chunk| &chunk[self.given..]))
    }

    fn consume(&mut self, count: usize) {
        self.given += count;
    }
}

impl<R: Read> Read for HashedChunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn every_length_is_read_and_hashed() {
        for threads in [0, 1, 3] {
            for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 20 * CHUNK + 7] {
                let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
                let mut chunks = HashedChunks::new(bytes.as_slice(), threads);
                let mut read = Vec::new();
                chunks.read_to_end(&mut read).expect("read");
                assert!(read == bytes, "{length}");
                assert_eq!(chunks.finish().expect("hash").0, DiffId::new(Digest::of(&bytes)), "{length}");
            }
        }
    }

    #[test]
    fn what_was_not_read_is_hashed_too_and_one_given_up_ends() {
        for threads in [0, 1, 3] {
            let bytes = vec![7; 5 * CHUNK];
            let chunks = HashedChunks::new(bytes.as_slice(), threads);
            assert_eq!(chunks.finish().expect("hash").0, DiffId::new(Digest::of(&bytes)));
            let mut chunks = HashedChunks::new(bytes.as_slice(), threads);
            chunks.read_exact(&mut vec![0; 3 * CHUNK]).expect("read");
            drop(chunks);
        }
    }

    #[test]
    fn pieces_share_a_bounded_number_of_chunks_and_are_all_that_is_read() {
        for threads in [0, 1, 3] {
            let bytes: Vec<u8> = (0..=250).cycle().take(3 * 30 * CHUNK + 9).collect();
            let mut chunks = HashedChunks::new(bytes.as_slice(), threads);
            let (mut read, mut held) = (Vec::new(), Vec::new());
            for limit in [1, 1000, 70_000].into_iter().cycle() {
                let Some(piece) = chunks.next_piece(limit).expect("read") else { break };
                assert!(piece.len() as u64 <= limit);
                read.extend_from_slice(&piece);
                held.push(piece);
                if held.len() == 10 {
                    held.clear();
                }
            }
            assert!(read == bytes);
            assert_eq!(chunks.finish().expect("hash").0, DiffId::new(Digest::of(&bytes)));
        }
    }
}
