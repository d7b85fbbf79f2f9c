//! Whose rights a phase works with: root's only as long as it must, then those of the build image's user.
//!
//! As any other user than root nothing is changed: there is nothing to give up and no right to give
//! files away.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, geteuid, getgid, getuid, setgroups, setresgid, setresuid};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

use crate::layers::tar::Owner;

/// How deep directories may be nested that are given away.
const MAX_DEPTH: usize = 256;

/// Rights that a phase must not have, or could not give up or pass on.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// A phase that runs buildpacks must not be root.
    #[error("refusing to run as root")]
    Root,
    /// The user could not be changed.
    #[error("exec as user {uid}:{gid}")]
    RunAs {
        /// The user ID.
        uid: u32,
        /// The group ID.
        gid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory could not be given to the user.
    #[error("chown `{}`", path.display())]
    Chown {
        /// The directory named by the platform.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whether this process is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The user that this process is.
pub fn current_user() -> Owner {
    Owner { uid: getuid().as_raw(), gid: getgid().as_raw() }
}

/// Fails when this process is root: its buildpacks would be too.
pub fn refuse_root() -> Result<(), PrivilegeError> {
    if is_root() || getuid().is_root() { Err(PrivilegeError::Root) } else { Ok(()) }
}

/// Gives each of `dirs` that `user` cannot write to `user`, with everything in it; then makes this
/// process, for good, one of `user`. Does nothing unless this process is root and `user` is not.
///
/// A directory that does not exist is left out. One that `user` can write is taken to be right all
/// the way down. Links are not followed.
///
/// # Errors
/// [`PrivilegeError::Chown`] or [`PrivilegeError::RunAs`] when the kernel refuses.
pub fn give_up(user: Owner, dirs: &[PathBuf]) -> Result<(), PrivilegeError> {
    if !is_root() || user.uid == 0 {
        return Ok(());
    }
    for dir in dirs {
        give(dir, user).map_err(|source| PrivilegeError::Chown { path: dir.clone(), source })?;
    }
    run_as(user).map_err(|source| PrivilegeError::RunAs { uid: user.uid, gid: user.gid, source })
}

/// Keeps this process's memory and environment, which hold credentials, from what it will run as the
/// same user: they are for root alone to read from now on.
pub fn hide_from_children() {
    // Where the kernel does not know the request there is nothing to be done.
    let _ = nix::sys::prctl::set_dumpable(false);
}

fn run_as(user: Owner) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    // A user namespace may forbid this one; its root's further groups mean nothing outside it.
    match setgroups(&[gid]) {
        Ok(()) | Err(nix::errno::Errno::EPERM) => {}
        Err(error) => return Err(error.into()),
    }
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

fn give(dir: &Path, user: Owner) -> io::Result<()> {
    let dir = match rustix::fs::openat(
        CWD,
        dir,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        result => File::from(result?),
    };
    let found = rustix::fs::fstat(&dir)?;
    if can_write(found.st_uid, found.st_gid, found.st_mode, user) { Ok(()) } else { give_tree(&dir, user, 0) }
}

/// Whether a directory's owner, group or mode let `user` write it. An owner is taken to be able to.
fn can_write(uid: u32, gid: u32, mode: u32, user: Owner) -> bool {
    uid == user.uid || (gid == user.gid && mode & 0o020 != 0) || mode & 0o002 != 0
}

/// Gives away an open directory and what is in it. Each step goes through the open parent, so that
/// a link or a directory put in the place of another leads nowhere else.
fn give_tree(dir: &File, user: Owner, depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("directories are nested more than {MAX_DEPTH} deep")));
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    rustix::fs::fchown(dir, Some(uid), Some(gid))?;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let found = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let child = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
            give_tree(&child, user, depth + 1)?;
        } else {
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

/// A user's entry in `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The first part of the comment field, which the reference implementation calls the name.
    pub full_name: String,
    /// The home directory.
    pub home: String,
}

/// The account of `uid` in the text of an `/etc/passwd`. Nothing else is asked: a static program
/// has no name services.
pub fn account(passwd: &str, uid: u32) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, id, _, comment, home, ..] = fields.as_slice() else { return None };
        (id.parse() == Ok(uid)).then(|| Account {
            full_name: comment.split(',').next().unwrap_or_default().to_owned(),
            home: (*home).to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const USER: Owner = Owner { uid: 1234, gid: 1235 };

    #[test]
    fn owner_group_and_others_may_write() {
        for (uid, gid, mode, expected) in [
            (1234, 0, 0o755, true),
            (0, 1235, 0o775, true),
            (0, 1235, 0o755, false),
            (0, 0, 0o777, true),
            (0, 0, 0o775, false),
        ] {
            assert_eq!(can_write(uid, gid, mode, USER), expected, "{uid}:{gid} {mode:o}");
        }
    }

    #[test]
    fn directory_is_given_away_with_all_in_it_but_not_what_links_point_to() {
        if !is_root() {
            return;
        }
        let root = tempfile::tempdir().expect("a temporary directory");
        let (dir, outside) = (root.path().join("dir"), root.path().join("outside"));
        std::fs::create_dir_all(dir.join("a/b")).expect("the directory is writable");
        std::fs::create_dir(&outside).expect("the directory is writable");
        std::fs::write(dir.join("a/f"), "").expect("the directory is writable");
        symlink(&outside, dir.join("a/link")).expect("the directory is writable");
        give(&dir, USER).expect("root may give files away");
        let owner = |path: &Path| {
            let found = path.symlink_metadata().expect("the file exists");
            (found.uid(), found.gid())
        };
        for name in ["", "a", "a/b", "a/f", "a/link"] {
            assert_eq!(owner(&dir.join(name)), (1234, 1235), "{name}");
        }
        assert_eq!(owner(&outside), (0, 0));
    }

    #[test]
    fn directory_that_can_be_written_is_left_alone() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("it is ours");
        std::fs::write(dir.path().join("f"), "").expect("the directory is writable");
        give(dir.path(), USER).expect("root may give files away");
        assert_eq!(dir.path().join("f").metadata().expect("the file exists").uid(), 0);
    }

    #[test]
    fn missing_directory_is_left_out() {
        assert!(give(Path::new("/no/such/directory"), USER).is_ok());
    }

    #[test]
    fn account_is_found_by_number() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbroken\ncnb:x:1000:1000:A User,room 1:/home/cnb:/bin/bash\n";
        let found = account(passwd, 1000).expect("the user is there");
        assert_eq!((found.full_name.as_str(), found.home.as_str()), ("A User", "/home/cnb"));
        assert_eq!(account(passwd, 1), None);
    }
}
