//! What a restoration is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::api::PlatformApi;
use crate::cache::Cache;
use crate::cli::exit::{Exit, Failure};
use crate::cli::values::Inputs;
use crate::cli::{inputs, setup, stores};
use crate::files::analyzed::{Analyzed, RunImage};
use crate::files::group::Group;
use crate::files::labels::LifecycleMetadata;
use crate::files::run::Run;
use crate::files::{self, SpecFile};
use crate::image::store::ImageStore;
use crate::log::{Log, chain};
use crate::phase::restore::run_image::{self, Resolve};
use crate::phase::restore::{self, Extent, Restore};
use crate::reference::StoreKind;

/// What is told of a run image that has to be looked at.
pub struct RunImageInputs {
    kind: StoreKind,
    store: Box<dyn ImageStore>,
    run: Run,
}

impl RunImageInputs {
    /// Gathers it; `None` where the run image needs no look, so that no store is opened for nothing.
    pub fn new(inputs: &Inputs, analyzed: &Analyzed, log: &Log) -> Result<Option<Self>, Failure> {
        let kind = stores::kind(inputs)?;
        let has_name = |image: &RunImage| !image.image.is_empty() || !image.reference.is_empty();
        let open = |image: &RunImage| has_name(image) && run_image::is_open(image, kind, inputs.api);
        if !analyzed.run_image.as_ref().is_some_and(open) {
            return Ok(None);
        }
        let run = files::read_if_present(&inputs.path_of(inputs::RUN));
        let run = run.map_err(|error| setup::file_failure(inputs, error))?.unwrap_or_default();
        Ok(Some(Self { kind, store: stores::open(inputs, kind, log)?, run }))
    }

    /// Makes the run image exact, and writes `analyzed.toml` anew.
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
        let Some(image) = &analyzed.run_image else { return Ok(()) };
        let Self { kind, store, run } = self;
        let resolve = Resolve { api: inputs.api, store: store.as_ref(), kind: *kind, run };
        match run_image::resolve(&resolve, image, log) {
            Ok(image) => {
                analyzed.run_image = Some(image);
                setup::write(inputs, inputs::ANALYZED, Analyzed::NAME, &analyzed.to_toml())
            }
            Err(error) if group.group_extensions.is_empty() => {
                log.warn(format!("Run image info is left incomplete: {}", chain(&error)));
                Ok(())
            }
            Err(error) => Err(Failure::new(Exit::Restore, "restore", error)),
        }
    }
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
