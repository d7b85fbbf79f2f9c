//! Tar entries to files below a root.
//!
//! Nothing is trusted: each path is resolved inside the root when its entry is written, after all
//! entries before it; what is in the way is removed, never written through; a hard link's target is
//! looked for inside the root, too.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, chmodat, futimens, linkat, makedev, mknodat,
    openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::header::EntryKind;
use super::reader::{ReadError, TarEntry, TarReader};
use super::remove::Remover;
use super::xattrs;
use crate::root::{Guard, NewDir, PathError, Place, Root, at, make_dir_at, set_owner};
use crate::snapshot::{Change, ChangeKind};

/// What an archive may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
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
    /// What the entries' paths start from and cannot leave.
    pub root: &'a Root,
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
    /// The paths written, in terms of the outermost root, in order of the archive.
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
        let Unpack { root, guard, .. } = *self.rules;
        let made = root.make_place(&path, NewDir::ROOT, guard)?;
        let (place, _) = made.ok_or_else(|| UnpackError::Root(entry.path.clone()))?;
        guard.check(&place.path())?;
        let existed = self.clear(&place, entry.kind)?;
        match entry.kind {
            EntryKind::Directory => self.directory(entry, &place, mtime)?,
            EntryKind::File => self.file(entry, &place, mtime, content)?,
            EntryKind::HardLink => self.hard_link(entry, &place)?,
            EntryKind::Symlink => self.symlink(entry, &place, mtime)?,
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                self.node(entry, &place, mtime)?;
            }
        }
        let kind = if existed { ChangeKind::Modified } else { ChangeKind::Added };
        self.done.changes.push(Change { path: guard.prefix.join(place.path()), kind });
        self.written.insert(place.path());
        Ok(())
    }

    /// Gives the directories their modification times, which every entry in them had moved.
    pub(super) fn finish(self) -> Result<Unpacked, UnpackError> {
        for (path, mtime) in self.dirs.iter().rev() {
            // A later entry may have put something else there.
            if let Ok(dir) = self.rules.root.dir(path)
                && dir.path == *path
            {
                futimens(dir.readable()?, &times(*mtime)).map_err(at("set times of", path))?;
            }
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
        let guard = self.rules.guard;
        if Remover(guard).remove(&place.dir, &path, &|_| false)? {
            Ok(true)
        } else {
            Err(at("replace", &guard.prefix.join(&path))(Errno::ROFS).into())
        }
    }

    fn owner(&self, entry: &TarEntry) -> (u32, u32) {
        self.rules.owner.unwrap_or((entry.uid, entry.gid))
    }

    fn directory(&mut self, entry: &TarEntry, place: &Place, mtime: (i64, u32)) -> Result<(), PathError> {
        let path = place.path();
        if place.dir.child(&place.name)?.is_none() {
            make_dir_at(&place.dir, &place.name, NewDir::of_process(0o700))
                .map_err(at("create directory", &path))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            openat(&place.dir, &place.name, flags, Mode::empty()).map_err(at("open directory", &path))?;
        self.describe(fd.as_fd(), entry, &path)?;
        self.dirs.push((path, mtime));
        Ok(())
    }

    fn file(
        &self,
        entry: &TarEntry,
        place: &Place,
        mtime: (i64, u32),
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let path = place.path();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            openat(&place.dir, &place.name, flags, Mode::RUSR | Mode::WUSR).map_err(at("create", &path))?;
        let mut file = File::from(fd);
        let copied = io::copy(&mut content.take(entry.size), &mut file);
        if copied.map_err(at("write", &path))? != entry.size {
            return Err(at("write", &path)(io::Error::from(io::ErrorKind::UnexpectedEof)).into());
        }
        self.describe(file.as_fd(), entry, &path)?;
        futimens(&file, &times(mtime)).map_err(at("set times of", &path))?;
        Ok(())
    }

    /// Sets owner, mode and attributes, in this order: a new owner clears the set-user-ID bit and
    /// capabilities.
    fn describe(&self, fd: BorrowedFd<'_>, entry: &TarEntry, path: &Path) -> Result<(), PathError> {
        let (uid, gid) = self.owner(entry);
        set_owner(fd, uid, gid).map_err(at("set owner of", path))?;
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::fchmod(fd, mode).map_err(at("set mode of", path))?;
        xattrs::write(fd, &entry.xattrs).map_err(at("set attributes of", path))
    }

    fn hard_link(&self, entry: &TarEntry, place: &Place) -> Result<(), UnpackError> {
        let target = relative(&entry.link)?;
        let Some(found) = self.rules.root.place(&target)? else {
            return Err(UnpackError::Root(entry.path.clone()));
        };
        self.rules.guard.check(&found.path())?;
        linkat(&found.dir, &found.name, &place.dir, &place.name, AtFlags::empty())
            .map_err(at("create hard link", &place.path()))?;
        Ok(())
    }

    fn symlink(&self, entry: &TarEntry, place: &Place, mtime: (i64, u32)) -> Result<(), PathError> {
        let path = place.path();
        symlinkat(&entry.link, &place.dir, &place.name).map_err(at("create link", &path))?;
        self.own_node(entry, place)?;
        set_link_times(place.dir.as_fd(), &place.name, mtime).map_err(at("set times of", &path))
    }

    fn node(&mut self, entry: &TarEntry, place: &Place, mtime: (i64, u32)) -> Result<(), PathError> {
        let path = place.path();
        let (kind, device) = match entry.kind {
            EntryKind::CharDevice => (FileType::CharacterDevice, entry.device),
            EntryKind::BlockDevice => (FileType::BlockDevice, entry.device),
            _ => (FileType::Fifo, (0, 0)),
        };
        let mode = Mode::from_raw_mode(entry.mode);
        let device = makedev(device.0, device.1);
        match mknodat(&place.dir, &place.name, kind, mode, device) {
            Ok(()) => {}
            Err(Errno::PERM) if kind != FileType::Fifo => {
                self.done.skipped.push(path);
                return Ok(());
            }
            Err(error) => return Err(at("create", &path)(error)),
        }
        self.own_node(entry, place)?;
        // The node is new and no link: nothing is followed. The call above obeyed the umask.
        chmodat(&place.dir, &place.name, mode, AtFlags::empty()).map_err(at("set mode of", &path))?;
        set_link_times(place.dir.as_fd(), &place.name, mtime).map_err(at("set times of", &path))
    }

    /// Sets the owner of what cannot be opened.
    fn own_node(&self, entry: &TarEntry, place: &Place) -> Result<(), PathError> {
        let (uid, gid) = self.owner(entry);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&place.dir, &place.name, flags, Mode::empty());
        let owned = fd.and_then(|fd| set_owner(fd, uid, gid));
        owned.map_err(at("set owner of", &place.path()))
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

/// Makes file times of one modification time.
pub(crate) fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

/// Sets the times of a name, not of what a link there points to.
pub(crate) fn set_link_times(dir: BorrowedFd<'_>, name: &OsStr, mtime: (i64, u32)) -> rustix::io::Result<()> {
    utimensat(dir, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
}
