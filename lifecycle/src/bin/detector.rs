//! Chooses the buildpacks for an application, runs the image extensions among them, and writes
//! `group.toml`, `plan.toml` and, after extensions, `analyzed.toml`.

use std::process::ExitCode;

use lifecycle::cli::exit::Failure;
use lifecycle::cli::inputs::{self, Phase};
use lifecycle::cli::phases::around::Around;
use lifecycle::cli::phases::{detect, generate};
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, setup};
use lifecycle::files::SpecFile;
use lifecycle::files::analyzed::Analyzed;
use lifecycle::log::Log;

fn main() -> ExitCode {
    cli::main(Phase::Detector, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    setup::refuse_root(inputs, log)?;
    let analyzed = setup::analyzed_if_present(inputs)?.unwrap_or_default();
    let around = Around::new(inputs, analyzed.target(), log)?;
    let detected = detect::detect(inputs, &around, log)?;
    if detected.group.group_extensions.is_empty() {
        generate::forget(inputs)?;
        return detect::write(inputs, &detected.group, &detected.plan);
    }
    let generated = generate::generate(inputs, &around, &analyzed, &detected, log)?;
    setup::write(inputs, inputs::ANALYZED, Analyzed::NAME, &generated.analyzed.to_toml())?;
    detect::write(inputs, &detected.group, &generated.plan)
}
