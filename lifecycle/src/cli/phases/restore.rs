//! What a restoration is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::api::PlatformApi;
use crate::cache::Cache;
use crate::cli::exit::{Exit, Failure};
use crate::cli::values::Inputs;
use crate::cli::{inputs, setup};
use crate::files::group::Group;
use crate::files::labels::LifecycleMetadata;
use crate::log::Log;
use crate::phase::restore::{self, Extent, Restore};

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
