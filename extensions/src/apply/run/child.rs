//! What happens between fork and exec, and in the supervisor that never execs.
//!
//! The extender has threads, so a fork of it may only do what needs no memory and no locks: every
//! call here is a system call on values made before.
#![expect(unsafe_code, reason = "a forked process of a threaded one, and signal and filter calls")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::libc;
use nix::unistd::{ForkResult, Gid, Uid};
use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, wait};

use super::bpf;

/// How often the supervisor looks for what is left, a millisecond apart.
const ROUNDS: u32 = 10_000;

/// The last signal there is.
const LAST_SIGNAL: i32 = 64;

/// What the process becomes before it execs. Everything is opened and allocated already.
pub(super) struct Plan {
    /// The root to change to; `None` to stay in the extender's own.
    pub(super) root: Option<OwnedFd>,
    /// The working directory.
    pub(super) cwd: OwnedFd,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// Whether to install the filter that keeps it from the network.
    pub(super) without_network: bool,
    /// Whether to install the one by which it need not wait for the disk, where that has no side effect.
    pub(super) without_sync: bool,
}

/// Makes a command start under a supervisor, as planned.
pub(super) fn prepare(command: &mut Command, plan: Plan) {
    let groups: Vec<Gid> = plan.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let become_process = move || {
        supervise()?;
        enter(&plan, &groups)
    };
    // SAFETY: the closure makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(become_process) };
}

/// Forks. Returns in the new process; the old one stays behind as its supervisor until the end.
fn supervise() -> io::Result<()> {
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me))?;
    let _ = rustix::process::setsid();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(rustix::fs::CWD, c"/proc", flags, Mode::empty()).ok();
    // SAFETY: both sides go on with system calls only.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(()),
        ForkResult::Parent { child } => {
            // Among these is the pipe that tells the extender whether exec succeeded.
            close_all_but(proc.as_ref().map(OwnedFd::as_raw_fd));
            let child = Pid::from_raw(child.as_raw());
            let code = child.and_then(wait_for);
            let ended = end_all(child, me, proc.as_ref());
            match (code, ended) {
                (Some(code), true) => exit(code),
                _ => abort(),
            }
        }
    }
}

fn enter(plan: &Plan, groups: &[Gid]) -> io::Result<()> {
    rustix::process::setsid()?;
    default_signals();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if let Some(root) = &plan.root {
        rustix::process::fchdir(root)?;
        rustix::process::chroot(c".")?;
    }
    rustix::process::fchdir(&plan.cwd)?;
    if plan.without_sync {
        // The kernel allows it to who has `CAP_SYS_ADMIN`, and where no program can gain privileges any
        // more. Elsewhere set-user-ID programs would have to be given up for it.
        let _ = install(bpf::WITHOUT_SYNC);
    }
    let (uid, gid) = (Uid::from_raw(plan.uid), Gid::from_raw(plan.gid));
    if uid != nix::unistd::geteuid() || gid != nix::unistd::getegid() || uid.is_root() {
        nix::unistd::setgroups(groups)?;
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
    }
    if plan.without_network {
        nix::sys::prctl::set_no_new_privs()?;
        install(bpf::WITHOUT_NETWORK)?;
    }
    // Nobody but the supervisor can say that this process has ended.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    mark_all_close_on_exec();
    Ok(())
}

/// Gives every signal its default effect; the caller may have been started with some ignored. The C
/// library's own call refuses the two signals that it keeps for itself.
fn default_signals() {
    let default = [0_usize; 4];
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: reads the kernel's structure of four words, all of them 0: no handler, no flags, an
        // empty mask. For signals that cannot be set the call fails harmlessly.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0, 8) };
    }
}

/// Installs a filter. Without new privileges being ruled out that takes `CAP_SYS_ADMIN`.
fn install<const LENGTH: usize>(filter: [bpf::Instruction; LENGTH]) -> io::Result<()> {
    let mut program = filter.map(|instruction| libc::sock_filter {
        code: instruction.code,
        jt: instruction.if_true,
        jf: instruction.if_false,
        k: instruction.value,
    });
    let program =
        libc::sock_fprog { len: u16::try_from(program.len()).unwrap_or(0), filter: program.as_mut_ptr() };
    // Older kernels make everything slower that is filtered, unless told that there are no secrets in it.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    let set = |flags: libc::c_ulong| {
        // SAFETY: the program outlives the call, and its length is its own.
        unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, std::ptr::from_ref(&program)) == 0 }
    };
    if set(flags) || set(0) { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Descriptors the extender inherited may lack the mark that keeps them from the process.
fn mark_all_close_on_exec() {
    if !close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) {
        for fd in 3..4096 {
            // SAFETY: sets a flag of a descriptor; one that is not open makes the call fail.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

fn close_all_but(keep: Option<RawFd>) {
    let keep = keep.and_then(|fd| u32::try_from(fd).ok()).filter(|fd| *fd >= 3);
    let closed = match keep {
        None => close_range(3, u32::MAX, 0),
        Some(fd) => (fd == 3 || close_range(3, fd - 1, 0)) && close_range(fd + 1, u32::MAX, 0),
    };
    if !closed {
        for fd in (3..4096).filter(|fd| u32::try_from(*fd).ok() != keep) {
            // SAFETY: nothing in this process uses its descriptors any more.
            unsafe { libc::close(fd) };
        }
    }
}

/// Tells whether the kernel, and the container's filter, know the call.
fn close_range(first: u32, last: u32, flags: libc::c_uint) -> bool {
    // SAFETY: closes or marks descriptors by number; no memory is involved.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) == 0 }
}

/// Waits until that child has ended, and reaps others meanwhile. Returns its exit code.
fn wait_for(child: Pid) -> Option<i32> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return exit_code(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

fn exit_code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}

/// Kills every process that is left below this one. Tells whether all are gone.
fn end_all(child: Option<Pid>, me: Pid, proc: Option<&OwnedFd>) -> bool {
    for _ in 0..ROUNDS {
        if reap() {
            return true;
        }
        match (proc, child) {
            (Some(proc), _) => kill_children(proc, me),
            // Without a process table only the process's own group can be named.
            (None, Some(child)) => _ = kill_process_group(child, Signal::KILL),
            (None, None) => {}
        }
        if reap() {
            return true;
        }
        let pause = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        // SAFETY: reads the given time, and writes nothing.
        unsafe { libc::nanosleep(&raw const pause, std::ptr::null_mut()) };
    }
    false
}

/// Reaps what has ended. Tells whether there are no children any more: then there are no descendants,
/// since an orphan becomes a child.
fn reap() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(error) => return error == Errno::CHILD,
        }
    }
}

/// Kills the processes whose parent is this one. Their children become this one's in turn.
fn kill_children(proc: &OwnedFd, me: Pid) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let _ = rustix::fs::seek(proc, rustix::fs::SeekFrom::Start(0));
    let mut entries = RawDir::new(proc, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let Some(pid) = number(entry.file_name().to_bytes()) else {
            continue;
        };
        if parent(proc, entry.file_name()) == Some(me.as_raw_nonzero().get())
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Reads a process's parent: the second field after its name, which stands in parentheses and may hold
/// some, too.
fn parent(proc: &OwnedFd, pid: &CStr) -> Option<i32> {
    let mut path = [0; 32];
    let name = pid.to_bytes();
    path.get_mut(..name.len())?.copy_from_slice(name);
    path.get_mut(name.len()..name.len() + 6)?.copy_from_slice(b"/stat\0");
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    let stat = openat(proc.as_fd(), path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 512];
    let read = rustix::io::read(&stat, &mut text).ok()?;
    let text = text.get(..read)?;
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let field = text.get(name_end..)?.split(|byte| *byte == b' ').nth(2)?;
    number(field)
}

fn number(digits: &[u8]) -> Option<i32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process, and runs nothing of the extender's that it is a copy of.
    unsafe { libc::_exit(code) }
}

/// Ends by a signal, which no process of a step can make look like its own end.
fn abort() -> ! {
    let _ = kill_process(rustix::process::getpid(), Signal::KILL);
    exit(255)
}
