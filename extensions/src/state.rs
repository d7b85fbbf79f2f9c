//! The build's state between instructions: environment, arguments, user, working directory, shell,
//! labels. A pure value: `BuildState::step` expands one instruction, changes the state by it, and
//! says what is to be done to the root directory.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{Add, CommandLine, Copy, Healthcheck, Mount, Network};

/// What an instruction changes of the image configuration. Starts as the base image's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigState {
    /// `Env`, in order; an ENV of a known name replaces in place.
    pub env: Vec<(String, String)>,
    /// `User` as text; empty for root.
    pub user: String,
    /// `WorkingDir`: absolute, or empty.
    pub workdir: String,
    /// `Shell`; empty for the default, `/bin/sh -c`.
    pub shell: Vec<String>,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
    /// `Cmd`, if CMD set it or ENTRYPOINT cleared it; `None` leaves the base's.
    pub cmd: Option<Vec<String>>,
    /// `Entrypoint`, if ENTRYPOINT set it.
    pub entrypoint: Option<Vec<String>>,
    /// Ports to add to `ExposedPorts`, as `port/protocol`.
    pub exposed_ports: BTreeSet<String>,
    /// Paths to add to `Volumes`.
    pub volumes: BTreeSet<String>,
    /// `StopSignal`, if STOPSIGNAL set it.
    pub stop_signal: Option<String>,
    /// `Healthcheck`, if HEALTHCHECK set it.
    pub healthcheck: Option<Healthcheck>,
    /// `author`, if MAINTAINER set it.
    pub author: Option<String>,
    /// Triggers to add to `OnBuild`.
    pub on_build: Vec<String>,
}

/// What one instruction asks to be done, every word of it expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done to the root directory.
    pub action: Action,
    /// Whether the build argument `build_id` takes part: such a step is never stored.
    ///
    /// Spec: platform.md, "Extender": when referenced in a RUN, all later layers are rebuilt.
    pub depends_on_build_id: bool,
}

/// What is done to the root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing: only the state changed.
    Metadata,
    /// A process is run with [`ConfigState`]'s user and working directory.
    Run(RunAction),
    /// Files are copied; words expanded, destination absolute (a final `/` is kept).
    Copy(Copy),
    /// Files are added; words expanded, destination absolute (a final `/` is kept).
    Add(Add),
    /// The absolute directory is made, 0755, each new part owned by the user of the state.
    MakeWorkdir(String),
}

/// What a RUN runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAction {
    /// The process.
    pub invocation: Invocation,
    /// Its environment: ENV, then ARG in scope, the later declaration winning; without HOME, PATH's
    /// default and predefined proxies, which are the executor's to add.
    pub environment: BTreeMap<String, String>,
    /// The part of `environment` that belongs in the step's cache key: without undeclared proxies,
    /// and without `build_id` unless the instruction mentions it.
    pub key_environment: BTreeMap<String, String>,
    /// Mounts, expanded, in order.
    pub mounts: Vec<Mount>,
    /// The network asked for.
    pub network: Network,
}

/// A process to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// argv: the exec form, or the shell followed by the text.
    Argv(Vec<String>),
    /// A heredoc that starts with `#!`: written to an executable file of that name (0755), then run.
    Script {
        /// The file's name.
        name: String,
        /// Its contents.
        body: String,
    },
}

/// The shell of a shell form when the configuration names none.
pub fn default_shell() -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned()]
}

/// Prepends the shell to a shell form; leaves an exec form as it is.
pub fn argv(command: &CommandLine, shell: &[String]) -> Vec<String> {
    match command {
        CommandLine::Exec(argv) => argv.clone(),
        CommandLine::Shell(text) => {
            let mut argv = if shell.is_empty() { default_shell() } else { shell.to_vec() };
            argv.push(text.clone());
            argv
        }
    }
}
