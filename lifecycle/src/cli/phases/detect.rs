//! What a detection is told, and where its results are written.

use crate::cli::exit::{Exit, Failure};
use crate::cli::phases::around::Around;
use crate::cli::values::Inputs;
use crate::cli::{experimental, inputs, setup};
use crate::files;
use crate::files::SpecFile;
use crate::files::group::Group;
use crate::files::order::OrderFile;
use crate::files::plan::Plan;
use crate::files::system::{System, SystemFile};
use crate::log::Log;
use crate::phase::detect::{self, DetectInputs, Detected};

/// Runs the detection.
///
/// # Errors
/// When a file cannot be read, and when no group passes.
pub fn detect(inputs: &Inputs, around: &Around, log: &Log) -> Result<Detected, Failure> {
    let order: OrderFile = files::read(&inputs.path_of(inputs::ORDER)).map_err(|error| {
        Failure::new(Exit::Detect, "detect", error)
            .hint("-order or CNB_ORDER_PATH says which file lists the groups of buildpacks to try.")
    })?;
    let has_extensions = inputs.api.has_extensions() && !order.order_extensions.is_empty();
    if has_extensions && inputs.api.extensions_are_experimental() {
        experimental::guard(inputs, experimental::Feature::Dockerfiles, log)?;
    }
    detect::detect(
        &DetectInputs {
            platform_api: inputs.api,
            order: &order,
            system: &system(inputs)?,
            catalog: &around.catalog,
            surroundings: around.surroundings(),
            env: &around.env,
        },
        log,
    )
    .map_err(|error| Failure::new(Exit::from(&error), "detect", error))
}

/// Writes the group and its plan.
pub fn write(inputs: &Inputs, group: &Group, plan: &Plan) -> Result<(), Failure> {
    setup::write(inputs, inputs::GROUP, Group::NAME, &group.to_toml())?;
    setup::write(inputs, inputs::PLAN, Plan::NAME, &plan.to_toml())
}

fn system(inputs: &Inputs) -> Result<System, Failure> {
    if !inputs.api.has_system_buildpacks() {
        return Ok(System::default());
    }
    let file = files::read_if_present::<SystemFile>(&inputs.path_of(inputs::SYSTEM));
    let file = file.map_err(|error| Failure::new(Exit::Detect, "detect", error))?;
    Ok(file.map(|file| file.system).unwrap_or_default())
}
