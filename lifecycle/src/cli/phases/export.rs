//! What an export is told.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::api::PlatformApi;
use crate::cache::Cache;
use crate::cli::exit::{Exit, Failure};
use crate::cli::values::{InputError, Inputs};
use crate::cli::{VERSION, experimental, images, inputs, setup};
use crate::exec_env::ExecEnv;
use crate::files::analyzed::{Analyzed, RunImage};
use crate::files::group::Group;
use crate::files::metadata::BuildMetadata;
use crate::files::project::ProjectMetadata;
use crate::files::report::Report;
use crate::files::run::Extensions;
use crate::files::{self, FileError, Reserved};
use crate::image::store::ImageStore;
use crate::layers::tar::Owner;
use crate::log::Log;
use crate::phase::export::{self, CacheSaving, Export, Launcher, Previous};
use crate::reference::{ImageName, ReferenceError, StoreKind};

/// Where the lifecycle is in a builder image.
const LIFECYCLE_DIR: &str = "/cnb/lifecycle";

/// What an export is told, owned; but for what earlier phases say.
#[derive(Debug)]
pub struct ExportInputs {
    api: PlatformApi,
    kind: StoreKind,
    names: Vec<ImageName>,
    extended: PathBuf,
    project: ProjectMetadata,
    layers: PathBuf,
    app: PathBuf,
    launcher: PathBuf,
    launcher_sbom: Option<PathBuf>,
    process_type: Option<String>,
    exec_env: ExecEnv,
    owner: Owner,
    created: String,
    cache_saving: CacheSaving,
    threads: NonZeroUsize,
    report: Reserved,
}

/// What earlier phases say.
#[derive(Clone, Copy)]
pub struct Earlier<'a> {
    /// The images.
    pub analyzed: &'a Analyzed,
    /// The group.
    pub group: &'a Group,
    /// What the buildpacks contributed.
    pub build: &'a BuildMetadata,
    /// The cache.
    pub cache: Option<&'a dyn Cache>,
}

impl ExportInputs {
    /// Checks and gathers it, and makes sure that the report can be written.
    pub fn new(inputs: &Inputs, kind: StoreKind, owner: Owner, log: &Log) -> Result<Self, Failure> {
        let failed = |error: FileError| Failure::new(Exit::Export, "export", error);
        let names = images::destinations(inputs, kind)?.into_iter().map(ImageName::Reference).collect();
        let project = files::read_if_present(&inputs.path_of(inputs::PROJECT_METADATA)).map_err(failed)?;
        let launcher_sbom = inputs.path_of(inputs::LAUNCHER_SBOM);
        let report = files::reserve(Report::NAME, &inputs.path_of(inputs::REPORT)).map_err(|error| {
            failed(error).hint("-report or CNB_REPORT_PATH says where the report is written.")
        })?;
        Ok(Self {
            api: inputs.api,
            kind,
            names,
            extended: inputs.path_of(inputs::EXTENDED),
            project: project.unwrap_or_default(),
            layers: inputs.path_of(inputs::LAYERS),
            app: inputs.path_of(inputs::APP),
            launcher: inputs.path_of(inputs::LAUNCHER),
            launcher_sbom: Some(launcher_sbom).filter(|dir| dir != Path::new(LIFECYCLE_DIR)),
            process_type: inputs.text(inputs::PROCESS_TYPE),
            exec_env: setup::exec_env(inputs)?,
            owner,
            created: setup::created(inputs, log),
            cache_saving: if inputs.switch(inputs::PARALLEL) {
                CacheSaving::WithImage
            } else {
                CacheSaving::AfterImage
            },
            threads: setup::threads(),
            report,
        })
    }

    /// Runs the export and writes the report.
    pub fn run(
        self,
        inputs: &Inputs,
        store: &dyn ImageStore,
        earlier: Earlier<'_>,
        log: &Log,
    ) -> Result<(), Failure> {
        let failed = |error| Failure::new(Exit::Export, "export", error);
        let run_image = run_image(earlier.analyzed)?;
        let base = self.recorded(&run_image.reference)?;
        let extensions =
            if earlier.build.extensions.is_empty() { Extensions::None } else { Extensions::TookPart };
        let names = images::run_image_for_label(inputs, &run_image.image, extensions).map_err(failed)?;
        let previous = earlier.analyzed.previous_image.as_deref();
        let previous = previous.map(|name| self.recorded(name)).transpose()?;
        if run_image.extend && self.api.extensions_are_experimental() {
            experimental::guard(inputs, experimental::Feature::Dockerfiles, log)?;
        }
        let export = Export {
            api: self.api,
            store,
            names: &self.names,
            run_image: &base,
            run_image_names: names.as_ref(),
            extended: run_image.extend.then_some(self.extended.as_path()),
            previous: previous.as_ref().map(|image| Previous { image, metadata: &earlier.analyzed.metadata }),
            group: earlier.group,
            build: earlier.build,
            project: &self.project,
            layers: &self.layers,
            app: &self.app,
            launcher: Launcher {
                path: &self.launcher,
                version: VERSION,
                sbom_dir: self.launcher_sbom.as_deref(),
                lifecycle_dir: Path::new(LIFECYCLE_DIR),
            },
            process_type: self.process_type.as_deref(),
            exec_env: &self.exec_env,
            owner: self.owner,
            created: &self.created,
            cache: earlier.cache,
            cache_saving: self.cache_saving,
            threads: self.threads,
        };
        let report =
            export::export(&export, log).map_err(|error| Failure::new(Exit::Export, "export", error))?;
        self.report.write(&setup::report(inputs, report)).map_err(failed)
    }

    fn recorded(&self, name: &str) -> Result<ImageName, Failure> {
        ImageName::recorded(self.kind, name)
            .map_err(|error: ReferenceError| Failure::new(Exit::Export, "export", error))
    }
}

/// The run image that the analyzer found.
fn run_image(analyzed: &Analyzed) -> Result<&RunImage, Failure> {
    analyzed.run_image.as_ref().filter(|image| !image.reference.is_empty()).ok_or_else(|| {
        Failure::new(Exit::Export, "export", "run image not found in analyzed metadata")
            .hint("Run the analyzer first; it writes [run-image] into analyzed.toml.")
    })
}

/// Fails when the platform tells the exporter of a run image, which it takes from the analyzer.
/// The variable is none of its inputs: platforms set it for all phases.
pub fn check_flags(inputs: &Inputs) -> Result<(), Failure> {
    let unsupported = |input: &inputs::Input| {
        let error =
            InputError::Unsupported(input.name(), "; the exporter takes the run image of analyzed.toml");
        Err(Failure::new(Exit::Arguments, "resolve inputs", error))
    };
    let variable = inputs.other_variable(inputs::RUN_IMAGE.variable).and_then(|value| value.to_str());
    match (inputs.flag(inputs::RUN_IMAGE), inputs.flag(inputs::IMAGE)) {
        (Some(image), _) if Some(image.as_str()) != variable => unsupported(inputs::RUN_IMAGE),
        (_, Some(_)) => unsupported(inputs::IMAGE),
        _ => Ok(()),
    }
}
