//! Handing a child a file as its descriptor 3.

use std::io::PipeWriter;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::dup2_raw;

/// The number that the interface of exec.d names.
const NUMBER: i32 = 3;

/// Makes `writer` the descriptor 3 of the child. The command owns it from now on: it is closed
/// with the command. Whatever the launcher itself has open as 3 stays what it is.
#[expect(unsafe_code, reason = "the standard library sets up no descriptors but 0, 1 and 2")]
pub(super) fn attach(command: &mut Command, writer: PipeWriter) {
    let place = move || {
        if writer.as_raw_fd() == NUMBER {
            // To duplicate it onto itself would leave it to be closed on exec.
            fcntl(&writer, FcntlArg::F_SETFD(FdFlag::empty()))?;
        } else {
            // SAFETY: between fork and exec nothing in the child owns descriptor 3: values that do
            // in the launcher are never dropped there. `into_raw_fd` keeps it open for the program.
            let _open: i32 = unsafe { dup2_raw(&writer, NUMBER) }?.into_raw_fd();
        }
        Ok(())
    };
    // SAFETY: between fork and exec only fcntl(2) or dup2(2) is called; nothing is allocated.
    unsafe { command.pre_exec(place) };
}
