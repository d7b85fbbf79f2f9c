//! Two scans compared: what was added, changed, deleted between them.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::scan::{Below, Entry, Listing, Tree};

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path below the root, without a leading `/`.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another than before: content, metadata, type, or only its inode.
    Modified,
    /// It is gone; nothing below it is listed.
    Deleted,
}

/// What changed, sorted by path: a directory comes before what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    list: Vec<Change>,
    /// Modified paths that are directories now and were not.
    new_dirs: BTreeSet<PathBuf>,
}

impl Changes {
    /// Creates the changes from a list in any order. Of two changes of one path the last counts.
    pub fn new(mut list: Vec<Change>) -> Self {
        list.reverse();
        list.sort_by(|a, b| path_order(&a.path, &b.path));
        list.dedup_by(|a, b| a.path == b.path);
        Self { list, new_dirs: BTreeSet::new() }
    }

    /// Tells whether a modified path is a directory that was something else before.
    pub fn became_dir(&self, path: &Path) -> bool {
        self.new_dirs.contains(path)
    }

    /// Returns the changes in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.list.iter()
    }

    /// Tells whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Counts the changed paths.
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl<'c> IntoIterator for &'c Changes {
    type Item = &'c Change;
    type IntoIter = std::slice::Iter<'c, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Orders paths by their components, so that a directory comes before what is in it, and that
/// before its next sibling.
fn path_order(a: &Path, b: &Path) -> Ordering {
    sort_key(a).cmp(sort_key(b))
}

/// No name holds a zero byte, so as a separator it sorts before every other.
fn sort_key(path: &Path) -> impl Iterator<Item = u8> {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.map(|byte| if *byte == b'/' { 0 } else { *byte })
}

/// Compares two scans of one root.
///
/// What either of them skipped counts as unchanged. A directory that became something else is one
/// change; a deleted directory is one, too.
pub fn diff(before: &Tree, after: &Tree) -> Changes {
    let mut differ = Differ {
        before,
        after,
        list: Vec::new(),
        new_dirs: BTreeSet::new(),
        open: vec![Pair { before: Some(0), after: 0, path: PathBuf::new() }],
    };
    while let Some(pair) = differ.open.pop() {
        differ.compare(&pair);
    }
    Changes { new_dirs: differ.new_dirs, ..Changes::new(differ.list) }
}

struct Differ<'t> {
    before: &'t Tree,
    after: &'t Tree,
    list: Vec<Change>,
    new_dirs: BTreeSet<PathBuf>,
    open: Vec<Pair>,
}

/// A directory of the later scan, with that of the earlier one if it was a directory then.
struct Pair {
    before: Option<u32>,
    after: u32,
    path: PathBuf,
}

impl Differ<'_> {
    /// Walks two sorted listings side by side.
    fn compare(&mut self, pair: &Pair) {
        let empty = Listing::default();
        let (before, after) = (self.before, self.after);
        let old = pair.before.map_or(&empty, |number| &before.listings[number as usize]);
        let new = &after.listings[pair.after as usize];
        let (mut i, mut j) = (0, 0);
        loop {
            let order = match (old.entries.get(i), new.entries.get(j)) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => old.name(a).cmp(new.name(b)),
            };
            match order {
                Ordering::Less => self.deleted(pair, old, &old.entries[i]),
                Ordering::Greater => self.added(pair, new, &new.entries[j]),
                Ordering::Equal => self.both(pair, (old, i), (new, j)),
            }
            i += usize::from(order != Ordering::Greater);
            j += usize::from(order != Ordering::Less);
        }
    }

    fn deleted(&mut self, pair: &Pair, old: &Listing, entry: &Entry) {
        if entry.below != Below::Skipped {
            self.push(pair, old.name(entry), ChangeKind::Deleted);
        }
    }

    fn added(&mut self, pair: &Pair, new: &Listing, entry: &Entry) {
        if entry.below == Below::Skipped {
            return;
        }
        let path = self.push(pair, new.name(entry), ChangeKind::Added);
        self.descend(entry, None, path);
    }

    fn both(&mut self, pair: &Pair, old: (&Listing, usize), new: (&Listing, usize)) {
        let (a, b) = (&old.0.entries[old.1], &new.0.entries[new.1]);
        if a.below == Below::Skipped || b.below == Below::Skipped {
            return;
        }
        let name = new.0.name(b);
        let path = if self.is_same(old, new) {
            pair.path.join(OsStr::from_bytes(name))
        } else {
            self.push(pair, name, ChangeKind::Modified)
        };
        let before = match a.below {
            Below::Listing(number) => Some(number),
            Below::Nothing | Below::Skipped => None,
        };
        if before.is_none() && matches!(b.below, Below::Listing(_)) {
            self.new_dirs.insert(path.clone());
        }
        self.descend(b, before, path);
    }

    fn is_same(&self, old: (&Listing, usize), new: (&Listing, usize)) -> bool {
        let (a, b) = (&old.0.entries[old.1].meta, &new.0.entries[new.1].meta);
        match (old.0.digest(old.1), new.0.digest(new.1)) {
            (Some(x), Some(y)) => x == y && a.without_identity() == b.without_identity(),
            _ => self.before.method == self.after.method && a == b,
        }
    }

    fn descend(&mut self, entry: &Entry, before: Option<u32>, path: PathBuf) {
        if let Below::Listing(after) = entry.below {
            self.open.push(Pair { before, after, path });
        }
    }

    fn push(&mut self, pair: &Pair, name: &[u8], kind: ChangeKind) -> PathBuf {
        let path = pair.path.join(OsStr::from_bytes(name));
        self.list.push(Change { path: path.clone(), kind });
        path
    }
}
