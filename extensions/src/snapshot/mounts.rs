//! Where other file systems are mounted below a root.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::root::{PathError, Root, at};

/// Where the kernel lists the mounts that this thread sees.
const MOUNT_INFO: &str = "/proc/thread-self/mountinfo";

/// The list of mounts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// It cannot be read.
    #[error("failed to {0}")]
    Read(#[source] PathError),
    /// A line of it has another form than the kernel's.
    #[error("unexpected line in `{MOUNT_INFO}`: {0:?}")]
    Line(String),
}

/// Lists the mount points below a root, relative to it; the root itself is left out.
///
/// The container engine mounts `/etc/resolv.conf`, `/etc/hosts`, volumes and secrets: what is there
/// is not the image's.
pub fn mount_points(root: &Root) -> Result<Vec<PathBuf>, MountError> {
    let path = Path::new(MOUNT_INFO);
    let text = std::fs::read(path).map_err(|error| MountError::Read(at("read", path)(error)))?;
    parse(&text, root.path())
}

fn parse(text: &[u8], root: &Path) -> Result<Vec<PathBuf>, MountError> {
    let mut points = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        // mount id, parent id, device, root of the mount in its file system, mount point, ...
        let Some(point) = line.split(|byte| *byte == b' ').nth(4) else {
            return Err(MountError::Line(String::from_utf8_lossy(line).into_owned()));
        };
        let point = PathBuf::from(OsString::from_vec(unescape(point)));
        match point.strip_prefix(root) {
            Ok(below) if !below.as_os_str().as_bytes().is_empty() => points.push(below.to_owned()),
            _ => {}
        }
    }
    points.sort();
    points.dedup();
    Ok(points)
}

/// Undoes the kernel's escapes: white space and the backslash are three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail.get(..3)) {
            (b'\\', Some(digits)) => octal(digits),
            _ => None,
        };
        out.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    out
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw\n\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
28 27 0:27 /a\\040b /srv/a\\040b\\134c rw - ext4 /dev/vda rw\n\
29 27 0:27 / /srv/root rw - ext4 /dev/vda rw\n\
30 29 0:28 / /srv/root/proc rw - proc proc rw\n\
31 29 0:28 / /srv/root/proc rw - proc proc rw\n\
32 29 0:28 / /srv/rootless rw - proc proc rw\n";

    #[track_caller]
    fn check(root: &str, expected: &[&str]) {
        let points = parse(TEXT.as_bytes(), Path::new(root)).expect("parse");
        assert_eq!(points, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn mounts_below_the_root_are_listed_once() {
        check("/", &["proc", "srv/a b\\c", "srv/root", "srv/root/proc", "srv/rootless"]);
        check("/srv/root", &["proc"]);
        check("/srv/root/proc", &[]);
    }

    #[test]
    fn a_line_of_another_form_is_an_error() {
        assert!(matches!(parse(b"22 27 0:21\n", Path::new("/")), Err(MountError::Line(_))));
    }

    #[test]
    fn a_broken_escape_stands_for_itself() {
        assert_eq!(unescape(b"a\\04"), b"a\\04");
        assert_eq!(unescape(b"\\999\\"), b"\\999\\");
    }
}
