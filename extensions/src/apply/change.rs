//! What a step changed, and what its layer does to files that were there before.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
        for change in &self.changes {
            let name = change.path.to_string_lossy().into_owned();
            match change.kind {
                ChangeKind::Added => footprint.added += 1,
                ChangeKind::Deleted => drop(footprint.whiteouts.insert(name)),
                ChangeKind::Modified => {
                    let is_dir = root.dir(&change.path).is_ok_and(|dir| dir.path == change.path);
                    if !is_dir || self.changes.became_dir(&change.path) {
                        let digest = self.replaced.get(&change.path).map(|digest| hex(digest));
                        footprint.overwrites.insert(name, digest);
                    }
                }
            }
        }
        footprint
    }
}
