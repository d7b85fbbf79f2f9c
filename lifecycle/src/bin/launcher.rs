//! The launcher, entrypoint of every app image: starts a process with the environment that its
//! buildpacks provide, in its own place.
//!
//! It has no flags: its name, its arguments and the image's environment say everything.
//!
//! Spec: platform.md "launcher".

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use lifecycle::cli;
use lifecycle::cli::exit::{Exit, Failure, on_panic};
use lifecycle::env::Env;
use lifecycle::exec_env::ExecEnv;
use lifecycle::launch::process::Request;
use lifecycle::log::{Level, Log};
use lifecycle::phase::launch::{LaunchInputs, launch};

type Variables = BTreeMap<OsString, OsString>;

fn main() -> ExitCode {
    on_panic("launcher", Exit::Launch);
    cli::signals::obey_as_first_process();
    let mut variables = Variables::new();
    variables.extend(std::env::vars_os());
    // Standard output belongs to the process.
    let log = Log::new(Level::Warn, !cli::is_set(&variables, "CNB_NO_COLOR"), io::sink(), io::stderr());
    let failure = run(variables, &log);
    log.error(failure.text());
    ExitCode::from(failure.exit.code())
}

/// Launches. Returns only when that fails.
fn run(variables: Variables, log: &Log) -> Failure {
    let inputs = match inputs(variables, log) {
        Ok(inputs) => inputs,
        Err(failure) => return failure,
    };
    let error = launch(&inputs);
    let exit = if error.is_buildpack_api() { Exit::BuildpackApi } else { Exit::Launch };
    Failure::new(exit, "launch", error)
}

fn inputs(variables: Variables, log: &Log) -> Result<LaunchInputs, Failure> {
    let platform_api = cli::platform_api(&variables)?;
    if let Some(process) = text(&variables, "CNB_PROCESS_TYPE") {
        log.warn(format!("CNB_PROCESS_TYPE is not supported in Platform API {platform_api}"));
        log.warn(format!("Run with ENTRYPOINT '{process}' to invoke the '{process}' process type"));
    }
    let exec_env = text(&variables, "CNB_EXEC_ENV").filter(|_| platform_api.has_exec_env());
    let exec_env = ExecEnv::new(exec_env.as_deref().unwrap_or_default())
        .map_err(|error| Failure::new(Exit::Launch, "read CNB_EXEC_ENV", error))?;
    let mut args = std::env::args_os();
    let request =
        Request { name: args.next().unwrap_or_default(), args: args.collect(), exec_env, platform_api };
    Ok(LaunchInputs {
        app_dir: directory(&variables, "CNB_APP_DIR", "/workspace")?,
        layers_dir: directory(&variables, "CNB_LAYERS_DIR", "/layers")?,
        request,
        env: Env::for_launch(variables),
    })
}

/// The value of a variable; one that is empty counts as not set.
fn text(variables: &Variables, name: &str) -> Option<String> {
    let value = variables.get(OsStr::new(name)).filter(|value| !value.is_empty());
    value.map(|value| value.to_string_lossy().into_owned())
}

fn directory(variables: &Variables, name: &str, default: &str) -> Result<PathBuf, Failure> {
    let value = variables.get(OsStr::new(name)).filter(|value| !value.is_empty());
    let path = value.map_or(OsStr::new(default), OsString::as_os_str);
    std::path::absolute(path).map_err(|error| Failure::new(Exit::Launch, format!("resolve {name}"), error))
}
