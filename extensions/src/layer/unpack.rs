//! Tar entries to files below a root.
//!
//! Nothing is trusted: each path is resolved inside the root when its entry is written, after all
//! entries before it; what is in the way is removed, never written through; a hard link's target is
//! looked for inside the root, too.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::header::EntryKind;
use super::reader::{ReadError, TarEntry, TarReader};
use super::remove::Remover;
use crate::root::{
    Attributes, Confined, Guard, NewDir, PathError, Place, Root, at, copy_exactly, set_dir_mtime,
};
use crate::snapshot::{Change, ChangeKind};

/// What an archive may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Limits {
    /// Whatever there is.
    pub const NONE: Self = Self { entries: u64::MAX, bytes: u64::MAX };
}

impl Default for Limits {
    /// A million entries, 64 GiB.
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 64 << 30 }
    }
}

/// Where and how an archive is unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Unpack<'a> {
    /// What paths and links cannot leave.
    pub root: &'a Root,
    /// The directory of the root that the entries' paths start from.
    pub below: &'a Path,
    /// Where nothing is written.
    pub guard: Guard<'a>,
    /// The owner of all entries instead of their own.
    pub owner: Option<(u32, u32)>,
    /// What the archive may hold.
    pub limits: Limits,
}

/// What unpacking did.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The paths written, in order of the archive.
    pub changes: Vec<Change>,
    /// Device nodes that this process may not make.
    pub skipped: Vec<PathBuf>,
}

/// An archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Its bytes are broken or refused.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file cannot be written.
    #[error("failed to {0}")]
    Path(#[from] PathError),
    /// An entry's path goes up.
    #[error("archive entry `{}` has `..` in its path", .0.display())]
    Escape(PathBuf),
    /// An entry is no file, link or directory of a name.
    #[error("archive entry `{}` cannot stand for the root", .0.display())]
    Root(PathBuf),
    /// There is more in it than allowed.
    #[error("archive holds more than {} entries or {} bytes", .0.entries, .0.bytes)]
    Limit(Limits),
}

impl Unpack<'_> {
    /// Unpacks all entries. Fails on the first that cannot be written; the ones before it stay.
    pub fn unpack(&self, tar: impl Read) -> Result<Unpacked, UnpackError> {
        let mut reader = TarReader::new(tar);
        let mut unpacker = Unpacker::new(self);
        while let Some(entry) = reader.next_entry()? {
            unpacker.put(&entry, entry.mtime, &mut reader)?;
        }
        unpacker.finish()
    }
}

/// The state of unpacking one archive.
pub(super) struct Unpacker<'a> {
    rules: &'a Unpack<'a>,
    /// Directories with the modification times they get at the end.
    dirs: Vec<(PathBuf, (i64, u32))>,
    pub(super) written: HashSet<PathBuf>,
    /// Links that it made. They may not lead out of the directory that it is unpacked in; those that
    /// were there before are the image's, and may.
    links: HashSet<PathBuf>,
    entries: u64,
    bytes: u64,
    done: Unpacked,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(rules: &'a Unpack<'a>) -> Self {
        Self {
            rules,
            dirs: Vec::new(),
            written: HashSet::new(),
            links: HashSet::new(),
            entries: 0,
            bytes: 0,
            done: Unpacked::default(),
        }
    }

    /// Counts an entry against the limits.
    pub(super) fn count(&mut self, entry: &TarEntry) -> Result<(), UnpackError> {
        let limits = self.rules.limits;
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.entries > limits.entries || self.bytes > limits.bytes {
            return Err(UnpackError::Limit(limits));
        }
        Ok(())
    }

    fn guard(&self) -> Guard<'_> {
        let confined = Confined { links: &self.links, below: self.rules.below };
        Guard { confined: Some(confined), ..self.rules.guard }
    }

    /// Writes one entry with the given modification time. The root's own entry is left out: its
    /// metadata is not the archive's to decide.
    pub(super) fn put(
        &mut self,
        entry: &TarEntry,
        mtime: (i64, u32),
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        self.count(entry)?;
        let path = relative(&entry.path)?;
        if path.as_os_str().is_empty() {
            return match entry.kind {
                EntryKind::Directory => Ok(()),
                _ => Err(UnpackError::Root(entry.path.clone())),
            };
        }
        let Unpack { root, below, .. } = *self.rules;
        let guard = self.guard();
        let made = root.make_place(&below.join(&path), NewDir::ROOT, guard)?;
        let (place, _) = made.ok_or_else(|| UnpackError::Root(entry.path.clone()))?;
        guard.check(&place.path())?;
        let existed = self.clear(&place, entry.kind)?;
        if entry.kind == EntryKind::Symlink {
            self.links.insert(place.path());
        }
        self.make(entry, &place, mtime, content)?;
        let kind = if existed { ChangeKind::Modified } else { ChangeKind::Added };
        self.done.changes.push(Change { path: place.path(), kind });
        self.written.insert(place.path());
        Ok(())
    }

    /// Gives the directories their modification times, which every entry in them had moved.
    pub(super) fn finish(self) -> Result<Unpacked, UnpackError> {
        for (path, mtime) in self.dirs.iter().rev() {
            set_dir_mtime(self.rules.root, path, *mtime)?;
        }
        Ok(self.done)
    }

    /// Removes what is in the way of an entry: everything but a directory where one comes. Tells
    /// whether there was something.
    fn clear(&self, place: &Place, kind: EntryKind) -> Result<bool, UnpackError> {
        let path = place.path();
        let stat = rustix::fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = match stat {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(at("stat", &path)(error).into()),
        };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_dir && kind == EntryKind::Directory {
            return Ok(true);
        }
        if Remover(self.rules.guard).remove(&place.dir, &path, &|_| false)? {
            Ok(true)
        } else {
            Err(at("replace", &path)(Errno::ROFS).into())
        }
    }

    fn make(
        &mut self,
        entry: &TarEntry,
        place: &Place,
        mtime: (i64, u32),
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let attributes = Attributes {
            owner: self.rules.owner.unwrap_or((entry.uid, entry.gid)),
            mode: entry.mode,
            mtime,
            xattrs: &entry.xattrs,
        };
        let path = place.path();
        let node = match entry.kind {
            EntryKind::Directory => {
                place.make_dir(&attributes)?;
                self.dirs.push((path, mtime));
                return Ok(());
            }
            EntryKind::File => {
                return place.make_file(&attributes, |file| {
                    copy_exactly(content, file, entry.size).map_err(at("write", &path)).map_err(Into::into)
                });
            }
            EntryKind::HardLink => return self.hard_link(entry, place),
            EntryKind::Symlink => return Ok(place.make_link(entry.link.as_os_str(), &attributes)?),
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            EntryKind::Fifo => FileType::Fifo,
        };
        if !place.make_node(node, entry.device, &attributes)? {
            self.done.skipped.push(path);
        }
        Ok(())
    }

    fn hard_link(&self, entry: &TarEntry, place: &Place) -> Result<(), UnpackError> {
        let target = relative(&entry.link)?;
        let found = self.rules.root.place_confined(&self.rules.below.join(target), self.guard())?;
        let found = found.ok_or_else(|| UnpackError::Root(entry.path.clone()))?;
        self.rules.guard.check(&found.path())?;
        Ok(place.make_hard_link(&found)?)
    }
}

/// Makes an entry's path relative. Fails if it goes up; leading slashes and dots mean nothing.
pub(super) fn relative(path: &Path) -> Result<PathBuf, UnpackError> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => return Err(UnpackError::Escape(path.to_owned())),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(out)
}
