//! Generating: image extensions of the group say by which Dockerfiles the images are extended.
//!
//! Everything is made in a staging directory inside `<generated>`, and put in its place only when all
//! extensions succeeded and all Dockerfiles are permitted.
//!
//! Spec: image_extension.md "Phase: Generation", platform.md "detector".

mod context;
mod guard;
mod output;
mod policy;
mod publish;
mod run_image;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use extensions::plan::{Bases, ExtendPlan, ToPlan};
use extensions::policy::{Permitted, Target};

use crate::api::PlatformApi;
use crate::component::catalog::{Catalog, CatalogError, Component};
use crate::component::process::{Exit, ProcessError};
use crate::component::run::Surroundings;
use crate::env::Env;
use crate::files::analyzed::Analyzed;
use crate::files::component_id::{ComponentApiError, Kind};
use crate::files::group::GroupElement;
use crate::files::plan::Plan;
use crate::files::run::Run;
use crate::files::{Cause, FileError};
use crate::log::Log;

use guard::Fingerprint;
use output::Output;
use publish::Staging;

pub use guard::AppDirGuard;
pub use policy::{Policy, Refused};

/// What generating works on.
#[derive(Debug)]
pub struct GenerateInputs<'a> {
    /// The Platform API of the build.
    pub platform_api: PlatformApi,
    /// The group's extensions, in order.
    pub extensions: &'a [GroupElement],
    /// The group's plan.
    pub plan: &'a Plan,
    /// The images as analyzed.
    pub analyzed: &'a Analyzed,
    /// The run images that the platform offers.
    pub run: &'a Run,
    /// Where extensions lie.
    pub catalog: &'a Catalog,
    /// What surrounds every executable.
    pub surroundings: Surroundings<'a>,
    /// What extensions inherit.
    pub env: &'a Env,
    /// Where Dockerfiles are put for the extender.
    pub generated_dir: &'a Path,
    /// What happens when an extension writes to the application directory.
    pub app_dir_guard: AppDirGuard,
    /// The platform's rules for what extensions may do, if it has any.
    pub policy: Option<&'a Policy>,
}

/// What extensions made of plan and images.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The plan without what the extensions provide.
    pub plan: Plan,
    /// The images, with the run image that was chosen and what is to be extended.
    pub analyzed: Analyzed,
    /// What the extender will do.
    pub extend_plan: ExtendPlan,
}

/// Why generating failed.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// An extension is not to be had.
    #[error(transparent)]
    Component(#[from] CatalogError),
    /// The group names an API that is not supported: exit code 12.
    #[error(transparent)]
    Api(#[from] ComponentApiError),
    /// `bin/generate` failed: exit code 91.
    #[error("run `bin/generate` of extension {extension}: {exit}")]
    Failed {
        /// `id@version`.
        extension: String,
        /// How it ended.
        exit: Exit,
    },
    /// `bin/generate` could not be started: exit code 91.
    #[error("run `bin/generate` of extension {extension}")]
    NotStarted {
        /// `id@version`.
        extension: String,
        /// What hindered it.
        #[source]
        source: ProcessError,
    },
    /// What an extension gives its Dockerfiles is not valid.
    #[error("extension {extension}: {file}: {cause}")]
    File {
        /// `id@version`.
        extension: String,
        /// Which file of its output.
        file: &'static str,
        /// What is wrong with it.
        cause: Cause,
    },
    /// A Dockerfile is not valid, or not permitted.
    #[error("parse {target}.Dockerfile for extension {extension}")]
    Dockerfile {
        /// `id@version`.
        extension: String,
        /// Which of the two.
        target: Target,
        /// What is wrong, and where.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is a context for both images and one for an image.
    #[error("extension {0}: image-specific context dir is provided together with a shared context")]
    Contexts(String),
    /// `bin/generate` wrote to the application directory.
    #[error(
        "extension {extension} changed the application directory, which extensions must not: {}",
        guard::list(paths)
    )]
    AppChanged {
        /// `id@version`.
        extension: String,
        /// What changed.
        paths: Vec<PathBuf>,
    },
    /// The platform's rules do not allow what extensions would do.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Reading or writing failed.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file of the specification could not be written.
    #[error(transparent)]
    Write(#[from] FileError),
}

impl GenerateError {
    /// Whether an extension's own executable failed: exit code 91, all others 92.
    pub fn is_extension_failure(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::NotStarted { .. })
    }

    /// Whether an extension speaks an API that is not supported: exit code 12.
    pub fn is_api_mismatch(&self) -> bool {
        matches!(self, Self::Api(_) | Self::Component(CatalogError::Api(_)))
    }

    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// Generates. On failure `<generated>` is as it was.
pub fn generate(inputs: &GenerateInputs<'_>, log: &Log) -> Result<Generated, GenerateError> {
    let staging = Staging::new(inputs.generated_dir)?;
    let mut plan = inputs.plan.clone();
    let mut app = None;
    let mut outputs = Vec::new();
    for element in inputs.extensions {
        log.debug(format!("Running generate for extension {element}"));
        element.api(Kind::Extension)?;
        let extension = inputs.catalog.find(Kind::Extension, &element.id, &element.version)?;
        let own = plan.for_extension(&extension.id);
        let guarded = output::has_generate(&extension) && inputs.app_dir_guard != AppDirGuard::Off;
        if guarded && app.is_none() {
            app = Some(Fingerprint::take(inputs.surroundings.app_dir)?);
        }
        let output = output::make(&extension, &own, inputs, &staging, log)?;
        if let Some(before) = app.take_if(|_| guarded) {
            app = Some(watch(&before, &extension, inputs, log)?);
        }
        plan = plan.without(own.entries.iter().map(|entry| entry.name.as_str()));
        outputs.push(output);
        log.debug(format!("Finished running generate for extension {element}"));
    }
    log.debug("Checking run image");
    let (analyzed, superseded) = choose(inputs, &outputs, log);
    let extend_plan = extend_plan(inputs, &staging, &outputs, &superseded, log);
    if let Some(policy) = inputs.policy {
        policy.check(&extend_plan)?;
    }
    log.debug("Copying Dockerfiles");
    publish::publish(inputs.platform_api, &staging, inputs.generated_dir, &outputs, &superseded)?;
    Ok(Generated { plan, analyzed, extend_plan })
}

/// Compares the application directory with what it was before the extension ran.
fn watch(
    before: &Fingerprint,
    extension: &Component,
    inputs: &GenerateInputs<'_>,
    log: &Log,
) -> Result<Fingerprint, GenerateError> {
    let after = Fingerprint::take(inputs.surroundings.app_dir)?;
    let paths = before.differences(&after);
    if paths.is_empty() {
        return Ok(after);
    }
    let error = GenerateError::AppChanged { extension: extension.to_string(), paths };
    if inputs.app_dir_guard == AppDirGuard::Enforce {
        return Err(error);
    }
    log.warn(error.to_string());
    Ok(after)
}

/// The images as they are to be extended, and for each extension whether its run.Dockerfile is superseded.
fn choose(inputs: &GenerateInputs<'_>, outputs: &[Output], log: &Log) -> (Analyzed, Vec<bool>) {
    let api = inputs.platform_api;
    let run: Vec<Option<&Permitted>> = outputs.iter().map(|output| output.run.as_ref()).collect();
    let choice = run_image::choose(&run);
    let mut analyzed = inputs.analyzed.clone();
    if let Some((at, image)) = &choice.image {
        log.debug(format!(
            "Found a run.Dockerfile from extension '{}' setting run image to '{image}' ",
            outputs[*at].extension.id
        ));
        if image.contains("@sha256:") {
            log.info(format!(
                "The run image '{image}' is pinned by its digest: a rebase finds no newer one under this name"
            ));
        }
        let known = analyzed.run_image.as_ref().is_some_and(|known| known.image == *image);
        if !known || !api.has_targets() {
            if api.has_targets() && !inputs.run.contains(image) {
                log.warn(format!("new runtime base image '{image}' not found in run metadata"));
            }
            log.debug(format!("Updating analyzed metadata with new run image '{image}'"));
            analyzed.run_image = Some(run_image::switched(api, image));
        }
    }
    if let Some(run_image) = analyzed.run_image.as_mut().filter(|_| choice.extend) {
        log.debug("Updating analyzed metadata to indicate run image extension");
        run_image.extend = true;
    }
    if api.records_build_image_extend() && outputs.iter().any(|output| output.build.is_some()) {
        analyzed.build_image.get_or_insert_default().extend = true;
    }
    (analyzed, choice.superseded)
}

/// What the extender will do, in the order in which it does it.
fn extend_plan(
    inputs: &GenerateInputs<'_>,
    staging: &Staging,
    outputs: &[Output],
    superseded: &[bool],
    log: &Log,
) -> ExtendPlan {
    let mut dockerfiles = Vec::new();
    for (output, superseded) in outputs.iter().zip(superseded) {
        let made = staging.output(&output.extension.id);
        let both = [(&output.build, &output.build_args, false), (&output.run, &output.run_args, *superseded)];
        for (permitted, args, superseded) in both {
            let Some(permitted) = permitted else { continue };
            dockerfiles.push(ToPlan {
                extension: output.extension.id.as_str(),
                permitted,
                superseded,
                arguments: args.clone(),
                context: context::digest(permitted, &made, inputs, log),
            });
        }
    }
    let analyzed = inputs.analyzed;
    let run = analyzed
        .run_image
        .as_ref()
        .map_or("", |run| if run.image.is_empty() { &run.reference } else { &run.image });
    let build = analyzed.build_image.as_ref().map_or("", |build| &build.reference);
    ExtendPlan::new(Bases { build, run, run_label: None }, &dockerfiles)
}
