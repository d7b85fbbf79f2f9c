//! A child process: what it is started with, what it writes, how it ended.
//!
//! The only place that starts a component's executable. Nothing of our own environment, directory
//! or input reaches it but what stands in [`Child`]. Which variables those are is not decided here.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::env::Env;
use crate::log::{Level, Log, Stream};

use super::captured::Captured;

/// The most bytes that wait in a pipe: what a child wrote before it ended is not more.
const MAX_PIPE_BYTES: usize = 1 << 20;

/// Why a child could not be started or followed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is not there.
    #[error("`{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// The program is there, but may not be executed.
    #[error(
        "`{0}` is not executable; give it the mode 0755 (`chmod +x {0}`) where it is packaged",
        program.display()
    )]
    NotExecutable {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The program is a script whose interpreter, or a binary whose loader, is not there.
    #[error("`{}` needs `{interpreter}`, which this image does not have", program.display())]
    NoInterpreter {
        /// The program.
        program: PathBuf,
        /// What its first line names.
        interpreter: String,
    },
    /// The program is no script and no binary for this machine.
    #[error(
        "`{}` is neither a binary for this machine nor a script that begins with `#!`",
        .0.display()
    )]
    Format(PathBuf),
    /// The directory it was to run in is not there, or cannot be entered.
    #[error("directory `{}` cannot be entered", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("`{}` could not be run", program.display())]
    Io {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status, 0 to 255.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it ended with status 0.
    pub fn is_success(self) -> bool {
        self == Self::Status(0)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Status(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(Signal::SIGKILL) => f.write_str("killed by SIGKILL, as happens when memory runs out"),
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// A child process, complete: its input is empty, and it inherits nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Absolute path of the executable; also its `$0`.
    pub program: PathBuf,
    /// Arguments after `$0`.
    pub args: Vec<OsString>,
    /// Directory it runs in.
    pub dir: PathBuf,
    /// Its whole environment.
    pub env: Env,
}

impl Child {
    /// Runs it to its end; what it writes goes to the log's streams as it comes, whatever the
    /// log's level.
    pub fn stream(&self, log: &Log) -> Result<Exit, ProcessError> {
        let (out, out_writer) = self.pipe()?;
        let (err, err_writer) = self.pipe()?;
        self.run(out_writer, err_writer, &mut [(out, Stream::Out), (err, Stream::Err)], |stream, bytes| {
            log.raw(Level::Error, stream, bytes);
        })
    }

    /// Runs it to its end and keeps what it wrote, both streams in the order written.
    pub fn capture(&self) -> Result<(Exit, Captured), ProcessError> {
        let (reader, writer) = self.pipe()?;
        let second = writer.try_clone().map_err(|source| self.io(source))?;
        let mut captured = Captured::default();
        let exit = self.run(writer, second, &mut [(reader, Stream::Out)], |_, bytes| captured.push(bytes))?;
        Ok((exit, captured))
    }

    fn pipe(&self) -> Result<(PipeReader, PipeWriter), ProcessError> {
        io::pipe().map_err(|source| self.io(source))
    }

    /// Starts the child, hands on what it writes until it has ended, and everything that it wrote
    /// has been read. What a process that it left behind writes later is not waited for.
    fn run(
        &self,
        out: PipeWriter,
        err: PipeWriter,
        readers: &mut [(PipeReader, Stream)],
        mut each: impl FnMut(Stream, &[u8]),
    ) -> Result<Exit, ProcessError> {
        self.check_format()?;
        let (ended, ended_writer) = self.pipe()?;
        let mut child = self.spawn(out, err)?;
        let waiter = std::thread::spawn(move || {
            let status = child.wait();
            drop(ended_writer);
            status
        });
        let read = follow(readers, &ended, &mut each);
        let status = waiter.join().expect("waiting for a child does not panic");
        read.and(status).map(Exit::from).map_err(|source| self.io(source))
    }

    /// Starts it. Our copies of the writing ends are closed when the command is dropped.
    fn spawn(&self, out: PipeWriter, err: PipeWriter) -> Result<std::process::Child, ProcessError> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).env_clear().envs(self.env.iter());
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let mut attempts = 0;
        loop {
            match command.spawn() {
                // A file just written stays busy while a child of another thread, forked
                // meanwhile, has not replaced itself yet. That passes, and nothing reports it.
                Err(error) if busy(&error) && attempts < 100 => {
                    attempts += 1;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(ProcessError::not_started(&self.program, &self.dir, error)),
                Ok(child) => return Ok(child),
            }
        }
    }

    /// Refuses what the C library would hand to a shell when the kernel knows no way to run it.
    fn check_format(&self) -> Result<(), ProcessError> {
        // Opening a pipe would wait for its other end; starting it fails, and says why.
        if !self.program.is_file() {
            return Ok(());
        }
        let mut magic = [0; 4];
        let read = File::open(&self.program).and_then(|mut file| file.read_exact(&mut magic));
        let known = magic.starts_with(b"#!") || magic == *b"\x7fELF";
        if read.is_ok() && !known { Err(ProcessError::Format(self.program.clone())) } else { Ok(()) }
    }

    fn io(&self, source: io::Error) -> ProcessError {
        ProcessError::Io { program: self.program.clone(), source }
    }
}

impl ProcessError {
    /// Why `program` could not be started in `dir`: the kernel's error numbers do not tell program,
    /// interpreter and directory apart.
    pub fn not_started(program: &Path, dir: &Path, source: io::Error) -> Self {
        if let Err(source) = std::fs::metadata(dir.join(".")) {
            return Self::Directory { dir: dir.to_owned(), source };
        }
        let program = program.to_owned();
        match (Errno::from_raw(source.raw_os_error().unwrap_or_default()), program.metadata()) {
            (Errno::ENOENT, Err(_)) => Self::Missing(program),
            (Errno::ENOENT, Ok(_)) => {
                let interpreter = interpreter(&program).unwrap_or_else(|| "a loader".to_owned());
                Self::NoInterpreter { program, interpreter }
            }
            (Errno::EACCES, Ok(found)) if !found.is_file() || found.permissions().mode() & 0o111 == 0 => {
                Self::NotExecutable { program, source }
            }
            (Errno::ENOEXEC, _) => Self::Format(program),
            _ => Self::Io { program, source },
        }
    }
}

fn busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ETXTBSY as i32)
}

/// The interpreter that the first line of a script names.
fn interpreter(script: &Path) -> Option<String> {
    let mut head = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    // A carriage return is part of the name to the kernel, and the usual mistake: show it.
    line.split([' ', '\t']).find(|word| !word.is_empty()).map(|word| word.escape_debug().to_string())
}

/// Reads what comes in until `ended` is closed and what had been written by then is read.
fn follow(
    readers: &mut [(PipeReader, Stream)],
    ended: &PipeReader,
    each: &mut impl FnMut(Stream, &[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut open = vec![true; readers.len()];
    let mut running = true;
    let mut left = MAX_PIPE_BYTES * readers.len();
    while running || left > 0 {
        let ready = wait(readers, &open, running.then_some(ended))?;
        for (index, (reader, stream)) in readers.iter_mut().enumerate() {
            if ready[index] {
                let count = reader.read(&mut buffer)?;
                open[index] = count > 0;
                each(*stream, &buffer[..count]);
                left = if running { left } else { left.saturating_sub(count) };
            }
        }
        if !running && !ready[..readers.len()].contains(&true) {
            break;
        }
        running = running && !ready[readers.len()];
    }
    Ok(())
}

/// Which of the open readers, and last `ended`, have something to tell. Waits for it while the
/// child runs, else only looks.
fn wait(
    readers: &[(PipeReader, Stream)],
    open: &[bool],
    ended: Option<&PipeReader>,
) -> io::Result<Vec<bool>> {
    let timeout = if ended.is_some() { PollTimeout::NONE } else { PollTimeout::ZERO };
    let watched: Vec<usize> = (0..readers.len()).filter(|index| open[*index]).collect();
    let mut fds: Vec<PollFd<'_>> =
        watched.iter().map(|index| PollFd::new(readers[*index].0.as_fd(), PollFlags::POLLIN)).collect();
    fds.extend(ended.map(|ended| PollFd::new(ended.as_fd(), PollFlags::POLLIN)));
    let _: i32 = loop {
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => {}
            result => break result.map_err(io::Error::from)?,
        }
    };
    let mut ready = vec![false; readers.len() + 1];
    for (fd, index) in fds.iter().zip(watched.into_iter().chain([readers.len()])) {
        ready[index] = fd.any().unwrap_or(true);
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let mut env = Env::default();
        env.set("A", "1");
        env.set("PATH", "/usr/bin:/bin");
        Child {
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".into(), script.into(), "name".into(), "first".into()],
            dir: PathBuf::from("/"),
            env,
        }
    }

    fn script(dir: &Path, text: &str, mode: u32) -> Child {
        let program = dir.join("program");
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
        Child { program, args: Vec::new(), dir: dir.to_owned(), env: Env::default() }
    }

    #[track_caller]
    fn check(child: &Child, exit: Exit, output: &str) {
        let (found, captured) = child.capture().unwrap();
        assert_eq!((found, String::from_utf8_lossy(&captured.bytes()).as_ref()), (exit, output));
    }

    #[test]
    fn child_gets_exactly_what_it_is_given() {
        check(&shell("echo $A $1; pwd; cat"), Exit::Status(0), "1 first\n/\n");
        check(
            &shell("env | grep -v -e _= -e PWD= -e SHLVL= | sort"),
            Exit::Status(0),
            "A=1\nPATH=/usr/bin:/bin\n",
        );
    }

    #[test]
    fn a_pipe_in_the_place_of_the_program_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let child = script(dir.path(), "", 0o755);
        std::fs::remove_file(&child.program).unwrap();
        nix::unistd::mkfifo(&child.program, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(child.capture(), Err(ProcessError::NotExecutable { .. })));
    }

    #[test]
    fn both_streams_are_kept_in_the_order_written() {
        let lines = "for i in 1 2 3; do echo o$i; echo e$i >&2; done";
        check(&shell(lines), Exit::Status(0), "o1\ne1\no2\ne2\no3\ne3\n");
    }

    #[test]
    fn streams_stay_apart_in_the_log() {
        let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let log = Log::new(Level::Error, false, out.reopen().unwrap(), err.reopen().unwrap());
        assert_eq!(shell("echo o; echo e >&2; exit 7").stream(&log).unwrap(), Exit::Status(7));
        let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).unwrap();
        assert_eq!((read(&out), read(&err)), ("o\n".to_owned(), "e\n".to_owned()));
    }

    #[test]
    fn signals_are_told_from_statuses() {
        check(&shell("kill -TERM $$"), Exit::Signal(15), "");
        assert_eq!(Exit::Signal(15).to_string(), "killed by SIGTERM");
        assert!(Exit::Signal(9).to_string().contains("memory"));
        assert_eq!(Exit::Status(143).to_string(), "exit status 143");
    }

    #[test]
    fn process_left_behind_is_not_waited_for() {
        // It writes only after we have stopped to listen.
        check(&shell("echo before; (sleep 3; echo after) & exit 0"), Exit::Status(0), "before\n");
    }

    #[test]
    fn process_left_behind_that_floods_is_not_read_for_ever() {
        let (exit, captured) = shell("echo before; yes & exit 3").capture().unwrap();
        assert_eq!(exit, Exit::Status(3));
        assert!(captured.bytes().starts_with(b"before\n"));
    }

    #[test]
    fn flood_is_read_to_its_end_and_kept_in_part() {
        let (exit, captured) = shell("head -c 20000000 /dev/zero; echo end >&2; exit 5").capture().unwrap();
        assert_eq!(exit, Exit::Status(5));
        assert!(captured.bytes().len() < 2_000_000 && captured.bytes().ends_with(b"\0end\n"));
        assert_eq!(captured.total(), 20_000_004);
    }

    #[test]
    fn what_hinders_the_start_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let fails = |child: Child| child.capture().unwrap_err().to_string();
        assert!(fails(script(dir.path(), "#!/no/such/shell -e\n", 0o755)).contains("needs `/no/such/shell`"));
        assert!(fails(script(dir.path(), "#!/bin/sh\r\n", 0o755)).contains("needs `/bin/sh\\r`"));
        assert!(fails(script(dir.path(), "plain text\n", 0o755)).contains("begins with `#!`"));
        assert!(fails(script(dir.path(), "#!/bin/sh\n", 0o644)).contains("is not executable"));
        let missing = Child { program: dir.path().join("none"), ..shell("") };
        assert!(fails(missing).contains("none` does not exist"));
        let lost = Child { dir: dir.path().join("gone"), ..shell("") };
        assert!(fails(lost).contains("gone` cannot be entered"));
    }
}
