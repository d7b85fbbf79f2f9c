//! Build contexts: which files of a directory COPY and ADD select, and their bytes.
//!
//! Nothing outside the directory can be reached: every path is resolved through a [`Root`], and a file
//! is read through the handle that was found to be what was selected.

mod glob;
mod ignore;
mod list;
mod merkle;
mod pattern;
mod select;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use crate::root::{Dir, PathError, Root, at};

pub use glob::{Glob, escape_wildcards, has_wildcard};
pub use ignore::{Ignore, IgnorePattern};
pub use merkle::{ContentDigest, ContentHash};
pub use pattern::BadPattern;
pub use select::{Parents, SelectOptions};

/// The largest `.dockerignore`.
const MAX_IGNORE_BYTES: u64 = 1024 * 1024;

/// A build context: a directory, and what of it is ignored.
#[derive(Debug)]
pub struct Context {
    root: Root,
    ignore: Ignore,
}

/// What one source, or one match of a pattern, selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The last name of the path that was written or matched: the name in a destination that is a
    /// directory.
    pub name: OsString,
    /// Its path in the context after all links, without a leading `/`; empty for the context itself.
    pub path: PathBuf,
    /// The thing itself, with an empty path, and, if it is a directory, everything selected below it:
    /// directories before what they hold, names sorted. It is never a symbolic link.
    pub entries: Vec<Entry>,
}

/// A file, a directory or a symbolic link of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path below what was selected.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// The time it was last changed: seconds, nanoseconds.
    pub mtime: (i64, i64),
    /// Device and inode: equal for hard links of one file.
    pub inode: (u64, u64),
    /// How many names the file has.
    pub links: u64,
    /// Whether it is a directory that is selected only because something below it is.
    pub is_parent: bool,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its size.
        size_bytes: u64,
    },
    /// A symbolic link, copied as one.
    Symlink {
        /// Where it points.
        target: OsString,
    },
}

/// Why nothing can be selected or read.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A source names nothing.
    #[error("`{source_path}` is not in the build context")]
    NotFound {
        /// The source as written.
        source_path: String,
    },
    /// A source names something that `.dockerignore` leaves out.
    #[error("`{source_path}` is not in the build context: .dockerignore leaves it out")]
    Ignored {
        /// The source as written.
        source_path: String,
    },
    /// A pattern is malformed.
    #[error("`{pattern}`: {error}")]
    Pattern {
        /// The pattern, or the name of the file that holds it.
        pattern: String,
        /// What is wrong with it.
        #[source]
        error: BadPattern,
    },
    /// Something selected is no file, directory or symbolic link.
    #[error("`{}` is a {kind}: only files, directories and symbolic links are copied", path.display())]
    Special {
        /// Its path in the context.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// More is selected than can be copied.
    #[error("`{}`: {limit}", path.display())]
    Limit {
        /// Where.
        path: PathBuf,
        /// Which limit.
        limit: String,
    },
    /// A file is not what it was when it was selected.
    #[error("`{}` changed while it was copied", path.display())]
    Changed {
        /// Its path in the context.
        path: PathBuf,
    },
    /// The file system.
    #[error("failed to {error}")]
    Path {
        /// What failed.
        #[from]
        #[source]
        error: PathError,
    },
}

impl Context {
    /// Opens a context, with what `ignore` says of it.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn new(directory: &Path, ignore: Ignore) -> Result<Self, ContextError> {
        Ok(Self { root: Root::open(directory)?, ignore })
    }

    /// Opens the context of a Dockerfile. `<Dockerfile>.dockerignore` says what is ignored or, if there
    /// is none, `.dockerignore` of the context.
    ///
    /// # Errors
    /// There is no such directory, or an ignore file is malformed, too large, or no file.
    pub fn of(directory: &Path, dockerfile: &Path) -> Result<Self, ContextError> {
        let mut context = Self::new(directory, Ignore::default())?;
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        let file = match open_own_ignore(Path::new(&own))? {
            Some(file) => Some(file),
            None => context.open_ignore()?,
        };
        if let Some(file) = file {
            context.ignore = read_ignore(file)?;
        }
        Ok(context)
    }

    /// Opens a selected file for reading, if it still is what was selected.
    ///
    /// # Errors
    /// [`ContextError::Changed`] if it is another file now, or was written to.
    pub fn open_file(&self, selected: &Selected, entry: &Entry) -> Result<File, ContextError> {
        self.files().open(selected, entry)
    }

    /// Returns what opens selected files one after another: cheaper for files of one directory.
    pub fn files(&self) -> Files<'_> {
        Files { context: self, directory: None }
    }

    fn open_ignore(&self) -> Result<Option<File>, ContextError> {
        let path = Path::new(".dockerignore");
        let Some(place) = self.root.target(path)? else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&place.dir, &place.name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(at("open", path)(error).into()),
        }
    }
}

/// Opens selected files, and keeps the directory of the last one at hand.
#[derive(Debug)]
pub struct Files<'c> {
    context: &'c Context,
    directory: Option<Dir>,
}

impl Files<'_> {
    /// Opens a file as [`Context::open_file`] does.
    ///
    /// # Errors
    /// As there.
    pub fn open(&mut self, selected: &Selected, entry: &Entry) -> Result<File, ContextError> {
        let path = selected.path_of(entry);
        let changed = || ContextError::Changed { path: path.clone() };
        let name = path.file_name().ok_or_else(changed)?;
        let directory = self.directory(path.parent().unwrap_or(Path::new("")))?.ok_or_else(changed)?;
        // Not blocking: what is a FIFO by now would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match openat(directory, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP) => return Err(changed()),
            opened => opened.map_err(at("open", &path))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(at("stat", &path))?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let same = regular && Entry::of_file(&entry.path, &stat) == *entry;
        if same { Ok(File::from(fd)) } else { Err(changed()) }
    }

    /// Opens a directory of the context by its path without links; `None` if links are on the way now.
    fn directory(&mut self, path: &Path) -> Result<Option<&Dir>, ContextError> {
        if self.directory.as_ref().is_none_or(|directory| directory.path != path) {
            self.directory = Some(self.context.root.dir(path)?);
        }
        Ok(self.directory.as_ref().filter(|directory| directory.path == path))
    }
}

impl Selected {
    /// Returns the path of an entry in the context.
    pub fn path_of(&self, entry: &Entry) -> PathBuf {
        if entry.path.as_os_str().is_empty() { self.path.clone() } else { self.path.join(&entry.path) }
    }
}

impl Entry {
    fn of_file(path: &Path, stat: &Stat) -> Self {
        let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        Self::new(path, EntryKind::File { size_bytes }, stat)
    }

    #[expect(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    fn new(path: &Path, kind: EntryKind, stat: &Stat) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            mode: stat.st_mode & 0o7777,
            mtime: (stat.st_mtime as i64, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            inode: (stat.st_dev as u64, stat.st_ino as u64),
            links: stat.st_nlink as u64,
            is_parent: false,
        }
    }
}

/// Opens the ignore file beside a Dockerfile; `None` if there is none.
fn open_own_ignore(path: &Path) -> Result<Option<File>, ContextError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(rustix::fs::CWD, path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(at("open", path)(error).into()),
    }
}

fn read_ignore(file: File) -> Result<Ignore, ContextError> {
    let path = Path::new(".dockerignore");
    let fail = |error: io::Error| ContextError::from(at("read", path)(error));
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(fail(io::Error::other("it is not a file")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_IGNORE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_IGNORE_BYTES {
        let limit = format!("larger than {MAX_IGNORE_BYTES} bytes");
        return Err(ContextError::Limit { path: path.to_owned(), limit });
    }
    let text = String::from_utf8(bytes).map_err(|_| fail(io::Error::other("it is not valid UTF-8")))?;
    Ignore::parse(&text).map_err(|error| ContextError::Pattern { pattern: ".dockerignore".to_owned(), error })
}

/// Reads the metadata of a name in a directory, of a link itself.
fn stat_at(dir: impl std::os::fd::AsFd, name: &std::ffi::OsStr) -> rustix::io::Result<Stat> {
    statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests;
