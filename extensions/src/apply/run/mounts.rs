//! `RUN --mount` without mounting, which containers do not allow: the target gives way to the mount's
//! content for the time of the step, and comes back.
//!
//! What is at the target is packed and removed, the content is put there, and afterwards the other way
//! round. A rename would do where it works; on an overlay a directory of the image cannot be renamed.

use std::collections::BTreeMap;
use std::io::Seek as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, unlinkat};

use crate::apply::copy::{Copier, CopyError, Source, stat_of};
use crate::cache::{Cache, CacheError, CacheMount};
use crate::context::{ContentDigest, Context, ContextError, SelectOptions, Selected, escape_wildcards};
use crate::dockerfile::{Attributes as Given, Mount, MountKind};
use crate::layer::{LayerError, Limits, Mtimes, Remover, Unpack, UnpackError, replay, write_layer};
use crate::root::{Attributes, Guard, NewDir, PathError, Place, Root, at};
use crate::snapshot::{Change, ChangeKind, Changes, IgnoreSet, Method, ScanError, Tree, diff, scan};

/// A mount cannot be made, or not be undone.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A secret or an SSH agent is required, and there is none.
    #[error("{what} `{id}` is required, and the lifecycle has none")]
    Required {
        /// What it is.
        what: &'static str,
        /// What names it.
        id: String,
    },
    /// There is no build context.
    #[error("there is no build context to mount from")]
    NoContext,
    /// The target is not a part of the image.
    #[error("mount target `/{}` is not a part of the image: it is mounted, or belongs to the platform", .0.display())]
    Outside(PathBuf),
    /// The source cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The source cannot be copied.
    #[error(transparent)]
    Copy(Box<CopyError>),
    /// The directory of a cache mount cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// What was at the target cannot be kept.
    #[error(transparent)]
    Pack(#[from] LayerError),
    /// What was at the target cannot be put back.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A directory cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A file operation failed.
    #[error("failed to {0}")]
    Path(PathError),
}

impl From<PathError> for MountError {
    fn from(error: PathError) -> Self {
        if error.is_read_only() { Self::Outside(error.path) } else { Self::Path(error) }
    }
}

/// The source of a bind mount, resolved.
#[derive(Debug)]
pub(in crate::apply) struct Bound {
    selected: Selected,
    contents: Vec<ContentDigest>,
    /// What the step's key depends on.
    pub(in crate::apply) digest: [u8; 32],
}

impl Bound {
    /// Resolves the sources of the bind mounts among these.
    pub(in crate::apply) fn resolve(
        mounts: &[Mount],
        context: Option<&Context>,
    ) -> Result<Vec<Self>, MountError> {
        let mut bound = Vec::new();
        for mount in mounts {
            if let MountKind::Bind { source, .. } = &mount.kind {
                let context = context.ok_or(MountError::NoContext)?;
                let selected = context.select(&escape_wildcards(source), &SelectOptions::default())?;
                let missing = || ContextError::NotFound { source_path: source.clone() };
                let selected = selected.into_iter().next().ok_or_else(missing)?;
                let (digest, contents) = context.digest_with_contents(std::slice::from_ref(&selected))?;
                bound.push(Self { selected, contents, digest });
            }
        }
        Ok(bound)
    }
}

/// The mounts of a step, until they are undone.
pub(in crate::apply) struct Mounted<'m> {
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

impl<'m> Mounted<'m> {
    /// Puts the content of each mount in its place, the outer ones first.
    pub(in crate::apply) fn new(
        root: &'m Root,
        mounts: &[Mount],
        bound: &[Bound],
        context: Option<&Context>,
        cache: Option<&Cache>,
        ignore: &IgnoreSet,
    ) -> Result<Self, MountError> {
        let mut mounted = Self { root, list: Vec::new() };
        let mut bound = bound.iter();
        let mut ordered: Vec<(&Mount, Option<&Bound>)> = mounts
            .iter()
            .map(|mount| {
                (mount, matches!(mount.kind, MountKind::Bind { .. }).then(|| bound.next()).flatten())
            })
            .collect();
        ordered.sort_by_key(|(mount, _)| Path::new(&mount.target).components().count());
        for (mount, bound) in ordered {
            match &mount.kind {
                MountKind::Bind { .. } => {
                    let (Some(bound), Some(context)) = (bound, context) else {
                        return Err(MountError::NoContext);
                    };
                    mounted.bind(&mount.target, bound, context, ignore)?;
                }
                MountKind::Cache { id, attributes, .. } => {
                    let id = id.as_deref().unwrap_or(&mount.target);
                    mounted.cache(&mount.target, id, *attributes, cache, ignore)?;
                }
                MountKind::Tmpfs { .. } => {
                    let given = Given { mode: Some(0o1777), ..Given::default() };
                    mounted.directory(&mount.target, given, ignore)?;
                }
                MountKind::Secret { id, required, .. } => absent("secret", id.as_deref(), *required)?,
                MountKind::Ssh { id, required, .. } => absent("SSH agent", id.as_deref(), *required)?,
            }
        }
        Ok(mounted)
    }

    /// Returns the targets: no layer holds what is there.
    pub(in crate::apply) fn targets(&self) -> impl Iterator<Item = &Path> {
        self.list.iter().map(|swapped| swapped.target.as_path())
    }

    /// Undoes all of it, the inner mounts first. What caches hold is kept.
    pub(in crate::apply) fn end(mut self) -> Result<(), MountError> {
        while let Some(swapped) = self.list.pop() {
            self.undo(swapped)?;
        }
        Ok(())
    }

    fn bind(
        &mut self,
        target: &str,
        bound: &Bound,
        context: &Context,
        ignore: &IgnoreSet,
    ) -> Result<(), MountError> {
        let place = self.clear(target, ignore)?;
        let name = place.name.clone();
        let destination = Path::new("/").join(place.path()).to_string_lossy().into_owned();
        let nothing = IgnoreSet::default();
        let mut copier = Copier::new(self.root, &nothing, &destination);
        let Bound { selected, contents, .. } = bound;
        let mut source = Source::Context { files: context.files(), selected, contents };
        let done = copier.copy(&name, &selected.entries, &mut source);
        done.map_err(|error| MountError::Copy(Box::new(error)))
    }

    fn cache(
        &mut self,
        target: &str,
        id: &str,
        given: Given,
        cache: Option<&Cache>,
        ignore: &IgnoreSet,
    ) -> Result<(), MountError> {
        self.directory(target, given, ignore)?;
        let (Some(cache), Some(swapped)) = (cache, self.list.last_mut()) else {
            return Ok(());
        };
        let mount = cache.mount(id)?;
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

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        while let Some(swapped) = self.list.pop() {
            // Only after another error, which is the one to report.
            drop(self.undo(swapped));
        }
    }
}

fn absent(what: &'static str, id: Option<&str>, required: bool) -> Result<(), MountError> {
    if required {
        return Err(MountError::Required { what, id: id.unwrap_or("default").to_owned() });
    }
    Ok(())
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
    let limits = Limits { entries: u64::MAX, bytes: u64::MAX };
    let rules = Unpack { root, below: Path::new(""), guard: Guard::new(&nothing), owner: None, limits };
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
