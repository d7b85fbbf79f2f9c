//! Finds files in a stack of layers without unpacking it: what an image has at some paths.
//!
//! ```text
//!  layers, top first ─► scan ─► Scan ─► View::below ─► View: path ─► State
//! ```
//!
//! Layers are put below a view one by one, so that reading ends where every path is decided. A path
//! stands for what is below it, too; with `/.` behind it, for a directory itself alone. Links are not
//! followed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Bound;

use sha2::{Digest as _, Sha256};

use super::header::padding;
use super::read::{Entry, next_entry};

/// The most files that are kept of one layer.
const MAX_FILES: usize = 1 << 20;
/// The most bytes that a layer may have when it is uncompressed.
const MAX_BYTES: u64 = 64 << 30;
/// How many hard links may lead to each other.
const MAX_LINKS: usize = 8;
const WHITEOUT: &[u8] = b".wh.";
/// Behind a directory's path, what stands for it without what is in it.
pub const ITSELF: &[u8] = b"/.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a file is: a hash of its type, mode, owner, extended attributes and contents, not of its times.
pub type State = [u8; 32];

/// A path relative to the root, without `.`, `..` and double slashes.
type Path = Vec<u8>;

/// What one layer has at wanted paths and below them.
#[derive(Debug, Default)]
pub struct Scan {
    files: BTreeMap<Path, State>,
    /// Hard links, with where they point, until they are resolved.
    links: BTreeMap<Path, Path>,
    /// Paths that lower layers have no more, nor anything below.
    deleted: BTreeSet<Path>,
    /// Paths below which lower layers have nothing.
    covered: BTreeSet<Path>,
}

/// Reads a layer for what it has at `wanted`, given by `open` as a tar, and to its end.
///
/// Fails with the reader's errors, and with `InvalidData` for what is no tar or has too much in it.
pub fn scan<R: Read>(wanted: &BTreeSet<Path>, mut open: impl FnMut() -> io::Result<R>) -> io::Result<Scan> {
    let mut targets = BTreeSet::new();
    for _ in 0..=MAX_LINKS {
        let mut scan = Scan::read(wanted, &targets, open()?)?;
        let missing: Vec<Path> =
            scan.links.values().filter(|target| !targets.contains(*target)).cloned().collect();
        if missing.is_empty() {
            scan.resolve(wanted)?;
            return Ok(scan);
        }
        targets.extend(missing);
    }
    Err(invalid("too many hard links that lead to each other"))
}

impl Scan {
    /// Reads a layer for what it has at and below `wanted`, and exactly at `targets`.
    fn read(wanted: &BTreeSet<Path>, targets: &BTreeSet<Path>, tar: impl Read) -> io::Result<Self> {
        let mut scan = Self::default();
        let mut tar = tar.take(MAX_BYTES);
        while let Some(entry) = next_entry(&mut tar)? {
            let mut content = (&mut tar).take(entry.size);
            scan.add(&entry, wanted, targets, &mut content)?;
            let rest = content.limit().saturating_add(padding(entry.size) as u64);
            if io::copy(&mut (&mut tar).take(rest), &mut io::sink())? != rest {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if scan.files.len() + scan.deleted.len() > MAX_FILES {
                return Err(invalid("too many files"));
            }
        }
        io::copy(&mut tar, &mut io::sink())?;
        if tar.limit() == 0 { Err(invalid("it is too large")) } else { Ok(scan) }
    }

    fn add(
        &mut self,
        entry: &Entry,
        wanted: &BTreeSet<Path>,
        targets: &BTreeSet<Path>,
        content: &mut impl Read,
    ) -> io::Result<()> {
        let Some(path) = plain(&entry.name) else { return Ok(()) };
        let (parent, name) = split(&path);
        if name == OPAQUE {
            if concerns(wanted, parent) {
                self.covered.insert(parent.to_vec());
            }
            return Ok(());
        }
        if let Some(name) = name.strip_prefix(WHITEOUT) {
            let deleted = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
            if concerns(wanted, &deleted) {
                self.deleted.insert(deleted);
            }
            return Ok(());
        }
        if entry.flag != b'5' && concerns(wanted, &path) {
            self.covered.insert(path.clone());
        }
        if entry.flag == b'5' {
            let itself = [path.as_slice(), ITSELF].concat();
            if wanted.contains(&itself) {
                self.covered.insert(itself.clone());
                self.files.insert(itself, state(entry, &mut io::empty())?);
            }
        }
        if !is_within(wanted, &path) && !targets.contains(&path) {
            return Ok(());
        }
        self.links.remove(&path);
        self.files.remove(&path);
        match (entry.flag, plain(&entry.link)) {
            (b'1', Some(target)) => drop(self.links.insert(path, target)),
            _ => drop(self.files.insert(path, state(entry, content)?)),
        }
        Ok(())
    }

    /// Gives hard links the state of what they point to, and forgets what was read only for them.
    fn resolve(&mut self, wanted: &BTreeSet<Path>) -> io::Result<()> {
        let links = std::mem::take(&mut self.links);
        for (path, first) in &links {
            let follow = |target: &&Path| links.get(*target);
            let mut targets = std::iter::successors(Some(first), follow).take(MAX_LINKS);
            let state = targets.find_map(|target| self.files.get(target).copied());
            let state = state.ok_or_else(|| invalid("a hard link to a file of another layer"))?;
            self.files.insert(path.clone(), state);
        }
        self.files.retain(|path, _| is_within(wanted, path));
        Ok(())
    }
}

/// What a stack of layers has at wanted paths and below them, as far as it was read from the top.
#[derive(Debug, Default)]
pub struct View {
    files: BTreeMap<Path, State>,
    deleted: BTreeSet<Path>,
    covered: BTreeSet<Path>,
}

impl View {
    /// Puts a layer below those that it has.
    pub fn below(&mut self, layer: &Scan) {
        for (path, state) in &layer.files {
            if !self.hides(path) {
                self.files.entry(path.clone()).or_insert(*state);
            }
        }
        self.deleted.extend(layer.deleted.iter().cloned());
        self.covered.extend(layer.covered.iter().cloned());
    }

    /// Whether lower layers cannot change what is at `path` or below it.
    pub fn decides(&self, path: &[u8]) -> bool {
        self.hides(path) || self.covered.contains(path)
    }

    /// Whether it has said anything about `path` or what is below it.
    pub fn touches(&self, path: &[u8]) -> bool {
        self.decides(path)
            || self.at(path).next().is_some()
            || [&self.deleted, &self.covered].into_iter().any(|set| has_below(set, path))
    }

    /// The files at `path` and below it.
    pub fn at<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = (&'a [u8], State)> {
        let from = (Bound::Included(path), Bound::Unbounded);
        self.files
            .range::<[u8], _>(from)
            .take_while(|(found, _)| found.starts_with(path))
            .filter(|(found, _)| is_at_or_below(found, path))
            .map(|(found, state)| (found.as_slice(), *state))
    }

    fn hides(&self, path: &[u8]) -> bool {
        self.deleted.contains(path)
            || self.covered.contains(&b""[..])
            || parents(path).any(|parent| self.deleted.contains(parent) || self.covered.contains(parent))
    }
}

/// The hash of all that matters of a file.
fn state(entry: &Entry, content: &mut impl Read) -> io::Result<State> {
    let mut contents = Sha256::new();
    let mut buffer = [0; 1 << 14];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => contents.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut state = Sha256::new();
    let link = if entry.flag == b'2' { entry.link.as_slice() } else { &[] };
    let numbers = [
        u64::from(entry.flag),
        u64::from(entry.mode & 0o7777),
        entry.uid,
        entry.gid,
        u64::from(entry.device.0),
        u64::from(entry.device.1),
        link.len() as u64,
    ];
    for number in numbers {
        state.update(number.to_le_bytes());
    }
    state.update(link);
    for (key, value) in entry.records.iter().filter(|(key, _)| key.starts_with(b"SCHILY.xattr.")) {
        state.update((key.len() as u64).to_le_bytes());
        state.update(key);
        state.update((value.len() as u64).to_le_bytes());
        state.update(value);
    }
    Ok(state.chain_update(contents.finalize()).finalize().into())
}

/// A name of a tar as a path; `None` if it leads upwards or is the root.
fn plain(name: &[u8]) -> Option<Path> {
    let parts: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    (!parts.is_empty() && !parts.contains(&&b".."[..])).then(|| parts.join(&b'/'))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// The directories above `path`, but not the root.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at])
}

/// Whether `path` is wanted, or is below a path that is.
fn is_within(wanted: &BTreeSet<Path>, path: &[u8]) -> bool {
    wanted.contains(path) || parents(path).any(|parent| wanted.contains(parent))
}

/// Whether what is done at `path` may matter: it is wanted, below or above a path that is.
fn concerns(wanted: &BTreeSet<Path>, path: &[u8]) -> bool {
    is_within(wanted, path) || has_below(wanted, path)
}

/// Whether `set` has a path below `path`; the root's is empty.
fn has_below(set: &BTreeSet<Path>, path: &[u8]) -> bool {
    if path.is_empty() {
        return !set.is_empty();
    }
    let start = [path, b"/"].concat();
    set.range::<[u8], _>((Bound::Included(start.as_slice()), Bound::Unbounded))
        .next()
        .is_some_and(|found| found.starts_with(&start))
}

fn is_at_or_below(found: &[u8], path: &[u8]) -> bool {
    found.len() == path.len() || found[path.len()] == b'/'
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
