//! A layer made of another one's entries: an image extension's, as the extender left it.
//!
//! Entries keep their owners, their order and their form (PAX, GNU); times become the constant and
//! names of users go. Access and change times are dropped: with them no two builds would be equal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::entries::Content;
use super::header::{Header, Kind, padding};
use super::read::{Entry, next_entry};
use super::tar::TarError;

/// The entries of a tar, rewritten.
pub struct ArchiveEntries {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    /// How many zeros follow the contents that are being read.
    padding: usize,
}

impl ArchiveEntries {
    /// The entries of the file `path`: a tar, plain or compressed by gzip or zstd.
    pub fn open(path: &Path) -> Result<Self, TarError> {
        let failed = |source| TarError::io("read", path, source);
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
        let reader: Box<dyn Read + Send> = match file.fill_buf().map_err(failed)? {
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file).map_err(failed)?),
            _ => Box::new(file),
        };
        Ok(Self { path: path.to_owned(), reader, padding: 0 })
    }

    /// Appends the next entry's header to `out`, and gives its content and how many bytes that has.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<(Content, u64)>, TarError> {
        let entry = next_entry(&mut self.reader).map_err(|error| self.failed(error))?;
        let Some(entry) = entry else { return Ok(None) };
        let Some(kind) = kind(entry.flag) else {
            let why = format!("entry `{}` has an unknown type", String::from_utf8_lossy(&entry.name));
            return Err(TarError::Archive { path: self.path.clone(), why });
        };
        header(&entry, kind).encode(out);
        self.padding = padding(entry.size);
        let content = if entry.size == 0 { Content::Nothing } else { Content::Archived };
        Ok(Some((content, entry.size)))
    }

    /// Reads contents of which `left` bytes are missing; tells whether it was the end, too.
    pub fn read_content(&mut self, left: u64, buffer: &mut [u8]) -> Result<(usize, bool), TarError> {
        let end = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = match self.reader.read(&mut buffer[..end]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            result => result,
        };
        let read = read.map_err(|error| self.failed(error))?;
        let complete = read as u64 == left;
        if complete {
            let mut zeros = [0; 512];
            let padding = &mut zeros[..self.padding];
            self.reader.read_exact(padding).map_err(|error| self.failed(error))?;
        }
        Ok((read, complete))
    }

    fn failed(&self, error: io::Error) -> TarError {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
                TarError::Archive { path: self.path.clone(), why: error.to_string() }
            }
            _ => TarError::io("read", &self.path, error),
        }
    }
}

fn header(entry: &Entry, kind: Kind) -> Header<'_> {
    Header {
        link: &entry.link,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        device: entry.device,
        records: entry.records.clone(),
        format: entry.format,
        ..Header::new(kind, &entry.name, entry.mode)
    }
}

fn kind(flag: u8) -> Option<Kind> {
    let kinds = [
        Kind::File,
        Kind::HardLink,
        Kind::Symlink,
        Kind::CharDevice,
        Kind::BlockDevice,
        Kind::Dir,
        Kind::Fifo,
    ];
    kinds.into_iter().find(|&kind| kind as u8 == flag)
}
