//! Finds out whether change times on the root's file system prove anything.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, Timespec, Timestamps, futimens, openat, unlinkat};
use rustix::io::Errno;

use super::{Method, wait_for_tick};
use crate::root::{PathError, Root, at};

/// How often a name is tried that is taken.
const TRIES: u32 = 100;

/// Returns the method that is sound on the root's file system.
///
/// A file is written, written again with the same size, and given its old modification time. If its
/// change time stayed, or its inode number is not the same twice, contents must be hashed. A root
/// that cannot be written cannot change either.
pub fn probe(root: &Root) -> Result<Method, PathError> {
    let Some((name, file)) = create(root)? else {
        return Ok(Method::Stat);
    };
    let probed = rewrite(root, &name, file);
    let removed = unlinkat(root, &name, AtFlags::empty());
    let path = root.path().join(&name);
    removed.map_err(at("remove", &path))?;
    probed.map_err(at("write", &path))
}

fn create(root: &Root) -> Result<Option<(OsString, File)>, PathError> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for number in 0..TRIES {
        let name = OsString::from(format!(".scan-probe-{}-{number}", std::process::id()));
        match openat(root, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => return Ok(Some((name, File::from(fd)))),
            Err(Errno::EXIST) => {}
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => return Ok(None),
            Err(error) => return Err(at("create", &root.path().join(&name))(error)),
        }
    }
    Ok(None)
}

fn rewrite(root: &Root, name: &OsString, mut file: File) -> std::io::Result<Method> {
    let stat = || rustix::fs::statat(root, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW);
    file.write_all(b"1")?;
    let (first, again) = (stat()?, stat()?);
    wait_for_tick();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    file.write_all(b"2")?;
    futimens(&file, &times_of(&first))?;
    drop(file);
    let second = stat()?;
    let stable = first.st_ino == again.st_ino && first.st_ino == second.st_ino;
    Ok(if stable && changed(&first, &second) { Method::Stat } else { Method::Hash })
}

fn changed(a: &Stat, b: &Stat) -> bool {
    (a.st_ctime, a.st_ctime_nsec) != (b.st_ctime, b.st_ctime_nsec)
}

fn times_of(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: i64::try_from(stat.st_atime_nsec).unwrap_or(0),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_file_system_needs_no_hashing_and_nothing_is_left_on_it() {
        let temp = tempfile::tempdir().expect("temp dir");
        let root = Root::open(temp.path()).expect("open root");
        assert_eq!(probe(&root).expect("probe"), Method::Stat);
        assert_eq!(std::fs::read_dir(temp.path()).expect("list").count(), 0);
    }
}
