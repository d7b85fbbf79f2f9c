//! The digest of an entry's content, for file systems whose change times prove nothing.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, Mode, OFlags, openat, readlinkat};
use sha2::{Digest as _, Sha256};

use super::Meta;
use crate::layer::xattrs;

/// The digest of a file's bytes or a link's target, and of extended attributes.
pub(super) type Digest = [u8; 32];

const CHUNK: usize = 256 * 1024;

/// Computes the digest of an entry of that name.
pub(super) fn digest(dir: BorrowedFd<'_>, name: &CStr, meta: &Meta) -> std::io::Result<Digest> {
    let mut hash = Sha256::new();
    match meta.file_type() {
        FileType::Symlink => {
            hash.update(readlinkat(dir, name, Vec::new())?.as_bytes());
        }
        FileType::RegularFile | FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(openat(dir, name, flags, Mode::empty())?);
            for (name, value) in xattrs::read(file.as_fd())? {
                update_sized(&mut hash, name.as_bytes());
                update_sized(&mut hash, &value);
            }
            if meta.file_type() == FileType::RegularFile {
                update_from(&mut hash, file)?;
            }
        }
        _ => {}
    }
    Ok(hash.finalize().into())
}

fn update_sized(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(bytes);
}

fn update_from(hash: &mut Sha256, mut file: File) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        hash.update(&buffer[..read]);
    }
}

/// Makes the name of an error out of a C string.
pub(super) fn display(name: &CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}
