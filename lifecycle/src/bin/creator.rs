//! Analyzes, detects, restores, builds and exports in one process: each phase gets the values of
//! those before it. Their files are written too, for platforms that look at them.

use std::process::ExitCode;

use lifecycle::cli::exit::{Exit, Failure};
use lifecycle::cli::inputs::{self, Phase};
use lifecycle::cli::phases::analyze::AnalyzeInputs;
use lifecycle::cli::phases::around::Around;
use lifecycle::cli::phases::export::{Earlier, ExportInputs};
use lifecycle::cli::phases::restore::RestoreInputs;
use lifecycle::cli::phases::{build, detect};
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, privileges, setup, stores};
use lifecycle::files::SpecFile;
use lifecycle::files::analyzed::Analyzed;
use lifecycle::log::Log;

pub(crate) fn main() -> ExitCode {
    cli::main(Phase::Creator, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    let kind = stores::kind(inputs)?;
    setup::warn_of_unused(inputs, kind, log);
    let user = setup::owner(inputs)?;
    let analyze = AnalyzeInputs::new(inputs, kind)?;
    let store = stores::open(inputs, kind, log)?;
    let dirs = [inputs::CACHE_DIR, inputs::LAUNCH_CACHE, inputs::LAYERS];
    let cache = setup::CachePlace::find(inputs, log)?;
    setup::give_up_privileges(inputs, user, &dirs, log)?;
    let store = stores::with_launch_cache(store, inputs, kind, log);
    privileges::hide_from_children();
    let inputs = &setup::at_home(inputs, user);
    let export = ExportInputs::new(inputs, kind, user, log)?;

    log.phase("ANALYZING");
    let analyzed = analyze.run(store.as_ref(), cache.image(), log)?;
    setup::write(inputs, inputs::ANALYZED, Analyzed::NAME, &analyzed.to_toml())?;
    let cache = cache.open(log);

    log.phase("DETECTING");
    let around = Around::new(inputs, analyzed.target(), log)?;
    let detected = detect::detect(inputs, &around, log)?;
    if !detected.group.group_extensions.is_empty() {
        let error = "detected order contains extensions which is not supported by the creator";
        return Err(Failure::new(Exit::Detect, "detect", error));
    }
    detect::write(inputs, &detected.group, &detected.plan)?;

    let restore = RestoreInputs::new(inputs);
    if !restore.is_skipped() || inputs.api.skip_restore_keeps_store() {
        log.phase("RESTORING");
        restore.run(&detected.group, &analyzed.metadata, cache.as_deref(), log)?;
    }

    log.phase("BUILDING");
    let build = stores::keeping_alive(store.as_ref(), || {
        build::build(inputs, &around, &detected.group, &detected.plan, log)
    })?;

    log.phase("EXPORTING");
    let (analyzed, group) = (&analyzed, &detected.group);
    let earlier = Earlier { analyzed, group, build: &build, cache: cache.as_deref() };
    export.run(inputs, store.as_ref(), earlier, log)
}
