//! What a build is told, and where its results are written.

use crate::cli::exit::{Exit, Failure};
use crate::cli::inputs;
use crate::cli::phases::around::Around;
use crate::cli::values::Inputs;
use crate::files::group::Group;
use crate::files::metadata::BuildMetadata;
use crate::files::plan::Plan;
use crate::log::Log;
use crate::phase::build::{self, BuildError, BuildInputs};

/// Runs the buildpacks, and writes what they contribute.
pub fn build(
    inputs: &Inputs,
    around: &Around,
    group: &Group,
    plan: &Plan,
    log: &Log,
) -> Result<BuildMetadata, Failure> {
    let layers = inputs.path_of(inputs::LAYERS);
    let told = BuildInputs {
        platform_api: inputs.api,
        catalog: &around.catalog,
        group,
        plan,
        layers_dir: &layers,
        around: around.surroundings(),
        env: &around.env,
    };
    let failed = |error: BuildError| Failure::new(Exit::from(&error), "build", error);
    let metadata = build::build(&told, log).map_err(failed)?;
    build::write_metadata(&metadata, &layers, inputs.api).map_err(failed)?;
    Ok(metadata)
}
