//! Chooses the buildpacks for an application, and writes `group.toml` and `plan.toml`.

use std::process::ExitCode;

use lifecycle::cli::exit::Failure;
use lifecycle::cli::inputs::Phase;
use lifecycle::cli::phases::around::Around;
use lifecycle::cli::phases::detect;
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, setup};
use lifecycle::log::Log;

fn main() -> ExitCode {
    cli::main(Phase::Detector, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    setup::refuse_root(inputs, log)?;
    let analyzed = setup::analyzed_if_present(inputs)?.unwrap_or_default();
    let around = Around::new(inputs, analyzed.target(), log)?;
    detect::detect(inputs, &around, log)?;
    Ok(())
}
