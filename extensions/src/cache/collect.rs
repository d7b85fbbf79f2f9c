//! Garbage collection: records whose time has run out, then blobs that no record names.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, statat, unlinkat};
use rustix::io::Errno;

use super::store::{BLOBS, Cache, CacheError, MOUNTS, STEPS, TMP, now};
use crate::layer::{Remover, names};
use crate::root::{Guard, at};
use crate::snapshot::IgnoreSet;

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Records.
    pub records: usize,
    /// Layers, lists of times, and unfinished files.
    pub blobs: usize,
    /// Directories of cache mounts.
    pub mounts: usize,
}

impl Cache {
    /// Removes what cannot be found any more. Does nothing while another process uses the cache.
    pub fn collect(&self) -> Result<Collected, CacheError> {
        match flock(&self.lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            // The shared lock was given up for the try.
            Err(Errno::WOULDBLOCK) => return self.lock_shared().map(|()| Collected::default()),
            Err(error) => return Err(at("lock", &self.path)(error).into()),
        }
        let collected = self.collect_locked();
        self.lock_shared()?;
        collected
    }

    fn lock_shared(&self) -> Result<(), CacheError> {
        Ok(flock(&self.lock, FlockOperation::LockShared).map_err(at("lock", &self.path))?)
    }

    fn collect_locked(&self) -> Result<Collected, CacheError> {
        let mut used = BTreeSet::new();
        let mut collected = Collected::default();
        let steps = self.open_own_dir(STEPS)?;
        for prefix in self.list(&steps, STEPS)? {
            let below = Path::new(STEPS).join(&prefix);
            let Ok(dir) = self.open_own_dir(&below) else {
                continue;
            };
            for name in self.list(&dir, &prefix)? {
                let record = name.strip_suffix(".json").and_then(|key| self.record(key));
                match record.filter(|record| self.is_fresh(record)) {
                    Some(record) => {
                        used.extend(record.layer.into_iter().flat_map(|layer| [layer.blob, layer.mtimes]));
                    }
                    None => collected.records += usize::from(remove(&dir, &name)),
                }
            }
        }
        for (from, keep) in [(BLOBS, used), (TMP, BTreeSet::new())] {
            let dir = self.open_own_dir(from)?;
            for name in self.list(&dir, from)? {
                collected.blobs += usize::from(!keep.contains(&name) && remove(&dir, &name));
            }
        }
        collected.mounts = self.collect_mounts()?;
        Ok(collected)
    }

    /// Removes the directories of cache mounts that were not used for as long as a record is good.
    fn collect_mounts(&self) -> Result<usize, CacheError> {
        let mounts = self.open_own_dir(MOUNTS)?;
        let mut removed = 0;
        for name in self.list(&mounts, MOUNTS)? {
            let used = statat(&mounts, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
            let used = used.map_err(at("stat", &self.path.join(MOUNTS)))?.st_mtime;
            let age = u64::try_from(now().saturating_sub(used)).unwrap_or(0);
            if age < self.ttl.as_secs() {
                continue;
            }
            let ignore = IgnoreSet::default();
            Remover(Guard::new(&ignore)).remove(&mounts, Path::new(&name), &|_| false)?;
            removed += 1;
        }
        Ok(removed)
    }

    fn list(&self, dir: &OwnedFd, what: &str) -> Result<Vec<String>, CacheError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = self.path.join(what);
        let fresh = openat(dir, ".", flags, Mode::empty()).map_err(at("open directory", &path))?;
        let list = names(&fresh).map_err(at("read directory", &path))?;
        Ok(list.iter().filter_map(|name| name.to_str().ok()).map(str::to_owned).collect())
    }
}

fn remove(dir: &OwnedFd, name: &str) -> bool {
    unlinkat(dir, name, AtFlags::empty()).is_ok()
}
