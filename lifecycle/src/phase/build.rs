//! Building: each buildpack's `bin/build` in turn, and what they contribute to the app image.
//!
//! ```text
//! group, plan ─► bin/build ─► layers directory ─► environment of the next one
//!                                              └► Contribution ─► Contributions ─► BuildMetadata
//! ```
//!
//! Spec: buildpack.md "Phase #5: Build", platform.md "builder".

mod contributions;
mod output;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::api::PlatformApi;
use crate::component::catalog::{Catalog, CatalogError, Component};
use crate::component::process::{Exit, ProcessError};
use crate::component::run::{Executable, Surroundings};
use crate::env::Env;
use crate::files::bom;
use crate::files::component_id::Kind;
use crate::files::data::NotFinite;
use crate::files::group::{Group, GroupElement};
use crate::files::metadata::BuildMetadata;
use crate::files::plan::{BuildpackPlan, Plan};
use crate::files::{self, FileError};
use crate::layers::sbom::{self, SbomError};
use crate::log::{Log, Outcome, Span};
use contributions::Contributions;
use output::Output;

pub use output::OutputError;

/// What the builder is given.
#[derive(Debug, Clone)]
pub struct BuildInputs<'a> {
    /// The platform's API.
    pub platform_api: PlatformApi,
    /// Where buildpacks lie.
    pub catalog: &'a Catalog,
    /// The buildpacks, and the extensions that took part before.
    pub group: &'a Group,
    /// What they require and provide.
    pub plan: &'a Plan,
    /// The layers directory, absolute.
    pub layers_dir: &'a Path,
    /// What surrounds every `bin/build` alike.
    pub around: Surroundings<'a>,
    /// What buildpacks inherit: see [`Env::for_build`].
    pub env: &'a Env,
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A buildpack is not to be had, or speaks an API that is not supported.
    #[error(transparent)]
    Component(#[from] CatalogError),
    /// `bin/build` could not be started.
    #[error("run bin/build of buildpack '{buildpack}'")]
    NotStarted {
        /// The buildpack.
        buildpack: String,
        /// Why.
        #[source]
        source: ProcessError,
    },
    /// `bin/build` failed.
    #[error("bin/build of buildpack '{buildpack}' failed: {exit}")]
    Failed {
        /// The buildpack.
        buildpack: String,
        /// How it ended.
        exit: Exit,
    },
    /// What a buildpack left is not what it must be.
    #[error("read what buildpack '{buildpack}' contributes")]
    Output {
        /// The buildpack.
        buildpack: String,
        /// What is wrong.
        #[source]
        source: Box<OutputError>,
    },
    /// A directory cannot be made or removed.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// `make`, `remove`.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of ours cannot be written.
    #[error(transparent)]
    Write(#[from] FileError),
    /// SBOM files cannot be kept.
    #[error(transparent)]
    Sbom(#[from] SbomError),
    /// A deprecated bill of materials holds what JSON cannot.
    #[error("write legacy bom")]
    Bom(#[from] NotFinite),
}

impl BuildError {
    /// Whether it was a buildpack's `bin/build` that failed: exit code 51.
    pub fn is_failed_buildpack(&self) -> bool {
        matches!(self, Self::NotStarted { .. } | Self::Failed { .. })
    }

    /// Whether a buildpack speaks an API that is not supported: exit code 12.
    pub fn is_buildpack_api(&self) -> bool {
        matches!(self, Self::Component(CatalogError::Api(_)))
    }
}

/// Runs the group's buildpacks in order, and returns what they contribute. Their output goes to
/// the log's streams.
///
/// Leaves `<layers>/sbom` with the files of this build. `metadata.toml` is [`write_metadata`]'s.
pub fn build(inputs: &BuildInputs<'_>, log: &Log) -> Result<BuildMetadata, BuildError> {
    let components = components(inputs)?;
    remove_dir(&inputs.layers_dir.join("sbom"))?;
    let mut contributions = Contributions::default();
    let mut sbom_files = Vec::new();
    let mut env = inputs.env.clone();
    let mut plan = inputs.plan.clone();
    for component in &components {
        log.debug(format!("Running build for buildpack {component}"));
        let required = plan.for_buildpack(&component.id);
        let start = SystemTime::now();
        let ran = run(component, inputs, &required, &env, log);
        log.span(&Span {
            name: "buildpack-build",
            start,
            end: SystemTime::now(),
            outcome: Outcome::from(&ran),
            attributes: &component.attributes(),
        });
        ran?;
        let output = Output::read(component, inputs.layers_dir, &required, log).map_err(|source| {
            BuildError::Output { buildpack: component.to_string(), source: Box::new(source) }
        })?;
        env.add_build_layers(&output.build_layers);
        plan = plan.without(output.met.iter().map(String::as_str));
        sbom_files.push(output.sbom_files);
        contributions.add(output.contribution, log);
        log.debug(format!("Finished running build for buildpack {component}"));
    }
    // At the end, so that no buildpack finds the files of others there.
    for (component, files) in components.iter().zip(&sbom_files).filter(|_| inputs.platform_api.has_sbom()) {
        sbom::keep(files, inputs.layers_dir, &component.id)?;
    }
    write_legacy_bom(inputs, &contributions)?;
    let mut metadata = contributions.into_metadata();
    metadata.buildpacks = buildpacks(inputs.group, &components);
    metadata.extensions.clone_from(&inputs.group.group_extensions);
    Ok(metadata)
}

/// Writes `<layers>/config/metadata.toml`, complete or not at all.
pub fn write_metadata(
    metadata: &BuildMetadata,
    layers_dir: &Path,
    platform_api: PlatformApi,
) -> Result<(), BuildError> {
    let dir = make_dirs(layers_dir, &["config"])?;
    files::write(BuildMetadata::NAME, &dir.join("metadata.toml"), &metadata.to_toml(platform_api))?;
    Ok(())
}

/// Every buildpack of the group, so that one that is not to be had fails the build at its beginning.
fn components(inputs: &BuildInputs<'_>) -> Result<Vec<Component>, CatalogError> {
    let group = &inputs.group.group;
    group.iter().map(|element| inputs.catalog.find(Kind::Buildpack, &element.id, &element.version)).collect()
}

/// Runs `bin/build` with its own layers directory and its own copy of its plan.
fn run(
    component: &Component,
    inputs: &BuildInputs<'_>,
    required: &BuildpackPlan,
    env: &Env,
    log: &Log,
) -> Result<(), BuildError> {
    let name = component.id.escaped();
    let layers = make_dirs(inputs.layers_dir, &[&name])?;
    let plan_dir = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir();
    let plan_dir =
        plan_dir.map_err(|source| BuildError::Io { doing: "make", path: "plan directory".into(), source })?;
    let plan = plan_dir.path().join(&name).join("plan.toml");
    files::write("plan", &plan, &required.to_toml())?;
    let child = component.child(Executable::Build { layers: &layers, plan: &plan }, &inputs.around, env);
    let exit = child
        .stream(log)
        .map_err(|source| BuildError::NotStarted { buildpack: component.to_string(), source })?;
    if exit.is_success() {
        return Ok(());
    }
    Err(BuildError::Failed { buildpack: component.to_string(), exit })
}

/// Writes the deprecated bills of materials where the platform looks for them in files.
///
/// Spec: platform.md 0.9 "builder".
fn write_legacy_bom(inputs: &BuildInputs<'_>, contributions: &Contributions) -> Result<(), BuildError> {
    if inputs.platform_api.has_inline_bom() {
        return Ok(());
    }
    for (kind, entries) in [("launch", &contributions.launch_bom), ("build", &contributions.build_bom)] {
        let dir = make_dirs(inputs.layers_dir, &["sbom", kind])?;
        let text = bom::to_json(entries)? + "\n";
        files::write("legacy bom", &dir.join("sbom.legacy.json"), &text)?;
    }
    Ok(())
}

fn buildpacks(group: &Group, components: &[Component]) -> Vec<GroupElement> {
    let elements = group.group.iter().zip(components);
    // The launcher asks for the API that the buildpack was run with.
    elements
        .map(|(element, component)| GroupElement { api: component.api.to_string(), ..element.clone() })
        .collect()
}

fn make_dirs(root: &Path, names: &[&str]) -> Result<PathBuf, BuildError> {
    let owned = names.iter().map(|name| (*name).to_owned());
    sbom::make_dirs(root, owned).map_err(|source| BuildError::Io {
        doing: "make",
        path: names.iter().fold(root.to_owned(), |path, name| path.join(name)),
        source,
    })
}

fn remove_dir(dir: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BuildError::Io { doing: "remove", path: dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}
