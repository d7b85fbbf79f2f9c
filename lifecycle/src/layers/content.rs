//! The contents of a file on their way into a tar, exactly as many bytes as its header says.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::PathBuf;

use rustix::fs::SeekFrom as Extent;
use rustix::io::Errno;

use super::tar::TarError;

/// An open file that is read once, from its beginning.
#[derive(Debug)]
pub struct FileContent {
    file: File,
    /// For messages.
    path: PathBuf,
    size: u64,
    /// How many bytes were read.
    at: u64,
    /// Where the next data begins and ends, if the file has holes: those are not read.
    data: Option<(u64, u64)>,
}

impl FileContent {
    /// The first `size` bytes of `file`, which must be all.
    pub fn new(file: File, path: PathBuf, size: u64, has_holes: bool) -> Self {
        Self { file, path, size, at: 0, data: has_holes.then_some((0, 0)) }
    }

    /// Reads on; tells how many bytes, and whether those were the last.
    ///
    /// Fails if the file became shorter or longer.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<(usize, bool), TarError> {
        let (read, complete) = match self.data {
            None => self.read_data(buffer)?,
            Some((_, end)) if self.at >= end && self.at < self.size => {
                self.find_data()?;
                self.read_extents(buffer)?
            }
            Some(_) => self.read_extents(buffer)?,
        };
        self.at += read as u64;
        Ok((read, complete))
    }

    /// Reads what may be the whole file. One byte more than is missing is asked for where `buffer` has
    /// room, so that a file which grew is found without another call.
    fn read_data(&mut self, buffer: &mut [u8]) -> Result<(usize, bool), TarError> {
        let wanted = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let room = buffer.len().min(wanted.saturating_add(1));
        let read = self.read_once(&mut buffer[..room])?;
        if read > wanted || (read == 0 && wanted > 0) {
            return Err(self.changed());
        }
        Ok((read, read == wanted && read < room))
    }

    /// Zeros up to the next data, or data up to its end.
    fn read_extents(&mut self, buffer: &mut [u8]) -> Result<(usize, bool), TarError> {
        let (begin, end) = self.data.unwrap_or((self.size, self.size));
        let in_hole = self.at < begin;
        let left = if in_hole { begin } else { end } - self.at;
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = if in_hole {
            buffer[..room].fill(0);
            room
        } else {
            self.read_once(&mut buffer[..room])?
        };
        if read == 0 && room > 0 {
            return Err(self.changed());
        }
        let complete = self.at + read as u64 == self.size;
        if complete && self.failing("read", self.file.metadata())?.len() != self.size {
            return Err(self.changed());
        }
        Ok((read, complete))
    }

    /// Finds the next data at or behind where one is, and goes there.
    fn find_data(&mut self) -> Result<(), TarError> {
        let seek = |to| match rustix::fs::seek(&self.file, to) {
            Ok(at) => Ok(at.min(self.size)),
            Err(Errno::NXIO) => Ok(self.size),
            Err(errno) => Err(TarError::io("read", &self.path, errno.into())),
        };
        let begin = seek(Extent::Data(self.at))?;
        let end = seek(Extent::Hole(begin))?;
        self.data = Some((begin, if end > begin { end } else { self.size }));
        let at = self.file.seek(SeekFrom::Start(begin));
        self.failing("read", at).map(drop)
    }

    fn read_once(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return self.failing("read", result),
            }
        }
    }

    fn failing<T>(&self, action: &'static str, result: io::Result<T>) -> Result<T, TarError> {
        result.map_err(|source| TarError::io(action, &self.path, source))
    }

    fn changed(&self) -> TarError {
        TarError::Changed(self.path.clone())
    }
}
