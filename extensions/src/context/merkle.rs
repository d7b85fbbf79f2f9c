//! One digest for everything selected: two selections with the same digest give the same copy.

use std::io::Read as _;
use std::num::NonZero;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::buffer::spare_capacity;
use sha2::{Digest as _, Sha256};

use super::{Context, ContextError, Entry, EntryKind, Files, Selected};
use crate::root::at;

/// How much of a file is read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// The kernel's limit on an attribute.
const MAX_XATTR_BYTES: usize = 64 * 1024;
/// More than this many threads wait for the disk.
const MAX_THREADS: usize = 8;
/// How many files a thread takes at a time: neighbours, mostly of one directory.
const BATCH: usize = 64;

/// What of a file is in the digest beside its entry: SHA-256 of its capabilities and its bytes.
pub type ContentDigest = [u8; 32];

/// Computes a [`ContentDigest`] while a file is read for another purpose.
#[derive(Debug, Clone)]
pub struct ContentHash(Sha256);

impl ContentHash {
    /// Starts with the value of the file's attribute `security.capability`; empty for none.
    pub fn new(capability: &[u8]) -> Self {
        let mut hash = Sha256::new();
        field(&mut hash, capability);
        Self(hash)
    }

    /// Adds bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest.
    pub fn finish(self) -> ContentDigest {
        self.0.finalize().into()
    }
}

impl Context {
    /// Computes the digest of what was selected, in order: paths, types, permission bits, sizes and
    /// contents, link targets, file capabilities. Times and owners are no part of it, nor is the place
    /// in the context, nor the name of a directory whose contents are copied.
    ///
    /// # Errors
    /// A file that cannot be read, or changed since it was selected.
    pub fn digest(&self, selection: &[Selected]) -> Result<[u8; 32], ContextError> {
        Ok(self.digest_with_contents(selection)?.0)
    }

    /// Computes the digest of what was selected, and returns it with those of the contents of all files
    /// in it, in order, for a copy to be compared with.
    ///
    /// # Errors
    /// As [`digest`](Self::digest).
    pub fn digest_with_contents(
        &self,
        selection: &[Selected],
    ) -> Result<([u8; 32], Vec<ContentDigest>), ContextError> {
        let files: Vec<(&Selected, &Entry)> = selection
            .iter()
            .flat_map(|selected| selected.entries.iter().map(move |entry| (selected, entry)))
            .filter(|(_, entry)| matches!(entry.kind, EntryKind::File { .. }))
            .collect();
        let contents = self.contents(&files)?;
        let digest = combine(selection, &mut contents.iter());
        Ok((digest, contents))
    }

    /// Reads files on all processors; returns what is in the digest, in their order.
    fn contents(&self, files: &[(&Selected, &Entry)]) -> Result<Vec<ContentDigest>, ContextError> {
        let batches: Vec<_> = files.chunks(BATCH).collect();
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = processors.min(MAX_THREADS).min(batches.len());
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Vec<ContentDigest>)>, ContextError> {
            let mut reader = Reader::new(self.files());
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(index) else { return Ok(done) };
                let contents: Result<_, _> =
                    batch.iter().map(|(selected, entry)| reader.content(selected, entry)).collect();
                done.push((index, contents?));
            }
        };
        let mut done = std::thread::scope(|scope| {
            let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = work()?;
            for worker in workers {
                done.extend(worker.join().expect("a reader does not panic")?);
            }
            Ok::<_, ContextError>(done)
        })?;
        done.sort_by_key(|(index, _)| *index);
        Ok(done.into_iter().flat_map(|(_, contents)| contents).collect())
    }
}

fn combine(selection: &[Selected], contents: &mut std::slice::Iter<'_, ContentDigest>) -> [u8; 32] {
    let mut all = Sha256::new();
    for selected in selection {
        let first = selected.entries.first().map(|entry| &entry.kind);
        all.update(b"source");
        if first != Some(&EntryKind::Directory) {
            field(&mut all, selected.name.as_bytes());
        }
        all.update(length(selected.entries.len()));
        for entry in &selected.entries {
            add_entry(&mut all, entry, contents);
        }
    }
    all.finalize().into()
}

fn add_entry(all: &mut Sha256, entry: &Entry, contents: &mut std::slice::Iter<'_, ContentDigest>) {
    field(all, entry.path.as_os_str().as_bytes());
    match &entry.kind {
        EntryKind::Directory => {
            all.update(b"d");
            all.update(entry.mode.to_be_bytes());
        }
        EntryKind::Symlink { target } => {
            all.update(b"l");
            field(all, target.as_bytes());
        }
        EntryKind::File { size_bytes } => {
            all.update(b"f");
            all.update(entry.mode.to_be_bytes());
            all.update(size_bytes.to_be_bytes());
            all.update(contents.next().expect("each file has its content"));
        }
    }
}

/// Reads files into buffers of its own.
struct Reader<'c> {
    files: Files<'c>,
    bytes: Vec<u8>,
    capability: Vec<u8>,
}

impl<'c> Reader<'c> {
    fn new(files: Files<'c>) -> Self {
        Self { files, bytes: vec![0; BUFFER_BYTES], capability: Vec::with_capacity(MAX_XATTR_BYTES) }
    }

    fn content(&mut self, selected: &Selected, entry: &Entry) -> Result<ContentDigest, ContextError> {
        let mut file = self.files.open(selected, entry)?;
        self.capability.clear();
        // A file system without attributes has no capabilities.
        let _ =
            rustix::fs::fgetxattr(file.as_fd(), "security.capability", spare_capacity(&mut self.capability));
        let mut content = ContentHash::new(&self.capability);
        let mut total_bytes = 0;
        loop {
            let count =
                file.read(&mut self.bytes).map_err(|error| at("read", &selected.path_of(entry))(error))?;
            if count == 0 {
                break;
            }
            total_bytes += count as u64;
            content.update(&self.bytes[..count]);
        }
        if entry.kind != (EntryKind::File { size_bytes: total_bytes }) {
            return Err(ContextError::Changed { path: selected.path_of(entry) });
        }
        Ok(content.finish())
    }
}

fn length(length: usize) -> [u8; 8] {
    (length as u64).to_be_bytes()
}

/// Adds bytes with their length, so that no two sequences of fields look the same.
fn field(all: &mut Sha256, bytes: &[u8]) {
    all.update(length(bytes.len()));
    all.update(bytes);
}
