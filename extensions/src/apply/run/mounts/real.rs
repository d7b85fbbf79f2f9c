//! Mounts of the kernel's, in a namespace of the step's processes: nothing is moved, nobody else sees them.
//!
//! What they need to be mounted on is made before the step's first scan and removed after its last one, as
//! a container engine does. What the context gives is copied first, without what it leaves out and owned
//! by root; a cache's own directory is mounted, however large it is.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, unlinkat};
use rustix::io::Errno;
use tempfile::TempDir;

use super::super::namespace::{bind, detach, handle, mount_at, seal};
use super::{Content, Item, MountError};
use crate::apply::copy::stat_of;
use crate::cache::CacheMount;
use crate::context::EntryKind;
use crate::dockerfile::Attributes as Given;
use crate::root::{Attributes, Guard, NewDir, PathError, Place, Root, at};
use crate::snapshot::IgnoreSet;

/// Permission bits of a scratch directory.
const SCRATCH_MODE: u32 = 0o1777;

/// Mounts that are prepared, until this is dropped.
pub(in crate::apply) struct Real<'m> {
    root: &'m Root,
    ignore: IgnoreSet,
    list: Vec<Prepared>,
    /// What is mounted of it, until the step has ended.
    scratch: TempDir,
    caches: Vec<CacheMount>,
}

/// One mount.
struct Prepared {
    /// The target as the instruction names it.
    target: PathBuf,
    /// Where that is; `None` below another mount, which is not there yet.
    place: Option<PathBuf>,
    /// What was made for it, outermost first.
    stubs: Vec<PathBuf>,
    source: Source,
    is_read_only: bool,
}

/// What is mounted.
enum Source {
    /// An empty file system, of so many bytes at most; 0 for no limit.
    Tmpfs(u64),
    /// What this path leads to, and the handle stands for.
    Tree(PathBuf, OwnedFd),
}

/// What was made below mounts, to be removed from what is mounted there.
#[derive(Default)]
pub(in crate::apply) struct Inner(Vec<Place>);

/// Tells whether each target is of the type of what it is to hold, or free.
pub(super) fn fits(root: &Root, items: &[Item<'_>]) -> Result<bool, MountError> {
    for item in items {
        let is_dir = match &item.content {
            Content::Bind(bound, _) => {
                bound.selected.entries.first().is_none_or(|first| first.kind == EntryKind::Directory)
            }
            _ => true,
        };
        // What is missing is made, and what cannot be resolved is told by who makes it.
        let Ok(Some(place)) = root.target(Path::new(item.target)) else { continue };
        if stat_of(&place)?.is_some_and(|stat| is_dir != (kind(stat.st_mode) == FileType::Directory)) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<'m> Real<'m> {
    /// Makes what the mounts need. Nothing is mounted yet.
    pub(super) fn prepare(
        root: &'m Root,
        items: Vec<Item<'_>>,
        work: &Path,
        ignore: &IgnoreSet,
    ) -> Result<Self, MountError> {
        let scratch = tempfile::Builder::new().prefix("mounts-").tempdir_in(work);
        let scratch = scratch.map_err(at("create directory in", work))?;
        let mut real = Self { root, ignore: ignore.clone(), list: Vec::new(), scratch, caches: Vec::new() };
        for Item { target, is_read_only, content } in items {
            let source = real.source(content)?;
            let mut prepared =
                Prepared { target: clean(target), place: None, stubs: Vec::new(), source, is_read_only };
            if !real.is_inner(&prepared.target) {
                prepared.place = real.make_place(&mut prepared)?;
            }
            real.list.push(prepared);
        }
        Ok(real)
    }

    /// Returns the targets that the root itself has.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Path> {
        self.list.iter().filter_map(|prepared| prepared.place.as_deref())
    }

    /// Tells whether something is mounted that outlives the build.
    pub(in crate::apply) fn has_caches(&self) -> bool {
        !self.caches.is_empty()
    }

    fn source(&mut self, content: Content<'_>) -> Result<Source, MountError> {
        let number = self.list.len().to_string();
        let scratch = Root::open(self.scratch.path())?;
        let path = scratch.path().join(&number);
        match content {
            Content::Tmpfs { size_bytes } => return Ok(Source::Tmpfs(size_bytes)),
            Content::Same(target) => {
                let target = clean(target);
                let first = self.list.iter().find(|prepared| prepared.target == target);
                return match first.map(|first| &first.source) {
                    Some(Source::Tree(path, fd)) => {
                        Ok(Source::Tree(path.clone(), fd.try_clone().map_err(at("open", path))?))
                    }
                    _ => Err(MountError::Outside(target)),
                };
            }
            Content::Cache(Some(mount), given) => {
                let content = mount.ready(owner(given), given.mode.unwrap_or(0o755))?;
                self.caches.push(mount);
                let path = content.path().canonicalize().map_err(at("resolve", content.path()))?;
                let fd = content.as_fd().try_clone_to_owned().map_err(at("open", &path))?;
                return Ok(Source::Tree(path, fd));
            }
            Content::Cache(None, given) => {
                let place = Place { dir: scratch.dir(Path::new(""))?, name: number.into() };
                let (xattrs, mode) = (BTreeMap::new(), given.mode.unwrap_or(0o755));
                let attributes = Attributes { owner: owner(given), mode, mtime: (0, 0), xattrs: &xattrs };
                place.make_dir(&attributes)?;
            }
            Content::Bind(bound, from) => {
                bound.copy_to(&scratch, &Path::new("/").join(number), from)?;
            }
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(rustix::fs::CWD, &path, flags, Mode::empty()).map_err(at("open", &path))?;
        Ok(Source::Tree(path, fd))
    }

    /// Tells whether a target is below another mount.
    fn is_inner(&self, target: &Path) -> bool {
        let is_below = |outer: &Prepared| {
            target.starts_with(&outer.target)
                || outer.place.as_deref().is_some_and(|place| target.starts_with(place))
        };
        self.list.iter().any(is_below)
    }

    /// Makes what is missing of the mount's target; `None` if links lead it below another mount.
    fn make_place(&self, prepared: &mut Prepared) -> Result<Option<PathBuf>, MountError> {
        let mut guarded = self.ignore.clone();
        self.targets().for_each(|target| guarded.insert(target));
        let guard = Guard::new(&guarded);
        let made = match self.root.make_target(&prepared.target, NewDir::of_process(0o755), guard) {
            Err(error) if error.is_read_only() && self.is_inner(&error.path) => return Ok(None),
            made => made?,
        };
        let (place, stubs) = made.ok_or_else(|| MountError::Outside(PathBuf::new()))?;
        prepared.stubs = stubs;
        let path = place.path();
        if self.is_inner(&path) {
            return Ok(None);
        }
        if self.ignore.touches(&path) {
            // What was made on the way is removed with the rest.
            remove(self.root, &prepared.stubs);
            return Err(MountError::Outside(path));
        }
        if prepared.source.make_stub(&place)? {
            prepared.stubs.push(path.clone());
        }
        Ok(Some(path))
    }

    /// Mounts everything in this thread's namespace, of which `root` is the one.
    pub(in crate::apply) fn enter(&self, root: &Root) -> Result<Inner, MountError> {
        // All are opened before the first mount hides one.
        let sources: Vec<_> =
            self.list.iter().map(|prepared| prepared.source.open()).collect::<Result<_, _>>()?;
        let mut inner = Inner::default();
        let mut tops = Vec::new();
        for (prepared, source) in self.list.iter().zip(sources) {
            let place = match &prepared.place {
                Some(path) => root.place(path)?.ok_or_else(|| MountError::Outside(path.clone()))?,
                None => self.make_inner(root, prepared, &mut inner)?,
            };
            let path = place.path();
            prepared.source.mount(source.as_ref(), &handle(&place)?).map_err(at("mount", &path))?;
            if prepared.is_read_only {
                tops.push((handle(&place)?, path));
            }
        }
        for (top, path) in tops {
            seal(top).map_err(at("mount", &path))?;
        }
        Ok(inner)
    }

    fn make_inner(&self, root: &Root, prepared: &Prepared, inner: &mut Inner) -> Result<Place, MountError> {
        let nothing = IgnoreSet::default();
        let made = root.make_target(&prepared.target, NewDir::of_process(0o755), Guard::new(&nothing))?;
        let (place, stubs) = made.ok_or_else(|| MountError::Outside(PathBuf::new()))?;
        let path = place.path();
        for stub in stubs {
            inner.0.extend(root.place(&stub)?);
        }
        // A link below the other mount leads out of it: nobody would undo what is made there.
        if !self.targets().any(|target| path.starts_with(target)) {
            return Err(MountError::Outside(path));
        }
        if prepared.source.make_stub(&place)? {
            inner.0.extend(root.place(&path)?);
        }
        Ok(place)
    }
}

impl Inner {
    /// Removes what was made below mounts, with what is mounted there.
    pub(in crate::apply) fn leave(self) {
        for place in self.0.iter().rev() {
            let Ok(top) = handle(place) else { continue };
            // Only a mount's top can be detached; what the step wrote into stays.
            let _ = detach(top);
            let _ = unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR);
        }
    }
}

impl Drop for Real<'_> {
    fn drop(&mut self) {
        for prepared in self.list.iter().rev() {
            remove(self.root, &prepared.stubs);
        }
    }
}

impl Source {
    fn is_dir(&self) -> Result<bool, PathError> {
        match self {
            Self::Tmpfs(_) => Ok(true),
            Self::Tree(path, fd) => {
                let stat = fstat(fd).map_err(at("stat", path))?;
                Ok(kind(stat.st_mode) == FileType::Directory)
            }
        }
    }

    /// Makes what it can be mounted on, unless something is there. Tells whether it did.
    fn make_stub(&self, place: &Place) -> Result<bool, PathError> {
        if stat_of(place)?.is_some() {
            return Ok(false);
        }
        let xattrs = BTreeMap::new();
        let NewDir { uid, gid, .. } = NewDir::of_process(0);
        let attributes = |mode| Attributes { owner: (uid, gid), mode, mtime: (0, 0), xattrs: &xattrs };
        if self.is_dir()? {
            place.make_dir(&attributes(0o755))?;
        } else {
            place.make_file::<PathError>(&attributes(0o644), |_| Ok(()))?;
        }
        Ok(true)
    }

    /// Opens it in this thread's namespace; a handle of another one cannot be mounted.
    fn open(&self) -> Result<Option<OwnedFd>, PathError> {
        let Self::Tree(path, known) = self else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(rustix::fs::CWD, path, flags, Mode::empty()).map_err(at("open", path))?;
        let (found, known) = (fstat(&fd).map_err(at("stat", path))?, fstat(known).map_err(at("stat", path))?);
        let is_same = (found.st_dev, found.st_ino) == (known.st_dev, known.st_ino);
        if is_same { Ok(Some(fd)) } else { Err(at("open", path)(Errno::STALE)) }
    }

    fn mount(&self, source: Option<&OwnedFd>, target: &OwnedFd) -> io::Result<()> {
        match (self, source) {
            (Self::Tree(..), Some(source)) => bind(source, target),
            (Self::Tmpfs(size_bytes), _) => {
                let size = if *size_bytes > 0 { format!(",size={size_bytes}") } else { String::new() };
                let data = format!("mode={SCRATCH_MODE:o}{size}");
                mount_at(target, Path::new("tmpfs"), Some(c"tmpfs"), MsFlags::empty(), &data)
            }
            (Self::Tree(..), None) => Err(Errno::STALE.into()),
        }
    }
}

/// Removes what was made, unless the step wrote into it.
fn remove(root: &Root, stubs: &[PathBuf]) {
    for stub in stubs.iter().rev() {
        let Ok(Some(place)) = root.place(stub) else { continue };
        let is_empty_file = |stat: Stat| kind(stat.st_mode) == FileType::RegularFile && stat.st_size == 0;
        let flags = match stat_of(&place) {
            Ok(Some(stat)) if is_empty_file(stat) => AtFlags::empty(),
            _ => AtFlags::REMOVEDIR,
        };
        let _ = unlinkat(&place.dir, &place.name, flags);
    }
}

fn owner(given: Given) -> (u32, u32) {
    (given.uid.unwrap_or(0), given.gid.unwrap_or(0))
}

fn clean(target: &str) -> PathBuf {
    Path::new(target).strip_prefix("/").unwrap_or(Path::new(target)).to_owned()
}

fn kind(mode: u32) -> FileType {
    FileType::from_raw_mode(mode)
}
