//! COPY and ADD: where things go, and how what is there gives way.
//!
//! The rules are BuildKit's. Differs in what cannot be told apart from a mistake: an unknown name in
//! `--chown` and a destination outside the image are errors: spec-notes/decisions.md#copy-semantics.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Stat, statat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::mode::Chmod;
use crate::context::{ContentDigest, ContentHash, ContextError, Entry, EntryKind, Files, Selected};
use crate::layer::xattrs::{self, Xattrs};
use crate::layer::{Remover, UnpackError};
use crate::root::{Attributes, Guard, NewDir, PathError, Place, Root, at, set_dir_mtime};
use crate::snapshot::{Change, ChangeKind, IgnoreSet};

/// What a step wrote.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Each path once it was written, in order.
    pub(super) changes: Vec<Change>,
    /// SHA-256 of the files that were replaced, as they were.
    pub(super) replaced: BTreeMap<PathBuf, [u8; 32]>,
}

/// A copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// An archive cannot be unpacked.
    #[error("failed to unpack `{source_name}`: {error}")]
    Unpack {
        /// The archive as named.
        source_name: String,
        /// Why.
        #[source]
        error: UnpackError,
    },
    /// A directory is in the place of a file.
    #[error("cannot replace directory `/{}` with a file", .0.display())]
    OntoDirectory(PathBuf),
    /// A file is in the place of a directory.
    #[error("cannot copy a directory onto `/{}`, which is none", .0.display())]
    OntoFile(PathBuf),
    /// The destination is not a part of the image.
    #[error("`/{}` is not a part of the image: it is mounted, or belongs to the platform", .0.display())]
    Outside(PathBuf),
    /// A file cannot be written.
    #[error("failed to {0}")]
    Path(PathError),
}

impl From<PathError> for CopyError {
    fn from(error: PathError) -> Self {
        if error.is_read_only() { Self::Outside(error.relative_path()) } else { Self::Path(error) }
    }
}

/// Where the content of files comes from.
pub(super) enum Source<'c> {
    /// Selected files of a context, with the digests of what they held when the step's key was made.
    Context { files: Files<'c>, selected: &'c Selected, contents: &'c [ContentDigest] },
    /// Bytes.
    Bytes(&'c [u8]),
    /// A file that was downloaded.
    File(&'c File),
}

/// A file about to be copied.
struct Opened<'c> {
    content: Box<dyn Read + 'c>,
    xattrs: Xattrs,
    /// What it must turn out to be, and where it is, for the message.
    expected: Option<(ContentDigest, PathBuf)>,
}

impl Source<'_> {
    /// Opens the file of an entry, the `number`th among files.
    fn open(&mut self, entry: &Entry, number: usize) -> Result<Opened<'_>, CopyError> {
        let plain = |content| Opened { content, xattrs: Xattrs::new(), expected: None };
        Ok(match self {
            Self::Bytes(bytes) => plain(Box::new(*bytes)),
            Self::File(file) => {
                let mut file: &File = file;
                file.rewind().map_err(at("read", &entry.path))?;
                plain(Box::new(file))
            }
            Self::Context { files, selected, contents } => {
                let file = files.open(selected, entry)?;
                let path = selected.path_of(entry);
                let found = xattrs::read(file.as_fd()).map_err(at("read attributes of", &path))?;
                let expected = contents.get(number).map(|digest| (*digest, path));
                Opened { content: Box::new(file), xattrs: portable(found), expected }
            }
        })
    }
}

impl Source<'_> {
    /// Copies the one file of a source.
    pub(super) fn copy_file(&mut self, entry: &Entry, to: &mut File) -> Result<(), CopyError> {
        self.open(entry, 0)?.copy_to(to, &entry.path)
    }
}

impl Opened<'_> {
    /// Copies the content, and makes sure that it is what was hashed.
    fn copy_to(mut self, to: &mut File, path: &Path) -> Result<(), CopyError> {
        let capability = self.xattrs.get(c"security.capability").map_or(&[][..], Vec::as_slice);
        let mut hash = ContentHash::new(capability);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = self.content.read(&mut buffer).map_err(at("read", path))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            to.write_all(&buffer[..read]).map_err(at("write", path))?;
        }
        match self.expected {
            Some((digest, path)) if hash.finish() != digest => Err(ContextError::Changed { path }.into()),
            _ => Ok(()),
        }
    }
}

/// Leaves out access control lists: they name users of the machine that the context comes from.
fn portable(mut found: Xattrs) -> Xattrs {
    found.retain(|name, _| !name.to_bytes().starts_with(b"system."));
    found
}

/// The destination of one COPY or ADD.
pub(super) struct Copier<'r> {
    pub(super) root: &'r Root,
    pub(super) ignore: &'r IgnoreSet,
    /// The absolute, clean destination; a final `/` or `/.` means a directory.
    pub(super) destination: &'r str,
    /// `--chown`; without it everything belongs to root.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) chmod: Option<Chmod>,
    pub(super) written: Written,
    /// The first copy of each inode with several names.
    inodes: HashMap<(u64, u64), PathBuf>,
    /// Directories with the times that they get in the end.
    dirs: Vec<(PathBuf, (i64, u32))>,
    /// How many files of the source come before the entry at hand.
    files: usize,
}

impl<'r> Copier<'r> {
    pub(super) fn new(root: &'r Root, ignore: &'r IgnoreSet, destination: &'r str) -> Self {
        Self {
            root,
            ignore,
            destination,
            owner: None,
            chmod: None,
            written: Written::default(),
            inodes: HashMap::new(),
            dirs: Vec::new(),
            files: 0,
        }
    }

    fn guard(&self) -> Guard<'r> {
        Guard::new(self.ignore)
    }

    /// What a directory on the way to the destination is made with.
    fn new_dir(&self) -> NewDir {
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        let mode = self.chmod.as_ref().and_then(Chmod::of_new_parent).unwrap_or(0o755);
        NewDir { mode, uid, gid }
    }

    /// Copies one source: its entries, the first of which stands for the source itself. `name` is what
    /// it is called where the destination is a directory.
    pub(super) fn copy(
        &mut self,
        name: &OsStr,
        entries: &[Entry],
        source: &mut Source<'_>,
    ) -> Result<(), CopyError> {
        let Some(first) = entries.first() else {
            return Ok(());
        };
        self.inodes.clear();
        self.files = 0;
        if first.kind == EntryKind::Directory {
            let top = self.make_dir(Path::new(self.destination))?;
            for entry in &entries[1..] {
                self.below(&top, entry, source)?;
            }
        } else {
            let place = self.file_place(name)?;
            self.entry(&place, first, source)?;
        }
        let dirs = std::mem::take(&mut self.dirs);
        for (path, mtime) in dirs.iter().rev() {
            set_dir_mtime(self.root, path, *mtime)?;
        }
        Ok(())
    }

    /// Makes the destination a directory, with all above it, and returns its path.
    pub(super) fn make_dir(&mut self, path: &Path) -> Result<PathBuf, CopyError> {
        let (dir, made) = self.root.make_dir(path, self.new_dir(), self.guard()).map_err(|error| {
            let is_file = error.source.kind() == std::io::ErrorKind::NotADirectory;
            if is_file { CopyError::OntoFile(relative(path)) } else { error.into() }
        })?;
        self.guard().check(&dir.path)?;
        self.added(made);
        Ok(dir.path)
    }

    /// Decides where a file goes, and makes the directories on the way.
    fn file_place(&mut self, name: &OsStr) -> Result<Place, CopyError> {
        let path = Path::new(self.destination);
        if self.destination.ends_with('/') || self.destination.ends_with("/.") {
            let dir = self.make_dir(path)?;
            return self.place_in(&dir, name);
        }
        let (new, guard) = (self.new_dir(), self.guard());
        let Some((place, made)) = self.root.make_target(path, new, guard)? else {
            return self.place_in(Path::new(""), name);
        };
        self.added(made);
        if place.dir.child(&place.name)?.is_some() {
            return self.place_in(&place.path(), name);
        }
        guard.check(&place.path())?;
        Ok(place)
    }

    fn place_in(&self, dir: &Path, name: &OsStr) -> Result<Place, CopyError> {
        let path = dir.join(name);
        self.guard().check(&path)?;
        let dir = self.root.dir(dir)?;
        Ok(Place { dir, name: name.to_owned() })
    }

    /// Copies an entry below a copied directory.
    fn below(&mut self, top: &Path, entry: &Entry, source: &mut Source<'_>) -> Result<(), CopyError> {
        let path = top.join(&entry.path);
        self.guard().check(&path)?;
        let (above, name) = (path.parent().unwrap_or(top), path.file_name().unwrap_or_default());
        // The directories above were made by entries before this one: they are no links.
        let dir = self.root.dir(above)?;
        let place = Place { dir, name: name.to_owned() };
        if entry.kind == EntryKind::Directory {
            return self.directory(&place, entry);
        }
        self.entry(&place, entry, source)
    }

    fn directory(&mut self, place: &Place, entry: &Entry) -> Result<(), CopyError> {
        let existing = stat_of(place)?;
        if existing.as_ref().is_some_and(|stat| kind_of(stat) != FileType::Directory) {
            return Err(CopyError::OntoFile(place.path()));
        }
        let path = place.path();
        if existing.is_some() && entry.is_parent {
            place.set_dir_mode(entry.mode)?;
        } else {
            place.make_dir(&self.attributes(entry, &Xattrs::new()))?;
            self.dirs.push((path.clone(), mtime(entry)));
        }
        self.changed(path, existing.is_some());
        Ok(())
    }

    /// Copies what is no directory. Links are replaced, not followed.
    fn entry(&mut self, place: &Place, entry: &Entry, source: &mut Source<'_>) -> Result<(), CopyError> {
        let path = place.path();
        let existing = stat_of(place)?;
        if let Some(stat) = &existing {
            self.clear(place, &path, kind_of(stat))?;
        }
        match &entry.kind {
            EntryKind::File { .. } => {
                self.file(place, entry, source)?;
                self.files += 1;
            }
            EntryKind::Symlink { target } => {
                place.make_link(target, &self.attributes(entry, &Xattrs::new()))?;
            }
            EntryKind::Directory => {}
        }
        self.changed(path, existing.is_some());
        Ok(())
    }

    /// Copies a file, or links to the copy of the same one.
    fn file(&mut self, place: &Place, entry: &Entry, source: &mut Source<'_>) -> Result<(), CopyError> {
        let path = place.path();
        if let Some(first) = self.inodes.get(&entry.inode).filter(|_| entry.links > 1) {
            let first = self.root.place(first)?.ok_or_else(|| CopyError::Outside(first.clone()))?;
            return Ok(place.make_hard_link(&first)?);
        }
        let mut opened = source.open(entry, self.files)?;
        let found = std::mem::take(&mut opened.xattrs);
        opened.xattrs.clone_from(&found);
        place.make_file(&self.attributes(entry, &found), |to| opened.copy_to(to, &path))?;
        if entry.links > 1 {
            self.inodes.insert(entry.inode, path);
        }
        Ok(())
    }

    /// Removes a file that is in the way, and remembers what it was.
    fn clear(&mut self, place: &Place, path: &Path, kind: FileType) -> Result<(), CopyError> {
        if kind == FileType::Directory {
            return Err(CopyError::OntoDirectory(path.to_owned()));
        }
        if kind == FileType::RegularFile {
            let mut hash = Sha256::new();
            let mut file = self.root.open_file(path)?;
            std::io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(at("read", path))?;
            self.written.replaced.entry(path.to_owned()).or_insert_with(|| hash.finalize().into());
        }
        Remover(self.guard()).remove(&place.dir, path, &|_| false)?;
        Ok(())
    }

    fn attributes<'x>(&self, entry: &Entry, xattrs: &'x Xattrs) -> Attributes<'x> {
        let is_dir = entry.kind == EntryKind::Directory;
        let mode = self.chmod.as_ref().map_or(entry.mode, |chmod| chmod.apply(entry.mode, is_dir));
        Attributes { owner: self.owner.unwrap_or((0, 0)), mode, mtime: mtime(entry), xattrs }
    }

    pub(super) fn added(&mut self, made: Vec<PathBuf>) {
        let added = made.into_iter().map(|path| Change { path, kind: ChangeKind::Added });
        self.written.changes.extend(added);
    }

    fn changed(&mut self, path: PathBuf, existed: bool) {
        let kind = if existed { ChangeKind::Modified } else { ChangeKind::Added };
        self.written.changes.push(Change { path, kind });
    }
}

struct HashWriter<'h>(&'h mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads what is at a place; `None` if nothing is.
pub(super) fn stat_of(place: &Place) -> Result<Option<Stat>, PathError> {
    match statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(at("stat", &place.path())(error)),
    }
}

fn mtime(entry: &Entry) -> (i64, u32) {
    (entry.mtime.0, u32::try_from(entry.mtime.1).unwrap_or(0))
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}
