//! Puts an app image on a newer run image.

use std::process::ExitCode;

use lifecycle::cli::exit::Failure;
use lifecycle::cli::inputs::Phase;
use lifecycle::cli::phases::rebase::RebaseInputs;
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, setup, stores};
use lifecycle::log::Log;

pub(crate) fn main() -> ExitCode {
    cli::main(Phase::Rebaser, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    let kind = stores::kind(inputs)?;
    let user = setup::owner(inputs)?;
    let rebase = RebaseInputs::new(inputs, kind)?;
    let store = stores::open(inputs, kind, log)?;
    setup::give_up_privileges(inputs, user, &[], log)?;
    rebase.run(inputs, store.as_ref(), log)
}
