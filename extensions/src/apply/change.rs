//! What a step changed, and what its layer does to files that were there before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cache::{Footprint, hex};
use crate::root::Root;
use crate::snapshot::{ChangeKind, Changes};

/// Changed paths, with the digests of what was replaced, where they are known.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) changes: Changes,
    pub(super) replaced: BTreeMap<PathBuf, [u8; 32]>,
}

impl Change {
    /// Takes changes that a scan found.
    pub(super) fn found(changes: Changes) -> Self {
        Self { changes, replaced: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What the layer of it does to files that were there before.
    pub(super) fn footprint(&self, root: &Root) -> Footprint {
        let mut footprint = Footprint::default();
        let mut added = BTreeSet::new();
        let mut dirs = BTreeSet::new();
        for change in &self.changes {
            let path = change.path.as_path();
            if let Some(above) = path.parent().filter(|above| !added.contains(above)) {
                dirs.insert(above);
            }
            match change.kind {
                ChangeKind::Added => {
                    footprint.added += 1;
                    added.insert(path);
                }
                ChangeKind::Deleted => drop(footprint.whiteouts.insert(name(path))),
                ChangeKind::Modified => {
                    let is_dir = root.dir(path).is_ok_and(|dir| dir.path == path);
                    if !is_dir || self.changes.became_dir(path) {
                        let digest = self.replaced.get(path).map(|digest| hex(digest));
                        footprint.overwrites.insert(name(path), digest);
                        added.insert(path);
                    } else {
                        dirs.insert(path);
                    }
                }
            }
        }
        footprint.dirs = self.lowest(dirs);
        footprint
    }

    /// Leaves out directories above others, and above what was overwritten or deleted.
    fn lowest(&self, mut dirs: BTreeSet<&Path>) -> BTreeSet<String> {
        let shadows = self.changes.iter().filter(|change| change.kind != ChangeKind::Added);
        let paths: Vec<&Path> = shadows.map(|change| change.path.as_path()).chain(dirs.clone()).collect();
        for above in paths.iter().flat_map(|path| path.ancestors().skip(1)) {
            dirs.remove(above);
        }
        dirs.remove(Path::new(""));
        dirs.into_iter().map(name).collect()
    }
}

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
