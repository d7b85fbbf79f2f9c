//! A tar's entries, one after another, with limits on what a header may claim.
//!
//! USTAR, PAX, GNU long names and sparse files are read; the holes of the latter are read as zeros. The `tar` crate is not used here: it takes an extended
//! header of any size into memory, and ends a PAX value at a newline, which breaks the binary ones
//! of capabilities and access control lists.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::header::EntryKind;
use super::parse::{self, BLOCK, Fields};
use super::sparse::{Blocks, Lines, Map, Next, Part, Pax, Sparse};
use super::xattrs::Xattrs;

/// An extended header larger than this is refused; an attribute can have 64 KiB.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;

/// Records of sparse files begin so.
const SPARSE: &str = "GNU.sparse.";

/// A path or link longer than this is refused; the kernel takes no longer one.
const MAX_PATH_BYTES: usize = 4096;

/// One entry, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// The path as it stands in the archive.
    pub path: PathBuf,
    /// The kind of file.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes of content.
    pub size: u64,
    /// Modification time: seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// The target of a link; else empty.
    pub link: PathBuf,
    /// Major and minor number of a device; else zeros.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// The bytes are no tar, or one that is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They cannot be read.
    #[error("failed to read tar: {0}")]
    Io(#[from] io::Error),
    /// A header's checksum or a field of it is wrong, or the bytes end too early.
    #[error("tar is broken at byte {0}")]
    Broken(u64),
    /// An extended header or path is too long.
    #[error("tar header at byte {0} is too long")]
    TooLong(u64),
    /// An entry is of a type that is not supported.
    #[error("tar entry `{}` has unsupported type {kind:?}", path.display())]
    Unsupported {
        /// Its path.
        path: PathBuf,
        /// The type's letter.
        kind: char,
    },
}

/// Reads a tar. The content of an entry is read from the reader itself, up to its end.
#[derive(Debug)]
pub struct TarReader<R> {
    input: R,
    position: u64,
    /// Bytes of content and of padding that stand before the next header.
    left: u64,
    padding: u64,
    /// The map of the entry's content, if it is sparse.
    sparse: Option<Sparse>,
}

/// Records that stand in front of an entry and apply to it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<String, Vec<u8>>,
    sparse: Option<Pax>,
}

impl<R: Read> TarReader<R> {
    /// Creates a reader of the tar's bytes.
    pub fn new(input: R) -> Self {
        Self { input, position: 0, left: 0, padding: 0, sparse: None }
    }

    /// Returns the next entry; `None` at the end. Content that was not read is skipped.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, ReadError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some((fields, block)) = self.fields()? else {
                return Ok(None);
            };
            let size = fields.size;
            match fields.flag {
                b'x' => extensions.add(&self.extension(size)?, self.position)?,
                b'L' => extensions.path = Some(self.long_name(size)?),
                b'K' => extensions.link = Some(self.long_name(size)?),
                // Records for all entries: none that writers put there matters here.
                b'g' => drop(self.extension(size)?),
                b'S' => {
                    let blocks = self.sparse_blocks(&block)?;
                    let mut entry = self.entry(fields, extensions)?;
                    self.set_sparse(&mut entry, blocks.size, blocks.parts)?;
                    return Ok(Some(entry));
                }
                _ => return self.sparse_entry(fields, extensions).map(Some),
            }
        }
    }

    /// Reads a header block; `None` for the zeros at the end, and where the bytes end.
    fn fields(&mut self) -> Result<Option<(Fields, [u8; BLOCK])>, ReadError> {
        let Some(block) = self.block()?.filter(|block| block.iter().any(|byte| *byte != 0)) else {
            return Ok(None);
        };
        let fields = parse::fields(&block).ok_or(ReadError::Broken(self.position))?;
        self.position += BLOCK as u64;
        Ok(Some((fields, block)))
    }

    /// Reads a block; `None` where the bytes end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ReadError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ReadError::Broken(self.position)),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(block))
    }

    /// Reads the blocks that follow a header of type `S` and go on with its map.
    fn sparse_blocks(&mut self, first: &[u8; BLOCK]) -> Result<Blocks, ReadError> {
        let mut blocks = Blocks::default();
        let mut goes_on = blocks.first(first).ok_or(ReadError::Broken(self.position))?;
        while goes_on {
            let block = self.block()?.ok_or(ReadError::Broken(self.position))?;
            goes_on = blocks.more(&block).ok_or(ReadError::Broken(self.position))?;
            self.position += BLOCK as u64;
        }
        Ok(blocks)
    }

    /// Reads an entry whose PAX records may have a map.
    fn sparse_entry(&mut self, fields: Fields, mut extensions: Extensions) -> Result<TarEntry, ReadError> {
        let Some(pax) = extensions.sparse.take() else {
            return self.entry(fields, extensions);
        };
        if pax.name.is_some() {
            extensions.path.clone_from(&pax.name);
        }
        let mut entry = self.entry(fields, extensions)?;
        let broken = ReadError::Broken(self.position);
        let Some(size) = pax.size.filter(|_| entry.kind == EntryKind::File) else {
            return Err(broken);
        };
        let parts = if pax.is_in_content() { self.sparse_lines()? } else { pax.parts().ok_or(broken)? };
        self.set_sparse(&mut entry, size, parts)?;
        Ok(entry)
    }

    /// Reads a map in front of the content, and what fills its last block.
    fn sparse_lines(&mut self) -> Result<Vec<Part>, ReadError> {
        let mut lines = Lines::default();
        loop {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            match lines.block(&block) {
                Some(Map::Complete(parts)) => return Ok(parts),
                Some(Map::GoesOn) => {}
                None => return Err(ReadError::Broken(self.position)),
            }
        }
    }

    fn set_sparse(&mut self, entry: &mut TarEntry, size: u64, parts: Vec<Part>) -> Result<(), ReadError> {
        let sparse = Sparse::new(size, parts, self.left).ok_or(ReadError::Broken(self.position))?;
        self.sparse = Some(sparse);
        entry.size = size;
        Ok(())
    }

    fn entry(&mut self, fields: Fields, extensions: Extensions) -> Result<TarEntry, ReadError> {
        let path = extensions.path.unwrap_or(fields.path);
        let link = extensions.link.unwrap_or(fields.link);
        if path.len() > MAX_PATH_BYTES || link.len() > MAX_PATH_BYTES {
            return Err(ReadError::TooLong(self.position));
        }
        let unsupported = || ReadError::Unsupported { path: to_path(&path), kind: char::from(fields.flag) };
        let kind = parse::kind(fields.flag, &path).ok_or_else(unsupported)?;
        let records = Records(&extensions.pax);
        let broken = || ReadError::Broken(self.position);
        let size = records.number("size", fields.size).ok_or_else(broken)?;
        let entry = TarEntry {
            kind,
            mode: fields.mode,
            uid: records.id("uid", fields.uid).ok_or_else(broken)?,
            gid: records.id("gid", fields.gid).ok_or_else(broken)?,
            size: if kind == EntryKind::File { size } else { 0 },
            mtime: records.time("mtime", fields.mtime).ok_or_else(broken)?,
            device: fields.device,
            xattrs: records.xattrs().ok_or_else(broken)?,
            path: to_path(&path),
            link: to_path(&link),
        };
        // Only files have content; some writers give links the size of their target.
        self.expect(entry.size);
        Ok(entry)
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        let part = size % BLOCK as u64;
        self.padding = if part == 0 { 0 } else { BLOCK as u64 - part };
    }

    /// Reads the content of an extended header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        if size > MAX_EXTENSION_BYTES {
            return Err(ReadError::TooLong(self.position));
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.by_ref().take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        let mut name = self.extension(size)?;
        let end = name.iter().position(|byte| *byte == 0);
        name.truncate(end.unwrap_or(name.len()));
        Ok(name)
    }

    fn skip(&mut self) -> Result<(), ReadError> {
        self.sparse = None;
        let content = io::copy(&mut self.input.by_ref().take(self.left), &mut io::sink())?;
        if content < self.left {
            return Err(ReadError::Broken(self.position));
        }
        // Some writers leave out the padding of the last entry.
        let padding = io::copy(&mut self.input.by_ref().take(self.padding), &mut io::sink())?;
        self.position += content + padding;
        self.expect(0);
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Reads content of the entry returned last.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(sparse) = &mut self.sparse else {
            return self.read_stored(buffer);
        };
        let fitting = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
        let read = match sparse.next() {
            Next::End => 0,
            Next::Hole(bytes) => {
                let bytes = fitting(bytes);
                buffer[..bytes].fill(0);
                bytes
            }
            Next::Data(bytes) => {
                let bytes = fitting(bytes);
                self.read_stored(&mut buffer[..bytes])?
            }
        };
        if let Some(sparse) = &mut self.sparse {
            sparse.advance(read as u64);
        }
        Ok(read)
    }
}

impl<R: Read> TarReader<R> {
    /// Reads bytes as they stand in the archive.
    fn read_stored(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX);
        let want = buffer.len().min(limit);
        let read = self.input.read(&mut buffer[..want])?;
        if read == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

impl Extensions {
    fn add(&mut self, bytes: &[u8], position: u64) -> Result<(), ReadError> {
        for (key, value) in parse::records(bytes).ok_or(ReadError::Broken(position))? {
            match key {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                key if key.starts_with(SPARSE) => {
                    let pax = self.sparse.get_or_insert_default();
                    pax.add(&key[SPARSE.len()..], value).ok_or(ReadError::Broken(position))?;
                }
                key => drop(self.pax.insert(key.to_owned(), value.to_vec())),
            }
        }
        Ok(())
    }
}

/// The PAX records of an entry, each instead of a field. `None` where one is broken.
struct Records<'e>(&'e BTreeMap<String, Vec<u8>>);

impl Records<'_> {
    fn number(&self, key: &str, field: u64) -> Option<u64> {
        match self.0.get(key) {
            None => Some(field),
            Some(value) => std::str::from_utf8(value).ok()?.parse().ok(),
        }
    }

    fn id(&self, key: &str, field: u64) -> Option<u32> {
        u32::try_from(self.number(key, field)?).ok()
    }

    fn time(&self, key: &str, field: i64) -> Option<(i64, u32)> {
        match self.0.get(key) {
            None => Some((field, 0)),
            Some(value) => parse::time(value),
        }
    }

    fn xattrs(&self) -> Option<Xattrs> {
        let mut xattrs = Xattrs::new();
        for (key, value) in self.0 {
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                xattrs.insert(CString::new(name).ok()?, value.clone());
            }
        }
        Some(xattrs)
    }
}

fn to_path(bytes: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}
