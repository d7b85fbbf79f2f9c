//! The build's state between instructions: environment, arguments, user, working directory, shell,
//! labels. A pure value: [`BuildState::step`] expands one instruction, changes the state by it, and
//! says what is to be done to the root directory.

mod paths;
mod recorded;
mod run;
mod scope;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{
    Add, Copy, Declaration, Healthcheck, Heredoc, Instruction, Kind, Mount, MountError, Network, Pair,
    Recorded, Span, Transfer,
};
use crate::expand::{self, ExpandError};

pub(crate) use paths::clean as clean_path;
pub use scope::{Arguments, Scope};

/// The argument whose value is new with each build.
///
/// Spec: platform.md, "Extender": "when `$build_id` is referenced in a `RUN` instruction, all subsequent
/// layers will be rebuilt".
pub const BUILD_ID: &str = "build_id";

/// `PATH` where the base image sets none; BuildKit's value.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
    /// Files are copied; words expanded, destination absolute and clean, a final `/` or `/.` kept.
    Copy(Copy),
    /// Files are added; words expanded, destination as for a copy.
    Add(Add),
    /// The absolute, clean directory is made, 0755, each new part owned by the user of the state.
    MakeWorkdir(String),
}

/// What a RUN runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAction {
    /// The process.
    pub invocation: Invocation,
    /// Its environment: ENV and ARG in scope, the later declaration winning, and proxies where neither
    /// names them; without HOME, which is the executor's to add.
    pub environment: BTreeMap<String, String>,
    /// The part of `environment` that belongs in the step's cache key: without undeclared proxies, and
    /// without `build_id` unless the instruction mentions it.
    pub key_environment: BTreeMap<String, String>,
    /// Mounts, expanded, in order: targets absolute, and each cache with an id.
    pub mounts: Vec<Mount>,
    /// The network asked for.
    pub network: Network,
}

/// A process to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// argv: the exec form, or the shell followed by the text.
    Argv(Vec<String>),
    /// A heredoc that starts with `#!`: written to an executable file of that name (0755), whose path
    /// is then run by the shell.
    Script {
        /// The shell's argv, to which the path is appended.
        shell: Vec<String>,
        /// The file's name.
        name: String,
        /// Its contents.
        body: String,
    },
}

/// Why an instruction cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{instruction} on line {}: {error}", .span.line)]
pub struct StepError {
    /// The instruction's name.
    pub instruction: &'static str,
    /// Where it stands.
    pub span: Span,
    /// Why.
    #[source]
    pub error: ValueError,
}

/// What is wrong with a value once it is expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A `--mount` is not one.
    #[error("invalid `--mount={text}`: {error}")]
    Mount {
        /// The flag's value.
        text: String,
        /// Why.
        #[source]
        error: MountError,
    },
    /// Any other value.
    #[error("invalid {what} `{value}`")]
    Invalid {
        /// What the value is.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// What was expanded so far is more than any image needs.
    #[error("the words of the Dockerfile are longer than {MAX_BYTES} bytes together once they are expanded")]
    TooLong,
}

/// The most bytes of all words of a Dockerfile once they are expanded. A process gets 2 MiB of environment.
const MAX_BYTES: usize = 32 << 20;

/// The state between two instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildState {
    config: ConfigState,
    scope: Scope,
    /// ENV and ARG together: what later words are expanded with.
    variables: BTreeMap<String, String>,
    /// The variables whose value depends on `build_id`.
    volatile: BTreeSet<String>,
    /// Whether USER or WORKDIR depends on `build_id`.
    volatile_place: bool,
    cmd_set: bool,
    /// The bytes of all words that were expanded.
    expanded: Cell<usize>,
}

impl BuildState {
    /// Starts below FROM, with the base image's configuration.
    pub fn new(mut config: ConfigState, scope: Scope) -> Self {
        if !config.env.iter().any(|(name, _)| name == "PATH") {
            config.env.push(("PATH".to_owned(), DEFAULT_PATH.to_owned()));
        }
        Self {
            variables: config.env.iter().cloned().collect(),
            volatile: BTreeSet::new(),
            volatile_place: false,
            cmd_set: false,
            expanded: Cell::new(0),
            config,
            scope,
        }
    }

    /// Returns the image configuration as it stands.
    pub fn config(&self) -> &ConfigState {
        &self.config
    }

    /// Ends the build and returns the image configuration.
    pub fn into_config(self) -> ConfigState {
        self.config
    }

    /// Tells whether every variable of a word is set.
    pub(crate) fn knows(&self, word: &str) -> bool {
        let lookup = |name: &str| self.variables.get(name).cloned();
        expand::word(word, self.scope.escape(), &lookup).is_ok_and(|expansion| expansion.unset.is_empty())
    }

    /// Expands `instruction` with the variables before it, changes the state by it, and returns what is
    /// to be done to the root directory.
    ///
    /// # Errors
    /// A word that cannot be expanded, or a value that is invalid once it is. The state is then of no
    /// further use.
    pub fn step(&mut self, instruction: &Instruction) -> Result<Step, StepError> {
        let mut volatile = self.volatile_place;
        let action = self.action(instruction, &mut volatile).map_err(|error| StepError {
            instruction: instruction.kind.name(),
            span: instruction.span,
            error,
        })?;
        Ok(Step { action, depends_on_build_id: volatile })
    }

    fn action(&mut self, instruction: &Instruction, volatile: &mut bool) -> Result<Action, ValueError> {
        match &instruction.kind {
            Kind::Arg(declarations) => self.declare(declarations)?,
            Kind::Env(pairs) => self.set_env(pairs)?,
            Kind::Label(pairs) => self.set_labels(pairs)?,
            Kind::Shell(argv) => self.config.shell.clone_from(argv),
            Kind::User(text) => {
                self.config.user = self.word(text, volatile)?;
                self.volatile_place = *volatile;
            }
            Kind::Workdir(text) => return self.set_workdir(text, volatile),
            Kind::Run(run) => return self.run(run, instruction, volatile).map(Action::Run),
            Kind::Copy(copy) => return self.copy(copy, volatile).map(Action::Copy),
            Kind::Add(add) => return self.add(add, volatile).map(Action::Add),
            Kind::Recorded(recorded) => self.record(recorded)?,
        }
        Ok(Action::Metadata)
    }

    /// Expands a word; sets `volatile` if `build_id` takes part.
    fn word(&self, word: &str, volatile: &mut bool) -> Result<String, ValueError> {
        let lookup = |name: &str| self.variables.get(name).cloned();
        let expansion = expand::word(word, self.scope.escape(), &lookup)?;
        *volatile |= !expansion.used.is_disjoint(&self.volatile);
        self.count(&expansion.text)?;
        Ok(expansion.text)
    }

    /// Counts what was expanded: a few short lines can ask for any amount of memory.
    fn count(&self, text: &str) -> Result<(), ValueError> {
        self.expanded.set(self.expanded.get().saturating_add(text.len()));
        if self.expanded.get() > MAX_BYTES { Err(ValueError::TooLong) } else { Ok(()) }
    }

    fn option(&self, word: Option<&String>, volatile: &mut bool) -> Result<Option<String>, ValueError> {
        let expanded = word.map(|word| self.word(word, volatile)).transpose()?;
        Ok(expanded.filter(|value| !value.is_empty()))
    }

    fn assign(&mut self, name: &str, value: String, volatile: bool) {
        self.variables.insert(name.to_owned(), value);
        if volatile {
            self.volatile.insert(name.to_owned());
        } else {
            self.volatile.remove(name);
        }
    }

    /// ARG: a supplied value, else the default, else the value from above FROM; without any of them
    /// nothing changes.
    fn declare(&mut self, declarations: &[Declaration]) -> Result<(), ValueError> {
        for Declaration { name, default } in declarations {
            if let Some((value, volatile)) = self.scope.supplied(name) {
                self.assign(name, value, volatile);
            } else if let Some(default) = default {
                let mut volatile = false;
                let value = self.word(default, &mut volatile)?;
                self.assign(name, value, volatile);
            } else if let Some((value, volatile)) = self.scope.global(name) {
                self.assign(name, value, volatile);
            }
        }
        Ok(())
    }

    /// Expands every pair with the variables before the line.
    fn pairs(&self, pairs: &[Pair]) -> Result<Vec<(String, String, bool)>, ValueError> {
        let pair = |pair: &Pair| {
            let mut volatile = false;
            let key = self.word(&pair.key, &mut volatile)?;
            let value = self.word(&pair.value, &mut volatile)?;
            Ok((key, value, volatile))
        };
        pairs.iter().map(pair).collect()
    }

    fn set_env(&mut self, pairs: &[Pair]) -> Result<(), ValueError> {
        for (key, value, volatile) in self.pairs(pairs)? {
            match self.config.env.iter_mut().find(|(name, _)| *name == key) {
                Some((_, old)) => old.clone_from(&value),
                None => self.config.env.push((key.clone(), value.clone())),
            }
            self.assign(&key, value, volatile);
        }
        Ok(())
    }

    fn set_labels(&mut self, pairs: &[Pair]) -> Result<(), ValueError> {
        let labels = self.pairs(pairs)?;
        self.config.labels.extend(labels.into_iter().map(|(key, value, _)| (key, value)));
        Ok(())
    }

    fn set_workdir(&mut self, text: &str, volatile: &mut bool) -> Result<Action, ValueError> {
        let path = self.word(text, volatile)?;
        self.volatile_place = *volatile;
        self.config.workdir = paths::workdir(&self.config.workdir, &path);
        Ok(match paths::clean(&self.config.workdir) {
            root if root == "/" => Action::Metadata,
            path => Action::MakeWorkdir(path),
        })
    }

    fn copy(&self, copy: &Copy, volatile: &mut bool) -> Result<Copy, ValueError> {
        let transfer = self.transfer(&copy.transfer, volatile)?;
        Ok(Copy { transfer, from: copy.from.clone(), parents: copy.parents })
    }

    fn add(&self, add: &Add, volatile: &mut bool) -> Result<Add, ValueError> {
        Ok(Add {
            transfer: self.transfer(&add.transfer, volatile)?,
            checksum: self.option(add.checksum.as_ref(), volatile)?,
            unpack: add.unpack,
            keep_git_dir: add.keep_git_dir,
        })
    }

    fn transfer(&self, transfer: &Transfer, volatile: &mut bool) -> Result<Transfer, ValueError> {
        let mut sources = Vec::new();
        for source in &transfer.sources {
            sources.push(self.word(source, volatile)?);
        }
        let mut heredocs = Vec::new();
        for heredoc in &transfer.heredocs {
            heredocs.push(self.inline_file(heredoc, volatile)?);
        }
        let destination = self.word(&transfer.destination, volatile)?;
        Ok(Transfer {
            sources,
            heredocs,
            destination: paths::destination(&self.config.workdir, &destination),
            chown: self.option(transfer.chown.as_ref(), volatile)?,
            chmod: self.option(transfer.chmod.as_ref(), volatile)?,
            link: transfer.link,
            exclude: transfer.exclude.clone(),
        })
    }

    fn inline_file(&self, heredoc: &Heredoc, volatile: &mut bool) -> Result<Heredoc, ValueError> {
        let mut expanded = heredoc.clone();
        if heredoc.expand {
            let lookup = |name: &str| self.variables.get(name).cloned();
            let expansion = expand::body(&heredoc.body, &lookup)?;
            *volatile |= !expansion.used.is_disjoint(&self.volatile);
            expanded.body = expansion.text;
        }
        Ok(expanded)
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
