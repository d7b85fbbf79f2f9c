//! Extending: the Dockerfiles of image extensions are applied to the build image or the run image.
//!
//! ```text
//! <generated> ─► dockerfiles::find ─► [Dockerfile] ──┐
//! base image, without its layers' bytes ─► config ───┼─► apply: one session of `extensions`
//! a root directory, in which the image is ───────────┘        │
//!                                                             ▼
//!        <extended>/run ◄─ save ◄─ Image ◄─ image ◄─ [Applied] ─► verdict, footprints
//! ```
//!
//! Nothing of a base image is needed but its config while every step is in the cache. Where one is not,
//! the root is made ready first: by the platform, which started us in the image, or by [`unpack`].
//!
//! Spec: platform.md "extender", image_extension.md "Phase: Extension".

mod apply;
pub mod base;
mod build_id;
mod compress;
mod config;
mod dockerfiles;
pub mod fetch;
mod footprints;
pub mod former;
mod image;
pub mod save;
#[cfg(test)]
mod tests;
pub mod unpack;
mod user;
mod verdict;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use extensions::apply::{ApplyError, Fetch, NotReady, StepResult};
use extensions::cache::Cache;
use extensions::context::ContextError;
use extensions::policy::{Claim, Target};
use extensions::root::Root;

use crate::files::Cause;
use crate::files::component_id::ComponentId;
use crate::image::Image;
use crate::image::store::StoreError;
use crate::log::Log;

pub use apply::platform;
pub use dockerfiles::{Dockerfile, Generated, find};
pub use footprints::{LayerFootprint, layer_footprints};

/// What extending an image is told.
pub struct Extend<'a> {
    /// Which image.
    pub target: Target,
    /// Its Dockerfiles, in order.
    pub dockerfiles: &'a [Dockerfile],
    /// The image; the bytes of its layers may be missing.
    pub base: &'a Image,
    /// What the Dockerfiles are told of its name.
    pub base_name: &'a str,
    /// Where it is, or will be.
    pub place: Place<'a>,
    /// Where steps are looked for and stored.
    pub cache: Option<&'a Cache>,
    /// Proxies of the platform, by variable.
    pub proxies: BTreeMap<String, String>,
    /// How ADD downloads.
    pub fetch: &'a dyn Fetch,
    /// How many threads compress; the bytes do not depend on it.
    pub threads: NonZeroUsize,
}

/// Where an image is extended.
pub struct Place<'a> {
    /// The directory that stands for `/`.
    pub root: &'a Root,
    /// Paths in it that are not the image's.
    pub ignore: Vec<PathBuf>,
    /// A directory for layers, outside the image.
    pub work: &'a Path,
    /// Called once before anything is done to the root: see [`extensions::apply::Settings`].
    pub make_ready: &'a dyn Fn() -> Result<(), NotReady>,
}

/// An image after its extensions.
#[derive(Debug)]
pub struct Extended {
    /// The image; new layers are in files of the cache or the work directory.
    pub image: Image,
    /// How many of its layers, from the bottom, are the base image's.
    pub base_layers: usize,
    /// What each Dockerfile did, in order.
    pub applied: Vec<Applied>,
}

/// What a Dockerfile did.
#[derive(Debug)]
pub struct Applied {
    /// The extension that it is of.
    pub extension: ComponentId,
    /// Which image it is for.
    pub target: Target,
    /// Whether it has instructions below FROM.
    pub extends: bool,
    /// What it says of itself.
    pub claim: Claim,
    /// What each instruction did.
    pub steps: Vec<StepResult>,
}

/// Why an image cannot be extended.
#[derive(Debug, thiserror::Error)]
pub enum ExtendError {
    /// A file of `<generated>` is not what it must be.
    #[error("extension {extension}: {cause}")]
    File {
        /// The extension.
        extension: String,
        /// What is wrong.
        cause: Cause,
    },
    /// A Dockerfile is not valid, or not permitted.
    #[error("extension {extension}")]
    Dockerfile {
        /// The extension.
        extension: String,
        /// What is wrong, and where.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A build context cannot be opened.
    #[error("open the build context of extension {extension}")]
    Context {
        /// The extension.
        extension: String,
        /// Why.
        #[source]
        source: ContextError,
    },
    /// A Dockerfile cannot be applied.
    #[error("apply {target}.Dockerfile of extension {extension}")]
    Apply {
        /// The extension.
        extension: String,
        /// Which Dockerfile.
        target: Target,
        /// Which instruction, and why.
        #[source]
        source: Box<ApplyError>,
    },
    /// The run image would run processes as root.
    #[error("the final user `{user}` of the extended run image is root")]
    RootUser {
        /// The user as the image names it.
        user: String,
    },
    /// The files of users cannot be read.
    #[error("find out who the user `{user}` of the extended run image is")]
    User {
        /// The user as the image names it.
        user: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The base image is not where the restorer puts it.
    #[error("base image `{reference}` in `{}`", path.display())]
    Base {
        /// Its name in `analyzed.toml`.
        reference: String,
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: StoreError,
    },
    /// The name of the base image is not exact.
    #[error("base image `{0}` is not named by digest")]
    NotExact(String),
    /// Reading or writing failed.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ExtendError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// Whether an instruction had to be carried out but could not for want of rights or of the image.
    pub fn is_not_ready(&self) -> bool {
        matches!(self, Self::Apply { source, .. } if matches!(**source, ApplyError::NotReady { .. }))
    }
}

/// Applies the Dockerfiles. With [`Target::Build`] the root is afterwards as they make it; with
/// [`Target::Run`] it is touched only if a step is not in the cache.
///
/// # Errors
/// When an instruction fails, and when the run image would run processes as root.
///
/// Spec: platform.md "extender", Outputs.
pub fn extend(inputs: &Extend<'_>, log: &Log) -> Result<Extended, ExtendError> {
    let (mut state, applied) = apply::apply(inputs, log)?;
    if inputs.target == Target::Run {
        user::check(inputs, &state, &applied, log)?;
        verdict::label(inputs.base, &mut state, &applied, log);
    }
    let image = image::extended(inputs.base, &state, &applied);
    Ok(Extended { image, base_layers: inputs.base.layers.len(), applied })
}
