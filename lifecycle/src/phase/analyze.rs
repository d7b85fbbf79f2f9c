//! Analysis: what the previous image says about its layers, and which run image is taken.
//!
//! The SBOM files of the previous image come back too, for the restorer to hand out.
//!
//! Spec: platform.md "analyzer".

use std::path::Path;

use crate::api::PlatformApi;
use crate::files::analyzed::{Analyzed, RunImage};
use crate::files::labels::{self, LifecycleMetadata};
use crate::files::run::{MirroredImage, RunImageError};
use crate::image::Image;
use crate::image::store::{ImageStore, Need, StoreError};
use crate::log::{Log, chain};
use crate::phase::sbom;
use crate::reference::{ImageName, ReferenceError, StoreKind};

/// What an analysis is told.
#[derive(Clone, Copy)]
pub struct Analyze<'a> {
    /// The Platform API.
    pub api: PlatformApi,
    /// Where images are found.
    pub store: &'a dyn ImageStore,
    /// Which kind of store that is.
    pub kind: StoreKind,
    /// The image of the build before.
    pub previous_image: &'a ImageName,
    /// The names under which the app image will be saved.
    pub names: &'a [ImageName],
    /// The cache image, if there is to be one.
    pub cache_image: Option<CacheImage<'a>>,
    /// The run images to choose from.
    pub run_image: &'a RunImageChoice,
    /// The layers directory.
    pub layers: &'a Path,
    /// Whether the SBOM files of the previous image come back.
    pub sbom: Sbom,
}

/// A cache image, and the store that it is in.
#[derive(Clone, Copy)]
pub struct CacheImage<'a> {
    /// The store.
    pub store: &'a dyn ImageStore,
    /// The image's name.
    pub name: &'a ImageName,
}

/// Whether the SBOM files of the previous image come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sbom {
    /// They do.
    Restore,
    /// They do not.
    Leave,
}

/// How the run image is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunImageChoice {
    /// The platform names it.
    Named(String),
    /// The platform names an image with mirrors: the first that can be read is taken, those on the
    /// app image's registry before others.
    OneOf {
        /// The image and its mirrors.
        images: MirroredImage,
        /// The app image's registry.
        registry: String,
    },
}

/// Why an image cannot be analyzed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The previous image is there but cannot be read.
    #[error("getting previous image `{name}`")]
    PreviousImage {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// An image that will be written may not be.
    #[error("ensure registry read/write access to {name}")]
    Access {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The run image's name is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The run image cannot be read.
    #[error("getting run image `{name}`")]
    RunImage {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// None of the run images to choose from can be read.
    #[error("{choice}{failures}")]
    NoRunImage {
        /// What was tried.
        choice: RunImageError,
        /// Why each failed, where that is known, each after `; `.
        failures: String,
    },
    /// A run image that does not say what it runs on.
    #[error("failed to find OS in run image config of `{0}`")]
    NoOs(String),
}

/// Finds the previous image and the run image.
///
/// A previous image that is missing, or whose metadata cannot be read, is as good as none.
///
/// # Errors
/// When a store fails, and when no run image can be read: a build on a base that is not there would
/// only fail later (spec-notes/decisions.md, "Missing run image").
pub fn analyze(inputs: &Analyze<'_>, log: &Log) -> Result<Analyzed, AnalyzeError> {
    for name in inputs.names {
        let access = inputs.store.ensure_access(name, Need::Write);
        access.map_err(|source| AnalyzeError::Access { name: name.to_string(), source })?;
    }
    for need in [Need::Read, Need::Write] {
        let Some(CacheImage { store, name }) = inputs.cache_image else { break };
        let access = store.ensure_access(name, need);
        access.map_err(|source| AnalyzeError::Access { name: name.to_string(), source })?;
    }
    let (previous_image, metadata) = previous(inputs, log)?;
    let (name, image) = run_image(inputs)?;
    let run_image = describe(inputs.api, name, &image)?;
    Ok(Analyzed { previous_image, metadata, run_image: Some(run_image), build_image: None })
}

/// The previous image's exact name and what it says about its layers.
fn previous(inputs: &Analyze<'_>, log: &Log) -> Result<(Option<String>, LifecycleMetadata), AnalyzeError> {
    let name = inputs.previous_image;
    let found = inputs
        .store
        .find(name)
        .map_err(|source| AnalyzeError::PreviousImage { name: name.to_string(), source })?;
    let Some(image) = found else {
        log.info(format!("Image with name \"{}\" not found", inputs.store.shown(name)));
        return Ok((None, LifecycleMetadata::default()));
    };
    let exact = image.name.as_ref().unwrap_or(name).to_string();
    log.debug(format!("Found image with identifier \"{exact}\""));
    let Some(metadata) = layers_metadata(&image, log) else {
        return Ok((None, LifecycleMetadata::default()));
    };
    if inputs.sbom == Sbom::Restore && inputs.api.has_sbom() {
        sbom::restore_from_image(inputs.store, &image, &metadata, inputs.layers, log);
    }
    Ok((Some(exact), metadata))
}

/// What an image says about its layers; empty when it says nothing, `None` when nobody understands it.
fn layers_metadata(image: &Image, log: &Log) -> Option<LifecycleMetadata> {
    let Some(label) = image.config.label(labels::LIFECYCLE_METADATA) else {
        return Some(LifecycleMetadata::default());
    };
    LifecycleMetadata::from_label(label)
        .inspect_err(|error| {
            let name = labels::LIFECYCLE_METADATA;
            log.warn(format!("Ignoring the previous image: its label `{name}` is broken: {error}"));
        })
        .ok()
}

/// The run image that is taken, with its name as the platform gave it.
fn run_image(inputs: &Analyze<'_>) -> Result<(String, Image), AnalyzeError> {
    let find = |name: &str| {
        inputs
            .store
            .find(&ImageName::given(inputs.kind, name)?)
            .map_err(|source| AnalyzeError::RunImage { name: name.to_owned(), source })
    };
    match inputs.run_image {
        RunImageChoice::Named(name) => match find(name)? {
            Some(image) => Ok((name.clone(), image)),
            None => {
                Err(AnalyzeError::RunImage { name: name.clone(), source: StoreError::NotFound(name.clone()) })
            }
        },
        RunImageChoice::OneOf { images, registry } => {
            let mut failures = String::new();
            let best = images.best_for(registry, |name| {
                find(name)
                    .inspect_err(|error| failures = format!("{failures}; {}", chain(error)))
                    .ok()
                    .flatten()
            });
            best.map(|(name, image)| (name.to_owned(), image))
                .map_err(|choice| AnalyzeError::NoRunImage { choice, failures })
        }
    }
}

/// What `analyzed.toml` says about the run image.
fn describe(api: PlatformApi, name: String, image: &Image) -> Result<RunImage, AnalyzeError> {
    let reference = image.name.as_ref().map(ToString::to_string).unwrap_or_default();
    if !api.has_targets() {
        return Ok(RunImage { reference, ..RunImage::default() });
    }
    let target = image.config.target();
    if target.os.is_empty() {
        return Err(AnalyzeError::NoOs(name));
    }
    Ok(RunImage { reference, image: name, extend: false, target: Some(target) })
}

#[cfg(test)]
mod tests;
