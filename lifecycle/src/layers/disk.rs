//! What an entry of a directory is, and its contents, opened so that no link is followed.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat};
use rustix::io::Errno;

use super::header::Kind;
use super::walk::open_dir;

/// Holes of smaller files are read like data.
const WORTH_SEEKING: u64 = 1 << 20;

/// An entry of a directory as it is now.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, setuid, setgid, sticky.
    pub mode: u32,
    /// The size of a file in bytes; else 0.
    pub size: u64,
    /// Where a symbolic link points; else empty.
    pub link: Vec<u8>,
    /// Major and minor number of a device; else zeros.
    pub device: (u32, u32),
    /// A regular file, open at its beginning.
    pub file: Option<File>,
    /// Whether the file seems to have holes.
    pub has_holes: bool,
}

/// Looks at the entry `name` of `dir`, which the directory says is a `kind`, and opens it if it is a
/// regular file. `None` for a socket: those are not part of a layer.
pub fn look(dir: BorrowedFd<'_>, name: &[u8], kind: FileType) -> Result<Option<Found>, Errno> {
    if kind == FileType::RegularFile
        && let Some(found) = open_file(dir, name)?
    {
        return Ok(Some(found));
    }
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => open_file(dir, name)?.ok_or(Errno::STALE).map(Some),
        FileType::Symlink => {
            let link = readlinkat(dir, name, Vec::new())?.into_bytes();
            Ok(Some(Found { link, ..found(Kind::Symlink, &stat) }))
        }
        FileType::Directory => Ok(Some(found(Kind::Dir, &stat))),
        FileType::Fifo => Ok(Some(found(Kind::Fifo, &stat))),
        FileType::CharacterDevice => Ok(Some(found(Kind::CharDevice, &stat))),
        FileType::BlockDevice => Ok(Some(found(Kind::BlockDevice, &stat))),
        FileType::Socket | FileType::Unknown => Ok(None),
    }
}

/// Opens a regular file; `None` if it has become something else. Does not wait for a pipe's writer.
fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Found>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        result => result?,
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let size = u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW)?;
    let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    let has_holes = size > WORTH_SEEKING && stored < size;
    Ok(Some(Found { size, has_holes, file: Some(File::from(file)), ..found(Kind::File, &stat) }))
}

fn found(kind: Kind, stat: &Stat) -> Found {
    let device = match kind {
        Kind::CharDevice | Kind::BlockDevice => (major(stat.st_rdev), minor(stat.st_rdev)),
        _ => (0, 0),
    };
    Found {
        kind,
        mode: stat.st_mode & 0o7777,
        size: 0,
        link: Vec::new(),
        device,
        file: None,
        has_holes: false,
    }
}

/// The directory `name` in `dir` opened for listing, if that is what it is.
pub fn open_if_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<(Found, OwnedFd)>, Errno> {
    match open_dir(dir, name) {
        Ok(opened) => {
            let stat = fstat(&opened)?;
            Ok(Some((found(Kind::Dir, &stat), opened)))
        }
        Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}
