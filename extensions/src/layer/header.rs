//! The header of a tar entry, byte for byte as Go's `archive/tar` writes it.
//!
//! Plain USTAR where everything fits its fields; else PAX: an extended header of sorted records in
//! front of a header that holds what fits. Images built by either lifecycle then share layers.

use std::collections::BTreeMap;

use crate::layer::xattrs::Xattrs;

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// Field ranges of a USTAR header.
mod field {
    use std::ops::Range;

    pub const NAME: Range<usize> = 0..100;
    pub const MODE: Range<usize> = 100..108;
    pub const UID: Range<usize> = 108..116;
    pub const GID: Range<usize> = 116..124;
    pub const SIZE: Range<usize> = 124..136;
    pub const MTIME: Range<usize> = 136..148;
    pub const CHECKSUM: Range<usize> = 148..156;
    pub const KIND: usize = 156;
    pub const LINK: Range<usize> = 157..257;
    pub const MAGIC: Range<usize> = 257..265;
    pub const MAJOR: Range<usize> = 329..337;
    pub const MINOR: Range<usize> = 337..345;
    pub const PREFIX: Range<usize> = 345..500;
}

/// What kind of file an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file; its bytes follow the header.
    File,
    /// Another name for the file that `link` names.
    HardLink,
    /// A symbolic link to `link`.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

impl EntryKind {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// PAX records by key.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The header of one tar entry. User and group names are never written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarHeader {
    /// The entry's path, as it shall stand in the archive.
    pub path: Vec<u8>,
    /// The kind of file.
    pub kind: EntryKind,
    /// Permission bits, set-user-ID and the like included.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes of content that follow; 0 but for files.
    pub size: u64,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// The target of a link; else empty.
    pub link: Vec<u8>,
    /// Major and minor number of a device; else zeros.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// A header cannot be written in any form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A path or link holds a zero byte.
    #[error("tar path {0:?} holds a zero byte")]
    ZeroByte(String),
    /// A device number has more than 21 bits.
    #[error("tar cannot hold device number {0}:{1}")]
    Device(u32, u32),
    /// The name of an extended attribute holds a `=`, or bytes that are not UTF-8.
    #[error("tar cannot hold extended attribute {0:?}")]
    Attribute(String),
}

impl TarHeader {
    /// Creates the header of an entry without content, owned by root, dated 1970.
    pub fn new(path: impl Into<Vec<u8>>, kind: EntryKind, mode: u32) -> Self {
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: Vec::new(),
            device: (0, 0),
            xattrs: Xattrs::new(),
        }
    }

    /// Appends the header's blocks to `out`. The content, and zeros up to a multiple of 512 bytes,
    /// are the caller's to write.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        self.check()?;
        let (records, fits) = self.records()?;
        if fits {
            out.extend_from_slice(&self.ustar());
            return Ok(());
        }
        let mut body = Vec::new();
        for (key, value) in &records {
            push_record(&mut body, key, value);
        }
        let mut block = [0; BLOCK];
        put(&mut block[field::NAME], &extension_name(&self.path));
        block[field::KIND] = b'x';
        put_octal(&mut block[field::MODE], 0);
        put_octal(&mut block[field::UID], 0);
        put_octal(&mut block[field::GID], 0);
        put_octal(&mut block[field::SIZE], body.len() as u64);
        put_octal(&mut block[field::MTIME], 0);
        seal(&mut block);
        out.extend_from_slice(&block);
        out.extend_from_slice(&body);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        out.extend_from_slice(&self.pax());
        Ok(())
    }

    fn check(&self) -> Result<(), HeaderError> {
        for text in [&self.path, &self.link] {
            if text.contains(&0) {
                let text = String::from_utf8_lossy(text).into_owned();
                return Err(HeaderError::ZeroByte(text));
            }
        }
        let (major, minor) = self.device;
        if octal(8, u64::from(major)).is_none() || octal(8, u64::from(minor)).is_none() {
            return Err(HeaderError::Device(major, minor));
        }
        Ok(())
    }

    /// Returns the PAX records, and whether the header does without them. A long path that USTAR
    /// can split gets a record all the same, in case another field makes the header PAX.
    fn records(&self) -> Result<(Records, bool), HeaderError> {
        let mut records = BTreeMap::new();
        let mut fits = true;
        let mut record = |key: &str, value: Vec<u8>| records.insert(key.as_bytes().to_vec(), value);
        if !self.path.is_ascii() || self.path.len() > NAME {
            record("path", self.path.clone());
            fits &= split(&self.path).is_some();
        }
        if !self.link.is_ascii() || self.link.len() > NAME {
            record("linkpath", self.link.clone());
            fits = false;
        }
        let numbers = [
            ("uid", 8, i128::from(self.uid)),
            ("gid", 8, i128::from(self.gid)),
            ("size", 12, i128::from(self.size)),
            ("mtime", 12, i128::from(self.mtime)),
        ];
        for (key, width, value) in numbers {
            if u64::try_from(value).is_ok_and(|value| octal(width, value).is_some()) {
                continue;
            }
            record(key, value.to_string().into_bytes());
            fits = false;
        }
        for (name, value) in &self.xattrs {
            let name = name
                .to_str()
                .ok()
                .filter(|name| !name.contains('='))
                .ok_or_else(|| HeaderError::Attribute(name.to_string_lossy().into_owned()))?;
            record(&format!("SCHILY.xattr.{name}"), value.clone());
            fits = false;
        }
        Ok((records, fits))
    }

    fn ustar(&self) -> [u8; BLOCK] {
        let (prefix, name) = split(&self.path).unwrap_or((b"", &self.path));
        let mut block = self.fields(name, &self.link);
        put(&mut block[field::PREFIX], prefix);
        seal(&mut block);
        block
    }

    fn pax(&self) -> [u8; BLOCK] {
        let mut block = self.fields(&ascii(&self.path), &ascii(&self.link));
        seal(&mut block);
        block
    }

    fn fields(&self, name: &[u8], link: &[u8]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[field::KIND] = self.kind.flag();
        put(&mut block[field::NAME], name);
        put(&mut block[field::LINK], link);
        put_octal(&mut block[field::MODE], u64::from(self.mode));
        put_octal(&mut block[field::UID], u64::from(self.uid));
        put_octal(&mut block[field::GID], u64::from(self.gid));
        put_octal(&mut block[field::SIZE], self.size);
        put_octal(&mut block[field::MTIME], u64::try_from(self.mtime).unwrap_or(0));
        put_octal(&mut block[field::MAJOR], u64::from(self.device.0));
        put_octal(&mut block[field::MINOR], u64::from(self.device.1));
        block
    }
}

/// Splits a long path at a `/`, so that it fits the prefix and name fields; `None` if it is short
/// or cannot be split.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME || !path.is_ascii() {
        return None;
    }
    let end =
        if path.len() > PREFIX + 1 { PREFIX + 1 } else { path.len() - usize::from(path.ends_with(b"/")) };
    let slash = path[..end].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    let fits = !prefix.is_empty() && !name.is_empty() && name.len() <= NAME;
    (fits && prefix.len() <= PREFIX).then_some((prefix, name))
}

/// The name of the extended header: that of the entry, in a made-up directory beside it.
fn extension_name(path: &[u8]) -> Vec<u8> {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let (dir, file) = slash.map_or((&b""[..], path), |slash| path.split_at(slash + 1));
    let joined = [dir, b"/PaxHeaders.0/", file].concat();
    let mut name = ascii(&clean(&joined[usize::from(dir.is_empty())..]));
    name.truncate(NAME);
    while name.ends_with(b"/") {
        name.pop();
    }
    name
}

/// Removes doubled slashes, `.` and `..` from a path, by its text alone.
fn clean(path: &[u8]) -> Vec<u8> {
    let absolute = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if absolute => {}
            part => parts.push(part),
        }
    }
    let mut out = if absolute { b"/".to_vec() } else { Vec::new() };
    out.extend(parts.join(&b'/'));
    out
}

fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii).collect()
}

/// Copies text into a field, cut where it ends. A slash that the cut left at the end goes, too: it
/// would make a file look like a directory.
fn put(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
    if text.len() > field.len() && field.ends_with(b"/") {
        let kept = field.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        field[kept] = 0;
    }
}

/// Writes a number as octal digits and a zero byte; 0 if it does not fit.
fn put_octal(field: &mut [u8], value: u64) {
    let digits = octal(field.len(), value).or_else(|| octal(field.len(), 0));
    put(field, digits.unwrap_or_default().as_bytes());
}

fn octal(width: usize, value: u64) -> Option<String> {
    let digits = format!("{value:0pad$o}", pad = width - 1);
    (digits.len() < width).then_some(digits)
}

fn seal(block: &mut [u8; BLOCK]) {
    block[field::MAGIC].copy_from_slice(b"ustar\x0000");
    block[field::CHECKSUM].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let checksum = &mut block[field::CHECKSUM];
    put_octal(&mut checksum[..7], sum);
    checksum[6] = 0;
    checksum[7] = b' ';
}

/// Appends `length key=value`, where the length counts itself.
fn push_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + b" =\n".len();
    let mut len = rest + rest.to_string().len();
    if rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}
