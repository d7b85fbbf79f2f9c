//! The session: Dockerfiles applied to a root, one after another, step by step.
//!
//! ```text
//!  instruction ─► state ─► operation ─► key ─┬─ found ──► layer of the cache ─┬─► replayed, when and
//!                                            │                               │   if a later step needs it
//!                                            └─ not ───► done ─► captured ───┴─► results
//! ```
//!
//! As long as every step is found, the root is not touched. From the first one that is not, none is
//! looked for any more in its Dockerfile, as every key contains the one before.

use std::path::Path;
use std::thread::ScopedJoinHandle;

use super::capture::{self, Captured, Finished, Finishing};
use super::change::Change;
use super::event::Event;
use super::operation::{Operation, OperationError};
use super::run::{self, FURNISHED, Furnished, Mounted, Surroundings};
use super::settings::{Application, ApplyError, BaseImage, Mounting, Outcome, Purpose, Settings, StepResult};
use crate::cache::{Hit, Key, KeyBuilder};
use crate::dockerfile::Instruction;
use crate::layer::{Compression, LayerError, LayerFile, Limits, Mtimes, Unpack, UnpackError, replay};
use crate::root::Guard;
use crate::snapshot::{IgnoreSet, Method, Tree, diff, mount_points, probe, scan, wait_for_tick};
use crate::state::{Action, BuildState, ConfigState, Scope};

/// Dockerfiles being applied to a root.
pub struct Session<'s> {
    settings: Settings<'s>,
    config: ConfigState,
    diff_ids: Vec<String>,
    /// Layers of the cache that the root does not have yet, in order.
    pending: Vec<Pending>,
    method: Option<Method>,
    /// The last scan, if nothing was written since.
    baseline: Option<Tree>,
    furnished: Option<Furnished>,
    /// Whether mounts can be made, once that was tried.
    may_mount: Option<bool>,
    layers: u32,
    is_ready: bool,
}

/// A layer of the cache that is to be replayed.
struct Pending {
    instruction: String,
    line: usize,
    blob: std::fs::File,
    compression: Compression,
    mtimes: Mtimes,
}

/// A step that is done, but for its layer.
enum Step<'scope, 's> {
    Finished(Finished),
    /// The layer is yet to be compressed.
    Layer {
        finishing: Finishing<'s>,
        captured: Captured,
        key: Option<Key>,
        text: String,
    },
    /// It is being compressed.
    Compressing(ScopedJoinHandle<'scope, Result<Finished, LayerError>>),
}

impl<'scope, 's: 'scope> Step<'scope, 's> {
    /// Begins to compress the layer.
    fn start<'env>(self, scope: &'scope std::thread::Scope<'scope, 'env>) -> Self {
        match self {
            Self::Layer { finishing, captured, key, text } => {
                Self::Compressing(scope.spawn(move || finishing.layer(captured, key, &text)))
            }
            other => other,
        }
    }

    fn join(self) -> Result<Finished, ApplyError> {
        Ok(match self {
            Self::Finished(finished) => finished,
            Self::Layer { finishing, captured, key, text } => finishing.layer(captured, key, &text)?,
            Self::Compressing(thread) => {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
            }
        })
    }
}

/// The keys of one Dockerfile's steps.
struct Chain {
    key: Key,
    /// Whether steps are still looked for.
    is_hitting: bool,
    /// Whether `build_id` took part in a step: nothing from here on is stored.
    is_volatile: bool,
}

impl<'s> Session<'s> {
    /// Starts a session. Nothing is touched before a step has to be done.
    pub fn new(settings: Settings<'s>, base: BaseImage) -> Self {
        Self {
            method: settings.method,
            settings,
            config: base.config,
            diff_ids: base.diff_ids,
            pending: Vec::new(),
            baseline: None,
            furnished: None,
            may_mount: None,
            layers: 0,
            is_ready: false,
        }
    }

    /// Returns the configuration after the Dockerfiles so far.
    pub fn config(&self) -> &ConfigState {
        &self.config
    }

    /// Changes the configuration between Dockerfiles.
    pub fn config_mut(&mut self) -> &mut ConfigState {
        &mut self.config
    }

    /// Applies a Dockerfile and returns what each of its instructions did.
    ///
    /// Fails at the first instruction that fails; what was done to the root before it stays.
    pub fn apply(&mut self, application: &Application<'_>) -> Result<Vec<StepResult>, ApplyError> {
        let permitted = application.permitted;
        let arguments = application.arguments.clone();
        let scope = Scope::new(permitted.directives(), permitted.meta_args(), arguments)?;
        let mut state = BuildState::new(self.config.clone(), scope);
        let mut chain = Chain { key: self.first_key(), is_hitting: true, is_volatile: false };
        let finished = std::thread::scope(|scope| {
            let mut steps = Vec::new();
            for instruction in permitted.instructions() {
                let step = state.step(instruction)?;
                chain.is_volatile |= step.depends_on_build_id;
                steps.push(match step.action {
                    Action::Metadata => Step::Finished(Finished::without_layer(Outcome::Metadata)),
                    action => {
                        let operation = Operation::new(action, state.config());
                        self.step(application, instruction, operation, &mut chain)?.start(scope)
                    }
                });
            }
            steps.into_iter().map(Step::join).collect::<Result<Vec<_>, ApplyError>>()
        })?;
        self.config = state.into_config();
        let instructions = permitted.instructions().iter();
        Ok(instructions
            .zip(finished)
            .map(|(instruction, finished)| self.result(instruction, finished))
            .collect())
    }

    /// Ends the session. With [`Purpose::Root`], brings the root to where the Dockerfiles lead.
    pub fn finish(mut self) -> Result<ConfigState, ApplyError> {
        if self.settings.purpose == Purpose::Root {
            self.replay_pending()?;
        }
        Ok(self.config)
    }

    fn first_key(&self) -> Key {
        let ConfigState { env, user, workdir, shell, .. } = &self.config;
        KeyBuilder::new("base")
            .part("platform", &self.settings.platform)
            .part("compression", format!("{:?}", self.settings.compress.compression()))
            .list("layers", &self.diff_ids)
            .list("env", env.iter().map(|(name, value)| format!("{name}={value}")))
            .part("user", user)
            .part("workdir", workdir)
            .list("shell", shell)
            .finish()
    }

    fn step<'scope>(
        &mut self,
        application: &Application<'_>,
        instruction: &Instruction,
        mut operation: Operation,
        chain: &mut Chain,
    ) -> Result<Step<'scope, 's>, ApplyError> {
        let failed = |error| ApplyError::Step {
            instruction: instruction.original.clone(),
            line: instruction.span.line,
            error: Box::new(error),
        };
        operation.prepare(application.context, self.settings.fetch).map_err(failed)?;
        chain.key = operation.key(&chain.key);
        let text = instruction.original.as_str();
        if let Some(cache) = self.settings.cache.filter(|_| chain.is_hitting && !chain.is_volatile)
            && let Some(hit) = cache.find(&chain.key)
        {
            (self.settings.log)(Event::Hit(text));
            return Ok(Step::Finished(self.take_hit(instruction, hit)));
        }
        chain.is_hitting = false;
        (self.settings.log)(Event::Miss(text));
        self.make_ready(text, instruction.span.line)?;
        self.replay_pending()?;
        let key = Some(chain.key).filter(|_| self.settings.cache.is_some() && !chain.is_volatile);
        let is_blob_wanted = key.is_some() || self.settings.purpose == Purpose::Layers;
        let next_keys_need_it = self.settings.cache.is_some() && !application.is_last;
        let captured = self
            .execute(application, &mut operation, is_blob_wanted || next_keys_need_it)
            .map_err(|error| match error {
                ExecuteError::Operation(error) => failed(error),
                ExecuteError::Apply(error) => error,
            })?;
        let Settings { compress, cache, .. } = self.settings;
        let finishing = Finishing { compress, cache };
        Ok(match captured {
            Some(captured) if is_blob_wanted => {
                Step::Layer { finishing, captured, key, text: text.to_owned() }
            }
            Some(captured) => Step::Finished(Finishing::only_diff_id(captured)),
            None => Step::Finished(finishing.nothing(key, text)),
        })
    }

    /// Has the root made ready before it is touched for the first time.
    fn make_ready(&mut self, instruction: &str, line: usize) -> Result<(), ApplyError> {
        if !self.is_ready {
            (self.settings.make_ready)().map_err(|error| ApplyError::NotReady {
                instruction: instruction.to_owned(),
                line,
                error,
            })?;
            self.is_ready = true;
        }
        Ok(())
    }

    fn take_hit(&mut self, instruction: &Instruction, hit: Hit) -> Finished {
        let Hit { record, layer } = hit;
        let (Some(layer), Some(found)) = (record.layer, layer) else {
            return Finished::without_layer(Outcome::Cached);
        };
        self.pending.push(Pending {
            instruction: instruction.original.clone(),
            line: instruction.span.line,
            blob: found.blob,
            compression: layer.compression,
            mtimes: found.mtimes,
        });
        let file = LayerFile {
            diff_id: layer.diff_id,
            tar_size: layer.tar_size,
            path: found.path,
            digest: layer.blob,
            size: layer.blob_size,
            compression: layer.compression,
        };
        Finished::cached(file, record.footprint)
    }

    fn result(&mut self, instruction: &Instruction, finished: Finished) -> StepResult {
        let Finished { diff_id, layer, footprint, outcome, warning } = finished;
        if let Some(warning) = &warning {
            (self.settings.log)(Event::CacheFailed(warning));
        }
        self.diff_ids.extend(diff_id);
        StepResult {
            instruction: instruction.original.clone(),
            line: instruction.span.line,
            layer,
            footprint,
            outcome,
        }
    }

    /// Does what an operation asks for. Returns what changed, if that is wanted and something did.
    fn execute(
        &mut self,
        application: &Application<'_>,
        operation: &mut Operation,
        is_wanted: bool,
    ) -> Result<Option<Captured>, ExecuteError> {
        let is_run = operation.is_run();
        if is_run {
            self.furnish()?;
        }
        let (root, context) = (self.settings.root, application.context);
        let mut ignore = self.ignore()?;
        let mounted = if operation.has_mounts() {
            let work = self.may_mount().then_some(self.settings.work);
            Some(operation.mount(root, &ignore, context, (self.settings.cache, work))?)
        } else {
            None
        };
        if let Some(mounted) = &mounted {
            (self.settings.log)(Event::Mounted { in_place: mounted.real().is_none() });
            mounted.targets().for_each(|target| ignore.insert(target));
            self.baseline = None;
        }
        if is_run && is_wanted {
            if self.baseline.is_none() {
                self.baseline = Some(self.scan(&ignore)?);
            }
            wait_for_tick();
        }
        let baseline = self.baseline.take();
        let Settings { fetch, output, .. } = &self.settings;
        let furnished = self.furnished.as_ref();
        let mounts = mounted.as_ref().and_then(Mounted::real);
        let surroundings = Surroundings { ignore: &ignore, furnished, mounts };
        let written = operation.execute(root, surroundings, context, *fetch, output)?;
        let found = match baseline.filter(|_| is_run && is_wanted) {
            None => Change::default(),
            Some(before) => {
                let mut ignore = self.ignore()?;
                mounted.iter().flat_map(Mounted::targets).for_each(|target| ignore.insert(target));
                let after = self.scan(&ignore)?;
                let changes = diff(&before, &after);
                self.baseline = Some(after).filter(|_| mounted.is_none());
                Change::found(changes)
            }
        };
        if let Some(mounted) = mounted {
            mounted.end().map_err(OperationError::from)?;
        }
        let changes = written.filter(|_| is_wanted).unwrap_or(found);
        if changes.is_empty() {
            return Ok(None);
        }
        self.layers += 1;
        let path = self.settings.work.join(format!("layer-{}.tar", self.layers));
        Ok(Some(Captured::write(self.settings.root, &changes, path).map_err(ApplyError::from)?))
    }

    /// Gives a root that is no container what processes need.
    fn furnish(&mut self) -> Result<(), ApplyError> {
        if !self.settings.root.is_host() && self.furnished.is_none() {
            let work = self.may_mount().then_some(self.settings.work);
            let furnished = Furnished::new(self.settings.root, work)?;
            (self.settings.log)(Event::Furnished { has_mounts: furnished.has_mounts() });
            self.furnished = Some(furnished);
        }
        Ok(())
    }

    /// Whether mounts can be made for the processes of a step.
    fn may_mount(&mut self) -> bool {
        let Settings { mounting, work, .. } = self.settings;
        *self.may_mount.get_or_insert_with(|| mounting == Mounting::Try && run::may_mount(work))
    }

    /// What is not the image's now: a step may have mounted something.
    fn ignore(&self) -> Result<IgnoreSet, ApplyError> {
        let root = self.settings.root;
        let mut set = IgnoreSet::new(&self.settings.ignore);
        for path in mount_points(root)? {
            set.insert(&path);
        }
        for path in capture::NEVER_CAPTURED {
            set.insert(Path::new(path));
        }
        if self.furnished.is_some() {
            for path in FURNISHED {
                set.insert(Path::new(path));
            }
        }
        // As the reference implementation does: sockets and locks of daemons.
        if root.dir(Path::new("var/run")).is_ok_and(|dir| dir.path == Path::new("var/run")) {
            set.insert(Path::new("var/run"));
        }
        Ok(set)
    }

    fn scan(&mut self, ignore: &IgnoreSet) -> Result<Tree, ApplyError> {
        let method = match self.method {
            Some(method) => method,
            None => probe(self.settings.root)?,
        };
        self.method = Some(method);
        let start = std::time::Instant::now();
        let tree = scan(self.settings.root, ignore, method)?;
        (self.settings.log)(Event::Scanned { entries: tree.len(), took: start.elapsed(), method });
        Ok(tree)
    }

    /// Applies the layers of the cache that the root does not have yet.
    fn replay_pending(&mut self) -> Result<(), ApplyError> {
        let pending = std::mem::take(&mut self.pending);
        let Some(first) = pending.first() else { return Ok(()) };
        self.make_ready(&first.instruction, first.line)?;
        self.baseline = None;
        let ignore = self.ignore()?;
        let root = self.settings.root;
        let rules = Unpack {
            root,
            below: Path::new(""),
            guard: Guard::new(&ignore),
            owner: None,
            // It was ours to store: what a step could make can be made again.
            limits: Limits::NONE,
        };
        for Pending { instruction, blob, compression, mtimes, .. } in pending {
            (self.settings.log)(Event::Replaying(&instruction));
            let done = capture::decompress(blob, compression)
                .map_err(|error| UnpackError::Read(error.into()))
                .and_then(|tar| replay(&rules, tar, Some(&mtimes)));
            let done = done.map_err(|error| ApplyError::Replay { instruction, error })?;
            done.skipped.iter().for_each(|path| (self.settings.log)(Event::DeviceLeftOut(path)));
        }
        Ok(())
    }
}

/// An operation, or what is around it, failed.
enum ExecuteError {
    Operation(OperationError),
    Apply(ApplyError),
}

impl From<OperationError> for ExecuteError {
    fn from(error: OperationError) -> Self {
        Self::Operation(error)
    }
}

impl From<ApplyError> for ExecuteError {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}
