//! What generating is told.

use crate::cli::exit::{Exit, Failure};
use crate::cli::phases::around::Around;
use crate::cli::values::{InputError, Inputs};
use crate::cli::{inputs, setup};
use crate::files;
use crate::files::analyzed::Analyzed;
use crate::files::run::Run;
use crate::log::Log;
use crate::phase::detect::Detected;
use crate::phase::generate::{
    AppDirGuard, GenerateError, GenerateInputs, Generated, generate as generate_phase,
};

/// Runs the extensions of the group.
///
/// # Errors
/// When an extension fails, and when what it puts out is not permitted.
pub fn generate(
    inputs: &Inputs,
    around: &Around,
    analyzed: &Analyzed,
    detected: &Detected,
    log: &Log,
) -> Result<Generated, Failure> {
    let run = if inputs.api.has_targets() {
        let run = files::read_if_present::<Run>(&inputs.path_of(inputs::RUN));
        run.map_err(|error| setup::file_failure(inputs, error))?.unwrap_or_default()
    } else {
        Run::default()
    };
    let generate = GenerateInputs {
        platform_api: inputs.api,
        extensions: &detected.group.group_extensions,
        plan: &detected.plan,
        analyzed,
        run: &run,
        catalog: &around.catalog,
        surroundings: around.surroundings(),
        env: &around.env,
        generated_dir: &inputs.path_of(inputs::GENERATED),
        app_dir_guard: app_dir_guard(inputs)?,
    };
    generate_phase(&generate, log).map_err(|error| {
        let guarded = matches!(error, GenerateError::AppChanged { .. });
        let failure = Failure::new(Exit::from(&error), "generate", error);
        if guarded {
            failure.hint("CNB_APP_DIR_GUARD=enforce asks for this; without it, it is a warning.")
        } else {
            failure
        }
    })
}

fn app_dir_guard(inputs: &Inputs) -> Result<AppDirGuard, Failure> {
    match inputs.text(inputs::APP_DIR_GUARD).unwrap_or_default().as_str() {
        "" | "warn" => Ok(AppDirGuard::Warn),
        "enforce" => Ok(AppDirGuard::Enforce),
        "off" => Ok(AppDirGuard::Off),
        _ => {
            let (name, value) =
                (inputs::APP_DIR_GUARD.name(), inputs.text(inputs::APP_DIR_GUARD).unwrap_or_default());
            let error = InputError::Value { name, value, wanted: "warn, enforce or off" };
            Err(Failure::new(Exit::Arguments, "resolve inputs", error))
        }
    }
}
