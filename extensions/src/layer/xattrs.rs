//! Extended attributes: which of them a layer holds.
//!
//! Kept: `user.*`, POSIX access control lists, and `security.capability` in the form that means the
//! same on every machine. Left out: labels and signatures of the machine (`selinux`, `ima`, `evm`),
//! `trusted.*`, and overlay's own marks. Only files and directories are read and written: nothing
//! that is kept can stand on a link, and a device is never opened.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// The kernel's own limit on a value, and on the list of names.
const MAX_BYTES: usize = 64 * 1024;

const CAPABILITY: &CStr = c"security.capability";

/// The attributes of one file by name.
pub type Xattrs = BTreeMap<CString, Vec<u8>>;

/// Reads the attributes of an open file or directory that a layer holds.
///
/// A file system without attributes has none.
pub fn read(fd: BorrowedFd<'_>) -> rustix::io::Result<Xattrs> {
    let mut list = Vec::with_capacity(1024);
    let mut found = flistxattr(fd, spare_capacity(&mut list)).map(|_| ());
    if found == Err(Errno::RANGE) {
        list = Vec::with_capacity(MAX_BYTES);
        found = flistxattr(fd, spare_capacity(&mut list)).map(|_| ());
    }
    match found {
        Ok(()) => {}
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Xattrs::new()),
        Err(error) => return Err(error),
    }
    let mut xattrs = Xattrs::new();
    for name in list.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if is_kept(name)
            && let Some(value) = value(fd, name)?
        {
            xattrs.insert(name.to_owned(), value);
        }
    }
    Ok(xattrs)
}

/// Gives an open file or directory exactly these attributes, of those that a layer may hold.
///
/// What the file system or the container does not allow is left out, as other tools do.
pub fn write(fd: BorrowedFd<'_>, xattrs: &Xattrs) -> rustix::io::Result<()> {
    for name in read(fd)?.keys().filter(|name| !xattrs.contains_key(*name)) {
        tolerate(fremovexattr(fd, name.as_c_str()))?;
    }
    for (name, value) in xattrs.iter().filter(|(name, _)| is_kept(name)) {
        tolerate(fsetxattr(fd, name.as_c_str(), value, XattrFlags::empty()))?;
    }
    Ok(())
}

fn tolerate(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOTSUP | Errno::PERM | Errno::NODATA) => Ok(()),
        other => other,
    }
}

/// Tells whether a layer holds the attribute of that name.
pub fn is_kept(name: &CStr) -> bool {
    let bytes = name.to_bytes();
    name == CAPABILITY
        || bytes == b"system.posix_acl_access"
        || bytes == b"system.posix_acl_default"
        || (bytes.starts_with(b"user.") && !bytes.starts_with(b"user.overlay."))
}

fn value(fd: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = Vec::with_capacity(256);
    let mut got = fgetxattr(fd, name, spare_capacity(&mut value)).map(|_| ());
    if got == Err(Errno::RANGE) {
        value = Vec::with_capacity(MAX_BYTES);
        got = fgetxattr(fd, name, spare_capacity(&mut value)).map(|_| ());
    }
    match got {
        Ok(()) if name == CAPABILITY => Ok(Some(portable_capability(value))),
        Ok(()) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Turns a file capability bound to one user namespace (revision 3) into one that is not
/// (revision 2): the number of the namespace's root means nothing in another container.
fn portable_capability(mut value: Vec<u8>) -> Vec<u8> {
    const REVISION_3_BYTES: usize = 24;
    const REVISION_2_BYTES: usize = 20;
    if value.len() == REVISION_3_BYTES && value[3] == 3 {
        value.truncate(REVISION_2_BYTES);
        value[3] = 2;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_the_machine_are_left_out() {
        let kept = |name: &CStr| is_kept(name);
        assert!(kept(c"user.comment") && kept(c"security.capability"));
        assert!(kept(c"system.posix_acl_access") && kept(c"system.posix_acl_default"));
        assert!(!kept(c"security.selinux") && !kept(c"security.ima"));
        assert!(!kept(c"trusted.overlay.opaque") && !kept(c"user.overlay.origin"));
    }

    #[test]
    fn a_capability_bound_to_a_namespace_becomes_a_plain_one() {
        let mut bound = vec![1, 0, 0, 3];
        bound.extend([0x20; 16]);
        bound.extend(100_000_u32.to_le_bytes());
        let plain = portable_capability(bound.clone());
        assert_eq!(plain[..4], [1, 0, 0, 2]);
        assert_eq!(plain[4..], bound[4..20]);
        assert_eq!(portable_capability(plain.clone()), plain);
    }
}
