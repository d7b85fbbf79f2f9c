//! A file between the one who makes a blob and the connection that sends it.
//!
//! The maker never waits for the network, the network may start over from any byte, and memory
//! stays small whatever the blob's size. The file has no name, so nothing is left behind.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The writing end.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
}

/// A reading end, at a position of its own; waits for bytes that are not written yet.
#[derive(Debug)]
pub struct SpoolReader {
    shared: Arc<Shared>,
    position: u64,
}

#[derive(Debug)]
struct Shared {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    written: u64,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum End {
    #[default]
    Open,
    Complete,
    Abandoned,
}

impl Spool {
    /// An empty spool in the system's directory for temporary files.
    pub fn new() -> io::Result<Self> {
        let shared = Shared { file: tempfile::tempfile()?, state: Mutex::default(), changed: Condvar::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A reader that starts at `position`.
    pub fn reader(&self, position: u64) -> SpoolReader {
        SpoolReader { shared: self.shared.clone(), position }
    }

    /// No more bytes will come: readers end after what is written.
    pub fn complete(&self) {
        self.end(End::Complete);
    }

    fn end(&self, end: End) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.end == End::Open {
            state.end = end;
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Spool {
    /// Readers of a spool that was not completed fail rather than wait for ever.
    fn drop(&mut self) {
        self.end(End::Abandoned);
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).written;
        self.shared.file.write_all_at(bytes, at)?;
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.written = at + bytes.len() as u64;
        self.shared.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpoolReader {
    /// Waits until the maker has ended; the size in bytes, or an error when it gave up.
    pub fn size(&self) -> io::Result<u64> {
        let state = self.wait(|state| state.end != End::Open);
        if state.end == End::Complete { Ok(state.written) } else { Err(abandoned()) }
    }

    /// Another reader of the same spool, at `position`.
    pub fn at(&self, position: u64) -> Self {
        Self { shared: self.shared.clone(), position }
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> State {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        *self.shared.changed.wait_while(state, |state| !until(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let position = self.position;
        let state = self.wait(|state| state.written > position || state.end != End::Open);
        if state.end == End::Abandoned {
            return Err(abandoned());
        }
        let left = usize::try_from(state.written.saturating_sub(position)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.shared.file.read_at(&mut buffer[..wanted], position)?;
        self.position += read as u64;
        Ok(read)
    }
}

fn abandoned() -> io::Error {
    io::Error::other("its maker gave up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_what_is_written_before_and_after_it_starts() {
        let mut spool = Spool::new().expect("a temporary file");
        let mut reader = spool.reader(1);
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        spool.write_all(b"abc").expect("a temporary file");
        spool.write_all(b"def").expect("a temporary file");
        spool.complete();
        assert_eq!(reading.join().expect("no panic").expect("complete"), "bcdef");
        assert_eq!(spool.reader(0).size().expect("complete"), 6);
    }

    #[test]
    fn readers_of_an_abandoned_spool_fail() {
        let spool = Spool::new().expect("a temporary file");
        let mut reader = spool.reader(0);
        let reading = std::thread::spawn(move || reader.read(&mut [0; 4]).is_err() && reader.size().is_err());
        drop(spool);
        assert!(reading.join().expect("no panic"));
    }
}
