//! Analyzes, detects, restores, extends, builds and exports in one go: each phase gets the values of
//! those before it. Their files are written too, for platforms that look at them.

use std::process::ExitCode;

use lifecycle::cli::exit::Failure;
use lifecycle::cli::inputs::{self, Phase};
use lifecycle::cli::phases::analyze::AnalyzeInputs;
use lifecycle::cli::phases::around::Around;
use lifecycle::cli::phases::export::{Earlier, ExportInputs};
use lifecycle::cli::phases::restore::{RestoreInputs, find_chosen_run_image};
use lifecycle::cli::phases::servant::{self, Servant};
use lifecycle::cli::phases::{build, detect, generate};
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, privileges, setup, stores};
use lifecycle::files::SpecFile;
use lifecycle::files::analyzed::Analyzed;
use lifecycle::log::Log;
use lifecycle::phase::detect::Detected;

pub(crate) fn main() -> ExitCode {
    cli::main(Phase::Creator, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    if servant::is_here(inputs) {
        return servant::run(inputs, log);
    }
    let kind = stores::kind(inputs)?;
    setup::warn_of_unused(inputs, kind, log);
    let user = setup::owner(inputs)?;
    let analyze = AnalyzeInputs::new(inputs, kind)?;
    let store = stores::open(inputs, kind, log)?;
    let dirs = [inputs::CACHE_DIR, inputs::LAUNCH_CACHE, inputs::LAYERS];
    let cache = setup::CachePlace::find(inputs, log)?;
    let servant = Servant::start(inputs, user)?;
    setup::give_up_privileges(inputs, user, &dirs, log)?;
    let store = stores::with_launch_cache(store, inputs, kind, log);
    privileges::hide_from_children();
    let inputs = &setup::at_home(inputs, user);
    let export = ExportInputs::new(inputs, kind, user, log)?;

    log.phase("ANALYZING");
    let mut analyzed = analyze.run(store.as_ref(), cache.image(), log)?;
    setup::write(inputs, inputs::ANALYZED, Analyzed::NAME, &analyzed.to_toml())?;
    let cache = cache.open(log);

    log.phase("DETECTING");
    let around = Around::new(inputs, analyzed.target(), log)?;
    let mut detected = detect::detect(inputs, &around, log)?;
    let extends = !detected.group.group_extensions.is_empty();
    if extends {
        let generated = generate::generate(inputs, &around, &analyzed, &detected, log)?;
        (analyzed, detected.plan) = (generated.analyzed, generated.plan);
        setup::write(inputs, inputs::ANALYZED, Analyzed::NAME, &analyzed.to_toml())?;
    } else {
        generate::forget(inputs)?;
    }
    let Detected { group, plan } = detected;
    detect::write(inputs, &group, &plan)?;

    let restore = RestoreInputs::new(inputs);
    if extends || !restore.is_skipped() || inputs.api.skip_restore_keeps_store() {
        log.phase("RESTORING");
        if extends {
            find_chosen_run_image(inputs, kind, store.as_ref(), &group, &mut analyzed, log)?;
        }
        restore.run(&group, &analyzed.metadata, cache.as_deref(), log)?;
    }

    let build = stores::keeping_alive(store.as_ref(), || {
        let env = servant.extend_all(inputs, &analyzed, &group, log)?;
        log.phase("BUILDING");
        build::build(inputs, &around.with_image_env(inputs, env), &group, &plan, log)
    })?;

    log.phase("EXPORTING");
    let earlier = Earlier { analyzed: &analyzed, group: &group, build: &build, cache: cache.as_deref() };
    export.run(inputs, store.as_ref(), earlier, log)
}
