//! Makes the app image of the run image, the buildpacks' layers and the application.

use std::process::ExitCode;

use lifecycle::cli::exit::Failure;
use lifecycle::cli::inputs::{self, Phase};
use lifecycle::cli::phases::export::{self, Earlier, ExportInputs};
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, setup, stores};
use lifecycle::files;
use lifecycle::files::analyzed::Analyzed;
use lifecycle::files::group::Group;
use lifecycle::files::metadata::BuildMetadata;
use lifecycle::log::Log;

pub(crate) fn main() -> ExitCode {
    cli::main(Phase::Exporter, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    export::check_flags(inputs)?;
    let kind = stores::kind(inputs)?;
    setup::warn_of_unused(inputs, kind, log);
    let user = setup::owner(inputs)?;
    let store = stores::open(inputs, kind, log)?;
    let cache = setup::CachePlace::find(inputs, log)?;
    setup::give_up_privileges(inputs, user, &[inputs::CACHE_DIR, inputs::LAUNCH_CACHE], log)?;
    let store = stores::with_launch_cache(store, inputs, kind, log);
    let cache = cache.open(log);
    let group: Group = setup::read(inputs, inputs::GROUP, "detector")?;
    setup::check_apis(&group.group)?;
    let analyzed: Analyzed = setup::read(inputs, inputs::ANALYZED, "analyzer")?;
    let metadata = inputs.path_of(inputs::LAYERS).join("config/metadata.toml");
    let build: BuildMetadata = files::read(&metadata).map_err(|error| setup::file_failure(inputs, error))?;
    let earlier = Earlier { analyzed: &analyzed, group: &group, build: &build, cache: cache.as_deref() };
    ExportInputs::new(inputs, kind, user, log)?.run(inputs, store.as_ref(), earlier, log)
}
