//! Tests of layers: written as other tools read them, and safe to unpack whatever they hold.

mod attacks;
mod headers;
mod replayed;
mod written;

use std::path::Path;

use super::*;
use crate::root::{Guard, Root};
use crate::snapshot::{Changes, IgnoreSet, Method, diff, scan, wait_for_tick};

/// Scans, lets a test change something, and returns what changed.
fn changes_by(top: &Path, change: impl FnOnce(&Path)) -> Changes {
    let root = Root::open(top).expect("open root");
    let scan = || scan(&root, &IgnoreSet::default(), Method::Stat).expect("scan");
    let before = scan();
    wait_for_tick();
    change(top);
    diff(&before, &scan())
}

/// Writes the layer of what a test changes.
fn layer_of(top: &Path, change: impl FnOnce(&Path)) -> (Vec<u8>, WrittenLayer) {
    let changes = changes_by(top, change);
    let mut tar = Vec::new();
    let root = Root::open(top).expect("open root");
    let written = write_layer(&root, &changes, &mut tar).expect("write layer");
    (tar, written)
}

/// Applies a layer.
fn replay_on(
    top: &Path,
    tar: &[u8],
    mtimes: Option<&Mtimes>,
    ignore: &IgnoreSet,
) -> Result<Unpacked, UnpackError> {
    let root = Root::open(top).expect("open root");
    let rules = Unpack {
        root: &root,
        below: Path::new(""),
        guard: Guard::new(ignore),
        owner: None,
        limits: Limits::default(),
    };
    replay(&rules, tar, mtimes)
}

/// The entries of a tar.
fn entries(tar: &[u8]) -> Vec<TarEntry> {
    let mut reader = TarReader::new(tar);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().expect("read entry") {
        entries.push(entry);
    }
    entries
}

/// Builds a tar of entries with content.
fn tar_of(headers: &[(TarHeader, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (header, content) in headers {
        let mut header = header.clone();
        header.size = content.len() as u64;
        // So that a process that is not root may unpack it, too.
        header.uid = rustix::process::geteuid().as_raw();
        header.gid = rustix::process::getegid().as_raw();
        header.encode(&mut tar).expect("encode");
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend([0; 1024]);
    tar
}

fn header(path: &str, kind: EntryKind) -> TarHeader {
    TarHeader::new(path, kind, 0o755)
}

fn link(path: &str, kind: EntryKind, target: &str) -> TarHeader {
    TarHeader { link: target.into(), ..header(path, kind) }
}
