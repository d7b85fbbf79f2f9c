//! Runs the buildpacks, and writes their layers and `metadata.toml`.

use std::process::ExitCode;

use lifecycle::cli::exit::Failure;
use lifecycle::cli::inputs::{self, Phase};
use lifecycle::cli::phases::around::Around;
use lifecycle::cli::phases::build;
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, setup};
use lifecycle::files::group::Group;
use lifecycle::files::plan::Plan;
use lifecycle::log::Log;

fn main() -> ExitCode {
    cli::main(Phase::Builder, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    setup::refuse_root(inputs, log)?;
    let group: Group = setup::read(inputs, inputs::GROUP, "detector")?;
    setup::check_apis(&group.group)?;
    let plan: Plan = setup::read(inputs, inputs::PLAN, "detector")?;
    let analyzed = setup::analyzed_if_present(inputs)?.unwrap_or_default();
    let around = Around::new(inputs, analyzed.target(), log)?;
    build::build(inputs, &around, &group, &plan, log)?;
    Ok(())
}
