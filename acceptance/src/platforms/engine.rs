//! Containers as platforms make them: created, given files, started, waited for and removed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::images::feed;
use crate::docker::docker;
use crate::sandbox::{CNB_ID, Outcome, finish};

/// A name that nobody else on this engine has.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A volume or a network of the engine, removed when dropped.
#[derive(Debug)]
pub struct Owned {
    kind: &'static str,
    /// Its name.
    pub name: String,
}

impl Owned {
    /// A volume that the engine makes when a container is first given it.
    pub fn volume(prefix: &str) -> Self {
        Self { kind: "volume", name: unique(prefix) }
    }

    /// A bridge network.
    pub fn network(prefix: &str) -> Self {
        let name = unique(prefix);
        docker(&["network", "create", "--driver", "bridge", &name]).ok();
        Self { kind: "network", name }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        docker(&[self.kind, "rm", &self.name]);
    }
}

/// A container that runs one phase.
#[derive(Debug, Clone, Default)]
pub struct Step {
    image: String,
    options: Vec<String>,
    files: Vec<Vec<u8>>,
}

impl Step {
    /// A container of `image`.
    pub fn of(image: &str) -> Self {
        Self { image: image.to_owned(), ..Self::default() }
    }

    /// Adds an option with a value.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.options.extend([name.to_owned(), value.as_ref().to_owned()]);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(self, name: &str, value: impl AsRef<str>) -> Self {
        self.option("-e", format!("{name}={}", value.as_ref()))
    }

    /// Mounts a volume or a path of this machine.
    #[must_use]
    pub fn mount(self, from: &str, to: &str) -> Self {
        self.option("-v", format!("{from}:{to}"))
    }

    /// Gives it files before it is started: an archive, unpacked at `/`.
    #[must_use]
    pub fn copy_in(mut self, archive: Vec<u8>) -> Self {
        self.files.push(archive);
        self
    }

    /// Runs `command`; `after` may read files of the ended container by its name.
    pub fn run_then(self, command: &[String], after: impl FnOnce(&str)) -> Outcome {
        let name = unique("acceptance");
        let mut create = Command::new("docker");
        create.args(["create", "--name", &name, "--entrypoint", ""]);
        create.args(&self.options).arg(&self.image).args(command);
        let created = finish("docker", create);
        assert_eq!(created.code, 0, "{}: {}", created.command, created.stderr);
        for archive in &self.files {
            feed(Command::new("docker").args(["cp", "-", &format!("{name}:/")]), archive);
        }
        let mut start = Command::new("docker");
        start.args(["start", "-a", &name]);
        let mut outcome = finish("docker", start);
        outcome.command = command.join(" ");
        after(&name);
        docker(&["rm", "-f", "-v", &name]);
        outcome
    }

    /// Runs `command` to its end.
    pub fn run(self, command: &[String]) -> Outcome {
        self.run_then(command, |_| {})
    }
}

/// The words of a command line; no word may hold a space.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Runs steps in order and stops at the first that fails.
pub fn in_order(steps: &[&dyn Fn() -> Outcome]) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for step in steps {
        outcomes.push(step());
        if outcomes.last().is_some_and(|outcome| outcome.code != 0) {
            break;
        }
    }
    outcomes
}

/// A file of a container.
pub fn read(container: &str, path: &str) -> String {
    let output = Command::new("docker").args(["cp", &format!("{container}:{path}"), "-"]).output();
    let output = output.expect("docker is installed (./acceptance/run installs it)");
    let mut text = String::new();
    for entry in tar::Archive::new(output.stdout.as_slice()).entries().into_iter().flatten().flatten() {
        let mut entry = entry;
        let _ = entry.read_to_string(&mut text);
    }
    text
}

/// An application's files as an archive at `to`, owned by the build's user, `to` itself included.
pub fn application(files: &[(String, Vec<u8>)], to: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = owned(tar::EntryType::Directory, 0o755);
    tar.append_data(&mut header, to.trim_start_matches('/'), &[][..]).expect("memory takes any bytes");
    for (name, content) in files {
        add(&mut tar, &format!("{to}/{name}"), content);
    }
    tar.into_inner().expect("memory takes any bytes")
}

/// One file as an archive; the directories above it stay as they are.
pub fn file(path: &str, content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    add(&mut tar, path, content.as_bytes());
    tar.into_inner().expect("memory takes any bytes")
}

fn add(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = owned(tar::EntryType::Regular, 0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path.trim_start_matches('/'), content).expect("memory takes any bytes");
}

fn owned(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_uid(CNB_ID.into());
    header.set_gid(CNB_ID.into());
    header.set_mode(mode);
    header
}

/// An app image that the engine has.
#[derive(Debug)]
pub struct AppImage {
    name: String,
}

impl AppImage {
    /// The image of that name.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// What the engine says of it: `Config`, `RootFS` and more.
    pub fn config(&self) -> Value {
        let inspected = docker(&["image", "inspect", &self.name]).ok().stdout;
        serde_json::from_str::<Value>(&inspected).expect("JSON")[0].clone()
    }

    /// The app, running.
    pub fn serve(&self) -> Served {
        Served::start(&self.name)
    }
}

/// An app in a container, removed when dropped.
#[derive(Debug)]
pub struct Served {
    container: String,
    address: String,
}

impl Served {
    /// Starts an image of the engine; its app listens on port 8080.
    pub fn start(image: &str) -> Self {
        let container = unique("acceptance-app");
        docker(&["run", "-d", "--name", &container, "-p", "127.0.0.1::8080", image]).ok();
        let port = docker(&["port", &container, "8080/tcp"]).ok().stdout;
        let address = port.lines().next().unwrap_or_default().trim().to_owned();
        Self { container, address }
    }

    /// What the app answers to `GET path`; waits until it listens.
    ///
    /// # Panics
    ///
    /// When it does not answer within 20 seconds.
    pub fn get(&self, path: &str) -> String {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if let Some(answer) = self.ask(path) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} does not answer: {}", self.container, docker(&["logs", &self.container]).text());
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/").then_some(answer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.container]);
    }
}
