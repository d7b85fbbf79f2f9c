//! `RUN --mount` without mounting, which containers do not allow: the target gives way to the mount's
//! content for the time of the step, and comes back.
//!
//! What is at the target is packed and removed, the content is put there, and afterwards the other way
//! round. A rename would do where it works; on an overlay a directory of the image cannot be renamed.

use std::collections::BTreeMap;
use std::io::Seek as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, unlinkat};

use super::{Content, Item, MountError};
use crate::apply::copy::stat_of;
use crate::cache::CacheMount;
use crate::dockerfile::Attributes as Given;
use crate::layer::{Limits, Mtimes, Remover, Unpack, replay, write_layer};
use crate::root::{Attributes, Guard, NewDir, PathError, Place, Root, at};
use crate::snapshot::{Change, ChangeKind, Changes, IgnoreSet, Method, Tree, diff, scan};

/// Content in the places of targets, until this is dropped.
pub(in crate::apply) struct Placed<'m> {
    root: &'m Root,
    list: Vec<Swapped>,
}

/// A target whose content is another for a while.
struct Swapped {
    /// The resolved target.
    target: PathBuf,
    /// What was there.
    old: Option<Packed>,
    /// The directories made on the way, outermost first.
    stubs: Vec<PathBuf>,
    /// Where the content is kept afterwards.
    cache: Option<CacheMount>,
}

/// A tree as a file.
struct Packed {
    tar: std::fs::File,
    mtimes: Mtimes,
}

impl<'m> Placed<'m> {
    /// Puts the content of each mount in its place.
    pub(super) fn new(root: &'m Root, items: Vec<Item<'_>>, ignore: &IgnoreSet) -> Result<Self, MountError> {
        let mut placed = Self { root, list: Vec::new() };
        for Item { target, content, .. } in items {
            match content {
                Content::Bind(bound, context) => {
                    let place = placed.clear(target, ignore)?;
                    bound.copy_to(root, &Path::new("/").join(place.path()), context)?;
                }
                Content::Cache(mount, given) => placed.cache(target, mount, given, ignore)?,
                Content::Same(first) => {
                    let place = placed.clear(target, ignore)?;
                    let xattrs = BTreeMap::new();
                    let attributes = Attributes { owner: (0, 0), mode: 0, mtime: (0, 0), xattrs: &xattrs };
                    place.make_link(first.as_ref(), &attributes)?;
                }
                Content::Tmpfs { .. } => {
                    let given = Given { mode: Some(0o1777), ..Given::default() };
                    placed.directory(target, given, ignore)?;
                }
            }
        }
        Ok(placed)
    }

    /// Returns the targets.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Path> {
        self.list.iter().map(|swapped| swapped.target.as_path())
    }

    /// Undoes all of it, the inner mounts first. What caches hold is kept.
    pub(super) fn end(mut self) -> Result<(), MountError> {
        while let Some(swapped) = self.list.pop() {
            self.undo(swapped)?;
        }
        Ok(())
    }

    fn cache(
        &mut self,
        target: &str,
        mount: Option<CacheMount>,
        given: Given,
        ignore: &IgnoreSet,
    ) -> Result<(), MountError> {
        self.directory(target, given, ignore)?;
        let (Some(mount), Some(swapped)) = (mount, self.list.last_mut()) else {
            return Ok(());
        };
        if let Some(content) = mount.content()? {
            let target = self.root.dir(&swapped.target)?;
            copy_tree(&content, &self.root.below(target))?;
        }
        swapped.cache = Some(mount);
        Ok(())
    }

    /// Puts an empty directory at the target.
    fn directory(&mut self, target: &str, given: Given, ignore: &IgnoreSet) -> Result<(), MountError> {
        let place = self.clear(target, ignore)?;
        let xattrs = BTreeMap::new();
        let owner = (given.uid.unwrap_or(0), given.gid.unwrap_or(0));
        let mode = given.mode.unwrap_or(0o755);
        place.make_dir(&Attributes { owner, mode, mtime: (0, 0), xattrs: &xattrs })?;
        Ok(())
    }

    /// Frees the target, and returns it. It is undone with the rest from here on.
    fn clear(&mut self, target: &str, ignore: &IgnoreSet) -> Result<Place, MountError> {
        let guard = Guard::new(ignore);
        let path = Path::new(target);
        let made = self.root.make_target(path, NewDir::of_process(0o755), guard)?;
        let (place, stubs) = made.ok_or_else(|| MountError::Outside(PathBuf::new()))?;
        let target = place.path();
        if ignore.touches(&target) && !self.list.iter().any(|outer| target.starts_with(&outer.target)) {
            return Err(MountError::Outside(target));
        }
        let exists = stat_of(&place)?.is_some();
        let old = if exists { Some(pack(self.root, &target)?) } else { None };
        self.list.push(Swapped { target: target.clone(), old, stubs, cache: None });
        remove(&place, &target)?;
        Ok(place)
    }

    fn undo(&self, swapped: Swapped) -> Result<(), MountError> {
        let Swapped { target, old, stubs, cache } = swapped;
        if let Some(place) = self.root.place(&target)? {
            if let (Some(mount), Some(dir)) = (&cache, place.dir.child(&place.name)?) {
                copy_tree(&self.root.below(dir), &mount.next()?)?;
                mount.replace()?;
            }
            remove(&place, &target)?;
        }
        if let Some(old) = old {
            unpack(self.root, old)?;
        }
        for stub in stubs.iter().rev() {
            // What the step wrote into stays.
            if let Some(place) = self.root.place(stub)? {
                let _ = unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR);
            }
        }
        Ok(())
    }
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        while let Some(swapped) = self.list.pop() {
            // Only after another error, which is the one to report.
            drop(self.undo(swapped));
        }
    }
}

fn remove(place: &Place, path: &Path) -> Result<(), PathError> {
    let nothing = IgnoreSet::default();
    Remover(Guard::new(&nothing)).remove(&place.dir, path, &|_| false)?;
    Ok(())
}

/// Packs a path of the root with everything below it.
fn pack(root: &Root, path: &Path) -> Result<Packed, MountError> {
    let added = |path: PathBuf| Change { path, kind: ChangeKind::Added };
    let mut changes = vec![added(path.to_owned())];
    if let Ok(dir) = root.dir(path)
        && dir.path == path
    {
        let below = everything(&root.below(dir))?;
        changes.extend(below.iter().map(|change| added(path.join(&change.path))));
    }
    packed(root, &Changes::new(changes))
}

fn packed(root: &Root, changes: &Changes) -> Result<Packed, MountError> {
    let mut tar = tempfile::tempfile().map_err(at("create", Path::new("temporary file")))?;
    let written = write_layer(root, changes, std::io::BufWriter::new(&mut tar))?;
    tar.rewind().map_err(at("read", Path::new("temporary file")))?;
    Ok(Packed { tar, mtimes: written.mtimes })
}

fn unpack(root: &Root, packed: Packed) -> Result<(), MountError> {
    let nothing = IgnoreSet::default();
    let (guard, limits) = (Guard::new(&nothing), Limits::NONE);
    let rules = Unpack { root, below: Path::new(""), guard, owner: None, limits };
    replay(&rules, std::io::BufReader::new(packed.tar), Some(&packed.mtimes))?;
    Ok(())
}

/// Copies everything below one root to another.
fn copy_tree(from: &Root, to: &Root) -> Result<(), MountError> {
    unpack(to, packed(from, &everything(from)?)?)
}

fn everything(root: &Root) -> Result<Changes, MountError> {
    let tree = scan(root, &IgnoreSet::default(), Method::Stat)?;
    Ok(diff(&Tree::empty(Method::Stat), &tree))
}
