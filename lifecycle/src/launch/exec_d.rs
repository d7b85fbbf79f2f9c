//! exec.d: executables of launch layers that set variables before a process starts.
//!
//! Each writes TOML to file descriptor 3, top-level keys with texts; its other streams are the
//! launcher's.
//!
//! Spec: buildpack.md "Exec.d", "Exec.d Output".

mod fd3;

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use toml::de::DeTable;

use crate::component::process::{Exit, ProcessError};
use crate::env::Env;

/// The most bytes that one executable may write to descriptor 3: no process could be given more.
const MAX_BYTES: usize = 8 << 20;

/// Why an executable's variables are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ExecDError {
    /// It could not be started.
    #[error("failed to execute exec.d file at path '{}'", path.display())]
    Start {
        /// The executable.
        path: PathBuf,
        /// Why.
        source: ProcessError,
    },
    /// It could not be followed.
    #[error("failed to read output from exec.d file at path '{}'", path.display())]
    Io {
        /// The executable.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It ended otherwise than with status 0.
    #[error("failed to execute exec.d file at path '{}': {exit}", path.display())]
    Failed {
        /// The executable.
        path: PathBuf,
        /// How it ended.
        exit: Exit,
    },
    /// What it wrote is too much, or not what it must be.
    #[error("failed to decode output from exec.d file at path '{}': {reason}", path.display())]
    Output {
        /// The executable.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Runs `path` in `dir` with `env`, and returns the variables that it sets, sorted by name.
pub fn run(path: &Path, dir: &Path, env: &Env) -> Result<Vec<(String, String)>, ExecDError> {
    let (exit, output) = output(path, dir, env)?;
    let refused = |reason| ExecDError::Output { path: path.to_owned(), reason };
    // Asked first: who writes that much is ended by SIGPIPE, which would tell nobody why.
    if output.len() > MAX_BYTES {
        return Err(refused(format!("it wrote more than {} MiB", MAX_BYTES >> 20)));
    }
    if !exit.is_success() {
        return Err(ExecDError::Failed { path: path.to_owned(), exit });
    }
    parse(&output).map_err(refused)
}

fn output(path: &Path, dir: &Path, env: &Env) -> Result<(Exit, Vec<u8>), ExecDError> {
    let io = |source| ExecDError::Io { path: path.to_owned(), source };
    let (mut reader, writer) = io::pipe().map_err(io)?;
    let mut command = Command::new(path);
    command.current_dir(dir).env_clear().envs(env.iter()).stdin(Stdio::null());
    fd3::attach(&mut command, writer);
    let spawned = command.spawn();
    // Our copy of the writing end, or the end of the output is never seen.
    drop(command);
    let mut child = spawned.map_err(|source| ExecDError::Start {
        path: path.to_owned(),
        source: ProcessError::not_started(path, dir, source),
    })?;
    let output = read(&mut reader, &child);
    // With too much to read, the child must not wait for a reader.
    drop(reader);
    let status = child.wait().map_err(io)?;
    Ok((status.into(), output.map_err(io)?))
}

/// Reads what the child writes until it has ended, at most a little more than allowed. What a
/// process that it left behind writes later is not waited for, where the kernel tells of the end of
/// a child (Linux 5.3).
fn read(reader: &mut PipeReader, child: &Child) -> io::Result<Vec<u8>> {
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok();
    let mut output = Vec::new();
    let mut buffer = [0; 4096];
    while output.len() <= MAX_BYTES {
        if let Some(ended) = &ended
            && !is_ready(reader, ended)?
        {
            break;
        }
        match reader.read(&mut buffer)? {
            0 => break,
            count => output.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(output)
}

/// Waits until there is something to read, or the child has ended: then everything that it wrote
/// is there to be read.
fn is_ready(reader: &PipeReader, ended: &OwnedFd) -> io::Result<bool> {
    let mut fds = [reader.as_fd(), ended.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    while let Err(error) = poll(&mut fds, PollTimeout::NONE) {
        if error != Errno::EINTR {
            return Err(error.into());
        }
    }
    Ok(fds[0].any() == Some(true))
}

/// Reads the variables. Fails on broken TOML, on values that are not texts, and on names and
/// values that no process can be given.
fn parse(output: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(output).map_err(|_| "it is not UTF-8".to_owned())?;
    let table = DeTable::parse(text).map_err(|error| format!("toml: {}", error.message()))?;
    let variable = |(name, value): (&toml::Spanned<_>, &toml::Spanned<toml::de::DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        match value.get_ref().as_str() {
            None => Err(format!("`{name}` is not a text")),
            Some(_) if name.is_empty() || name.contains(['=', '\0']) => {
                Err(format!("`{}` is not a name for a variable", name.escape_debug()))
            }
            Some(value) if value.contains('\0') => Err(format!("the value of `{name}` holds a NUL")),
            Some(value) => Ok((name.to_string(), value.to_owned())),
        }
    };
    table.get_ref().iter().map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    #[track_caller]
    fn check(output: &str, expected: Result<&[(&str, &str)], &str>) {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(parse(output.as_bytes()), expected.map(owned).map_err(str::to_owned));
    }

    #[test]
    fn variables_are_top_level_texts() {
        check("", Ok(&[]));
        check("B = 'x'\nA = \"a\\nb\"", Ok(&[("A", "a\nb"), ("B", "x")]));
        check("A = 1", Err("`A` is not a text"));
        check("[A]\nb = 'x'", Err("`A` is not a text"));
        check("'' = 'x'", Err("`` is not a name for a variable"));
        check("'A=B' = 'x'", Err("`A=B` is not a name for a variable"));
        check("A = \"\\u0000\"", Err("the value of `A` holds a NUL"));
        check("A = x", Err("toml: string values must be quoted, expected literal string"));
    }

    /// Written by a child: what is still open for writing here could be inherited by a process
    /// that another test starts, and cannot be executed meanwhile.
    fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("script");
        let write = "printf '#!/bin/sh\\n%s' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let status = Command::new("/bin/sh").args(["-c", write]).arg(&path).arg(text).status();
        assert!(status.expect("a shell runs").success());
        path
    }

    fn env() -> Env {
        let mut env = Env::default();
        env.set("PATH", "/usr/bin:/bin");
        env.set("GIVEN", "yes");
        env
    }

    #[test]
    fn executable_gets_the_environment_and_descriptor_3() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = script(dir.path(), "echo \"A = '$GIVEN'\" >&3; echo \"B = '$(pwd)'\" > /dev/fd/3");
        let found = run(&path, dir.path(), &env()).expect("runs");
        let here = dir.path().canonicalize().expect("exists").display().to_string();
        assert_eq!(found, [("A".to_owned(), "yes".to_owned()), ("B".to_owned(), here)]);
    }

    #[test]
    fn failures_name_the_executable_and_the_reason() {
        let dir = tempfile::tempdir().expect("a directory");
        let fails = |text: &str| {
            let error = run(&script(dir.path(), text), dir.path(), &env()).expect_err("fails");
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error} {}", source.unwrap_or_default())
        };
        assert!(fails("echo 'A = 1' >&3; exit 3").contains("script': exit status 3"));
        assert!(fails("kill -KILL $$").contains("killed by SIGKILL"));
        assert!(fails("echo 'A = 1' >&3").contains("`A` is not a text"));
        assert!(fails("yes | head -c 9000000 >&3").contains("more than 8 MiB"));
        assert!(fails("printf '\\377' >&3").contains("not UTF-8"));
        let missing = run(&dir.path().join("none"), dir.path(), &env()).expect_err("fails");
        assert!(matches!(missing, ExecDError::Start { .. }), "{missing}");
    }

    #[test]
    fn process_left_behind_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let start = Instant::now();
        let path = script(dir.path(), "echo 'A = \"1\"' >&3; sleep 30 & echo $! > pid");
        let found = run(&path, dir.path(), &env()).expect("runs");
        assert_eq!(found, [("A".to_owned(), "1".to_owned())]);
        assert!(start.elapsed() < Duration::from_secs(20));
        let pid = std::fs::read_to_string(dir.path().join("pid")).expect("written");
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a number"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    }

    proptest! {
        #[test]
        fn any_output_is_read_or_refused(output in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&output);
        }

        #[test]
        fn any_text_can_be_set(value in "[^\0]{0,40}") {
            let output = toml::to_string(&toml::Table::from_iter([("A".to_owned(), value.clone().into())]));
            prop_assert_eq!(parse(output.expect("TOML").as_bytes()), Ok(vec![("A".to_owned(), value)]));
        }
    }
}
