//! Writes a tar's entries into a directory, through its handle.
//!
//! No entry is reached through a link: every directory on the way is opened from the one above it and
//! must be a directory. Names may be absolute or relative; they must lie in the directory that the
//! layer holds, or be parents of it. Directories, files and links are written, hard links to what the
//! same tar holds; everything else is refused. Modes are those of the tar, owners and times are not.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, fchmod, linkat, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::chunks::{CHUNK, HashedChunks};
use super::crew::{Failed, Target, Write};
use super::header::padding;
use super::read::{Entry, next_entry};
use super::walk::{Place, open_dir};

/// The deepest directory below the layer's, and the longest name.
const DEPTH_MAX: usize = 2000;
const NAME_MAX: usize = 64 << 10;

/// The most directories whose modes are set at the end: they are remembered until then.
const CLOSED_DIRS_MAX: usize = 1 << 20;

/// The most writes of one batch. With those that wait it bounds how many files are open.
const BATCH: usize = 32;

/// Why an entry was not written.
#[derive(Debug)]
pub enum ExtractError {
    /// The tar cannot be read.
    Read(io::Error),
    /// It must not be written.
    Entry(Vec<u8>, &'static str),
    /// The system failed to write it.
    Write(Vec<u8>, io::Error),
}

/// What was found in a tar beside what was written.
#[derive(Debug, Default)]
pub struct Extracted {
    /// The mode of the directory itself; `None` if the tar does not hold it.
    pub root_mode: Option<u32>,
    /// The modes of its parents, by how many parts their names have.
    pub parent_modes: Vec<(usize, u32)>,
}

/// Writes entries below one directory.
struct Extractor<'a> {
    /// The parts of the layer's directory's name.
    name: &'a [&'a [u8]],
    place: Place,
    /// The parts of where one is, below the directory.
    at: Vec<Vec<u8>>,
    umask: u32,
    /// Directories that get their modes at the end.
    closed: Vec<(Vec<Vec<u8>>, u32)>,
    found: Extracted,
    /// Contents that are handed over to be written, and their bytes.
    batch: Vec<Write>,
    bytes: usize,
}

/// Writes all entries of `tar` that are below the directory of that `name` into `root`.
pub fn extract(
    tar: &mut HashedChunks<impl Read>,
    name: &[&[u8]],
    root: OwnedFd,
) -> Result<Extracted, ExtractError> {
    let place = Place::at(root).map_err(|errno| ExtractError::Write(Vec::new(), errno.into()))?;
    let (at, closed, batch) = (Vec::new(), Vec::new(), Vec::new());
    let found = Extracted::default();
    let mut extractor = Extractor { name, place, at, umask: umask(), closed, found, batch, bytes: 0 };
    while let Some(entry) = next_entry(tar).map_err(ExtractError::Read)? {
        extractor.entry(&entry, tar)?;
        skip(tar, padding(entry.size)).map_err(ExtractError::Read)?;
    }
    tar.write(std::mem::take(&mut extractor.batch)).map_err(not_written)?;
    extractor.close()?;
    Ok(extractor.found)
}

/// Where an entry belongs.
enum Location<'e> {
    /// A parent of the layer's directory, with how many parts its name has.
    Parent(usize),
    /// The directory itself.
    Root,
    /// A name in a directory below it.
    Below(Vec<&'e [u8]>, &'e [u8]),
}

impl Extractor<'_> {
    fn entry(&mut self, entry: &Entry, tar: &mut HashedChunks<impl Read>) -> Result<(), ExtractError> {
        let refuse = |why| Err(ExtractError::Entry(entry.name.clone(), why));
        let (dirs, leaf) = match (self.locate(&entry.name), entry.flag) {
            (Err(why), _) => return refuse(why),
            (Ok(Location::Parent(parts)), b'5') => {
                self.found.parent_modes.push((parts, entry.mode & 0o7777));
                return Ok(());
            }
            (Ok(Location::Root), b'5') => {
                self.found.root_mode = Some(entry.mode & 0o7777);
                return Ok(());
            }
            (Ok(Location::Parent(_) | Location::Root), _) => return refuse("must be a directory"),
            (Ok(Location::Below(dirs, leaf)), _) => (dirs, leaf),
        };
        self.found.root_mode.get_or_insert(0o755);
        let failed = |errno: Errno| ExtractError::Write(entry.name.clone(), errno.into());
        match self.go_to(&dirs) {
            Err(Errno::LOOP | Errno::NOTDIR) => return refuse("lies below what is no directory"),
            result => result.map_err(failed)?,
        }
        match entry.flag {
            b'5' => match self.make_dir(leaf, entry.mode & 0o7777) {
                Err(Errno::LOOP | Errno::NOTDIR) => refuse("takes the place of what is no directory"),
                result => result.map_err(failed),
            },
            b'0' => self.make_file(leaf, entry, tar),
            b'1' => self.make_hard_link(leaf, entry),
            b'2' => self.replacing(leaf, |dir, name| symlinkat(&*entry.link, dir, name)).map_err(failed),
            _ => refuse("is neither a directory, a file nor a link"),
        }
    }

    /// Where the entry of that name belongs, or why it belongs nowhere.
    fn locate<'e>(&self, name: &'e [u8]) -> Result<Location<'e>, &'static str> {
        if name.len() > NAME_MAX {
            return Err("has too long a name");
        }
        let parts = name.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let mut parts: Vec<&[u8]> = parts.collect();
        if parts.contains(&b"..".as_slice()) || name.contains(&0) {
            return Err("has a name that leads elsewhere");
        }
        let common = parts.iter().zip(self.name).take_while(|(part, name)| part == name).count();
        if common == parts.len() && common < self.name.len() {
            return Ok(Location::Parent(common));
        }
        if common < self.name.len() {
            return Err("lies outside of the layer's directory");
        }
        parts.drain(..common);
        match parts.pop() {
            None => Ok(Location::Root),
            Some(_) if parts.len() > DEPTH_MAX => Err("lies too deep"),
            Some(leaf) => Ok(Location::Below(parts, leaf)),
        }
    }

    /// Goes to the directory `dirs` below the layer's; those that are missing are made.
    fn go_to(&mut self, dirs: &[&[u8]]) -> Result<(), Errno> {
        let common = self.at.iter().zip(dirs).take_while(|(at, dir)| at == *dir).count();
        while self.at.len() > common {
            self.at.pop();
            self.place.leave()?;
        }
        for &dir in &dirs[common..] {
            match self.place.enter(dir) {
                Err(Errno::NOENT) => {
                    self.make_dir(dir, 0o755)?;
                    self.place.enter(dir)?;
                }
                result => result?,
            }
            self.at.push(dir.to_vec());
        }
        Ok(())
    }

    /// Makes a directory, or sets the mode of one that is there. Until the end it can be written, and
    /// hands no group down.
    fn make_dir(&mut self, name: &[u8], mode: u32) -> Result<(), Errno> {
        let open = (mode | 0o700) & 0o1777;
        let exact = match mkdirat(self.place.dir(), name, Mode::from(open)) {
            Err(Errno::EXIST) => false,
            result => result.map(|()| open & self.umask == 0)?,
        };
        if !exact {
            fchmod(open_dir(self.place.dir(), name)?, Mode::from(open))?;
        }
        if open != mode {
            if self.closed.len() == CLOSED_DIRS_MAX {
                return Err(Errno::NOMEM);
            }
            self.closed.push(([self.at.as_slice(), &[name.to_vec()]].concat(), mode));
        }
        Ok(())
    }

    /// Makes a file. Its contents are written later, and its mode is set after them.
    fn make_file(
        &mut self,
        name: &[u8],
        entry: &Entry,
        tar: &mut HashedChunks<impl Read>,
    ) -> Result<(), ExtractError> {
        let failed = |errno: Errno| ExtractError::Write(entry.name.clone(), errno.into());
        let mode = entry.mode & 0o7777;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.replacing(name, |dir, name| openat(dir, name, flags, Mode::from(mode & 0o777)));
        let file = file.map_err(failed)?;
        let mode = Some(mode).filter(|mode| mode & (self.umask | 0o7000) != 0);
        if entry.size == 0 {
            return mode.map_or(Ok(()), |mode| fchmod(&file, Mode::from(mode))).map_err(failed);
        }
        let target = Target::new(File::from(file), &entry.name, mode, entry.size);
        let mut at = 0;
        while at < entry.size {
            let piece = tar.next_piece(entry.size - at).map_err(ExtractError::Read)?;
            let piece = piece.ok_or_else(|| ExtractError::Read(io::ErrorKind::UnexpectedEof.into()))?;
            let count = piece.len() as u64;
            self.write(Write { target: Arc::clone(&target), at, piece }, tar)?;
            at += count;
        }
        Ok(())
    }

    /// Has a piece written, with others.
    fn write(&mut self, write: Write, tar: &HashedChunks<impl Read>) -> Result<(), ExtractError> {
        self.bytes += write.piece.len();
        self.batch.push(write);
        if self.batch.len() < BATCH && self.bytes < CHUNK {
            return Ok(());
        }
        self.bytes = 0;
        tar.write(std::mem::take(&mut self.batch)).map_err(not_written)
    }

    fn make_hard_link(&mut self, name: &[u8], entry: &Entry) -> Result<(), ExtractError> {
        let refuse = |why| Err(ExtractError::Entry(entry.name.clone(), why));
        let Ok(Location::Below(dirs, leaf)) = self.locate(&entry.link) else {
            return refuse("links to what lies outside of the layer's directory");
        };
        let mut opened: Option<OwnedFd> = None;
        for dir in dirs {
            let from = opened.as_ref().map_or(self.place.root(), AsFd::as_fd);
            opened = match open_dir(from, dir) {
                Ok(dir) => Some(dir),
                Err(_) => return refuse("links to what is not there"),
            };
        }
        let from = opened.as_ref().map_or(self.place.root(), AsFd::as_fd);
        let link = |dir: BorrowedFd<'_>, name: &[u8]| linkat(from, leaf, dir, name, AtFlags::empty());
        match self.replacing(name, link) {
            Err(Errno::NOENT | Errno::PERM | Errno::ISDIR) => {
                refuse("links to what is not there, or no file")
            }
            result => result.map_err(|errno| ExtractError::Write(entry.name.clone(), errno.into())),
        }
    }

    /// Makes `name` by `make`, in the place of what an earlier entry made, unless that is a directory.
    fn replacing<T>(
        &self,
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match make(self.place.dir(), name) {
            Err(Errno::EXIST) => {
                unlinkat(self.place.dir(), name, AtFlags::empty())?;
                make(self.place.dir(), name)
            }
            result => result,
        }
    }

    /// Gives directories that were made with another mode their own, the deepest first.
    fn close(&mut self) -> Result<(), ExtractError> {
        let mut closed = std::mem::take(&mut self.closed);
        closed.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (path, mode) in closed {
            let parts: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
            let (leaf, dirs) = parts.split_last().expect("a directory below the layer's has a name");
            let close = |extractor: &mut Self| {
                extractor.go_to(dirs)?;
                fchmod(open_dir(extractor.place.dir(), leaf)?, Mode::from(mode))
            };
            close(self).map_err(|errno| ExtractError::Write(path.join(&b'/'), errno.into()))?;
        }
        Ok(())
    }
}

/// The error of a write that failed.
pub fn not_written(failed: Failed) -> ExtractError {
    ExtractError::Write(failed.name, failed.error)
}

fn skip(tar: &mut impl BufRead, mut count: usize) -> io::Result<()> {
    while count > 0 {
        let there = tar.fill_buf()?.len().min(count);
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tar.consume(there);
        count -= there;
    }
    Ok(())
}

/// The permissions that the system takes from new files; all of them if it does not say.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok()).unwrap_or(0o777)
}
