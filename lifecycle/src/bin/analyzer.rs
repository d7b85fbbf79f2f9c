//! Finds the previous image and the run image, and writes `analyzed.toml`.

use std::process::ExitCode;

use lifecycle::cli::exit::Failure;
use lifecycle::cli::inputs::{self, Phase};
use lifecycle::cli::phases::analyze::AnalyzeInputs;
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, setup, stores};
use lifecycle::files::SpecFile;
use lifecycle::files::analyzed::Analyzed;
use lifecycle::log::Log;

pub(crate) fn main() -> ExitCode {
    cli::main(Phase::Analyzer, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    let kind = stores::kind(inputs)?;
    setup::warn_of_unused(inputs, kind, log);
    let user = setup::owner(inputs)?;
    let analyze = AnalyzeInputs::new(inputs, kind)?;
    let store = stores::open(inputs, kind, log)?;
    let cache = setup::CachePlace::find_image(inputs, log)?;
    setup::give_up_privileges(inputs, user, &[inputs::LAYERS, inputs::LAUNCH_CACHE], log)?;
    let store = stores::with_launch_cache(store, inputs, kind, log);
    let analyzed = analyze.run(store.as_ref(), cache.image(), log)?;
    setup::write(inputs, inputs::ANALYZED, Analyzed::NAME, &analyzed.to_toml())
}
