//! Directories of `RUN --mount=type=cache`: what is left in them is there again in the next build.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::record::hex;
use super::store::{Cache, CacheError, MOUNTS, own_dir};
use crate::layer::Remover;
use crate::root::{Attributes, Dir, Guard, NewDir, Place, Root, at, make_dir_at};
use crate::snapshot::IgnoreSet;

const CONTENT: &str = "content";
const NEXT: &str = "next";

/// The directory of a cache mount, for its holder alone until it is dropped.
#[derive(Debug)]
pub struct CacheMount {
    dir: OwnedFd,
    path: PathBuf,
}

impl Cache {
    /// Opens the directory of that id. Waits while another process has it.
    pub fn mount(&self, id: &str) -> Result<CacheMount, CacheError> {
        let name = hex(&Sha256::digest(id));
        let path = self.path.join(MOUNTS).join(&name);
        let mounts = self.open_own_dir(MOUNTS)?;
        let dir = own_dir(&mounts, Path::new(&name), &path)?;
        flock(&dir, FlockOperation::LockExclusive).map_err(at("lock", &path))?;
        // When it was used last decides how long it is kept.
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
        rustix::fs::futimens(&dir, &times).map_err(at("set times of", &path))?;
        Ok(CacheMount { dir, path })
    }
}

impl CacheMount {
    /// Opens what is in it; `None` if it is new.
    pub fn content(&self) -> Result<Option<Root>, CacheError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = self.path.join(CONTENT);
        match openat(&self.dir, CONTENT, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Root::of(fd, &path))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(at("open directory", &path)(error).into()),
        }
    }

    /// Opens what is in it, to be written as it is: made if it is new, of that owner and mode.
    pub fn ready(&self, owner: (u32, u32), mode: u32) -> Result<Root, CacheError> {
        let path = self.path.join(CONTENT);
        let place = Place { dir: self.open()?, name: CONTENT.into() };
        let xattrs = BTreeMap::new();
        place.make_dir(&Attributes { owner, mode, mtime: (0, 0), xattrs: &xattrs })?;
        self.content()?.ok_or_else(|| at("open directory", &path)(Errno::NOENT).into())
    }

    fn open(&self) -> Result<Dir, CacheError> {
        let fd = self.dir.try_clone().map_err(at("open directory", &self.path))?;
        Ok(Dir { fd, path: self.path.clone() })
    }

    /// Makes the directory that takes the place of the content.
    pub fn next(&self) -> Result<Root, CacheError> {
        self.remove(NEXT)?;
        let path = self.path.join(NEXT);
        make_dir_at(&self.dir, OsStr::new(NEXT), NewDir::of_process(0o700))
            .map_err(at("create directory", &path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.dir, NEXT, flags, Mode::empty()).map_err(at("open directory", &path))?;
        Ok(Root::of(fd, &path))
    }

    /// Lets it take that place.
    pub fn replace(&self) -> Result<(), CacheError> {
        self.remove(CONTENT)?;
        let renamed = renameat(&self.dir, NEXT, &self.dir, CONTENT);
        Ok(renamed.map_err(at("rename", &self.path.join(NEXT)))?)
    }

    fn remove(&self, name: &str) -> Result<(), CacheError> {
        let ignore = IgnoreSet::default();
        let found = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok() {
            Remover(Guard::new(&ignore)).remove(&self.dir, Path::new(name), &|_| false)?;
        }
        Ok(())
    }
}
