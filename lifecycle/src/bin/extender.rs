//! Applies the Dockerfiles of image extensions to the image that it is started in: to the build image,
//! and then runs the buildpacks in it; or to the run image.

use std::process::ExitCode;

use extensions::policy::Target;
use lifecycle::cli::exit::Failure;
use lifecycle::cli::experimental::{self, Feature};
use lifecycle::cli::inputs::{self, Phase};
use lifecycle::cli::phases::around::Around;
use lifecycle::cli::phases::{build, extend};
use lifecycle::cli::values::Inputs;
use lifecycle::cli::{self, privileges, setup};
use lifecycle::files::analyzed::Analyzed;
use lifecycle::files::group::Group;
use lifecycle::files::plan::Plan;
use lifecycle::log::Log;

pub(crate) fn main() -> ExitCode {
    cli::main(Phase::Extender, run)
}

fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    let kind = extend::kind(inputs)?;
    if inputs.api.extensions_are_experimental() {
        experimental::guard(inputs, Feature::Dockerfiles, log)?;
    }
    let analyzed: Analyzed = setup::read(inputs, inputs::ANALYZED, "analyzer")?;
    let group: Group = setup::read(inputs, inputs::GROUP, "detector")?;
    match kind {
        Target::Run => extend::run_here(inputs, &analyzed, &group, log),
        Target::Build => build(inputs, &analyzed, &group, log),
    }
}

fn build(inputs: &Inputs, analyzed: &Analyzed, group: &Group, log: &Log) -> Result<(), Failure> {
    let user = setup::owner(inputs)?;
    setup::refuse_root_as(user, inputs)?;
    setup::check_apis(&group.group)?;
    let plan: Plan = setup::read(inputs, inputs::PLAN, "detector")?;
    let env = extend::build_here(inputs, analyzed, group, log)?;
    setup::give_up_privileges(inputs, user, &[inputs::LAYERS], log)?;
    privileges::hide_from_children();
    let inputs = &setup::at_home(inputs, user);
    let around = Around::new(inputs, analyzed.target(), log)?.with_image_env(inputs, env);
    build::build(inputs, &around, group, &plan, log).map(drop)
}
