//! Threads that hash what one other thread reads, and write the contents of the files which that one makes.
//!
//! What exists under which name is decided before, in the order of the tar, by who opens the files:
//! here only bytes and modes are set, through handles. The reading thread never sleeps while there is
//! work: when all memory waits to be hashed or written, or too many files are open, it lends a hand.

use std::collections::VecDeque;
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::chunks::{Chunk, Piece};
use crate::digest::{Digest, Hashing};

/// How many chunks are in memory at most: the one in use, and those that wait to be hashed or written.
const CHUNKS: usize = 16;

/// How many batches of writes wait at most.
const BATCHES: usize = 6;

/// A file whose contents are written in pieces.
#[derive(Debug)]
pub struct Target {
    file: File,
    name: Vec<u8>,
    /// The mode to set when it is complete: before, a write could take bits away from it.
    mode: Option<u32>,
    left: AtomicU64,
}

impl Target {
    /// A file that gets `size` bytes, more than none, and then its mode.
    pub fn new(file: File, name: &[u8], mode: Option<u32>, size: u64) -> Arc<Self> {
        Arc::new(Self { file, name: name.to_vec(), mode, left: AtomicU64::new(size) })
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        let before = self.left.fetch_sub(bytes.len() as u64, Ordering::AcqRel);
        match self.mode {
            Some(mode) if before == bytes.len() as u64 => {
                self.file.set_permissions(Permissions::from_mode(mode))
            }
            _ => Ok(()),
        }
    }
}

/// A piece, and where it belongs.
#[derive(Debug)]
pub struct Write {
    /// The file.
    pub target: Arc<Target>,
    /// The offset in it.
    pub at: u64,
    /// The bytes.
    pub piece: Piece,
}

/// A write that failed.
#[derive(Debug)]
pub struct Failed {
    /// The entry's name.
    pub name: Vec<u8>,
    /// Why.
    pub error: io::Error,
}

/// What is to be done, and who does it.
#[derive(Debug)]
pub struct Crew {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` while someone hashes: that is one after the other.
    hash: Option<Hashing<io::Sink>>,
    to_hash: VecDeque<Arc<Chunk>>,
    to_write: VecDeque<Vec<Write>>,
    /// How many batches are being written.
    writing: usize,
    /// Memory to use again, and how many more chunks may be made.
    free: Vec<Vec<u8>>,
    spare: usize,
    failed: Option<Failed>,
    is_over: bool,
}

enum Job {
    Hash(Hashing<io::Sink>, VecDeque<Arc<Chunk>>),
    Write(Vec<Write>),
}

impl State {
    fn next_hash(&mut self) -> Option<Job> {
        let hash = if self.to_hash.is_empty() { None } else { self.hash.take() };
        hash.map(|hash| Job::Hash(hash, std::mem::take(&mut self.to_hash)))
    }

    fn next_write(&mut self) -> Option<Job> {
        let batch = self.to_write.pop_front()?;
        self.writing += 1;
        Some(Job::Write(batch))
    }

    fn is_done(&self) -> bool {
        self.to_hash.is_empty() && self.hash.is_some() && self.to_write.is_empty() && self.writing == 0
    }
}

impl Crew {
    /// One without threads: who reads does it all.
    pub fn new() -> Self {
        let state = State {
            hash: Some(Hashing::new(io::sink())),
            to_hash: VecDeque::new(),
            to_write: VecDeque::new(),
            writing: 0,
            free: Vec::new(),
            spare: CHUNKS,
            failed: None,
            is_over: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Starts as many threads, or fewer if the system gives no more.
    pub fn start(crew: &Arc<Self>, threads: usize) {
        for _ in 0..threads {
            let own = Arc::clone(crew);
            let thread = thread::Builder::new().name("layer".to_owned());
            if thread.spawn(move || own.work()).is_err() {
                return;
            }
        }
    }

    /// Memory of `size` bytes, when there is some.
    pub fn memory(&self, size: usize) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            if let Some(free) = state.free.pop() {
                return free;
            }
            if state.spare > 0 {
                state.spare -= 1;
                return vec![0; size];
            }
            let job = state.next_write().or_else(|| state.next_hash());
            state = self.run_or_wait(state, job);
        }
    }

    /// Takes memory to use it again.
    pub fn take_back(&self, memory: Vec<u8>) {
        self.lock().free.push(memory);
        self.changed.notify_all();
    }

    /// Has a chunk hashed, after those before it.
    pub fn hash(&self, chunk: Arc<Chunk>) {
        self.lock().to_hash.push_back(chunk);
        self.changed.notify_one();
    }

    /// Has pieces written. Fails if a write before them did.
    pub fn write(&self, batch: Vec<Write>) -> Result<(), Failed> {
        let mut state = self.lock();
        if let Some(failed) = state.failed.take() {
            return Err(failed);
        }
        state.to_write.push_back(batch);
        let job = if state.to_write.len() > BATCHES { state.next_write() } else { None };
        drop(state);
        self.changed.notify_one();
        if let Some(job) = job {
            self.run(job);
        }
        Ok(())
    }

    /// Does all that is left to do. Gives the hash, and the first write that failed.
    pub fn finish(&self) -> (Digest, Option<Failed>) {
        let mut state = self.lock();
        while !state.is_done() {
            let job = state.next_write().or_else(|| state.next_hash());
            state = self.run_or_wait(state, job);
        }
        let hash = state.hash.replace(Hashing::new(io::sink())).expect("no one hashes");
        let failed = state.failed.take();
        drop(state);
        (hash.finish().0, failed)
    }

    /// Lets the threads end. What was not begun is not done.
    pub fn dismiss(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let undone = (std::mem::take(&mut state.to_hash), std::mem::take(&mut state.to_write));
        drop(state);
        drop(undone);
        self.changed.notify_all();
    }

    fn work(&self) {
        let mut state = self.lock();
        while !state.is_over {
            let job = state.next_hash().or_else(|| state.next_write());
            state = self.run_or_wait(state, job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_or_wait<'c>(&'c self, state: MutexGuard<'c, State>, job: Option<Job>) -> MutexGuard<'c, State> {
        match job {
            Some(job) => {
                drop(state);
                self.run(job);
                self.lock()
            }
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn run(&self, job: Job) {
        match job {
            Job::Hash(mut hash, chunks) => {
                for chunk in chunks {
                    hash.write_all(&chunk).expect("a sink takes all");
                }
                self.lock().hash = Some(hash);
            }
            Job::Write(batch) => {
                let result = batch.into_iter().try_for_each(|write| {
                    let Write { target, at, piece } = write;
                    target.write(at, &piece).map_err(|error| Failed { name: target.name.clone(), error })
                });
                let mut state = self.lock();
                state.writing -= 1;
                if let Err(failed) = result {
                    state.failed.get_or_insert(failed);
                }
            }
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::layers::chunks::{CHUNK, HashedChunks};

    /// Writes `bytes` to a file in pieces of `limit` bytes.
    fn write(file: File, mode: Option<u32>, bytes: &[u8], limit: u64) -> Result<(), Failed> {
        let mut chunks = HashedChunks::new(bytes, 2);
        let target = Target::new(file, b"name", mode, bytes.len() as u64);
        let mut at = 0;
        while let Some(piece) = chunks.next_piece(limit).expect("read") {
            let count = piece.len() as u64;
            chunks.write(vec![Write { target: Arc::clone(&target), at, piece }])?;
            at += count;
        }
        chunks.finish().expect("read").1.map_or(Ok(()), Err)
    }

    #[test]
    fn pieces_arrive_where_they_belong_and_the_mode_comes_last() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join("file");
        let bytes: Vec<u8> = (0..=250).cycle().take(9 * CHUNK + 77).collect();
        for (mode, limit) in [(0o4755, 999), (0o400, u64::MAX)] {
            let file = File::create(&path).expect("create");
            write(file, Some(mode), &bytes, limit).expect("write");
            assert!(fs::read(&path).expect("read") == bytes);
            assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, mode);
            fs::remove_file(&path).expect("remove");
        }
    }

    #[test]
    fn a_write_that_fails_is_told_with_its_name() {
        let temp = tempfile::NamedTempFile::new().expect("a temporary file");
        for bytes in [10, 40 * CHUNK] {
            let unwritable = File::open(temp.path()).expect("open");
            let failed = write(unwritable, None, &vec![7; bytes], u64::MAX).expect_err("it is read only");
            assert_eq!((failed.name.as_slice(), failed.error.raw_os_error()), (&b"name"[..], Some(9)));
        }
    }
}
