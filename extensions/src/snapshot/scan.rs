//! The scan: one walk over the root directory on several threads, metadata only.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::io::Errno;

use super::content::{self, Digest};
use super::ignore::{IgnoreSet, Look, Node};
use super::meta::{self, Meta, Mount};
use crate::root::{PathError, Root, at};

/// Threads of one scan. More than there are processors: with a cold cache they wait for the disk.
const THREADS: usize = 8;

/// Room for the names that one system call returns.
const NAMES_BYTES: usize = 64 * 1024;

/// How two scans tell a changed entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By metadata, the change time included.
    Stat,
    /// By content and the metadata that an image keeps.
    Hash,
}

/// A scan failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to scan: {0}")]
pub struct ScanError(#[from] PathError);

/// What one scan found: every entry below the root, but for ignored paths and other mounts.
#[derive(Debug)]
pub struct Tree {
    pub(super) method: Method,
    pub(super) listings: Vec<Listing>,
}

/// The entries of one directory, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Listing {
    names: Box<[u8]>,
    pub(super) entries: Box<[Entry]>,
    /// One per entry when contents are hashed, else none.
    pub(super) digests: Box<[Digest]>,
}

/// One entry of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) meta: Meta,
    name: (u32, u32),
    pub(super) below: Below,
}

/// What stands below an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// Nothing: it is no directory.
    Nothing,
    /// The entries of the listing of that number.
    Listing(u32),
    /// Unknown: the entry is ignored, or another file system is mounted there.
    Skipped,
}

impl Tree {
    /// Creates the scan of an empty root: compared with it, everything is new.
    pub fn empty(method: Method) -> Self {
        Self { method, listings: vec![Listing::default()] }
    }

    /// Counts the entries.
    pub fn len(&self) -> usize {
        self.listings.iter().map(|listing| listing.entries.len()).sum()
    }

    /// Tells whether the root directory is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Listing {
    pub(super) fn name(&self, entry: &Entry) -> &[u8] {
        let (start, end) = entry.name;
        &self.names[start as usize..end as usize]
    }

    pub(super) fn digest(&self, index: usize) -> Option<&Digest> {
        self.digests.get(index)
    }
}

/// Scans everything below the root but what is ignored or on another mount. No link is followed.
///
/// Fails if a directory cannot be read; what disappears meanwhile is left out.
pub fn scan(root: &Root, ignore: &IgnoreSet, method: Method) -> Result<Tree, ScanError> {
    let (_, mount) = meta::read(root.as_fd(), c".").map_err(at("stat", root.path()))?;
    let first = Job {
        listing: 0,
        parent: None,
        name: c".".to_owned(),
        path: PathBuf::new(),
        ignore: Some(ignore.top()),
    };
    let scanner = Scanner {
        root,
        mount,
        method,
        ready: Condvar::new(),
        queue: Mutex::new(Queue {
            jobs: vec![first],
            busy: 0,
            listings: vec![Listing::default()],
            failed: None,
        }),
    };
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(|| scanner.work());
        }
        scanner.work();
    });
    let queue = scanner.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    match queue.failed {
        Some(error) => Err(error.into()),
        None => Ok(Tree { method, listings: queue.listings }),
    }
}

struct Scanner<'s> {
    root: &'s Root,
    mount: Mount,
    method: Method,
    queue: Mutex<Queue<'s>>,
    ready: Condvar,
}

struct Queue<'s> {
    /// Last in, first out: that bounds the number of open directories.
    jobs: Vec<Job<'s>>,
    busy: usize,
    listings: Vec<Listing>,
    failed: Option<PathError>,
}

/// A directory to be listed.
struct Job<'s> {
    listing: u32,
    parent: Option<Arc<OwnedFd>>,
    name: CString,
    path: PathBuf,
    ignore: Option<&'s Node>,
}

/// What listing a directory gave: its entries, and the jobs of its directories by entry's index.
type Listed<'s> = (Listing, Vec<(usize, Job<'s>)>);

impl<'s> Scanner<'s> {
    fn work(&self) {
        let mut buffer = Vec::with_capacity(NAMES_BYTES);
        while let Some(job) = self.next() {
            let listed = self.list(&job, buffer.spare_capacity_mut());
            self.done(job.listing, listed);
        }
    }

    /// Takes a job; waits while there is none but may be one soon.
    fn next(&self) -> Option<Job<'s>> {
        let mut queue = self.lock();
        loop {
            if queue.failed.is_some() {
                return None;
            }
            if let Some(job) = queue.jobs.pop() {
                queue.busy += 1;
                return Some(job);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, number: u32, listed: Result<Listed<'s>, PathError>) {
        let mut queue = self.lock();
        queue.busy -= 1;
        match listed {
            Ok((mut listing, jobs)) => {
                for (index, mut job) in jobs {
                    let next = u32::try_from(queue.listings.len())
                        .expect("memory ends before there are as many directories");
                    listing.entries[index].below = Below::Listing(next);
                    job.listing = next;
                    queue.listings.push(Listing::default());
                    queue.jobs.push(job);
                }
                queue.listings[number as usize] = listing;
            }
            Err(error) => queue.failed = Some(error),
        }
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<'s>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, job: &Job<'s>, buffer: &mut [MaybeUninit<u8>]) -> Result<Listed<'s>, PathError> {
        let Some(fd) = self.open(job)? else {
            return Ok((Listing::default(), Vec::new()));
        };
        let names = read_names(&fd, buffer).map_err(at("read directory", &job.path))?;
        let fd = Arc::new(fd);
        let mut entries = Vec::with_capacity(names.len());
        let mut kept = Vec::new();
        let mut digests = Vec::new();
        let mut jobs = Vec::new();
        for name in &names {
            let Some((meta, found)) = self.look(job, &fd, name)? else {
                continue;
            };
            if self.method == Method::Hash {
                digests.push(match found.below {
                    Below::Skipped => Digest::default(),
                    _ => content::digest(fd.as_fd(), name, &meta)
                        .map_err(at("read", &job.path.join(content::display(name))))?,
                });
            }
            if let Some(below) = found.job {
                jobs.push((entries.len(), below));
            }
            let start = kept.len();
            kept.extend_from_slice(name.to_bytes());
            let place = |position| u32::try_from(position).expect("names fit in memory twice");
            entries.push(Entry { meta, name: (place(start), place(kept.len())), below: found.below });
        }
        let listing = Listing { names: kept.into(), entries: entries.into(), digests: digests.into() };
        Ok((listing, jobs))
    }

    /// Reads one entry; `None` if it is gone.
    fn look(
        &self,
        job: &Job<'s>,
        fd: &Arc<OwnedFd>,
        name: &CStr,
    ) -> Result<Option<(Meta, Found<'s>)>, PathError> {
        let look = job.ignore.map_or(Look::Outside, |ignore| ignore.look(name.to_bytes()));
        let ignore = match look {
            Look::Ignored => return Ok(Some((Meta::default(), Found::SKIPPED))),
            Look::Below(node) => Some(node),
            Look::Outside => None,
        };
        let path = || job.path.join(content::display(name));
        let (meta, mount) = match meta::read(fd.as_fd(), name) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(at("stat", &path())(error)),
        };
        if self.is_elsewhere(mount, &meta) {
            return Ok(Some((Meta::default(), Found::SKIPPED)));
        }
        let job = meta.is_dir().then(|| Job {
            listing: 0,
            parent: Some(Arc::clone(fd)),
            name: name.to_owned(),
            path: path(),
            ignore,
        });
        let below = Below::Nothing;
        Ok(Some((meta, Found { below, job })))
    }

    fn is_elsewhere(&self, mount: Mount, meta: &Meta) -> bool {
        match mount {
            Mount::Id(_) => mount != self.mount,
            // Files of an overlay may report the device of one of its layers.
            Mount::Device(_) => meta.is_dir() && mount != self.mount,
        }
    }

    /// Opens the directory of a job; `None` if it is gone.
    fn open(&self, job: &Job<'_>) -> Result<Option<OwnedFd>, PathError> {
        let parent: BorrowedFd<'_> = match &job.parent {
            Some(parent) => parent.as_fd(),
            None => self.root.as_fd(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |flags| openat(parent, &*job.name, flags, Mode::empty());
        // Only the owner may leave the access time alone.
        let opened = open(flags | OFlags::NOATIME).or_else(|error| match error {
            Errno::PERM => open(flags),
            error => Err(error),
        });
        match opened {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(at("open directory", &job.path)(error)),
        }
    }
}

/// What stands below an entry that was found.
struct Found<'s> {
    below: Below,
    job: Option<Job<'s>>,
}

impl Found<'_> {
    const SKIPPED: Self = Self { below: Below::Skipped, job: None };
}

fn read_names(fd: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    let mut entries = RawDir::new(fd, buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
