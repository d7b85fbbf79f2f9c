//! Mounts of a thread's own: no other process sees them, and they end with the last one that was started
//! among them.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags, fstatvfs, openat};

use crate::root::{PathError, Place, at};

pub(super) const NONE: Option<&CStr> = None;

/// What a mount may forbid that a change of it to read-only must not lift: in a user namespace it cannot.
const KEPT: [(StatVfsMountFlags, MsFlags); 5] = [
    (StatVfsMountFlags::NOSUID, MsFlags::MS_NOSUID),
    (StatVfsMountFlags::NODEV, MsFlags::MS_NODEV),
    (StatVfsMountFlags::NOEXEC, MsFlags::MS_NOEXEC),
    (StatVfsMountFlags::NOATIME, MsFlags::MS_NOATIME),
    (StatVfsMountFlags::NODIRATIME, MsFlags::MS_NODIRATIME),
];

/// Gives this thread mounts of its own.
pub(super) fn enter() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
}

/// Tells whether this process may mount: tries it all in the directory, on a thread that ends at once.
pub(in crate::apply) fn is_allowed(work: &Path) -> bool {
    let try_it = || -> io::Result<()> {
        enter()?;
        let open = || openat(rustix::fs::CWD, work, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let source = open()?;
        mount_at(&source, Path::new("tmpfs"), Some(c"tmpfs"), MsFlags::empty(), "size=1m")?;
        bind(source, open()?)?;
        seal(open()?)
    };
    std::thread::scope(|scope| scope.spawn(try_it).join().is_ok_and(|tried| tried.is_ok()))
}

/// Opens what is at a place for mounting on it or from it: no link is followed.
pub(super) fn handle(place: &Place) -> Result<OwnedFd, PathError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&place.dir, &place.name, flags, Mode::empty()).map_err(at("open", &place.path()))
}

/// Mounts on what a handle stands for: no link can lead the mount elsewhere.
pub(super) fn mount_at(
    target: impl AsFd,
    source: &Path,
    kind: Option<&CStr>,
    flags: MsFlags,
    data: &str,
) -> io::Result<()> {
    let data = Some(data).filter(|data| !data.is_empty());
    Ok(mount(Some(source), path_of(&target).as_str(), kind, flags, data)?)
}

/// Lets what one handle stands for be seen at another, too.
pub(super) fn bind(source: impl AsFd, target: impl AsFd) -> io::Result<()> {
    mount_at(target, Path::new(&path_of(&source)), NONE, MsFlags::MS_BIND, "")
}

/// Makes the mount whose top a handle stands for read-only.
pub(super) fn seal(top: impl AsFd) -> io::Result<()> {
    let found = fstatvfs(&top)?.f_flag;
    let kept = KEPT.iter().filter(|(flag, _)| found.contains(*flag)).map(|(_, flag)| *flag);
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | kept.collect();
    Ok(mount(NONE, path_of(&top).as_str(), NONE, flags, NONE)?)
}

/// Takes away the mount whose top a handle stands for.
pub(super) fn detach(top: impl AsFd) -> io::Result<()> {
    Ok(umount2(path_of(&top).as_str(), MntFlags::MNT_DETACH)?)
}

fn path_of(handle: &impl AsFd) -> String {
    format!("/proc/thread-self/fd/{}", handle.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_mounts;

    #[test]
    fn trying_leaves_nothing_behind() {
        let temp = tempfile::tempdir().expect("temp dir");
        std::fs::write(temp.path().join("file"), "").expect("write");
        let before = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("read");
        let is_allowed = is_allowed(temp.path());
        assert_eq!(std::fs::read_to_string("/proc/thread-self/mountinfo").expect("read"), before);
        assert!(temp.path().join("file").exists());
        with_mounts("trying_leaves_nothing_behind", || assert!(is_allowed));
    }

    #[test]
    fn there_is_no_leave_without_a_directory_to_try_in() {
        assert!(!is_allowed(Path::new("/no/such/directory")));
    }
}
