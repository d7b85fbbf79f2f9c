//! Reading from and writing to the cache's directory.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::key::Key;
use super::record::{self, Footprint, LayerRecord, Record, hex};
use crate::layer::{LayerFile, Mtimes};
use crate::root::{PathError, at};

/// A larger record is a miss.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// The directories of the cache.
pub(super) const STEPS: &str = "steps";
pub(super) const BLOBS: &str = "blobs";
pub(super) const MOUNTS: &str = "mounts";
pub(super) const TMP: &str = "tmp";

/// A step cache in a directory.
#[derive(Debug)]
pub struct Cache {
    pub(super) dir: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) lock: File,
    pub(super) ttl: Duration,
    next: AtomicU32,
}

/// The cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Its directory belongs to someone else, or others may write to it.
    #[error("step cache `{}` is not ours alone", .0.display())]
    NotOurs(PathBuf),
    /// Its directory was made by someone else, who keeps it to themselves.
    #[error("step cache `{}` was made by another user, and is closed to this one", .0.display())]
    Closed(PathBuf),
    /// A file operation failed.
    #[error("failed to {0}")]
    Path(#[from] PathError),
    /// A record cannot be written.
    #[error("failed to write record: {0}")]
    Record(#[from] serde_json::Error),
}

/// What was found of a step.
#[derive(Debug)]
pub struct Hit {
    /// The record.
    pub record: Record,
    /// The layer, verified; `None` if the step changed nothing.
    pub layer: Option<CachedLayer>,
}

/// A layer of the cache.
#[derive(Debug)]
pub struct CachedLayer {
    /// The blob, opened, at its start.
    pub blob: File,
    /// The blob's path.
    pub path: PathBuf,
    /// True modification times of its entries.
    pub mtimes: Mtimes,
}

/// A new blob in the cache's directory, to be written and then stored. Removed if it is not.
#[derive(Debug)]
pub struct NewBlob {
    /// The file, to be written.
    pub file: File,
    name: String,
    dir: OwnedFd,
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        // Stored blobs are not there any more; a collection removes what stays.
        let _ = unlinkat(&self.dir, self.name.as_str(), rustix::fs::AtFlags::empty());
    }
}

impl Cache {
    /// Opens the cache in a directory, and makes it if there is none. A record is good for `ttl`; 0
    /// finds nothing.
    ///
    /// Fails if the directory is not the process's own, or root's: then someone else could have
    /// written what is in it.
    pub fn open(path: &Path, ttl: Duration) -> Result<Self, CacheError> {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        let name = path.file_name().unwrap_or_default();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = openat(rustix::fs::CWD, above.unwrap_or(Path::new(".")), flags, Mode::empty())
            .map_err(at("open directory", path))?;
        let dir = own_dir(&above, Path::new(name), path)?;
        for name in [STEPS, BLOBS, MOUNTS, TMP] {
            own_dir(&dir, Path::new(name), &path.join(name))?;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock =
            openat(&dir, "lock", flags, Mode::RUSR | Mode::WUSR).map_err(at("open", &path.join("lock")))?;
        flock(&lock, FlockOperation::LockShared).map_err(at("lock", &path.join("lock")))?;
        Ok(Self { dir, path: path.to_owned(), lock: lock.into(), ttl, next: AtomicU32::new(0) })
    }

    /// Finds a step. Anything that is not as it must be is a miss.
    pub fn find(&self, key: &Key) -> Option<Hit> {
        let record = self.record(&key.hex())?;
        if !self.is_fresh(&record) {
            return None;
        }
        let layer = match &record.layer {
            None => None,
            Some(layer) => Some(self.layer(layer)?),
        };
        Some(Hit { record, layer })
    }

    /// Tells whether the record's time has not run out. One from the future is as good as none.
    pub(super) fn is_fresh(&self, record: &Record) -> bool {
        let age = now().checked_sub(record.created).and_then(|age| u64::try_from(age).ok());
        age.is_some_and(|age| age < self.ttl.as_secs())
    }

    pub(super) fn record(&self, key: &str) -> Option<Record> {
        let dir = self.open_own_dir(Path::new(STEPS).join(key.get(..2)?)).ok()?;
        let mut bytes = Vec::new();
        let file = open_own(&dir, &format!("{key}.json"))?;
        file.take(MAX_RECORD_BYTES).read_to_end(&mut bytes).ok()?;
        Record::decode(&bytes, key)
    }

    fn layer(&self, layer: &LayerRecord) -> Option<CachedLayer> {
        let blobs = self.open_own_dir(BLOBS).ok()?;
        let blob = verified(&blobs, &layer.blob)?;
        if fstat(&blob).ok()?.st_size != i64::try_from(layer.blob_size).ok()? {
            return None;
        }
        let mut bytes = Vec::new();
        verified(&blobs, &layer.mtimes)?.read_to_end(&mut bytes).ok()?;
        let path = self.path.join(BLOBS).join(&layer.blob);
        Some(CachedLayer { blob, path, mtimes: Mtimes::decode(&bytes)? })
    }

    /// Makes a file that can become a blob.
    pub fn new_blob(&self) -> Result<NewBlob, CacheError> {
        let dir = self.open_own_dir(TMP)?;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}-{}", std::process::id(), now());
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&dir, name.as_str(), flags, Mode::RUSR | Mode::WUSR) {
                Ok(fd) => return Ok(NewBlob { file: fd.into(), name, dir }),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(at("create", &self.path.join(TMP).join(&name))(error).into()),
            }
        }
    }

    /// Keeps a blob of that digest. Returns its path.
    pub fn keep(&self, blob: &NewBlob, digest: &[u8; 32]) -> Result<PathBuf, CacheError> {
        let name = hex(digest);
        let path = self.path.join(BLOBS).join(&name);
        let blobs = self.open_own_dir(BLOBS)?;
        renameat(&blob.dir, blob.name.as_str(), &blobs, name.as_str()).map_err(at("rename", &path))?;
        Ok(path)
    }

    /// Stores a step that changed nothing.
    pub fn store_nothing(&self, key: &Key, created_by: &str) -> Result<(), CacheError> {
        self.store(key, created_by, None, Footprint::default())
    }

    /// Stores a step with a layer, whose blob is kept already.
    pub fn store_layer(
        &self,
        key: &Key,
        created_by: &str,
        layer: &LayerFile,
        mtimes: &Mtimes,
        footprint: Footprint,
    ) -> Result<(), CacheError> {
        let bytes = mtimes.encode();
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let mut sidecar = self.new_blob()?;
        sidecar.file.write_all(&bytes).map_err(at("write", &self.path))?;
        self.keep(&sidecar, &digest)?;
        let layer = LayerRecord {
            diff_id: layer.diff_id.clone(),
            tar_size: layer.tar_size,
            blob: layer.digest.clone(),
            blob_size: layer.size,
            compression: layer.compression,
            mtimes: hex(&digest),
        };
        self.store(key, created_by, Some(layer), footprint)
    }

    fn store(
        &self,
        key: &Key,
        created_by: &str,
        layer: Option<LayerRecord>,
        footprint: Footprint,
    ) -> Result<(), CacheError> {
        let record = Record {
            version: record::VERSION,
            key: key.hex(),
            created: now(),
            created_by: created_by.to_owned(),
            layer,
            footprint,
            checksum: String::new(),
        };
        let name = format!("{}.json", record.key);
        let below = Path::new(STEPS).join(&record.key[..2]);
        let path = self.path.join(&below).join(&name);
        let steps = self.open_own_dir(STEPS)?;
        let dir = own_dir(&steps, Path::new(&record.key[..2]), &self.path.join(&below))?;
        let mut file = self.new_blob()?;
        file.file.write_all(&record.encode()?).map_err(at("write", &path))?;
        renameat(&file.dir, file.name.as_str(), &dir, name.as_str()).map_err(at("rename", &path))?;
        Ok(())
    }

    /// Opens a directory of the cache, no component of which may be a link.
    pub(super) fn open_own_dir(&self, below: impl AsRef<Path>) -> Result<OwnedFd, CacheError> {
        let below = below.as_ref();
        let mut dir = self.dir.try_clone().map_err(at("open directory", &self.path))?;
        for name in below {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            dir = openat(&dir, name, flags, Mode::empty())
                .map_err(at("open directory", &self.path.join(below)))?;
        }
        Ok(dir)
    }
}

/// Opens a directory that must be ours alone, and makes it if there is none.
pub(super) fn own_dir(above: &OwnedFd, name: &Path, path: &Path) -> Result<OwnedFd, CacheError> {
    match mkdirat(above, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(at("create directory", path)(error).into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match openat(above, name, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(CacheError::NotOurs(path.to_owned())),
        Err(Errno::ACCESS) => return Err(CacheError::Closed(path.to_owned())),
        Err(error) => return Err(at("open directory", path)(error).into()),
    };
    if is_ours(&dir) { Ok(dir) } else { Err(CacheError::NotOurs(path.to_owned())) }
}

/// Tells whether only we, or root, could have written it.
fn is_ours(fd: impl AsFd) -> bool {
    let Ok(stat) = fstat(fd) else {
        return false;
    };
    let owner = stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw();
    owner && stat.st_mode & 0o022 == 0
}

/// Opens a regular file that is ours alone.
fn open_own(dir: &OwnedFd, name: &str) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(dir, name, flags, Mode::empty()).ok()?);
    let is_file = file.metadata().is_ok_and(|meta| meta.is_file());
    (is_file && is_ours(&file)).then_some(file)
}

/// Opens a blob, and hashes it. `None` if it is not what its name says.
fn verified(blobs: &OwnedFd, digest: &str) -> Option<File> {
    let mut file = open_own(blobs, digest)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    file.rewind().ok()?;
    (hex(&hash.finalize()) == digest).then_some(file)
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec
}
