//! What a session takes and gives.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::event::Event;
use super::operation::OperationError;
use super::run::Output;
use super::transfer::Fetch;
use crate::cache::{Cache, Footprint};
use crate::context::Context;
use crate::layer::{Compression, LayerError, LayerFile, UnpackError};
use crate::policy::Permitted;
use crate::root::{PathError, Root};
use crate::snapshot::{Method, MountError, ScanError};
use crate::state::{Arguments, ConfigState, StepError};

/// What the session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The root itself: in the end it is as the Dockerfiles make it.
    Root,
    /// The layers: the root is a means, and left alone if the cache holds every layer.
    Layers,
}

/// How what a process finds in its root comes there: what RUN mounts, devices, name resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounting {
    /// By mounts that only the process sees, where these are allowed; else put in place.
    Try,
    /// Put in place for the time of the step.
    Never,
}

/// How layers are compressed.
pub trait Compress: Sync {
    /// What the result is.
    fn compression(&self) -> Compression;

    /// Compresses everything that can be read.
    fn compress(&self, tar: &mut dyn Read, blob: &mut dyn Write) -> io::Result<()>;
}

/// What a session works with.
pub struct Settings<'s> {
    /// The directory that stands for `/`.
    pub root: &'s Root,
    /// Paths that are not the image's: the platform's directories. Mounts, and what container engines
    /// make, are added.
    pub ignore: Vec<PathBuf>,
    /// How changes are found; `None` finds out what is sound here.
    pub method: Option<Method>,
    /// What the session is for.
    pub purpose: Purpose,
    /// Whether mounts are tried.
    pub mounting: Mounting,
    /// Where steps are looked for and stored.
    pub cache: Option<&'s Cache>,
    /// A directory for layers, outside the image.
    pub work: &'s Path,
    /// How layers are compressed.
    pub compress: &'s dyn Compress,
    /// How ADD downloads.
    pub fetch: &'s dyn Fetch,
    /// Where the processes of RUN write.
    pub output: Output,
    /// Operating system and architecture, as `os/arch`: part of every key.
    pub platform: String,
    /// Told what happens.
    pub log: &'s dyn Fn(Event<'_>),
    /// Called once, before anything is done to the root: makes it ready, or says why nothing may be done.
    pub make_ready: &'s dyn Fn() -> Result<(), NotReady>,
}

/// Why nothing may be done to a root.
pub type NotReady = Box<dyn std::error::Error + Send + Sync>;

/// The image that a session starts from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseImage {
    /// Its configuration.
    pub config: ConfigState,
    /// The diffIDs of its layers, base first: SHA-256 as hexadecimal digits.
    pub diff_ids: Vec<String>,
}

/// A Dockerfile to be applied.
pub struct Application<'a> {
    /// The checked Dockerfile.
    pub permitted: &'a Permitted,
    /// The build arguments.
    pub arguments: Arguments,
    /// What COPY, ADD and bind mounts take from.
    pub context: Option<&'a Context>,
    /// Whether no other Dockerfile follows in this session.
    pub is_last: bool,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepResult {
    /// The instruction's text.
    pub instruction: String,
    /// Its line, from 1.
    pub line: usize,
    /// The layer, if it changed files and layers are captured.
    pub layer: Option<LayerFile>,
    /// What the layer does to files that were there before.
    pub footprint: Footprint,
    /// How the step came about.
    pub outcome: Outcome,
}

/// How a step came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changes only the configuration.
    Metadata,
    /// It was found in the cache.
    Cached,
    /// It was done.
    Executed,
}

/// A Dockerfile cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An instruction cannot be expanded.
    #[error(transparent)]
    Expand(#[from] StepError),
    /// An instruction failed.
    #[error("{instruction} on line {line}: {error}")]
    Step {
        /// The instruction's text.
        instruction: String,
        /// Its line.
        line: usize,
        /// Why.
        #[source]
        error: Box<OperationError>,
    },
    /// The root is not ready for what has to be done to it.
    #[error("{instruction} on line {line} has to be carried out: {error}")]
    NotReady {
        /// The instruction's text.
        instruction: String,
        /// Its line.
        line: usize,
        /// Why.
        #[source]
        error: NotReady,
    },
    /// The root cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The mounts cannot be told.
    #[error(transparent)]
    Mounts(#[from] MountError),
    /// A layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer of the cache cannot be applied to the root.
    #[error("failed to apply the cached layer of `{instruction}`: {error}")]
    Replay {
        /// The instruction's text.
        instruction: String,
        /// Why.
        #[source]
        error: UnpackError,
    },
    /// A file operation failed.
    #[error("failed to {0}")]
    Path(#[from] PathError),
}
