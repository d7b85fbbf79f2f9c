//! What generating is told.

use std::io::ErrorKind;

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
    AppDirGuard, GenerateError, GenerateInputs, Generated, Policy, generate as generate_phase,
};

/// What the extender will do: a file beside the outputs of extensions, whose names are IDs.
const EXTEND_PLAN: &str = "extend-plan.json";

/// Runs the extensions of the group, and writes what the extender will do.
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
    let policy = policy(inputs, Exit::Generate)?;
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
        policy: policy.as_ref(),
    };
    let generated = generate_phase(&generate, log).map_err(|error| failure(inputs, error))?;
    let failed = |error| Failure::new(Exit::Generate, "generate", error);
    let text = serde_json::to_string_pretty(&generated.extend_plan).expect("every map has text keys");
    files::write("extend plan", &generate.generated_dir.join(EXTEND_PLAN), &(text + "\n")).map_err(failed)?;
    Ok(generated)
}

/// Removes what an earlier build wrote: no extension has to do with this one.
pub fn forget(inputs: &Inputs) -> Result<(), Failure> {
    let path = inputs.path_of(inputs::GENERATED).join(EXTEND_PLAN);
    match std::fs::remove_file(&path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Failure::new(Exit::Generate, format!("remove the old `{}`", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn failure(inputs: &Inputs, error: GenerateError) -> Failure {
    let hint = match &error {
        GenerateError::AppChanged { .. } => {
            Some("CNB_APP_DIR_GUARD=enforce asks for this; without it, it is a warning.".to_owned())
        }
        GenerateError::Refused(_) => Some(refused_hint(inputs)),
        _ => None,
    };
    let failure = Failure::new(Exit::from(&error), "generate", error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The platform's rules for what extensions may do. Without them nothing is extended: rules that
/// cannot be read must not be passed over, which ends the phase with `exit`.
pub(super) fn policy(inputs: &Inputs, exit: Exit) -> Result<Option<Policy>, Failure> {
    let policy = inputs.path(inputs::EXTEND_POLICY).map(|path| files::read(&path)).transpose();
    policy.map_err(|error| {
        Failure::new(exit, inputs.phase.verb(), error)
            .hint("-extend-policy or CNB_EXTEND_POLICY says which file has the rules for image extensions.")
    })
}

/// What to tell a user whose extensions the rules refuse.
pub(super) fn refused_hint(inputs: &Inputs) -> String {
    let path = inputs.path(inputs::EXTEND_POLICY).unwrap_or_default();
    format!("Nothing was extended. The rules are in `{}`.", path.display())
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
