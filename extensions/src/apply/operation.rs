//! Operations: what instructions ask to be done to the root, each with the key of all it depends on.

use std::path::{Path, PathBuf};

use super::change::Change;
use super::run::{self, Bound, MountError, Mounted, Output, Process, RunError, Script, Surroundings, Wanted};
use super::transfer::{self, Fetch, Prepared, TransferError};
use super::users::{self, Credentials, UserError};
use crate::cache::{Cache, Key, KeyBuilder, hex};
use crate::context::Context;
use crate::root::{Guard, NewDir, PathError, Root};
use crate::snapshot::{self, ChangeKind, Changes, IgnoreSet};
use crate::state::{Action, ConfigState, Invocation, RunAction};

/// An operation failed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// COPY or ADD.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// RUN.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A mount of RUN.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The user cannot be told.
    #[error(transparent)]
    User(#[from] UserError),
    /// The working directory is not a part of the image.
    #[error("working directory `/{}` is not a part of the image: it is mounted, or belongs to the platform", .0.display())]
    Outside(PathBuf),
    /// A file operation failed.
    #[error("failed to {0}")]
    Path(PathError),
}

impl From<PathError> for OperationError {
    fn from(error: PathError) -> Self {
        if error.is_read_only() { Self::Outside(error.relative_path()) } else { Self::Path(error) }
    }
}

/// What is to be done to the root.
pub(super) struct Operation {
    action: Action,
    user: String,
    workdir: String,
    prepared: Option<Prepared>,
    bound: Vec<Bound>,
}

impl Operation {
    pub(super) fn new(action: Action, config: &ConfigState) -> Self {
        Self {
            action,
            user: config.user.clone(),
            workdir: config.workdir.clone(),
            prepared: None,
            bound: Vec::new(),
        }
    }

    pub(super) fn is_run(&self) -> bool {
        matches!(self.action, Action::Run(_))
    }

    pub(super) fn has_mounts(&self) -> bool {
        matches!(&self.action, Action::Run(run) if !run.mounts.is_empty())
    }

    /// Finds and hashes what it takes from outside the root.
    pub(super) fn prepare(
        &mut self,
        context: Option<&Context>,
        fetch: &dyn Fetch,
    ) -> Result<(), OperationError> {
        match &self.action {
            Action::Copy(copy) => self.prepared = Some(transfer::prepare_copy(copy, context)?),
            Action::Add(add) => self.prepared = Some(transfer::prepare_add(add, context, fetch)?),
            Action::Run(run) => self.bound = Bound::resolve(&run.mounts, context)?,
            Action::MakeWorkdir(_) | Action::Metadata => {}
        }
        Ok(())
    }

    /// Prepares its mounts, as [`Mounted::new`] does.
    pub(super) fn mount<'m>(
        &self,
        root: &'m Root,
        ignore: &IgnoreSet,
        context: Option<&Context>,
        (cache, work): (Option<&Cache>, Option<&Path>),
    ) -> Result<Mounted<'m>, OperationError> {
        let mounts = match &self.action {
            Action::Run(run) => run.mounts.as_slice(),
            _ => &[],
        };
        let wanted = Wanted { mounts, bound: &self.bound, context, cache };
        Ok(Mounted::new(root, wanted, work, ignore)?)
    }

    /// Computes its key.
    pub(super) fn key(&self, previous: &Key) -> Key {
        match &self.action {
            Action::Metadata => *previous,
            Action::Run(run) => self.run_key(previous, run),
            Action::MakeWorkdir(path) => {
                KeyBuilder::after(previous, "workdir").part("path", path).part("user", &self.user).finish()
            }
            Action::Copy(_) | Action::Add(_) => {
                let parts = self.prepared.iter().flat_map(|prepared| &prepared.key);
                let parts = parts.map(|(name, value)| format!("{name}={value}"));
                KeyBuilder::after(previous, "transfer").list("parts", parts).finish()
            }
        }
    }

    fn run_key(&self, previous: &Key, run: &RunAction) -> Key {
        let environment = run.key_environment.iter().map(|(name, value)| format!("{name}={value}"));
        let key = KeyBuilder::after(previous, "run")
            .list("environment", environment)
            .part("user", &self.user)
            .part("workdir", &self.workdir)
            .part("network", format!("{:?}", run.network))
            .list("mounts", run.mounts.iter().map(|mount| format!("{mount:?}")))
            .list("bound", self.bound.iter().map(|bound| hex(&bound.digest)));
        match &run.invocation {
            Invocation::Argv(argv) => key.list("argv", argv),
            Invocation::Script { shell, name, body } => {
                key.list("shell", shell).part("name", name).part("script", body)
            }
        }
        .finish()
    }

    /// Does it. Returns what was written, where that is known; what a process wrote is not.
    pub(super) fn execute(
        &mut self,
        root: &Root,
        surroundings: Surroundings<'_>,
        context: Option<&Context>,
        fetch: &dyn Fetch,
        output: &Output,
    ) -> Result<Option<Change>, OperationError> {
        let ignore = surroundings.ignore;
        if let Some(prepared) = &mut self.prepared {
            let written = prepared.apply(root, ignore, context, fetch)?;
            let changes = Changes::new(written.changes);
            return Ok(Some(Change { changes, replaced: written.replaced }));
        }
        match &self.action {
            Action::Run(run) => self.run(run, root, surroundings, output).map(|()| None),
            Action::MakeWorkdir(path) => self.make_workdir(path, root, ignore).map(Some),
            Action::Metadata | Action::Copy(_) | Action::Add(_) => Ok(None),
        }
    }

    /// Makes a working directory; every part that is new belongs to the user.
    fn make_workdir(&self, path: &str, root: &Root, ignore: &IgnoreSet) -> Result<Change, OperationError> {
        let Credentials { uid, gid, .. } = users::credentials(root, &self.user)?;
        let new = NewDir { mode: 0o755, uid, gid };
        let (_, made) = root.make_dir(Path::new(path), new, Guard::new(ignore))?;
        let added = |path| snapshot::Change { path, kind: ChangeKind::Added };
        Ok(Change::found(Changes::new(made.into_iter().map(added).collect())))
    }

    fn run(
        &self,
        run: &RunAction,
        root: &Root,
        surroundings: Surroundings<'_>,
        output: &Output,
    ) -> Result<(), OperationError> {
        let credentials = users::credentials(root, &self.user)?;
        let cwd = if self.workdir.is_empty() { "/" } else { &self.workdir };
        let (argv, script) = match &run.invocation {
            Invocation::Argv(argv) => (argv.clone(), None),
            Invocation::Script { shell, name, body } => {
                let script = Script::new(name, body);
                ([shell.as_slice(), &[script.path()]].concat(), Some(script))
            }
        };
        let mut environment = run.environment.clone();
        environment.entry("HOME".to_owned()).or_insert_with(|| credentials.home.clone());
        let process =
            Process { argv, environment, cwd: cwd.to_owned(), credentials, network: run.network, script };
        run::run(root, &process, surroundings, output).map_err(|error| match error {
            RunError::Directory(error) => error.into(),
            error => error.into(),
        })
    }
}
