//! RUN: a process with exactly the identity, environment and directory asked for, and none left of it.
//!
//! ```text
//!  extender ──► supervisor ──► the step's process ──► whatever it starts
//!                   ▲  adopts orphans (subreaper)          │
//!                   └── kills what is left, then exits ◄───┘
//! ```
//!
//! Between the extender and the process stands a supervisor, a mere fork of the former. It adopts
//! every process whose parent ends, so that none gets away by detaching, and does not end before the
//! last of them is dead. A file system must not change after the scan, and a build image must not be
//! handed on with someone else's process in it.

mod bpf;
mod child;
mod furnish;
mod mounts;
mod namespace;
mod script;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use nix::sched::{CloneFlags, unshare};

use super::users::Credentials;
use crate::dockerfile::Network;
use crate::root::{Guard, NewDir, PathError, Root, at};
use crate::snapshot::IgnoreSet;

pub(super) use furnish::{FURNISHED, Furnished};
pub use mounts::MountError;
use mounts::Real;
pub(super) use mounts::{Bound, Mounted, Wanted};
pub(super) use namespace::is_allowed as may_mount;
pub(super) use script::Script;

/// File systems of the kernel: a working directory there can lead out of the root.
const KERNEL_DIRS: [&str; 3] = ["proc", "sys", "dev"];

/// A process to run in a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// The program, looked for in the environment's `PATH`, and its arguments.
    pub(super) argv: Vec<String>,
    /// The whole environment.
    pub(super) environment: BTreeMap<String, String>,
    /// The absolute working directory.
    pub(super) cwd: String,
    /// Who it runs as.
    pub(super) credentials: Credentials,
    /// The network it may use.
    pub(super) network: Network,
    /// A file that its argv names.
    pub(super) script: Option<Script>,
}

/// Where a process writes; `None` is where the extender itself does.
#[derive(Debug, Default)]
pub struct Output {
    /// Standard output.
    pub stdout: Option<File>,
    /// Standard error.
    pub stderr: Option<File>,
}

/// A process could not be run, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It ended with another exit code than 0; a signal's number has 128 added, as in shells.
    #[error("process `{}` did not complete successfully: exit code: {code}", command.join(" "))]
    Failed {
        /// Its argv.
        command: Vec<String>,
        /// The exit code.
        code: i32,
    },
    /// It cannot be started.
    #[error("failed to start `{program}`: {error}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The working directory cannot be entered.
    #[error("failed to {0}")]
    Directory(#[from] PathError),
    /// What it is to find in its root cannot be mounted.
    #[error(transparent)]
    Mount(#[from] Box<MountError>),
    /// The working directory is one of the kernel's file systems.
    #[error("working directory `{0}` is not a part of the image")]
    KernelDirectory(String),
    /// Its processes could not all be ended.
    #[error("processes started by `{0}` could not be ended")]
    Survivors(String),
}

/// What a process finds in its root.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'s> {
    /// Where nothing is made.
    pub(super) ignore: &'s IgnoreSet,
    /// What the root lacks, if it is no container's.
    pub(super) furnished: Option<&'s Furnished>,
    /// The step's mounts, where they are real ones.
    pub(super) mounts: Option<&'s Real<'s>>,
}

/// Runs a process and waits until it and everything it started has ended.
pub(super) fn run(
    root: &Root,
    process: &Process,
    surroundings: Surroundings<'_>,
    output: &Output,
) -> Result<(), RunError> {
    // Namespaces belong to a thread: what this one enters ends with it.
    let joined = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("run".to_owned())
            .spawn_scoped(scope, || run_here(root, process, surroundings, output))
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    joined.unwrap_or_else(|error| Err(start_error(process, error)))
}

fn run_here(
    root: &Root,
    process: &Process,
    surroundings: Surroundings<'_>,
    output: &Output,
) -> Result<(), RunError> {
    let own = own_root(root, surroundings)?;
    let root = own.as_ref().unwrap_or(root);
    let inner = surroundings.mounts.map(|mounts| mounts.enter(root)).transpose().map_err(Box::new)?;
    let cwd = open_cwd(root, &process.cwd, surroundings.ignore)?;
    let script = process.script.as_ref().map(|script| script.write(root)).transpose()?;
    let confined = process.network == Network::None && !leave_network();
    let start = |error| start_error(process, error);
    let mut command = command(process, output).map_err(start)?;
    let chroot = if root.is_host() { None } else { Some(root.dir(Path::new(""))?.fd) };
    let plan = child::Plan {
        root: chroot,
        cwd,
        uid: process.credentials.uid,
        gid: process.credentials.gid,
        groups: process.credentials.groups.clone(),
        without_network: confined,
        // What is in a cache's own directory must outlive a loss of power as its programs mean it to.
        without_sync: !surroundings.mounts.is_some_and(Real::has_caches),
    };
    child::prepare(&mut command, plan);
    let status = command.spawn().map_err(start)?.wait().map_err(start)?;
    drop(script);
    if let Some(inner) = inner {
        inner.leave();
    }
    check(process, status)
}

/// Gives this thread mounts of its own, if there are some to make, and returns the root as seen among
/// them: a directory that was opened before belongs to the mounts of the other threads.
fn own_root(root: &Root, surroundings: Surroundings<'_>) -> Result<Option<Root>, RunError> {
    let furnished = surroundings.furnished.filter(|furnished| furnished.has_mounts());
    if furnished.is_none() && surroundings.mounts.is_none() {
        return Ok(None);
    }
    namespace::enter().map_err(|error| at("mount", root.path())(io::Error::from(error)))?;
    let root = Root::open(root.path())?;
    if let Some(furnished) = furnished {
        furnished.enter(&root)?;
    }
    Ok(Some(root))
}

fn command(process: &Process, output: &Output) -> io::Result<Command> {
    let (program, arguments) =
        process.argv.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let stdio = |file: &Option<File>| match file {
        Some(file) => file.try_clone().map(Stdio::from),
        None => Ok(Stdio::inherit()),
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&process.environment)
        .stdin(Stdio::null())
        .stdout(stdio(&output.stdout)?)
        .stderr(stdio(&output.stderr)?);
    Ok(command)
}

/// Opens the working directory inside the root, so that no path is resolved after `chroot`. Makes it
/// where it is missing.
fn open_cwd(root: &Root, cwd: &str, ignore: &IgnoreSet) -> Result<OwnedFd, RunError> {
    let (dir, _) = root.make_dir(Path::new(cwd), NewDir::of_process(0o755), Guard::new(ignore))?;
    let first = dir.path.iter().next();
    if KERNEL_DIRS.iter().any(|name| first == Some(name.as_ref())) {
        return Err(RunError::KernelDirectory(cwd.to_owned()));
    }
    Ok(dir.fd)
}

/// Moves this thread, and so the process, to a network of its own that leads nowhere. Tells whether
/// that is allowed.
fn leave_network() -> bool {
    unshare(CloneFlags::CLONE_NEWNET).is_ok()
}

fn check(process: &Process, status: ExitStatus) -> Result<(), RunError> {
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(RunError::Failed { command: process.argv.clone(), code }),
        // The supervisor ended itself, or was ended.
        None => Err(RunError::Survivors(process.argv.join(" "))),
    }
}

fn start_error(process: &Process, error: io::Error) -> RunError {
    RunError::Start { program: process.argv.first().cloned().unwrap_or_default(), error }
}

#[cfg(test)]
mod tests;
