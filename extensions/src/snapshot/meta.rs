//! The metadata of one entry, as small as a scan of a hundred thousand needs it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, statat, statx};
use rustix::io::Errno;

/// Everything about an entry that the kernel changes when the entry changes. 64 bytes.
///
/// The inode is a part of it: a file replaced by another with the same times is a changed file.
/// The access time is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// Inode number.
    pub ino: u64,
    /// Change time, seconds.
    pub ctime_sec: i64,
    /// Modification time, seconds.
    pub mtime_sec: i64,
    /// Size in bytes.
    pub size: u64,
    /// Device number of a device node: major in the upper half, minor in the lower.
    pub rdev: u64,
    /// Change time, nanoseconds.
    pub ctime_nsec: u32,
    /// Modification time, nanoseconds.
    pub mtime_nsec: u32,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of links.
    pub nlink: u32,
}

const _: () = assert!(size_of::<Meta>() == 64);

impl Meta {
    /// Returns the entry's type.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Tells whether the entry is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Returns a copy without what differs between equal entries of a file system that does not
    /// keep inode numbers and change times.
    pub(super) fn without_identity(mut self) -> Self {
        self.ino = 0;
        self.ctime_sec = 0;
        self.ctime_nsec = 0;
        if self.is_dir() {
            // Some file systems report sizes and link counts of directories as they like.
            self.size = 0;
            self.nlink = 0;
        }
        self
    }
}

/// What an entry must share with the root to be on the same file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mount {
    /// The number of its mount: exact, for all types.
    Id(u64),
    /// The number of its device: what kernels before 5.8 tell, and meaningful for directories only.
    Device(u64),
}

/// Reads an entry's metadata without following a link or mounting anything.
pub(super) fn read(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<(Meta, Mount)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    match statx(dir, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID) {
        Ok(found) => Ok(from_statx(&found)),
        // Old kernels, and the filters of old container engines.
        Err(Errno::NOSYS | Errno::PERM) => from_stat(dir, name),
        Err(error) => Err(error),
    }
}

fn from_statx(found: &Statx) -> (Meta, Mount) {
    let meta = Meta {
        ino: found.stx_ino,
        ctime_sec: found.stx_ctime.tv_sec,
        mtime_sec: found.stx_mtime.tv_sec,
        size: found.stx_size,
        rdev: pair(found.stx_rdev_major, found.stx_rdev_minor),
        ctime_nsec: found.stx_ctime.tv_nsec,
        mtime_nsec: found.stx_mtime.tv_nsec,
        mode: u32::from(found.stx_mode),
        uid: found.stx_uid,
        gid: found.stx_gid,
        nlink: found.stx_nlink,
    };
    let mount = if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        Mount::Device(pair(found.stx_dev_major, found.stx_dev_minor))
    } else {
        Mount::Id(found.stx_mnt_id)
    };
    (meta, mount)
}

fn from_stat(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<(Meta, Mount)> {
    let found = if name.is_empty() {
        rustix::fs::fstat(dir)?
    } else {
        statat(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)?
    };
    let (major, minor) = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
    let meta = Meta {
        ino: found.st_ino,
        ctime_sec: found.st_ctime,
        mtime_sec: found.st_mtime,
        size: u64::try_from(found.st_size).unwrap_or(0),
        rdev: pair(major, minor),
        ctime_nsec: nanoseconds(found.st_ctime_nsec),
        mtime_nsec: nanoseconds(found.st_mtime_nsec),
        mode: found.st_mode,
        uid: found.st_uid,
        gid: found.st_gid,
        nlink: u32::try_from(found.st_nlink).unwrap_or(u32::MAX),
    };
    Ok((meta, Mount::Device(found.st_dev)))
}

fn nanoseconds(value: impl TryInto<u32>) -> u32 {
    value.try_into().unwrap_or(0)
}

fn pair(major: u32, minor: u32) -> u64 {
    u64::from(major) << 32 | u64::from(minor)
}
