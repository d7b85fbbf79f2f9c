//! Containers of a real Docker engine, from a base image made on the spot of Debian's packages.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::sandbox::{CNB_ID, Outcome, finish};

/// The base image: a minimal Debian with a user of uid and gid 1000.
pub const BASE: &str = "lifecycle-acceptance/debian:bookworm-1";

/// The base image's name; made with `mmdebstrap` from the machine's own package sources where the engine
/// does not have it, which takes about half a minute.
///
/// # Panics
///
/// When no engine answers, or the image cannot be made.
pub fn base_image() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let there = docker(&["image", "inspect", BASE]);
        if there.code != 0 {
            make();
        }
    });
    BASE
}

/// Runs `docker` with `arguments`.
pub fn docker(arguments: &[&str]) -> Outcome {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    finish("docker", command)
}

/// Where the engine listens on this machine.
pub fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

fn make() {
    let work = tempfile::tempdir().expect("a temporary directory can be made");
    let tar = work.path().join("debian.tar");
    // The suite and mirror are those that this machine's own package manager uses.
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--include=ca-certificates"])
        .args(["--customize-hook=chroot \"$1\" useradd --uid 1000 --create-home cnb", suite().as_str()])
        .arg(&tar));
    run(Command::new("docker")
        .args(["import", "-c", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
        .arg(&tar)
        .arg(BASE));
}

/// This machine's own release, for example `bookworm`.
fn suite() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or("bookworm").trim_matches('"').to_owned()
}

fn run(command: &mut Command) {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} is needed (./acceptance/run installs it): {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One `docker run --rm`, put together as platforms do.
#[derive(Debug, Clone, Default)]
pub struct Container {
    arguments: Vec<String>,
}

impl Container {
    /// A container that shares this machine's network, so that registries on loopback are reached.
    pub fn new() -> Self {
        Self::default().option("--network", "host")
    }

    /// Adds an option with a value.
    pub fn option(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.arguments.extend([name.to_owned(), value.as_ref().to_owned()]);
        self
    }

    /// Sets a variable.
    pub fn env(self, name: &str, value: impl AsRef<str>) -> Self {
        self.option("-e", format!("{name}={}", value.as_ref()))
    }

    /// Runs as the phases' unprivileged user.
    pub fn as_cnb_user(self) -> Self {
        self.option("--user", format!("{CNB_ID}:{CNB_ID}"))
    }

    /// Mounts a path of this machine; `mode` is `rw` or `ro`.
    pub fn mount(self, from: &Path, to: &str, mode: &str) -> Self {
        self.option("-v", format!("{}:{to}:{mode}", from.display()))
    }

    /// Runs `command` from `image` to its end.
    pub fn run(&self, image: &str, command: &[&str]) -> Outcome {
        let mut all = Command::new("docker");
        all.args(["run", "--rm", "--entrypoint", ""]).args(&self.arguments).arg(image).args(command);
        finish(command.first().unwrap_or(&"docker"), all)
    }
}
