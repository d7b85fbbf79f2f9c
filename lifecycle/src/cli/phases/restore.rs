//! What a restoration is told.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::api::PlatformApi;
use crate::cache::Cache;
use crate::cli::exit::{Exit, Failure};
use crate::cli::phases::extend::KANIKO;
use crate::cli::values::Inputs;
use crate::cli::{inputs, setup, stores};
use crate::files::analyzed::{Analyzed, RunImage};
use crate::files::group::Group;
use crate::files::labels::LifecycleMetadata;
use crate::files::run::Run;
use crate::files::{self, SpecFile};
use crate::image::Image;
use crate::image::store::registry::RegistryStore;
use crate::image::store::{ImageStore, StoreError};
use crate::log::{Log, chain};
use crate::phase::extend::base;
use crate::phase::restore::run_image::{self, Resolve};
use crate::phase::restore::{self, Extent, Restore};
use crate::reference::{ImageName, StoreKind};

/// What is told of the images that a restoration has to look at.
pub struct ImageInputs {
    run: Option<RunImageInputs>,
    build: Option<BuildImageInputs>,
}

/// What is told of a run image that has to be looked at.
struct RunImageInputs {
    kind: StoreKind,
    store: Box<dyn ImageStore>,
    run: Run,
}

/// What is told of a build image that extensions may change.
struct BuildImageInputs {
    store: RegistryStore,
    name: ImageName,
}

impl ImageInputs {
    /// Gathers it. No store is opened for an image that needs no look.
    pub fn new(inputs: &Inputs, analyzed: &Analyzed, log: &Log) -> Result<Self, Failure> {
        Ok(Self {
            run: RunImageInputs::new(inputs, analyzed, log)?,
            build: BuildImageInputs::new(inputs, log)?,
        })
    }

    /// Makes the directory that base images of extensions are saved in, if any is to be; `None` if none
    /// is. To be called while this process may: the directory above belongs to root, and what other
    /// phases keep there stays theirs.
    pub fn make_base_dir(&self, analyzed: &Analyzed, log: &Log) -> Option<PathBuf> {
        let is_extended = analyzed.run_image.as_ref().is_some_and(|image| image.extend);
        let wanted = self.build.is_some() || (self.run.is_some() && is_extended);
        let dir = base::dir(Path::new(KANIKO));
        if wanted && let Err(error) = std::fs::create_dir_all(&dir) {
            log.debug(format!("Failed to make `{}`: {error}", dir.display()));
        }
        wanted.then_some(dir)
    }

    /// Makes build and run image exact, saves what the extender needs of them, and writes `analyzed.toml`
    /// anew.
    ///
    /// # Errors
    /// When it cannot, and extensions took part: they may have chosen another run image, which the
    /// exporter needs. Without them it only costs what the buildpacks could know about it.
    pub fn run(
        &self,
        inputs: &Inputs,
        group: &Group,
        analyzed: &mut Analyzed,
        log: &Log,
    ) -> Result<(), Failure> {
        if let Some(build) = &self.build {
            let reference = build.save(log)?;
            analyzed.build_image.get_or_insert_default().reference = reference;
        }
        let run = self.run.as_ref().map_or(Ok(false), |run| run.run(inputs, group, analyzed, log))?;
        if run || self.build.is_some() {
            setup::write(inputs, inputs::ANALYZED, Analyzed::NAME, &analyzed.to_toml())?;
        }
        Ok(())
    }
}

impl BuildImageInputs {
    fn new(inputs: &Inputs, log: &Log) -> Result<Option<Self>, Failure> {
        let Some(name) = inputs.text(inputs::BUILD_IMAGE).filter(|_| inputs.api.has_extensions()) else {
            return Ok(None);
        };
        let name = ImageName::given(StoreKind::Registry, &name)
            .map_err(|error| Failure::new(Exit::Arguments, "resolve inputs", error))?;
        Ok(Some(Self { store: stores::registry(inputs, log)?, name }))
    }

    /// Saves the image's documents, and returns its exact name.
    fn save(&self, log: &Log) -> Result<String, Failure> {
        log.debug(format!("Pulling manifest and config of the build image {}...", self.name));
        let doing = || format!("get build image `{}`", self.name);
        let found =
            self.store.find(&self.name).map_err(|error| Failure::new(Exit::Restore, doing(), error))?;
        let image = found.ok_or_else(|| {
            Failure::new(Exit::Restore, doing(), "it was not found")
                .hint("-build-image or CNB_BUILD_IMAGE names the image of this build in a registry.")
        })?;
        save_base(&self.store, &image, log)?;
        Ok(image.name.as_ref().map(ToString::to_string).unwrap_or_default())
    }
}

impl RunImageInputs {
    fn new(inputs: &Inputs, analyzed: &Analyzed, log: &Log) -> Result<Option<Self>, Failure> {
        let kind = stores::kind(inputs)?;
        let has_name = |image: &RunImage| !image.image.is_empty() || !image.reference.is_empty();
        let extended = |image: &RunImage| image.extend && inputs.api.extends_run_image();
        let wanted = |image: &RunImage| {
            has_name(image) && (extended(image) || run_image::is_open(image, kind, inputs.api))
        };
        if !analyzed.run_image.as_ref().is_some_and(wanted) {
            return Ok(None);
        }
        Ok(Some(Self { kind, store: stores::open(inputs, kind, log)?, run: run_metadata(inputs)? }))
    }

    /// Returns whether `analyzed` was changed.
    fn run(
        &self,
        inputs: &Inputs,
        group: &Group,
        analyzed: &mut Analyzed,
        log: &Log,
    ) -> Result<bool, Failure> {
        let changed = self.resolve(inputs, group, analyzed, log)?;
        if let Some(image) = analyzed.run_image.as_ref().filter(|image| image.extend) {
            let doing = || format!("get run image `{}`", image.reference);
            let failed = |error: StoreError| Failure::new(Exit::Restore, doing(), error);
            let name = ImageName::recorded(self.kind, &image.reference)
                .map_err(|error| Failure::new(Exit::Restore, doing(), error))?;
            let found = self.store.find(&name).map_err(failed)?;
            let found = found.ok_or_else(|| failed(StoreError::NotFound(image.reference.clone())))?;
            save_base(self.store.as_ref(), &found, log)?;
        }
        Ok(changed)
    }

    fn resolve(
        &self,
        inputs: &Inputs,
        group: &Group,
        analyzed: &mut Analyzed,
        log: &Log,
    ) -> Result<bool, Failure> {
        let Self { kind, store, run } = self;
        let resolve = Resolve { api: inputs.api, store: store.as_ref(), kind: *kind, run };
        resolve_run_image(resolve, group, analyzed, log)
    }
}

/// Makes the run image exact. Returns whether `analyzed` was changed.
fn resolve_run_image(
    resolve: Resolve<'_>,
    group: &Group,
    analyzed: &mut Analyzed,
    log: &Log,
) -> Result<bool, Failure> {
    let Some(image) = &analyzed.run_image else { return Ok(false) };
    if !run_image::is_open(image, resolve.kind, resolve.api) {
        return Ok(false);
    }
    match run_image::resolve(&resolve, image, log) {
        Ok(image) => {
            analyzed.run_image = Some(image);
            Ok(true)
        }
        Err(error) if group.group_extensions.is_empty() => {
            log.warn(format!("Run image info is left incomplete: {}", chain(&error)));
            Ok(false)
        }
        Err(error) => Err(Failure::new(Exit::Restore, "restore", error)),
    }
}

/// Makes the run image exact that extensions chose in this process, and writes `analyzed.toml` anew.
///
/// # Errors
/// When it cannot.
pub fn find_chosen_run_image(
    inputs: &Inputs,
    kind: StoreKind,
    store: &dyn ImageStore,
    group: &Group,
    analyzed: &mut Analyzed,
    log: &Log,
) -> Result<(), Failure> {
    let run = run_metadata(inputs)?;
    let resolve = Resolve { api: inputs.api, store, kind, run: &run };
    if resolve_run_image(resolve, group, analyzed, log)? {
        setup::write(inputs, inputs::ANALYZED, Analyzed::NAME, &analyzed.to_toml())?;
    }
    Ok(())
}

fn run_metadata(inputs: &Inputs) -> Result<Run, Failure> {
    let run = files::read_if_present(&inputs.path_of(inputs::RUN));
    Ok(run.map_err(|error| setup::file_failure(inputs, error))?.unwrap_or_default())
}

/// Saves what the extender needs of an image.
fn save_base(store: &dyn ImageStore, image: &Image, log: &Log) -> Result<(), Failure> {
    let dir = Path::new(KANIKO);
    log.debug(format!("Saving manifest and config of a base image in {}", base::dir(dir).display()));
    base::put(store, image, dir).map_err(|error| {
        Failure::new(Exit::Restore, "save a base image for extensions", error)
            .hint("Mount a directory at /kaniko that the extender gets too.")
    })
}

/// What a restoration is told, owned.
#[derive(Debug)]
pub struct RestoreInputs {
    api: PlatformApi,
    layers: PathBuf,
    extent: Extent,
    threads: NonZeroUsize,
}

impl RestoreInputs {
    /// Gathers it.
    pub fn new(inputs: &Inputs) -> Self {
        let skip = inputs.switch(inputs::SKIP_LAYERS) || inputs.switch(inputs::SKIP_RESTORE);
        let extent = if skip { Extent::Stores } else { Extent::Everything };
        let layers = inputs.path_of(inputs::LAYERS);
        Self { api: inputs.api, layers, extent, threads: setup::threads() }
    }

    /// Whether each buildpack's store is all that comes back.
    pub fn is_skipped(&self) -> bool {
        self.extent == Extent::Stores
    }

    /// Runs the restoration.
    pub fn run(
        &self,
        group: &Group,
        previous: &LifecycleMetadata,
        cache: Option<&dyn Cache>,
        log: &Log,
    ) -> Result<(), Failure> {
        let Self { api, layers, extent, threads } = self;
        let group = &group.group;
        let inputs =
            Restore { api: *api, layers, group, previous, cache, extent: *extent, threads: *threads };
        restore::restore(&inputs, log).map_err(|error| Failure::new(Exit::Restore, "restore", error))
    }
}
