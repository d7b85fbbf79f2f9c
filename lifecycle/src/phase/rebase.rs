//! Rebasing: an app image is put on another run image, without building anything.
//!
//! Whoever calls must have made sure that the report can be written (`files::reserve`): once an image
//! is saved, there is no way back. Spec: platform.md "rebaser".

mod shadow;

use crate::api::PlatformApi;
use crate::files::report::Report;
use crate::files::run::RunImageError;
use crate::image::Image;
use crate::image::rebase::{self, Force, Rebase};
use crate::image::store::{ImageStore, StoreError};
use crate::log::Log;
use crate::phase::save::save;
use crate::reference::{ImageName, Reference, ReferenceError};

pub use shadow::ShadowCheck;

/// What is rebased, onto what, and where it goes.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Where all images are.
    pub store: &'a dyn ImageStore,
    /// The app image; it is not changed unless it is one of `images` too.
    pub app: &'a Reference,
    /// The names of the rebased image, at least one.
    pub images: &'a [Reference],
    /// The new run image; where there is none, the app image's label says which.
    pub run_image: Option<&'a str>,
    /// The Platform API of the caller.
    pub platform: PlatformApi,
    /// Whether to go on where a check says no.
    pub force: Force,
    /// What happens when extensions hide files that the new run image has changed.
    pub shadow: ShadowCheck,
}

/// Why an image was not rebased. Nothing has been saved.
#[derive(Debug, thiserror::Error)]
pub enum RebaseError {
    /// The app image is not there.
    #[error("image to rebase `{0}` was not found")]
    NoApp(String),
    /// The new run image is not there.
    #[error("run image `{0}` was not found")]
    NoRunImage(String),
    /// The new run image has no valid name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// No run image was given, and the app image names none.
    #[error("-run-image is required when there is no run image metadata available")]
    RunImageUnknown,
    /// None of the run images that the app image names can be read.
    #[error(transparent)]
    RunImage(#[from] RunImageError),
    /// The images do not allow it.
    #[error(transparent)]
    Rebase(#[from] rebase::RebaseError),
    /// Extensions hide files that the new run image has changed, or nobody can tell.
    #[error("{}", .0.join("; "))]
    Shadow(Vec<String>),
    /// Reading or saving an image failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rebases an app image and saves it under each of its names.
pub fn rebase(inputs: &Inputs<'_>, log: &Log) -> Result<Report, RebaseError> {
    let app = inputs.store.find(&ImageName::Reference(inputs.app.clone()))?;
    let app = app.ok_or_else(|| RebaseError::NoApp(inputs.app.to_string()))?;
    let (base_name, base) = match inputs.run_image {
        Some(name) => (name.to_owned(), given_base(inputs, name)?),
        None => recorded_base(inputs, &app, log)?,
    };
    let (platform, force) = (inputs.platform, inputs.force);
    let request = Rebase { app: &app, base: &base, base_name: &base_name, platform, force };
    let mut rebased = rebase::rebase(&request)?;
    for warning in &rebased.warnings {
        log.warn(warning);
    }
    if inputs.shadow != ShadowCheck::Off {
        let found = shadow::check(inputs.store, &app, &base, &mut rebased);
        if !found.is_empty() && inputs.shadow == ShadowCheck::Fail && force == Force::No {
            return Err(RebaseError::Shadow(found));
        }
        for warning in &found {
            log.warn(warning);
        }
    }
    let names: Vec<ImageName> = inputs.images.iter().cloned().map(ImageName::Reference).collect();
    let image = save(inputs.store, &rebased.image, &names, log)?;
    Ok(Report { image, build: None })
}

fn given_base(inputs: &Inputs<'_>, name: &str) -> Result<Image, RebaseError> {
    let base = inputs.store.find(&ImageName::Reference(Reference::parse(name)?))?;
    base.ok_or_else(|| RebaseError::NoRunImage(name.to_owned()))
}

/// The best of the run images that the app image names: on its own registry if possible, and readable.
fn recorded_base(inputs: &Inputs<'_>, app: &Image, log: &Log) -> Result<(String, Image), RebaseError> {
    let names = rebase::recorded_run_images(app, inputs.platform)?.ok_or(RebaseError::RunImageUnknown)?;
    let (name, base) = names.best_for(&inputs.app.registry, |name| {
        let base = given_base(inputs, name);
        base.inspect_err(|error| log.debug(format!("Run image is not accessible: {error}"))).ok()
    })?;
    Ok((name.to_owned(), base))
}

#[cfg(test)]
mod tests;
