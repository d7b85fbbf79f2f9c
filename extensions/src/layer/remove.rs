//! Removes a path with everything below it, but for what must stay.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, openat, statx, unlinkat};
use rustix::io::Errno;

use crate::root::{Guard, PathError, at};

/// Deeper trees are refused: each level takes a file descriptor.
const MAX_DEPTH: usize = 512;

/// Removes paths below a root and spares guarded ones, mounts, and those the caller names.
pub(crate) struct Remover<'i>(pub(crate) Guard<'i>);

impl Remover<'_> {
    /// Removes what has that name in the directory, whose path is given. `keep` is asked about
    /// every path: a kept directory is emptied of the rest; directories above a kept path stay.
    /// Tells whether the name is free now.
    ///
    /// Fails at another mount: what is below belongs to someone else.
    pub(crate) fn remove(
        &self,
        dir: impl AsFd,
        path: &Path,
        keep: &dyn Fn(&Path) -> bool,
    ) -> Result<bool, PathError> {
        let name = path.file_name().unwrap_or_default();
        self.remove_at(dir.as_fd(), name, path, keep, 0)
    }

    /// Removes everything in a directory, as [`remove`](Self::remove) does.
    pub(crate) fn empty(
        &self,
        dir: impl AsFd,
        path: &Path,
        keep: &dyn Fn(&Path) -> bool,
    ) -> Result<bool, PathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(dir, ".", flags, Mode::empty()).map_err(at("open directory", path))?;
        self.empty_at(&fd, path, keep, 0)
    }

    fn remove_at(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        keep: &dyn Fn(&Path) -> bool,
        depth: usize,
    ) -> Result<bool, PathError> {
        if !self.0.allows(path) {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => {
                check_mount(dir, &fd, path)?;
                if !self.empty_at(&fd, path, keep, depth)? || keep(path) {
                    return Ok(false);
                }
                drop(fd);
                unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(at("remove", path))?;
                Ok(true)
            }
            Err(Errno::NOTDIR | Errno::LOOP) if keep(path) => Ok(false),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                unlinkat(dir, name, AtFlags::empty()).map_err(at("remove", path))?;
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(true),
            Err(error) => Err(at("open directory", path)(error)),
        }
    }

    fn empty_at(
        &self,
        fd: &OwnedFd,
        path: &Path,
        keep: &dyn Fn(&Path) -> bool,
        depth: usize,
    ) -> Result<bool, PathError> {
        if depth == MAX_DEPTH {
            return Err(at("remove", path)(Errno::NAMETOOLONG));
        }
        let mut all = true;
        for name in names(fd).map_err(at("read directory", path))? {
            let name = OsStr::from_bytes(name.to_bytes());
            let below: PathBuf = path.join(name);
            all &= self.remove_at(fd.as_fd(), name, &below, keep, depth + 1)?;
        }
        Ok(all)
    }
}

/// Lists the names in a directory, sorted.
pub(crate) fn names(fd: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(fd)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn check_mount(dir: BorrowedFd<'_>, fd: &OwnedFd, path: &Path) -> Result<(), PathError> {
    let mount = |fd: BorrowedFd<'_>| mount_of(fd).map_err(at("stat", path));
    if mount(dir)? == mount(fd.as_fd())? { Ok(()) } else { Err(at("remove", path)(Errno::BUSY)) }
}

/// The number of a directory's mount; of its device where the kernel does not tell.
fn mount_of(fd: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    let empty: &CStr = c"";
    match statx(fd, empty, AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
        Ok(found) if found.stx_mask & StatxFlags::MNT_ID.bits() != 0 => Ok(found.stx_mnt_id),
        Ok(_) | Err(Errno::NOSYS | Errno::PERM) => Ok(rustix::fs::fstat(fd)?.st_dev),
        Err(error) => Err(error),
    }
}
