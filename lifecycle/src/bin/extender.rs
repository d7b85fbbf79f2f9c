//! Applies the Dockerfiles of image extensions to the build or run image.

use std::process::ExitCode;

use lifecycle::cli;
use lifecycle::cli::exit::{Exit, Failure};
use lifecycle::cli::inputs::Phase;
use lifecycle::cli::values::Inputs;
use lifecycle::log::Log;

fn main() -> ExitCode {
    cli::main(Phase::Extender, run)
}

fn run(_inputs: &Inputs, _log: &Log) -> Result<(), Failure> {
    let failure = Failure::new(Exit::Extend, "extend", "image extensions are not applied yet");
    Err(failure.hint("Use an order without [[order-extensions]], or a lifecycle that applies them."))
}
