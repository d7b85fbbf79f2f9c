//! A write through a memory mapping: the one way to change a file without a system call.
#![expect(unsafe_code, reason = "a shared mapping is raw memory")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use nix::libc;

/// Writes one byte at the start of the file through a mapping.
pub(crate) fn write_mapped(file: &File, byte: u8) -> io::Result<()> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    if len == 0 {
        return Ok(());
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping of an open, non-empty file; the address is the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, file.as_raw_fd(), 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has at least one byte, is writable, and nobody else knows its address.
    unsafe { start.cast::<u8>().write_volatile(byte) };
    // SAFETY: the mapping made above, in its whole length.
    unsafe { libc::munmap(start, len) };
    Ok(())
}
