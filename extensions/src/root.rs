//! A root directory as a value, and the only way to a path below it.
//!
//! Every path is resolved component by component from the directory handle, as the kernel would
//! resolve it after `chroot`: an absolute symbolic link starts again at the root, `..` stops there,
//! and no link is ever followed by the kernel itself. So whatever a tree holds, nothing outside it
//! can be reached, and each answer carries the path that the links led to.

mod guard;
mod make;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chownat, fstat, mkdirat, openat, readlinkat};
use rustix::io::Errno;

pub use guard::{Confined, Guard};
pub use make::{Attributes, copy_exactly, set_dir_mtime};

/// More links than this in one path are a loop; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// More components than this, links' targets included, are refused.
const MAX_COMPONENTS: usize = 4096;

/// A file system operation that failed, with the path it was about.
#[derive(Debug, thiserror::Error)]
#[error("{operation} `{}`", path.display())]
pub struct PathError {
    /// What was tried: a verb, for example `open`.
    pub operation: &'static str,
    /// The path it was tried on.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// Returns what makes an operating system's error a [`PathError`], for `map_err`.
pub fn at<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> PathError {
    move |error| PathError { operation, path: path.to_owned(), source: error.into() }
}

/// The directory that stands for `/` while a Dockerfile is applied.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// A directory below a root.
#[derive(Debug)]
pub struct Dir {
    /// Its handle, opened for path operations only (`O_PATH`).
    pub fd: OwnedFd,
    /// Its path below the root after all links, without a leading `/`; empty for the root itself.
    pub path: PathBuf,
}

/// Where a path leads: a name in a directory, whether or not there is something of that name.
#[derive(Debug)]
pub struct Place {
    /// The directory.
    pub dir: Dir,
    /// The name in it; never empty, `.`, `..`, or with a `/`.
    pub name: OsString,
}

/// What a missing directory is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDir {
    /// Permission bits, whatever the process's umask is.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

impl NewDir {
    /// 0755, owned by root.
    pub const ROOT: Self = Self { mode: 0o755, uid: 0, gid: 0 };

    /// The given permission bits, owned by the process itself.
    pub fn of_process(mode: u32) -> Self {
        Self { mode, uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }
}

impl PathError {
    /// Tells whether there is nothing of that path.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Returns the path below the root, without a leading `/`.
    pub fn relative_path(&self) -> PathBuf {
        self.path.strip_prefix("/").unwrap_or(&self.path).to_owned()
    }

    /// Tells whether the path may not be written, be it by a [`Guard`] or by its file system.
    pub fn is_read_only(&self) -> bool {
        self.source.raw_os_error() == Some(Errno::ROFS.raw_os_error())
    }
}

impl Root {
    /// Opens the directory at `path` of the process's own file system. Fails if it is none.
    pub fn open(path: &Path) -> Result<Self, PathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).map_err(at("open directory", path))?;
        let path = path.canonicalize().map_err(at("resolve", path))?;
        Ok(Self { fd, path })
    }

    /// Makes an open directory a root. The path is for messages.
    pub(crate) fn of(fd: OwnedFd, path: &Path) -> Self {
        Self { fd, path: path.to_owned() }
    }

    /// Makes a directory below this root a root of its own.
    #[must_use]
    pub fn below(&self, dir: Dir) -> Self {
        let path = self.path.join(&dir.path);
        Self { fd: dir.fd, path }
    }

    /// Returns the directory's path in the process's own file system.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether this is the process's own `/`, so that a process needs no `chroot` into it.
    pub fn is_host(&self) -> bool {
        self.path == Path::new("/")
    }

    /// Opens the directory that `path` leads to, the last component's link included.
    pub fn dir(&self, path: &Path) -> Result<Dir, PathError> {
        let mut walk = Walk::start(self, path, None)?;
        walk.finish()?;
        walk.into_dir()
    }

    /// Opens the directory that `path` leads to and makes what is missing of it. Returns it with
    /// the directories made, outermost first. Fails, before it makes any, where the guard forbids.
    pub fn make_dir(
        &self,
        path: &Path,
        new: NewDir,
        guard: Guard<'_>,
    ) -> Result<(Dir, Vec<PathBuf>), PathError> {
        let mut walk = Walk::start(self, path, Some((new, guard)))?;
        walk.finish()?;
        let made = std::mem::take(&mut walk.made);
        Ok((walk.into_dir()?, made))
    }

    /// Finds the place that `path` names without following a link there. `None` when it names the
    /// root itself. Fails if its directory does not exist.
    pub fn place(&self, path: &Path) -> Result<Option<Place>, PathError> {
        let walk = Walk::start(self, path, None)?;
        Ok(walk.into_place()?.map(|(place, _)| place))
    }

    /// Finds the place that `path` names, as [`place`](Self::place) does, and fails where untrusted
    /// links lead elsewhere than the guard allows.
    pub fn place_confined(&self, path: &Path, guard: Guard<'_>) -> Result<Option<Place>, PathError> {
        let mut walk = Walk::start(self, path, None)?;
        walk.confined = guard.confined;
        Ok(walk.into_place()?.map(|(place, _)| place))
    }

    /// Finds the place that `path` names, as [`place`](Self::place) does, and makes the directories
    /// on the way to it. Returns it with the directories made, outermost first.
    pub fn make_place(
        &self,
        path: &Path,
        new: NewDir,
        guard: Guard<'_>,
    ) -> Result<Option<(Place, Vec<PathBuf>)>, PathError> {
        Walk::start(self, path, Some((new, guard)))?.into_place()
    }

    /// Finds the place that `path` leads to: links are followed to the end, where there may be
    /// nothing yet. `None` when it leads to the root itself.
    pub fn target(&self, path: &Path) -> Result<Option<Place>, PathError> {
        Ok(self.target_in(path, None)?.map(|(place, _)| place))
    }

    /// Finds the place that `path` leads to, as [`target`](Self::target) does, and makes the
    /// directories on the way to it. Returns it with the directories made, outermost first.
    pub fn make_target(
        &self,
        path: &Path,
        new: NewDir,
        guard: Guard<'_>,
    ) -> Result<Option<(Place, Vec<PathBuf>)>, PathError> {
        self.target_in(path, Some((new, guard)))
    }

    fn target_in<'g>(
        &'g self,
        path: &Path,
        new: Option<(NewDir, Guard<'g>)>,
    ) -> Result<Option<(Place, Vec<PathBuf>)>, PathError> {
        let mut walk = Walk::start(self, path, new)?;
        loop {
            let Some(name) = walk.step_to_last()? else {
                return Ok(walk.last_of_stack()?.map(|place| (place, Vec::new())));
            };
            match readlinkat(walk.top(), &name, Vec::new()) {
                Ok(target) => walk.follow(target.as_bytes())?,
                Err(Errno::INVAL | Errno::NOENT) => {
                    let made = std::mem::take(&mut walk.made);
                    return Ok(Some((Place { dir: walk.into_dir()?, name }, made)));
                }
                Err(error) => return Err(walk.fail("read link", error)),
            }
        }
    }

    /// Opens the regular file that `path` leads to, for reading. Fails on anything else: opening a
    /// pipe or a device may wait or act.
    pub fn open_file(&self, path: &Path) -> Result<File, PathError> {
        let place = self.target(path)?.ok_or_else(|| at("open", path)(Errno::ISDIR))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(&place.dir, &place.name, flags, Mode::empty()).map_err(at("open", path))?;
        let stat = fstat(&fd).map_err(at("stat", path))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(File::from(fd)),
            FileType::Directory => Err(at("open", path)(Errno::ISDIR)),
            _ => Err(at("open", path)(Errno::INVAL)),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens the directory for reading its entries and changing its metadata.
    pub fn readable(&self) -> Result<OwnedFd, PathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.fd, ".", flags, Mode::empty()).map_err(at("open directory", &self.path))
    }

    /// Opens the directory of that name in this one, following no link. `None` if there is none, or
    /// something else.
    pub fn child(&self, name: &OsStr) -> Result<Option<Self>, PathError> {
        let path = self.path.join(name);
        match open_dir(&self.fd, name) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(at("open directory", &path)(error)),
        }
    }
}

impl Place {
    /// Returns the path below the root, without a leading `/`.
    pub fn path(&self) -> PathBuf {
        self.dir.path.join(&self.name)
    }
}

/// Makes a directory with exactly the given mode and owner, and opens it.
pub fn make_dir_at(dir: impl AsFd, name: &OsStr, new: NewDir) -> rustix::io::Result<OwnedFd> {
    let dir = dir.as_fd();
    mkdirat(dir, name, Mode::from_raw_mode(0o700))?;
    let fd = open_dir(dir, name)?;
    set_owner(&fd, new.uid, new.gid)?;
    let readable = openat(&fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fchmod(readable, Mode::from_raw_mode(new.mode))?;
    Ok(fd)
}

/// Sets the owner of what a handle stands for, links and `O_PATH` handles included; leaves it alone
/// if it is the caller already, so that an unprivileged process can make what is its own.
pub fn set_owner(fd: impl AsFd, uid: u32, gid: u32) -> rustix::io::Result<()> {
    let fd = fd.as_fd();
    let stat = rustix::fs::fstat(fd)?;
    if stat.st_uid == uid && stat.st_gid == gid {
        return Ok(());
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    chownat(fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
}

fn open_dir(dir: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// A path being resolved: the directories entered so far, and the components still ahead.
struct Walk<'r> {
    root: &'r Root,
    whole: PathBuf,
    stack: Vec<(OwnedFd, OsString)>,
    ahead: VecDeque<OsString>,
    links: usize,
    new: Option<(NewDir, Guard<'r>)>,
    made: Vec<PathBuf>,
    confined: Option<Confined<'r>>,
    /// Whether an untrusted link was followed.
    is_led: bool,
}

impl<'r> Walk<'r> {
    fn start(root: &'r Root, path: &Path, new: Option<(NewDir, Guard<'r>)>) -> Result<Self, PathError> {
        let mut walk = Self {
            root,
            whole: path.to_owned(),
            stack: Vec::new(),
            ahead: VecDeque::new(),
            links: 0,
            new,
            made: Vec::new(),
            confined: new.and_then(|(_, guard)| guard.confined),
            is_led: false,
        };
        walk.push(path)?;
        Ok(walk)
    }

    /// Puts the components of a path in front of those still ahead.
    fn push(&mut self, path: &Path) -> Result<(), PathError> {
        let mut parts: VecDeque<OsString> = VecDeque::new();
        for component in path.components() {
            match component {
                Component::RootDir => self.stack.clear(),
                Component::ParentDir => parts.push_back("..".into()),
                Component::Normal(name) => parts.push_back(name.to_owned()),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        parts.append(&mut self.ahead);
        self.ahead = parts;
        if self.ahead.len() > MAX_COMPONENTS {
            return Err(self.fail("resolve", Errno::NAMETOOLONG));
        }
        Ok(())
    }

    fn follow(&mut self, target: &[u8]) -> Result<(), PathError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(self.fail("resolve", Errno::LOOP));
        }
        self.push(Path::new(OsStr::from_bytes(target)))
    }

    /// Enters directories until one name is ahead, and returns it; `None` if none is left.
    fn step_to_last(&mut self) -> Result<Option<OsString>, PathError> {
        while let Some(name) = self.ahead.pop_front() {
            if name == ".." {
                self.stack.pop();
            } else if self.ahead.is_empty() {
                return Ok(Some(name));
            } else {
                self.enter(name)?;
            }
        }
        Ok(None)
    }

    /// Enters every directory ahead.
    fn finish(&mut self) -> Result<(), PathError> {
        while let Some(name) = self.step_to_last()? {
            self.enter(name)?;
        }
        Ok(())
    }

    fn enter(&mut self, name: OsString) -> Result<(), PathError> {
        match open_dir(self.top(), &name) {
            Ok(fd) => self.stack.push((fd, name)),
            Err(Errno::NOTDIR | Errno::LOOP) => match readlinkat(self.top(), &name, Vec::new()) {
                Ok(target) => {
                    let link = self.here().join(&name);
                    self.is_led |= self.confined.is_some_and(|confined| confined.links.contains(&link));
                    self.follow(target.as_bytes())?;
                }
                Err(Errno::INVAL) => return Err(self.fail("resolve", Errno::NOTDIR)),
                Err(error) => return Err(self.fail("read link", error)),
            },
            Err(Errno::NOENT) => self.make(name)?,
            Err(error) => return Err(self.fail("open directory", error)),
        }
        Ok(())
    }

    fn make(&mut self, name: OsString) -> Result<(), PathError> {
        let Some((new, guard)) = self.new else {
            return Err(self.fail("open directory", Errno::NOENT));
        };
        guard.check(&self.here().join(&name))?;
        self.check_led()?;
        let fd = make_dir_at(self.top(), &name, new).map_err(|error| self.fail("create directory", error))?;
        self.stack.push((fd, name));
        self.made.push(self.here());
        Ok(())
    }

    fn top(&self) -> BorrowedFd<'_> {
        self.stack.last().map_or_else(|| self.root.as_fd(), |(fd, _)| fd.as_fd())
    }

    fn here(&self) -> PathBuf {
        self.stack.iter().map(|(_, name)| name).collect()
    }

    fn into_dir(mut self) -> Result<Dir, PathError> {
        let path = self.here();
        let fd = match self.stack.pop() {
            Some((fd, _)) => fd,
            None => open_dir(self.root, OsStr::new(".")).map_err(at("open directory", &self.root.path))?,
        };
        Ok(Dir { fd, path })
    }

    /// Fails where an untrusted link has led out of its bounds.
    fn check_led(&self) -> Result<(), PathError> {
        match self.confined {
            Some(confined) if self.is_led && !self.here().starts_with(confined.below) => {
                Err(self.fail("resolve", Errno::XDEV))
            }
            _ => Ok(()),
        }
    }

    /// The place named, with the directories made on the way; `None` for the root.
    fn into_place(mut self) -> Result<Option<(Place, Vec<PathBuf>)>, PathError> {
        let Some(name) = self.step_to_last()? else {
            self.check_led()?;
            return Ok(self.last_of_stack()?.map(|place| (place, Vec::new())));
        };
        self.check_led()?;
        let made = std::mem::take(&mut self.made);
        let dir = self.into_dir()?;
        Ok(Some((Place { dir, name }, made)))
    }

    /// The place of the directory entered last; `None` for the root.
    fn last_of_stack(mut self) -> Result<Option<Place>, PathError> {
        let Some((_, name)) = self.stack.pop() else {
            return Ok(None);
        };
        let dir = self.into_dir()?;
        Ok(Some(Place { dir, name }))
    }

    fn fail(&self, operation: &'static str, error: Errno) -> PathError {
        at(operation, &self.whole)(error)
    }
}

/// Reads where the link of that name points; `None` if it is no link.
pub fn read_link_at(dir: impl AsFd, name: &OsStr) -> rustix::io::Result<Option<OsString>> {
    match readlinkat(dir, name, Vec::new()) {
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()))),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
