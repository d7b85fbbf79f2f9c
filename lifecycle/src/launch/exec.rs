//! Replacing the launcher by the process: finding the executable, and saying what hindered it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use crate::component::process::ProcessError;
use crate::env::Env;

/// The most bytes that Linux takes in one argument or variable.
const MAX_TEXT_BYTES: usize = 128 << 10;

/// Why the launcher is still there.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No directory in `PATH` has the executable.
    #[error("path lookup: exec: \"{name}\": executable file not found in $PATH ({path})")]
    NotInPath {
        /// Its name.
        name: String,
        /// The value of `PATH`.
        path: String,
    },
    /// Arguments and variables are more than the kernel takes.
    #[error(
        "arguments and environment are too large: {total} bytes in all, {largest_size} of them in {largest} \
         (Linux takes {MAX_TEXT_BYTES} bytes in one, and a quarter of the stack limit, `ulimit -s`, in all)"
    )]
    TooLarge {
        /// All bytes.
        total: usize,
        /// The largest one: `argument 2`, `variable FOO`.
        largest: String,
        /// Its size.
        largest_size: usize,
    },
    /// The kernel refused for another reason.
    #[error(transparent)]
    NotStarted(#[from] ProcessError),
}

/// The executable that `name` means: one with a slash is a path below `dir`, any other is looked
/// for in the directories of `PATH`, which may be relative to `app`.
pub fn find(name: &OsStr, env: &Env, app: &Path, dir: &Path) -> Result<PathBuf, ExecError> {
    if name.as_bytes().contains(&b'/') {
        return Ok(dir.join(name));
    }
    let path = env.get("PATH").unwrap_or_default();
    let directories = path.as_bytes().split(|byte| *byte == b':');
    let mut candidates = directories.map(|directory| app.join(OsStr::from_bytes(directory)).join(name));
    let found = candidates.find(|path| path.is_file() && eaccess(path, AccessFlags::X_OK).is_ok());
    found.ok_or_else(|| ExecError::NotInPath {
        name: name.to_string_lossy().into_owned(),
        path: path.to_string_lossy().into_owned(),
    })
}

/// Replaces this process by `program` in `dir`, with `arguments` (its own name first) and `env`.
/// Signals are reset to what a program expects. Returns only when that fails.
pub fn replace(program: &Path, arguments: &[OsString], dir: &Path, env: &Env) -> ExecError {
    let (name, rest) =
        arguments.split_first().map_or((OsStr::new(""), &[] as _), |(a, b)| (a.as_os_str(), b));
    let mut command = Command::new(program);
    let source = command.arg0(name).args(rest).current_dir(dir).env_clear().envs(env.iter()).exec();
    if source.raw_os_error() == Some(Errno::E2BIG as i32) {
        return too_large(arguments, env);
    }
    ProcessError::not_started(program, dir, source).into()
}

fn too_large(arguments: &[OsString], env: &Env) -> ExecError {
    let arguments = arguments.iter().enumerate();
    let arguments = arguments.map(|(index, text)| (text.len() + 1, format!("argument {index}")));
    let variables = env.iter();
    let variables = variables
        .map(|(name, value)| (name.len() + value.len() + 2, format!("the variable {}", name.display())));
    let mut total = 0;
    let mut largest = (0, String::new());
    for text in arguments.chain(variables) {
        total += text.0;
        largest = largest.max(text);
    }
    ExecError::TooLarge { total, largest: largest.1, largest_size: largest.0 }
}
