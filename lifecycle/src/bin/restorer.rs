//! Brings back layers, metadata and SBOM files of earlier builds.

use std::process::ExitCode;

use lifecycle::cli::exit::Failure;
use lifecycle::cli::inputs::{self, Phase};
use lifecycle::cli::phases::restore::{ImageInputs, RestoreInputs};
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, setup};
use lifecycle::files::analyzed::Analyzed;
use lifecycle::files::group::Group;
use lifecycle::log::Log;

pub(crate) fn main() -> ExitCode {
    cli::main(Phase::Restorer, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    let user = setup::owner(inputs)?;
    let mut analyzed = analyzed(inputs, log)?;
    let images = ImageInputs::new(inputs, &analyzed, log)?;
    let cache = setup::CachePlace::find(inputs, log)?;
    let base_dir = images.make_base_dir(&analyzed, log);
    setup::give_up_privileges_and(inputs, user, &[inputs::LAYERS, inputs::CACHE_DIR], base_dir, log)?;
    let cache = cache.open(log);
    let group: Group = setup::read(inputs, inputs::GROUP, "detector")?;
    setup::check_apis(&group.group)?;
    images.run(inputs, &group, &mut analyzed, log)?;
    RestoreInputs::new(inputs).run(&group, &analyzed.metadata, cache.as_deref(), log)
}

/// What the analyzer wrote. A build without it still has a cache.
fn analyzed(inputs: &Inputs, log: &Log) -> Result<Analyzed, Failure> {
    Ok(setup::analyzed_if_present(inputs)?.unwrap_or_else(|| {
        let path = inputs.path_of(inputs::ANALYZED);
        log.warn(format!("Not using analyzed data, usable file not found: {}", path.display()));
        Analyzed::default()
    }))
}
