//! Signals to the first process of a container.
//!
//! The kernel keeps a process with the number 1 from signals that it has no handler for, so that a
//! platform which stops a build would wait until it may kill it. Any other process is left as it is.
#![expect(unsafe_code, reason = "only a handler makes the kernel deliver a signal to the first process")]

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};

/// What asks a process to end.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Makes a signal end this process at once if it is the first one: with 128 and the signal's number, as
/// a shell says it. Processes that are started get signals as any other.
pub fn obey_as_first_process() {
    if std::process::id() == 1 {
        obey();
    }
}

fn obey() {
    for ending in ENDING {
        // SAFETY: the handler calls nothing but `_exit`, which may be called in one at any time; exec
        // takes handlers back.
        let installed = unsafe { signal(ending, SigHandler::Handler(end)) };
        // Without a handler it is as it was; these signals all have one to be had.
        let _ = installed;
    }
}

extern "C" fn end(number: libc::c_int) {
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(128 + number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// Set in the process of its own in which the test below runs again.
    const AGAIN: &str = "LIFECYCLE_TEST_OBEYS_SIGNALS";

    fn be_signalled() {
        obey();
        let child = Command::new("/bin/sh").args(["-c", "kill -TERM $$"]).status().expect("a shell");
        assert_eq!(child.signal(), Some(libc::SIGTERM), "a child gets its signals");
        nix::sys::signal::raise(Signal::SIGTERM).expect("raised");
    }

    #[test]
    fn a_signal_ends_the_process_with_its_number_and_children_are_as_usual() {
        if std::env::var_os(AGAIN).is_some() {
            be_signalled();
        }
        let name = "cli::signals::tests::a_signal_ends_the_process_with_its_number_and_children_are_as_usual";
        let mut again = Command::new(std::env::current_exe().expect("this test"));
        again.args(["--exact", name]).env(AGAIN, "1").stdout(Stdio::null()).stderr(Stdio::null());
        let status = again.status().expect("started");
        assert_eq!(status.code(), Some(128 + libc::SIGTERM));
    }

    #[test]
    fn other_processes_keep_their_signals() {
        obey_as_first_process();
        // SAFETY: sets what is there already.
        let old = unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) };
        assert!(!matches!(old, Ok(SigHandler::Handler(_))));
    }
}
