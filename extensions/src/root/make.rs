//! Entries made at a place: new files, links, nodes, directories, with exactly the metadata asked for.
//!
//! A file is made new, never opened: whatever stood there was removed before, and a link that appears
//! in between makes the call fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, chmodat, fchmod, futimens, linkat, makedev,
    mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::{NewDir, PathError, Place, Root, at, make_dir_at, set_owner};
use crate::layer::xattrs::{self, Xattrs};

/// The metadata of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'x> {
    /// User and group.
    pub owner: (u32, u32),
    /// Permission bits; links have none.
    pub mode: u32,
    /// Modification time: seconds and nanoseconds since 1970. The access time is set to it, too.
    pub mtime: (i64, u32),
    /// Extended attributes, for files and directories.
    pub xattrs: &'x Xattrs,
}

impl Place {
    /// Makes a file and fills it. Fails if something is there.
    pub fn make_file<E: From<PathError>>(
        &self,
        attributes: &Attributes<'_>,
        write: impl FnOnce(&mut File) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = self.path();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&self.dir, &self.name, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(opened.map_err(at("create", &path))?);
        write(&mut file)?;
        describe(file.as_fd(), attributes, &path)?;
        futimens(&file, &times(attributes.mtime)).map_err(at("set times of", &path))?;
        Ok(())
    }

    /// Makes a symbolic link. Fails if something is there.
    pub fn make_link(&self, target: &OsStr, attributes: &Attributes<'_>) -> Result<(), PathError> {
        let path = self.path();
        symlinkat(target, &self.dir, &self.name).map_err(at("create link", &path))?;
        self.own(attributes)?;
        self.set_times(attributes.mtime)
    }

    /// Makes another name for an existing file. Fails if something is there.
    pub fn make_hard_link(&self, to: &Place) -> Result<(), PathError> {
        let made = linkat(&to.dir, &to.name, &self.dir, &self.name, AtFlags::empty());
        made.map_err(at("create hard link", &self.path()))
    }

    /// Makes a pipe or a device with the given numbers. Returns whether this process may make it.
    pub fn make_node(
        &self,
        kind: FileType,
        device: (u32, u32),
        attributes: &Attributes<'_>,
    ) -> Result<bool, PathError> {
        let path = self.path();
        let mode = Mode::from_raw_mode(attributes.mode);
        match mknodat(&self.dir, &self.name, kind, mode, makedev(device.0, device.1)) {
            Ok(()) => {}
            Err(Errno::PERM) if kind != FileType::Fifo => return Ok(false),
            Err(error) => return Err(at("create", &path)(error)),
        }
        self.own(attributes)?;
        // The node is new and no link: nothing is followed. The call above obeyed the umask.
        let set = chmodat(&self.dir, &self.name, mode, AtFlags::empty());
        set.map_err(at("set mode of", &path))?;
        self.set_times(attributes.mtime)?;
        Ok(true)
    }

    /// Makes a directory, or takes the one that is there, and gives it the metadata. Its times are for
    /// [`set_dir_mtime`], when nothing will be written to it any more.
    pub fn make_dir(&self, attributes: &Attributes<'_>) -> Result<(), PathError> {
        let path = self.path();
        match make_dir_at(&self.dir, &self.name, NewDir::of_process(0o700)) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(error) => return Err(at("create directory", &path)(error)),
        }
        describe(self.open_dir()?.as_fd(), attributes, &path)
    }

    /// Sets the permission bits of the directory that is there.
    pub fn set_dir_mode(&self, mode: u32) -> Result<(), PathError> {
        let set = fchmod(self.open_dir()?, Mode::from_raw_mode(mode));
        set.map_err(at("set mode of", &self.path()))
    }

    fn open_dir(&self) -> Result<OwnedFd, PathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.dir, &self.name, flags, Mode::empty()).map_err(at("open directory", &self.path()))
    }

    /// Sets the owner of what cannot be opened.
    fn own(&self, attributes: &Attributes<'_>) -> Result<(), PathError> {
        let (uid, gid) = attributes.owner;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.dir, &self.name, flags, Mode::empty());
        fd.and_then(|fd| set_owner(fd, uid, gid)).map_err(at("set owner of", &self.path()))
    }

    fn set_times(&self, mtime: (i64, u32)) -> Result<(), PathError> {
        let set = utimensat(&self.dir, &self.name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(at("set times of", &self.path()))
    }
}

/// Sets the modification time of the directory at exactly that path. One that is gone, or became
/// something else, is left alone.
pub fn set_dir_mtime(root: &Root, path: &Path, mtime: (i64, u32)) -> Result<(), PathError> {
    match root.dir(path) {
        Ok(dir) if dir.path == path => {
            futimens(dir.readable()?, &times(mtime)).map_err(at("set times of", path))
        }
        _ => Ok(()),
    }
}

/// Sets owner, mode and attributes, in this order: a new owner clears the set-user-ID bit and
/// capabilities.
fn describe(fd: BorrowedFd<'_>, attributes: &Attributes<'_>, path: &Path) -> Result<(), PathError> {
    let (uid, gid) = attributes.owner;
    set_owner(fd, uid, gid).map_err(at("set owner of", path))?;
    fchmod(fd, Mode::from_raw_mode(attributes.mode)).map_err(at("set mode of", path))?;
    xattrs::write(fd, attributes.xattrs).map_err(at("set attributes of", path))
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

/// Copies exactly so many bytes; fewer are an error.
pub fn copy_exactly(from: &mut impl io::Read, to: &mut impl io::Write, size: u64) -> io::Result<()> {
    if io::copy(&mut io::Read::take(from, size), to)? == size {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
