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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use crate::layers::tar::{LayerSource, Owner};

    /// Reads a layer of one file of `length` bytes, which is changed by `change` after the first block.
    #[track_caller]
    fn check(length: usize, change: impl FnOnce(&File), expected: Result<(), &str>) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let file = File::create(temp.path().join("file")).expect("create");
        (&file).write_all(&vec![7; length]).expect("write");
        let source = LayerSource::dir(temp.path(), Owner { uid: 0, gid: 0 }).expect("it is there");
        let mut stream = source.open().expect("open");
        let headers = 512 * temp.path().components().count();
        stream.read_exact(&mut vec![0; headers - 1]).expect("headers");
        change(&file);
        let mut rest = Vec::new();
        let result = stream.read_to_end(&mut rest).map(drop).map_err(|error| error.to_string());
        match expected {
            Ok(()) => result.expect("it did not change"),
            Err(text) => assert!(result.expect_err("it changed").contains(text)),
        }
    }

    const CHANGED: Result<(), &str> = Err("/file` changed while it was read");

    #[test]
    fn a_file_that_changes_its_length_is_an_error() {
        for length in [0, 1, 511, 512, 513, 100_000, 5_000_000] {
            check(length, |_| {}, Ok(()));
            check(length, |file| file.write_all_at(b"x", length as u64).expect("write"), CHANGED);
            if length > 0 {
                check(length, |file| file.set_len(length as u64 - 1).expect("truncate"), CHANGED);
                check(length, |file| file.set_len(0).expect("truncate"), CHANGED);
            }
        }
    }

    #[test]
    fn holes_are_zeros_and_may_not_move_the_end() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join("file");
        let size = 10 << 20;
        for data in [vec![], vec![0], vec![size - 1], vec![0, 5 << 20, size - 1], vec![3 << 20, 4 << 20]] {
            let file = File::create(&path).expect("create");
            file.set_len(size).expect("a sparse file");
            for at in data {
                file.write_all_at(b"x", at).expect("write");
            }
            let read = |has_holes| {
                let file = File::open(&path).expect("open");
                let mut content = FileContent::new(file, path.clone(), size, has_holes);
                let mut bytes = Vec::new();
                let mut buffer = vec![1; 300_001];
                loop {
                    let (count, complete) = content.read(&mut buffer).expect("read");
                    bytes.extend_from_slice(&buffer[..count]);
                    if complete {
                        return bytes;
                    }
                }
            };
            assert!(read(true) == read(false));
            assert!(read(true) == std::fs::read(&path).expect("read"));
        }
        let mut content = FileContent::new(File::open(&path).expect("open"), path.clone(), size, true);
        File::create(&path).expect("truncate");
        let mut buffer = vec![0; 1 << 20];
        let result = (0..20).find_map(|_| content.read(&mut buffer).err());
        assert!(matches!(result, Some(TarError::Changed(_))));
    }
}
