//! A layer applied to a root: what it holds is written, what it deletes is removed.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::mtimes::Mtimes;
use super::reader::{TarEntry, TarReader};
use super::remove::Remover;
use super::unpack::{Unpack, UnpackError, Unpacked, Unpacker, relative};
use crate::root::PathError;

/// Marks that everything a lower layer has in the directory is deleted.
const OPAQUE: &[u8] = b".wh..wh.opq";
/// Other marks of the union file system that whiteouts come from; they mean nothing here.
const RESERVED: &[u8] = b".wh..wh.";
const WHITEOUT: &[u8] = b".wh.";

/// Applies an uncompressed layer. `mtimes` are the true modification times of its entries, where
/// they are known; else the layer's own count.
///
/// A whiteout deletes what was there before, never what the same layer holds. What would be written
/// or deleted where the guard forbids is left out: that path is not the image's in this container.
pub fn replay(rules: &Unpack<'_>, tar: impl Read, mtimes: Option<&Mtimes>) -> Result<Unpacked, UnpackError> {
    let mut reader = TarReader::new(tar);
    let mut unpacker = Unpacker::new(rules);
    let mut number = 0;
    while let Some(entry) = reader.next_entry()? {
        let mtime = mtimes.and_then(|mtimes| mtimes.get(number));
        number += 1;
        let name = entry.path.file_name().unwrap_or_default().as_bytes();
        let done = match name.strip_prefix(WHITEOUT) {
            Some(hidden) => {
                unpacker.count(&entry)?;
                delete(rules, &unpacker, &entry, hidden)
            }
            None => unpacker.put(&entry, mtime.unwrap_or(entry.mtime), &mut reader),
        };
        match done {
            Err(UnpackError::Path(error)) if error.is_read_only() => {}
            done => done?,
        }
    }
    unpacker.finish()
}

fn delete(
    rules: &Unpack<'_>,
    unpacker: &Unpacker<'_>,
    entry: &TarEntry,
    hidden: &[u8],
) -> Result<(), UnpackError> {
    let path = rules.below.join(relative(&entry.path)?);
    let above = path.parent().unwrap_or(Path::new(""));
    let keep = |path: &Path| unpacker.written.contains(path);
    let remover = Remover(rules.guard);
    let mark = [WHITEOUT, hidden].concat();
    if mark == OPAQUE {
        if let Some(dir) = present(rules.root.dir(above))? {
            remover.empty(&dir, &dir.path, &keep)?;
        }
    } else if !mark.starts_with(RESERVED) && !hidden.is_empty() {
        let hidden = above.join(OsStr::from_bytes(hidden));
        if let Some(Some(place)) = present(rules.root.place(&hidden))? {
            remover.remove(&place.dir, &place.path(), &keep)?;
        }
    }
    Ok(())
}

/// Takes a missing directory for an answer.
fn present<T>(found: Result<T, PathError>) -> Result<Option<T>, PathError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}
