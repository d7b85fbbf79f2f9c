//! What an analysis is told.

use std::path::PathBuf;

use crate::api::PlatformApi;
use crate::cli::exit::{Exit, Failure};
use crate::cli::values::Inputs;
use crate::cli::{images, inputs};
use crate::files::analyzed::Analyzed;
use crate::image::store::ImageStore;
use crate::log::Log;
use crate::phase::analyze::{self, Analyze, CacheImage, RunImageChoice, Sbom};
use crate::reference::{ImageName, StoreKind};

/// What an analysis is told, owned.
#[derive(Debug)]
pub struct AnalyzeInputs {
    api: PlatformApi,
    kind: StoreKind,
    names: Vec<ImageName>,
    previous_image: ImageName,
    run_image: RunImageChoice,
    layers: PathBuf,
    sbom: Sbom,
}

impl AnalyzeInputs {
    /// Checks and gathers it.
    pub fn new(inputs: &Inputs, kind: StoreKind) -> Result<Self, Failure> {
        let names = images::destinations(inputs, kind)?;
        let previous_image = images::previous_image(inputs, kind)?;
        let run_image = images::run_image(inputs, &names[0])?;
        let skip = [inputs::SKIP_LAYERS, inputs::SKIP_RESTORE, inputs::SKIP_SBOM];
        let skip = skip.into_iter().any(|input| inputs.switch(input));
        let sbom = if skip { Sbom::Leave } else { Sbom::Restore };
        let layers = inputs.path_of(inputs::LAYERS);
        let names = names.into_iter().map(ImageName::Reference).collect();
        Ok(Self { api: inputs.api, kind, names, previous_image, run_image, layers, sbom })
    }

    /// Runs the analysis.
    pub fn run(
        &self,
        store: &dyn ImageStore,
        cache_image: Option<CacheImage<'_>>,
        log: &Log,
    ) -> Result<Analyzed, Failure> {
        let Self { api, kind, names, previous_image, run_image, layers, sbom } = self;
        let inputs = Analyze {
            api: *api,
            store,
            kind: *kind,
            names,
            cache_image,
            previous_image,
            run_image,
            layers,
            sbom: *sbom,
        };
        analyze::analyze(&inputs, log).map_err(|error| Failure::new(Exit::Analyze, "analyze", error))
    }
}
