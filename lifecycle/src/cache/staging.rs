//! What a cache will hold, in a directory of its own until it is complete.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::volume::{METADATA, failed, file_name, remove};
use super::{CacheError, CacheMetadata, CacheSink};
use crate::digest::DiffId;

/// With more new files than this the whole file system is written out rather than each of them.
const SYNC_EACH: usize = 32;

/// The directory `staging`, made anew.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    dir: OwnedFd,
    /// The names of the files that were written and not linked.
    new: Mutex<Vec<String>>,
    /// How many files were begun.
    begun: AtomicU64,
}

impl Staging {
    /// An empty directory in the place of whatever an earlier build left there.
    pub fn create(cache: &Path, root: BorrowedFd<'_>) -> Result<Self, CacheError> {
        let path = cache.join("staging");
        remove(&path).map_err(|source| CacheError::Io { action: "remove", path: path.clone(), source })?;
        let make = || {
            mkdirat(root, "staging", Mode::from(0o777))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(root, "staging", flags, Mode::empty())
        };
        let dir = make().map_err(|errno| failed("create", &path, errno))?;
        Ok(Self { path, dir, new: Mutex::default(), begun: AtomicU64::new(0) })
    }

    /// A new file, which has no name of its own yet.
    pub fn sink(self: &std::sync::Arc<Self>) -> Result<StagedLayer, CacheError> {
        let name = format!("{}.new", self.begun.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, &name, flags, Mode::from(0o666))
            .map_err(|errno| failed("create", &self.path.join(&name), errno))?;
        Ok(StagedLayer { staging: self.clone(), name, file: File::from(file) })
    }

    /// Keeps the layer `diff_id` of `committed` under the same name.
    pub fn link(&self, committed: BorrowedFd<'_>, diff_id: DiffId) -> Result<(), Errno> {
        let name = file_name(diff_id);
        match linkat(committed, &name, &self.dir, &name, AtFlags::empty()) {
            Err(Errno::EXIST) => return Ok(()),
            result => result?,
        }
        let stat = statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            return Ok(());
        }
        unlinkat(&self.dir, &name, AtFlags::empty())?;
        Err(Errno::INVAL)
    }

    /// Writes the metadata, and everything out to the disk.
    pub fn complete(&self, metadata: &CacheMetadata) -> Result<(), CacheError> {
        let mut text = serde_json::to_vec(metadata).map_err(|error| CacheError::Metadata {
            path: self.path.join(METADATA),
            why: error.to_string(),
        })?;
        text.push(b'\n');
        self.write(METADATA, &text).map_err(|source| self.failed("write", source))?;
        self.sync().map_err(|errno| self.failed("write", errno.into()))
    }

    fn write(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.dir, name, flags, Mode::from(0o666))?);
        file.write_all(text)?;
        file.sync_all()
    }

    fn sync(&self) -> Result<(), Errno> {
        let new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        if new.len() > SYNC_EACH {
            return rustix::fs::syncfs(&self.dir);
        }
        for name in new.iter() {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::fdatasync(openat(&self.dir, name, flags, Mode::empty())?)?;
        }
        rustix::fs::fsync(&self.dir)
    }

    pub(super) fn failed(&self, action: &'static str, source: io::Error) -> CacheError {
        CacheError::Io { action, path: self.path.clone(), source }
    }
}

/// A layer that is being written.
#[derive(Debug)]
pub struct StagedLayer {
    staging: std::sync::Arc<Staging>,
    /// The name it has until it is complete; empty afterwards.
    name: String,
    file: File,
}

impl Write for StagedLayer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl CacheSink for StagedLayer {
    fn commit(mut self: Box<Self>, diff_id: DiffId) -> Result<(), CacheError> {
        let dir = self.staging.dir.as_fd();
        let name = file_name(diff_id);
        renameat(dir, &self.name, dir, &name)
            .map_err(|errno| self.staging.failed("rename in", errno.into()))?;
        self.name.clear();
        self.staging.new.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        Ok(())
    }
}

impl Drop for StagedLayer {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // Left over it would be removed with the whole directory.
            let _ = unlinkat(&self.staging.dir, &self.name, AtFlags::empty());
        }
    }
}
