//! Changes to the bytes of a layer.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::header::{EntryKind, HeaderError, TarHeader};
use super::mtimes::Mtimes;
use super::xattrs;
use crate::root::{Dir, PathError, Root, at, read_link_at};
use crate::snapshot::{ChangeKind, Changes};

/// The modification time of every entry: 1980-01-01T00:00:01Z, which zip files can hold, too.
pub const EPOCH_SECONDS: i64 = 315_532_801;

const BLOCK: usize = 512;
const CHUNK: usize = 256 * 1024;
const WHITEOUT: &[u8] = b".wh.";

/// A written layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLayer {
    /// SHA-256 of the uncompressed bytes.
    pub diff_id: [u8; 32],
    /// Number of uncompressed bytes.
    pub size_bytes: u64,
    /// True modification times, one per entry.
    pub mtimes: Mtimes,
}

/// A layer cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file cannot be read.
    #[error("failed to {0}")]
    Path(#[from] PathError),
    /// A file's name means a deletion in a layer.
    #[error("`{}` cannot be kept in a layer: names that start with `.wh.` mark deletions", .0.display())]
    WhiteoutName(PathBuf),
    /// A file was changed while it was read.
    #[error("`{}` changed while it was read", .0.display())]
    Unstable(PathBuf),
    /// A path has no form in a tar.
    #[error("`{}` cannot be kept in a layer: {source}", path.display())]
    Header {
        /// The path.
        path: PathBuf,
        /// Why.
        source: HeaderError,
    },
    /// The layer's bytes cannot be stored.
    #[error("failed to write layer: {0}")]
    Write(#[source] io::Error),
}

/// Writes the layer of the changes: their paths as they are now, below the root.
///
/// Directories above a changed path are written once, in front of it. Names of one inode become
/// hard links to the first of them. Sockets are left out. Fails on whatever cannot be kept: a layer
/// that silently lacks a file is worse than none.
pub fn write_layer(root: &Root, changes: &Changes, out: impl Write) -> Result<WrittenLayer, LayerError> {
    let mut layer = Layer {
        root,
        out: Sink { out, hash: Sha256::new(), size: 0 },
        parent: None,
        ancestors: Vec::new(),
        links: HashMap::new(),
        mtimes: Mtimes::default(),
    };
    for change in changes {
        layer.open_parent(&change.path)?;
        match change.kind {
            ChangeKind::Deleted => layer.whiteout(&change.path)?,
            ChangeKind::Added | ChangeKind::Modified => layer.entry(&change.path)?,
        }
    }
    layer.out.put(&[0; 2 * BLOCK])?;
    layer.out.out.flush().map_err(LayerError::Write)?;
    Ok(WrittenLayer {
        diff_id: layer.out.hash.finalize().into(),
        size_bytes: layer.out.size,
        mtimes: layer.mtimes,
    })
}

struct Layer<'r, W> {
    root: &'r Root,
    out: Sink<W>,
    /// The directory of the entry written last.
    parent: Option<Dir>,
    /// The directories written that the next path may be below, outermost first.
    ancestors: Vec<PathBuf>,
    /// The first name of each inode that has several.
    links: HashMap<(u64, u64), PathBuf>,
    mtimes: Mtimes,
}

struct Sink<W> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Sink<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.out.write_all(bytes).map_err(LayerError::Write)
    }
}

impl<W: Write> Layer<'_, W> {
    /// Opens the directory of a path, and writes it and those above it where that is not yet done.
    fn open_parent(&mut self, path: &Path) -> Result<(), LayerError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.parent.as_ref().is_some_and(|dir| dir.path == parent) {
            return Ok(());
        }
        self.ancestors.retain(|written| parent.starts_with(written));
        let mut dir = self.root.dir(Path::new(""))?;
        for name in parent {
            let above = dir;
            dir = above.child(name)?.ok_or_else(|| LayerError::Unstable(above.path.join(name)))?;
            if !self.ancestors.contains(&dir.path) {
                self.parent = Some(above);
                self.entry(&dir.path)?;
            }
        }
        self.parent = Some(dir);
        Ok(())
    }

    fn whiteout(&mut self, path: &Path) -> Result<(), LayerError> {
        let name = checked_name(path)?;
        let mark = [WHITEOUT, name.as_bytes()].concat();
        let path = path.with_file_name(OsStr::from_bytes(&mark));
        let header = TarHeader::new(path.as_os_str().as_bytes(), EntryKind::File, 0);
        self.mtimes.push(EPOCH_SECONDS, 0);
        self.header(&path, header)
    }

    /// Writes the entry of a path in the directory opened last.
    fn entry(&mut self, path: &Path) -> Result<(), LayerError> {
        let name = checked_name(path)?;
        let dir = self.parent.as_ref().expect("the parent was opened").as_fd();
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at("stat", path))?;
        let mut bytes = path.as_os_str().as_bytes().to_vec();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.file(path, name),
            FileType::Directory => return self.directory(path, name),
            FileType::Symlink => EntryKind::Symlink,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket | FileType::Unknown => return Ok(()),
        };
        let mut header = described(std::mem::take(&mut bytes), kind, &stat);
        if kind == EntryKind::Symlink {
            let target = read_link_at(dir, name).map_err(at("read link", path))?;
            let target = target.ok_or_else(|| LayerError::Unstable(path.to_owned()))?;
            header.link = target.as_bytes().to_vec();
        }
        if let Some(first) = self.first_name(&stat, path) {
            header.kind = EntryKind::HardLink;
            header.link = first;
            header.device = (0, 0);
        }
        self.times(&stat);
        self.header(path, header)
    }

    fn directory(&mut self, path: &Path, name: &OsStr) -> Result<(), LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.open(path, name, flags)?;
        let stat = fstat(&fd).map_err(at("stat", path))?;
        let slashed = [path.as_os_str().as_bytes(), b"/"].concat();
        let mut header = described(slashed, EntryKind::Directory, &stat);
        header.xattrs = xattrs::read(fd.as_fd()).map_err(at("read attributes of", path))?;
        self.ancestors.push(path.to_owned());
        self.times(&stat);
        self.header(path, header)
    }

    fn file(&mut self, path: &Path, name: &OsStr) -> Result<(), LayerError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = self.open(path, name, flags)?;
        let stat = fstat(&file).map_err(at("stat", path))?;
        let mut header = described(path.as_os_str().as_bytes().to_vec(), EntryKind::File, &stat);
        self.times(&stat);
        if let Some(first) = self.first_name(&stat, path) {
            header.kind = EntryKind::HardLink;
            header.link = first;
            return self.header(path, header);
        }
        header.size = u64::try_from(stat.st_size).unwrap_or(0);
        header.xattrs = xattrs::read(file.as_fd()).map_err(at("read attributes of", path))?;
        let size = header.size;
        self.header(path, header)?;
        self.content(path, &mut file, size)
    }

    fn open(&self, path: &Path, name: &OsStr, flags: OFlags) -> Result<File, LayerError> {
        let dir = self.parent.as_ref().expect("the parent was opened").as_fd();
        let opened = openat(dir, name, flags | OFlags::NOATIME, Mode::empty());
        let opened = opened.or_else(|error| match error {
            Errno::PERM => openat(dir, name, flags, Mode::empty()),
            error => Err(error),
        });
        Ok(File::from(opened.map_err(at("open", path))?))
    }

    /// Returns the first name of the inode if there was one; else remembers this one. The name is
    /// relative: some unpackers take an absolute one for a path of the host.
    fn first_name(&mut self, stat: &Stat, path: &Path) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&inode) {
            return Some(first.as_os_str().as_bytes().to_vec());
        }
        self.links.insert(inode, path.to_owned());
        None
    }

    fn times(&mut self, stat: &Stat) {
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        self.mtimes.push(stat.st_mtime, nanoseconds);
    }

    fn header(&mut self, path: &Path, mut header: TarHeader) -> Result<(), LayerError> {
        header.mtime = EPOCH_SECONDS;
        let mut blocks = Vec::with_capacity(BLOCK);
        header.encode(&mut blocks).map_err(|source| LayerError::Header { path: path.to_owned(), source })?;
        self.out.put(&blocks)
    }

    /// Writes exactly the size that the header said.
    fn content(&mut self, path: &Path, file: &mut File, size: u64) -> Result<(), LayerError> {
        let mut buffer = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK))];
        let mut left = size;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
            let read = file.read(&mut buffer[..want]).map_err(at("read", path))?;
            if read == 0 {
                return Err(LayerError::Unstable(path.to_owned()));
            }
            self.out.put(&buffer[..read])?;
            left -= read as u64;
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.out.put(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)])
    }
}

fn described(path: Vec<u8>, kind: EntryKind, stat: &Stat) -> TarHeader {
    let mut header = TarHeader::new(path, kind, stat.st_mode & 0o7777);
    header.uid = stat.st_uid;
    header.gid = stat.st_gid;
    if matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        header.device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    }
    header
}

fn checked_name(path: &Path) -> Result<&OsStr, LayerError> {
    match path.file_name() {
        Some(name) if !name.as_bytes().starts_with(WHITEOUT) => Ok(name),
        _ => Err(LayerError::WhiteoutName(path.to_owned())),
    }
}
