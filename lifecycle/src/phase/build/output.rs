//! What one buildpack left in its layers directory, read after its `bin/build` succeeded.
//!
//! Spec: buildpack.md "Build", "Ignored Layers", "Unmet Buildpack Plan Entries".

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::contributions::{Contribution, Role};
use crate::component::catalog::Component;
use crate::env::{EnvDirError, LayerEnv};
use crate::files::bom::LegacyBom;
use crate::files::build_toml::{BuildFile, UnmetError};
use crate::files::launch::{LaunchFile, LaunchProcess, ProcessError};
use crate::files::metadata::Process;
use crate::files::plan::BuildpackPlan;
use crate::files::{self, FileError};
use crate::layers::dir::{BuildpackDir, DirError, check_file};
use crate::layers::sbom::{self, SbomError, SbomFile};
use crate::log::Log;

/// What a buildpack left.
#[derive(Debug)]
pub(super) struct Output {
    /// What its layers give to later buildpacks, in the order in which they are applied.
    pub build_layers: Vec<LayerEnv>,
    /// The names in its plan that it has met.
    pub met: Vec<String>,
    /// Its SBOM files.
    pub sbom_files: Vec<SbomFile>,
    /// What it contributes to the image.
    pub contribution: Contribution,
}

/// Why what a buildpack left cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Its layers cannot be read.
    #[error(transparent)]
    Layers(#[from] DirError),
    /// An ignored layer cannot be put aside.
    #[error("failed to rename layer directory `{}`", path.display())]
    Ignore {
        /// The layer.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The variables of a layer cannot be read.
    #[error(transparent)]
    Env(#[from] EnvDirError),
    /// `build.toml` or `launch.toml` cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// `build.toml` names what the buildpack was not asked for.
    #[error("build.toml: {0}")]
    Unmet(#[from] UnmetError),
    /// `launch.toml` has processes that cannot be.
    #[error("launch.toml: {0}")]
    Process(#[from] ProcessError),
    /// SBOM files are refused.
    #[error(transparent)]
    Sbom(#[from] SbomError),
}

impl Output {
    /// Reads what `component` left below `layers`, where `plan` was required of it. Directories of
    /// ignored layers are renamed to `<layer>.ignore`.
    pub(super) fn read(
        component: &Component,
        layers: &Path,
        plan: &BuildpackPlan,
        log: &Log,
    ) -> Result<Self, OutputError> {
        let dir = BuildpackDir::read(layers, &component.id)?;
        ignore_layers(&dir)?;
        let build: BuildFile = read_or_empty(&dir.path.join("build.toml"))?;
        let launch: LaunchFile = read_or_empty(&dir.path.join("launch.toml"))?;
        let sbom_files = sbom::find(&dir, &component.sbom_formats)?;
        if sbom_files.is_empty() {
            warn_of_bom(&[&build.bom, &launch.bom], log);
        }
        Ok(Self {
            build_layers: build_layers(&dir)?,
            met: build.met(plan)?.into_iter().map(str::to_owned).collect(),
            sbom_files,
            contribution: contribution(component, &build, launch, log)?,
        })
    }
}

fn read_or_empty<T: files::SpecFile + Default>(path: &Path) -> Result<T, OutputError> {
    check_file(path)?;
    Ok(files::read_if_present(path)?.unwrap_or_default())
}

/// Hides the layers that are for nothing from the buildpacks that come later.
fn ignore_layers(dir: &BuildpackDir) -> Result<(), OutputError> {
    for layer in dir.layers.iter().filter(|layer| layer.file.types.is_ignored()) {
        let Some(contents) = &layer.contents else { continue };
        let aside = dir.path.join(format!("{}.ignore", layer.name));
        // One from an earlier build would be in the way.
        let removed = if aside.is_dir() { fs::remove_dir_all(&aside) } else { Ok(()) };
        removed
            .and_then(|()| fs::rename(contents, &aside))
            .map_err(|source| OutputError::Ignore { path: contents.clone(), source })?;
    }
    Ok(())
}

/// The build layers, in byte order of the names of their files (spec-notes/decisions.md, "Order of
/// layer paths").
fn build_layers(dir: &BuildpackDir) -> Result<Vec<LayerEnv>, EnvDirError> {
    let mut layers: Vec<_> = dir.layers.iter().filter(|layer| layer.file.types.build).collect();
    layers.sort_by_key(|layer| format!("{}.toml", layer.name));
    layers.into_iter().map(|layer| LayerEnv::read_for_build(&dir.path.join(&layer.name))).collect()
}

fn warn_of_bom(boms: &[&LegacyBom], log: &Log) {
    if boms.iter().any(|bom| !bom.entries().is_empty()) {
        log.warn(
            "BOM table is deprecated in this buildpack api version, though it remains supported for backwards \
             compatibility. Buildpack authors should write BOM information to <layer>.sbom.<ext>, \
             launch.sbom.<ext>, or build.sbom.<ext>.",
        );
    }
}

fn contribution(
    component: &Component,
    build: &BuildFile,
    launch: LaunchFile,
    log: &Log,
) -> Result<Contribution, OutputError> {
    let processes = launch.resolve(component.api)?;
    warn_of_duplicates(component, &processes, log);
    Ok(Contribution {
        processes: processes.into_iter().map(|entry| process(component, entry, log)).collect(),
        labels: launch.labels,
        slices: launch.slices,
        launch_bom: launch.bom.of(&component.id, &component.version),
        build_bom: build.bom.of(&component.id, &component.version),
    })
}

fn warn_of_duplicates(component: &Component, processes: &[LaunchProcess], log: &Log) {
    let mut seen = BTreeSet::new();
    for process in processes {
        if !seen.insert(&process.process_type) {
            let process_type = &process.process_type;
            log.warn(format!(
                "buildpack '{component}' defines process type '{process_type}' more than once; the last definition \
                 is used"
            ));
        }
    }
}

fn process(component: &Component, entry: LaunchProcess, log: &Log) -> (Process, Role) {
    let LaunchProcess { process_type, command, args, direct, default, mut working_dir, exec_env } = entry;
    if !component.api.has_working_dir() && working_dir.take().is_some() {
        log.warn(format!(
            "process working directory isn't supported in this buildpack api version. Ignoring working directory \
             for process '{process_type}'"
        ));
    }
    let buildpack_id = component.id.as_str().to_owned();
    let role = if default { Role::Default } else { Role::Other };
    (Process { process_type, command, args, direct, buildpack_id, working_dir, exec_env }, role)
}
