//! A reader that hashes all that is read, on a second thread: the first has files to write.

use std::io::{self, BufRead, Read, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::digest::{DiffId, Hashing};

/// How many bytes are read at once.
const CHUNK: usize = 256 << 10;

/// How many chunks are in memory at most: the one in use, and those that wait for their hash.
const CHUNKS: usize = 8;

/// Reads in chunks, and hashes each when it was used.
#[derive(Debug)]
pub struct HashedChunks<R> {
    reader: R,
    chunk: Vec<u8>,
    /// How many of its bytes were read, and how many of those given out.
    length: usize,
    given: usize,
    hash: Hash,
}

#[derive(Debug)]
enum Hash {
    /// On this thread: there was only one chunk so far, or there are no more threads.
    Here(Hashing<io::Sink>, ThreadUse),
    There(Hasher),
}

/// Whether a second thread may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThreadUse {
    Possible,
    Impossible,
}

/// The second thread.
#[derive(Debug)]
struct Hasher {
    /// Chunks to hash, with how many bytes of each.
    used: SyncSender<(Vec<u8>, usize)>,
    /// Memory to use again.
    free: Receiver<Vec<u8>>,
    /// How many more may be made.
    spare: usize,
    thread: JoinHandle<Hashing<io::Sink>>,
}

impl<R: Read> HashedChunks<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        let hash = Hash::Here(Hashing::new(io::sink()), ThreadUse::Possible);
        Self { reader, chunk: vec![0; CHUNK], length: 0, given: 0, hash }
    }

    /// Reads to the end. Returns the hash of everything.
    pub fn finish(mut self) -> io::Result<DiffId> {
        while !self.fill_buf()?.is_empty() {
            self.given = self.length;
        }
        let hash = match self.hash {
            Hash::Here(hash, _) => hash,
            Hash::There(hasher) => {
                drop(hasher.used);
                hasher.thread.join().map_err(|_| io::Error::other("the thread that hashes has panicked"))?
            }
        };
        Ok(DiffId::new(hash.finish().0))
    }

    /// Gives the chunk to be hashed, and has another one in its place.
    fn hash_chunk(&mut self) -> io::Result<()> {
        if let Hash::Here(hash, ThreadUse::Possible) = &mut self.hash
            && self.length == CHUNK
        {
            self.hash = start(std::mem::replace(hash, Hashing::new(io::sink())));
        }
        match &mut self.hash {
            Hash::Here(hash, _) => hash.write_all(&self.chunk[..self.length]),
            Hash::There(hasher) => {
                let gone = |()| io::Error::other("the thread that hashes has ended");
                let next = match hasher.free.try_recv() {
                    Ok(free) => free,
                    Err(_) if hasher.spare > 0 => {
                        hasher.spare -= 1;
                        vec![0; CHUNK]
                    }
                    Err(_) => hasher.free.recv().map_err(|_| gone(()))?,
                };
                let chunk = std::mem::replace(&mut self.chunk, next);
                hasher.used.send((chunk, self.length)).map_err(|_| gone(()))
            }
        }
    }

    fn read_chunk(&mut self) -> io::Result<()> {
        (self.length, self.given) = (0, 0);
        while self.length < CHUNK {
            match self.reader.read(&mut self.chunk[self.length..]) {
                Ok(0) => break,
                Ok(read) => self.length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Goes on with `hash` on a thread of its own.
fn start(hash: Hashing<io::Sink>) -> Hash {
    let (used, to_hash) = sync_channel::<(Vec<u8>, usize)>(CHUNKS);
    let (give_back, free) = sync_channel(CHUNKS);
    let work = move || {
        let mut hash = hash;
        for (chunk, length) in to_hash {
            hash.write_all(&chunk[..length]).expect("a sink takes all");
            // The reader may have ended early.
            let _ = give_back.send(chunk);
        }
        hash
    };
    match thread::Builder::new().name("hash".to_owned()).spawn(work) {
        Ok(thread) => Hash::There(Hasher { used, free, spare: CHUNKS - 1, thread }),
        // Nothing was hashed before the first chunk is full.
        Err(_) => Hash::Here(Hashing::new(io::sink()), ThreadUse::Impossible),
    }
}

impl<R: Read> BufRead for HashedChunks<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given == self.length {
            if self.length > 0 {
                self.hash_chunk()?;
            }
            self.read_chunk()?;
        }
        Ok(&self.chunk[self.given..self.length])
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
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 20 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut chunks = HashedChunks::new(bytes.as_slice());
            let mut read = Vec::new();
            chunks.read_to_end(&mut read).expect("read");
            assert!(read == bytes, "{length}");
            assert_eq!(chunks.finish().expect("hash"), DiffId::new(Digest::of(&bytes)), "{length}");
        }
    }

    #[test]
    fn what_was_not_read_is_hashed_too_and_one_given_up_ends() {
        let bytes = vec![7; 5 * CHUNK];
        let chunks = HashedChunks::new(bytes.as_slice());
        assert_eq!(chunks.finish().expect("hash"), DiffId::new(Digest::of(&bytes)));
        let mut chunks = HashedChunks::new(bytes.as_slice());
        chunks.read_exact(&mut vec![0; 3 * CHUNK]).expect("read");
        drop(chunks);
    }
}
