//! `RUN --mount`: what each mount holds, and which of two ways it comes to its target.
//!
//! Where the kernel lets us, they are mounts that the step's processes alone see. Containers are not
//! allowed that as a rule; there the target gives way to the mount's content for the time of the step.
//! Both give the same layers.

mod placed;
mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::apply::copy::{Copier, CopyError, Source};
use crate::cache::{Cache, CacheError, CacheMount};
use crate::context::{ContentDigest, Context, ContextError, SelectOptions, Selected, escape_wildcards};
use crate::dockerfile::{Attributes as Given, Mount, MountKind};
use crate::layer::{LayerError, UnpackError};
use crate::root::{PathError, Root};
use crate::snapshot::{IgnoreSet, ScanError};

pub(super) use placed::Placed;
pub(in crate::apply) use real::Real;

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
        if error.is_read_only() { Self::Outside(error.relative_path()) } else { Self::Path(error) }
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

    /// Copies it to a destination.
    fn copy_to(&self, root: &Root, destination: &Path, context: &Context) -> Result<(), MountError> {
        let nothing = IgnoreSet::default();
        let text = destination.to_string_lossy();
        let mut copier = Copier::new(root, &nothing, &text);
        let Self { selected, contents, .. } = self;
        let mut source = Source::Context { files: context.files(), selected, contents };
        let name = destination.file_name().unwrap_or_default();
        let done = copier.copy(name, &selected.entries, &mut source);
        done.map_err(|error| MountError::Copy(Box::new(error)))
    }
}

/// What the mounts of a step are made of.
#[derive(Clone, Copy)]
pub(in crate::apply) struct Wanted<'w> {
    pub(in crate::apply) mounts: &'w [Mount],
    /// The sources of the bind mounts among them, in order.
    pub(in crate::apply) bound: &'w [Bound],
    pub(in crate::apply) context: Option<&'w Context>,
    pub(in crate::apply) cache: Option<&'w Cache>,
}

/// What is to be seen at a target.
struct Item<'w> {
    target: &'w str,
    is_read_only: bool,
    content: Content<'w>,
}

/// What a mount holds.
enum Content<'w> {
    /// Files of the context.
    Bind(&'w Bound, &'w Context),
    /// A directory of the cache; `None` where nothing is kept.
    Cache(Option<CacheMount>, Given),
    /// The same as at another target: a cache of the same name.
    Same(&'w str),
    /// An empty directory.
    Tmpfs { size_bytes: u64 },
}

impl<'w> Wanted<'w> {
    /// Lists what is to be seen where, the outer targets first. Waits for the caches' other users.
    fn items(self) -> Result<Vec<Item<'w>>, MountError> {
        let mut caches = self.lock_caches()?;
        let mut first_targets: BTreeMap<&str, &str> = BTreeMap::new();
        let mut bound = self.bound.iter();
        let mut items = Vec::new();
        for mount in self.mounts {
            let target = mount.target.as_str();
            let content = match &mount.kind {
                MountKind::Bind { .. } => {
                    let (bound, context) = bound.next().zip(self.context).ok_or(MountError::NoContext)?;
                    Content::Bind(bound, context)
                }
                MountKind::Cache { attributes, .. } => {
                    let id = cache_id(mount).unwrap_or(target);
                    if let Some(first) = first_targets.get(id) {
                        Content::Same(first)
                    } else {
                        first_targets.insert(id, target);
                        Content::Cache(caches.remove(id), *attributes)
                    }
                }
                MountKind::Tmpfs { size_bytes } => Content::Tmpfs { size_bytes: *size_bytes },
                MountKind::Secret { id, required, .. } => {
                    absent("secret", id.as_deref(), *required)?;
                    continue;
                }
                MountKind::Ssh { id, required, .. } => {
                    absent("SSH agent", id.as_deref(), *required)?;
                    continue;
                }
            };
            items.push(Item { target, is_read_only: mount.read_only, content });
        }
        items.sort_by_key(|item| Path::new(item.target).components().count());
        Ok(items)
    }

    /// Opens every cache once, in an order of names: two steps that want the same ones never wait for
    /// each other.
    fn lock_caches(self) -> Result<BTreeMap<&'w str, CacheMount>, MountError> {
        let Some(cache) = self.cache else { return Ok(BTreeMap::new()) };
        let ids: BTreeSet<&str> = self.mounts.iter().filter_map(cache_id).collect();
        ids.into_iter().map(|id| Ok((id, cache.mount(id)?))).collect()
    }
}

/// What names the cache of a cache mount.
fn cache_id(mount: &Mount) -> Option<&str> {
    match &mount.kind {
        MountKind::Cache { id, .. } => Some(id.as_deref().unwrap_or(&mount.target)),
        _ => None,
    }
}

fn absent(what: &'static str, id: Option<&str>, required: bool) -> Result<(), MountError> {
    if required {
        return Err(MountError::Required { what, id: id.unwrap_or("default").to_owned() });
    }
    Ok(())
}

/// The mounts of a step, until they are undone.
pub(in crate::apply) enum Mounted<'m> {
    /// Mounts, which the step's processes will see.
    Real(Real<'m>),
    /// Content in the targets' places.
    Placed(Placed<'m>),
}

impl<'m> Mounted<'m> {
    /// Prepares real mounts, with what has to be copied in the directory `work`; without it, puts the
    /// content in its place. So it does where a target is of another type than what it is to hold.
    pub(in crate::apply) fn new(
        root: &'m Root,
        wanted: Wanted<'_>,
        work: Option<&Path>,
        ignore: &IgnoreSet,
    ) -> Result<Self, MountError> {
        let items = wanted.items()?;
        match work {
            Some(work) if real::fits(root, &items)? => {
                Ok(Self::Real(Real::prepare(root, items, work, ignore)?))
            }
            _ => Ok(Self::Placed(Placed::new(root, items, ignore)?)),
        }
    }

    /// Returns the targets: no layer holds what is there.
    pub(in crate::apply) fn targets(&self) -> Box<dyn Iterator<Item = &Path> + '_> {
        match self {
            Self::Real(real) => Box::new(real.targets()),
            Self::Placed(placed) => Box::new(placed.targets()),
        }
    }

    /// The mounts that are yet to be made where processes see them.
    pub(in crate::apply) fn real(&self) -> Option<&Real<'m>> {
        match self {
            Self::Real(real) => Some(real),
            Self::Placed(_) => None,
        }
    }

    /// Undoes all of it, the inner mounts first. What caches hold is kept.
    pub(in crate::apply) fn end(self) -> Result<(), MountError> {
        match self {
            Self::Real(real) => {
                drop(real);
                Ok(())
            }
            Self::Placed(placed) => placed.end(),
        }
    }
}
