//! The cache in a directory, laid out as the reference implementation's, so that each can use the
//! other's.
//!
//! ```text
//! committed/sha256:….tar                               a layer's uncompressed tar, by its diffID
//! committed/io.buildpacks.lifecycle.cache.metadata     what is in it, as JSON
//! staging/                                             the same for the next build, until it is complete
//! ```
//!
//! What is committed is never changed, only exchanged as a whole. A commit that was interrupted leaves
//! the old or the new content. Entries are opened through the directory's handle, never through links.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, fstat, openat, renameat, renameat_with};
use rustix::io::Errno;

use super::staging::Staging;
use super::{Cache, CacheError, CacheMetadata, CacheSink};
use crate::digest::DiffId;
use crate::log::Log;

/// The file that says what is in a cache.
pub(super) const METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";

/// The longest such file that is read, in bytes.
const METADATA_MAX: u64 = 64 << 20;

/// A cache in a directory.
#[derive(Debug)]
pub struct VolumeCache {
    dir: PathBuf,
    root: OwnedFd,
    /// What it holds, if anything.
    committed: Option<OwnedFd>,
    /// What it will hold; made when it is first needed.
    staging: Mutex<Option<Arc<Staging>>>,
}

impl VolumeCache {
    /// Opens the cache in `dir`, which must exist, for reading; nothing in it is changed.
    pub fn open(dir: &Path, log: &Log) -> Result<Self, CacheError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, dir, flags, Mode::empty()).map_err(|errno| failed("open", dir, errno))?;
        let mut committed = None;
        // A commit that was interrupted between two renames left its old content under the second name.
        for name in ["committed", "committed-backup"] {
            match openat(&root, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(found) => committed = Some(found),
                Err(Errno::NOENT) => continue,
                Err(errno) => log.warn(format!(
                    "Ignoring the content of cache `{}`: failed to open `{name}`: {}",
                    dir.display(),
                    io::Error::from(errno)
                )),
            }
            break;
        }
        Ok(Self { dir: dir.to_owned(), root, committed, staging: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Staging>>> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn staging(&self) -> Result<Arc<Staging>, CacheError> {
        let mut staging = self.lock();
        match &*staging {
            Some(staging) => Ok(staging.clone()),
            None => Ok(staging.insert(Arc::new(Staging::create(&self.dir, self.root.as_fd())?)).clone()),
        }
    }

    fn open_committed(&self, diff_id: DiffId) -> Result<File, CacheError> {
        let committed = self.committed.as_ref().ok_or(CacheError::NotFound(diff_id))?;
        open_regular(committed, &file_name(diff_id)).map_err(|errno| match errno {
            Errno::NOENT => CacheError::NotFound(diff_id),
            Errno::ACCESS | Errno::PERM => CacheError::Forbidden(diff_id),
            errno => CacheError::Damaged(diff_id, io::Error::from(errno).to_string()),
        })
    }

    /// Puts what is staged in the place of what is committed: at once where the file system can do so.
    fn exchange(&self) -> Result<(), Errno> {
        let root = &self.root;
        match renameat_with(root, "staging", root, "committed", RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => renameat(root, "staging", root, "committed"),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.exchange_in_two_steps(),
            result => result,
        }
    }

    fn exchange_in_two_steps(&self) -> Result<(), Errno> {
        let root = &self.root;
        // Left by an earlier interruption; what is committed is younger.
        let _ = remove(&self.dir.join("committed-backup"));
        match renameat(root, "committed", root, "committed-backup") {
            Err(Errno::NOENT) => {}
            result => result?,
        }
        renameat(root, "staging", root, "committed").inspect_err(|_| {
            // If this fails too, the next build finds the content under its second name.
            let _ = renameat(root, "committed-backup", root, "committed");
        })
    }
}

impl Cache for VolumeCache {
    fn name(&self) -> String {
        self.dir.display().to_string()
    }

    fn metadata(&self) -> Result<CacheMetadata, CacheError> {
        let Some(committed) = &self.committed else { return Ok(CacheMetadata::default()) };
        let path = self.dir.join("committed").join(METADATA);
        let file = match open_regular(committed, METADATA) {
            Err(Errno::NOENT) => return Ok(CacheMetadata::default()),
            result => result.map_err(|errno| failed("open", &path, errno))?,
        };
        let mut text = Vec::new();
        file.take(METADATA_MAX + 1).read_to_end(&mut text).map_err(|source| CacheError::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        if text.len() as u64 > METADATA_MAX {
            return Err(CacheError::Metadata { path, why: "it is too large".to_owned() });
        }
        serde_json::from_slice(&text).map_err(|error| CacheError::Metadata { path, why: error.to_string() })
    }

    fn open_layer(&self, diff_id: DiffId) -> Result<Box<dyn Read + Send + '_>, CacheError> {
        Ok(Box::new(self.open_committed(diff_id)?))
    }

    fn layer_sink(&self) -> Result<Box<dyn CacheSink + '_>, CacheError> {
        Ok(Box::new(self.staging()?.sink()?))
    }

    fn reuse_layer(&self, diff_id: DiffId) -> Result<(), CacheError> {
        // Opened first: only what can be read as a file is worth keeping.
        let mut layer = self.open_committed(diff_id)?;
        let committed = self.committed.as_ref().ok_or(CacheError::NotFound(diff_id))?;
        let staging = self.staging()?;
        if staging.link(committed.as_fd(), diff_id).is_ok() {
            return Ok(());
        }
        // Links may be forbidden, to files of another owner or by the file system.
        let mut sink = staging.sink()?;
        io::copy(&mut layer, &mut sink).map_err(|source| staging.failed("write", source))?;
        Box::new(sink).commit(diff_id)
    }

    fn commit(&self, metadata: &CacheMetadata) -> Result<(), CacheError> {
        let staging = self.staging()?;
        staging.complete(metadata)?;
        self.exchange().map_err(|errno| failed("replace", &self.dir.join("committed"), errno))?;
        *self.lock() = None;
        rustix::fs::fsync(&self.root).map_err(|errno| failed("write", &self.dir, errno))?;
        for old in ["staging", "committed-backup"] {
            // What is left over is removed by the next build, and is in nobody's way.
            let _ = remove(&self.dir.join(old));
        }
        Ok(())
    }
}

pub(super) fn file_name(diff_id: DiffId) -> String {
    format!("{diff_id}.tar")
}

/// Opens a regular file of `dir`: no link, and no pipe that nobody writes to.
fn open_regular(dir: &OwnedFd, name: &str) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

/// Removes `path` and all below it, whatever it is, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

pub(super) fn failed(action: &'static str, path: &Path, errno: Errno) -> CacheError {
    CacheError::Io { action, path: path.to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests;
