//! One OCI layout directory, held by descriptors: nothing read or written through it can be
//! outside of it, and no link in it is followed.
//!
//! Spec: OCI image-spec image-layout.md.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use crate::digest::Digest;
use crate::files::make_dirs;

/// What temporary files begin with.
const TEMPORARY: &str = ".tmp-";
/// Temporary files older than this belong to no one any more.
const ABANDONED: Duration = Duration::from_hours(24);
/// Blobs are readable by all whatever the umask: other phases run as other users.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const BLOBS: &str = "blobs";
const SHA256: &str = "sha256";

/// An open layout directory.
#[derive(Debug)]
pub struct LayoutDir {
    path: PathBuf,
    root: OwnedFd,
    /// `blobs/sha256`; `None` while there is none.
    blobs: Option<OwnedFd>,
}

impl LayoutDir {
    /// Opens the directory at `path`; `None` when there is none.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let Some(root) = found(rustix::fs::open(path, DIRECTORY, Mode::empty()))? else { return Ok(None) };
        let blobs = match found(subdirectory(&root, BLOBS))? {
            Some(blobs) => found(subdirectory(&blobs, SHA256))?,
            None => None,
        };
        Ok(Some(Self { path: path.to_owned(), root, blobs }))
    }

    /// Opens the directory at `path`, created where it is missing, to write into it.
    pub fn create(path: &Path) -> io::Result<Self> {
        make_dirs(&path.join(BLOBS).join(SHA256))?;
        Self::open(path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file `name` of the directory itself, at most `limit` bytes; `None` when there is none.
    pub fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        found(regular(&self.root, name))?.map(|file| read_all(&file, limit)).transpose()
    }

    /// The blob of that digest; `None` when there is none. Its bytes are not verified.
    pub fn blob(&self, digest: Digest) -> io::Result<Option<File>> {
        let Some(blobs) = &self.blobs else { return Ok(None) };
        found(regular(blobs, &digest.hex()))
    }

    /// A new file that can become a blob.
    pub fn new_blob(&self) -> io::Result<NewFile> {
        let blobs = self.blobs.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        NewFile::create(blobs)
    }

    /// Puts `bytes` in the place of the file `name` of the directory itself.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = NewFile::create(&self.root)?;
        file.write_all(bytes)?;
        file.rename(name)
    }

    /// Makes the blob of `from` a blob here, without copying it. Fails where the system does not allow it.
    pub fn link_blob(&self, from: &Self, digest: Digest) -> io::Result<()> {
        let (Some(source), Some(target)) = (&from.blobs, &self.blobs) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let name = digest.hex();
        match rustix::fs::linkat(source, &name, target, &name, AtFlags::empty()) {
            Err(rustix::io::Errno::EXIST) => {
                rustix::fs::unlinkat(target, &name, AtFlags::empty())?;
                Ok(rustix::fs::linkat(source, &name, target, &name, AtFlags::empty())?)
            }
            other => Ok(other?),
        }
    }

    /// Removes what builds that were killed left of temporary files; another one may be at work right
    /// now. Looks at every blob's name, so not to be done for each.
    pub fn remove_abandoned(&self) {
        for dir in [Some(&self.root), self.blobs.as_ref()].into_iter().flatten() {
            let Ok(entries) = Dir::read_from(dir) else { continue };
            for name in entries.flatten().map(|entry| entry.file_name().to_owned()) {
                if name.to_bytes().starts_with(TEMPORARY.as_bytes()) && is_abandoned(dir, &name) {
                    let _ = rustix::fs::unlinkat(dir, &name, AtFlags::empty());
                }
            }
        }
    }
}

fn is_abandoned(dir: &OwnedFd, name: &std::ffi::CStr) -> bool {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    let modified = u64::try_from(stat.st_mtime).map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED))
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const NO_LINK: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

fn subdirectory(dir: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, DIRECTORY.union(NO_LINK), Mode::empty())
}

/// Opens a regular file. A pipe must not make us wait, hence without blocking.
fn regular(dir: &OwnedFd, name: &str) -> rustix::io::Result<File> {
    let file = File::from(rustix::fs::openat(dir, name, NO_LINK | OFlags::NONBLOCK, Mode::empty())?);
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file { Ok(file) } else { Err(rustix::io::Errno::NXIO) }
}

fn found<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(rustix::io::Errno::LOOP) => Err(io::Error::other("it is a symbolic link")),
        Err(rustix::io::Errno::NXIO | rustix::io::Errno::ISDIR) => {
            Err(io::Error::other("it is not a regular file"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The bytes of `file`, which must be at most `limit`.
pub fn read_all(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// A file on its way into a layout: written under a temporary name and, unless renamed, removed.
#[derive(Debug)]
pub struct NewFile {
    dir: OwnedFd,
    file: File,
    name: String,
    is_renamed: bool,
}

impl NewFile {
    fn create(dir: &OwnedFd) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | NO_LINK;
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{TEMPORARY}{}-{count}", std::process::id());
            match rustix::fs::openat(dir, &name, flags, FILE_MODE) {
                Ok(file) => {
                    let dir = dir.try_clone()?;
                    return Ok(Self { dir, file: file.into(), name, is_renamed: false });
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Its size so far, in bytes.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.size())
    }

    /// Makes it the file `name`, readable by all.
    pub fn rename(mut self, name: &str) -> io::Result<()> {
        rustix::fs::fchmod(&self.file, FILE_MODE)?;
        rustix::fs::renameat(&self.dir, &self.name, &self.dir, name)?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_renamed {
            let _ = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
        }
    }
}
