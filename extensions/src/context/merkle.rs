//! One digest for everything selected: two selections with the same digest give the same copy.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;

use rustix::buffer::spare_capacity;
use sha2::{Digest as _, Sha256};

use super::{Context, ContextError, Entry, EntryKind, Selected};
use crate::root::at;

/// How much of a file is read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// The kernel's limit on an attribute.
const MAX_XATTR_BYTES: usize = 64 * 1024;

impl Context {
    /// Computes the digest of what was selected, in order: paths, types, permission bits, sizes and
    /// contents, link targets, file capabilities. Times and owners are no part of it, nor is the place
    /// in the context, nor the name of a directory whose contents are copied.
    ///
    /// # Errors
    /// A file that cannot be read, or changed since it was selected.
    pub fn digest(&self, selection: &[Selected]) -> Result<[u8; 32], ContextError> {
        let mut all = Sha256::new();
        for selected in selection {
            let first = selected.entries.first().map(|entry| &entry.kind);
            all.update(b"source");
            if first != Some(&EntryKind::Directory) {
                field(&mut all, selected.name.as_bytes());
            }
            all.update(length(selected.entries.len()));
            for entry in &selected.entries {
                self.entry(selected, entry, &mut all)?;
            }
        }
        Ok(all.finalize().into())
    }

    fn entry(&self, selected: &Selected, entry: &Entry, all: &mut Sha256) -> Result<(), ContextError> {
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
                self.content(selected, entry, *size_bytes, all)?;
            }
        }
        Ok(())
    }

    fn content(
        &self,
        selected: &Selected,
        entry: &Entry,
        size_bytes: u64,
        all: &mut Sha256,
    ) -> Result<(), ContextError> {
        let path = selected.path_of(entry);
        let mut file = self.open_file(selected, entry)?;
        let mut capability = Vec::with_capacity(MAX_XATTR_BYTES);
        // A file system without attributes has no capabilities.
        let _ = rustix::fs::fgetxattr(file.as_fd(), "security.capability", spare_capacity(&mut capability));
        field(all, &capability);
        let mut content = Sha256::new();
        let mut read = 0;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = file.read(&mut buffer).map_err(at("read", &path))?;
            if count == 0 {
                break;
            }
            read += count as u64;
            content.update(&buffer[..count]);
        }
        if read != size_bytes {
            return Err(ContextError::Changed { path });
        }
        all.update(content.finalize());
        Ok(())
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
