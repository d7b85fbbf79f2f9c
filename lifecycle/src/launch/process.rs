//! Which process is started, with which arguments: decided from metadata and the command line.
//!
//! Nothing is looked up on disk here.
//!
//! Spec: platform.md "launcher".

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::api::PlatformApi;
use crate::files::metadata::Process;

use super::metadata::LaunchMetadata;

/// How the launcher was called, in which environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its own name: `argv[0]`. The last element selects a process type.
    pub name: OsString,
    /// The user's arguments.
    pub args: Vec<OsString>,
    /// The execution environment, for example `production`.
    pub exec_env: String,
    /// The Platform API that the image was built with.
    pub platform_api: PlatformApi,
}

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartCommand {
    /// The process type; `None` for a command of the user's.
    pub process_type: Option<String>,
    /// An executable's path or name; with [`Strategy::Shell`] and without `args` a script.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// With or without a shell.
    pub strategy: Strategy,
    /// Where it runs, when that is not the application directory.
    pub working_dir: Option<String>,
}

/// How a command is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Executed as it is.
    Direct,
    /// Through bash, after the profile scripts.
    Shell,
}

/// Why nothing can be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The process exists, but for other execution environments.
    #[error(
        "process type `{process_type}` is for the execution environments {eligible} only, not for `{exec_env}`"
    )]
    NotEligible {
        /// The process type.
        process_type: String,
        /// Those it is for, separated by `, `.
        eligible: String,
        /// The one in force.
        exec_env: String,
    },
    /// Neither a process type nor a command.
    #[error("when there is no default process a command is required{}", available(.0))]
    NoCommand(Vec<String>),
    /// `metadata.toml` has no command for the process.
    #[error("no command provided for process type \"{0}\"")]
    EmptyProcess(String),
    /// The process names a buildpack that is not in the metadata.
    #[error("process type `{process_type}` is provided by the unknown buildpack `{buildpack}`")]
    UnknownBuildpack {
        /// The process type.
        process_type: String,
        /// The buildpack.
        buildpack: String,
    },
}

fn available(types: &[String]) -> String {
    if types.is_empty() { String::new() } else { format!("; process types are {}", types.join(", ")) }
}

/// Selects what `request` asks for: the process whose type is the last element of the launcher's
/// name, else the user's command.
pub fn select(metadata: &LaunchMetadata, request: &Request) -> Result<StartCommand, SelectError> {
    let name = Path::new(&request.name).file_name().and_then(OsStr::to_str);
    let named: Vec<&Process> =
        metadata.processes.iter().filter(|process| Some(process.process_type.as_str()) == name).collect();
    let Some(first) = named.first() else { return user_command(metadata, &request.args) };
    match named.iter().find(|process| is_eligible(process, request)) {
        Some(process) => buildpack_process(metadata, process, request),
        None => Err(SelectError::NotEligible {
            process_type: first.process_type.clone(),
            eligible: first.exec_env.join(", "),
            exec_env: request.exec_env.clone(),
        }),
    }
}

/// Spec: platform.md "launcher": no `exec-env`, `*`, or the environment in force.
fn is_eligible(process: &Process, request: &Request) -> bool {
    !request.platform_api.has_exec_env()
        || process.exec_env.is_empty()
        || process.exec_env.iter().any(|env| env == "*" || *env == request.exec_env)
}

/// `-- <cmd> <args>` is direct; anything else goes to a shell.
fn user_command(metadata: &LaunchMetadata, args: &[OsString]) -> Result<StartCommand, SelectError> {
    let (strategy, words) = match args {
        [first, rest @ ..] if first == "--" => (Strategy::Direct, rest),
        _ => (Strategy::Shell, args),
    };
    let Some((program, args)) = words.split_first() else {
        let types = metadata.processes.iter().map(|process| process.process_type.clone());
        return Err(SelectError::NoCommand(types.collect()));
    };
    Ok(StartCommand {
        process_type: None,
        program: program.clone(),
        args: args.to_vec(),
        strategy,
        working_dir: None,
    })
}

fn buildpack_process(
    metadata: &LaunchMetadata,
    process: &Process,
    request: &Request,
) -> Result<StartCommand, SelectError> {
    let Some((program, fixed)) = process.command.split_first() else {
        return Err(SelectError::EmptyProcess(process.process_type.clone()));
    };
    let defaults = process.args.as_deref().unwrap_or_default();
    let replaced = !request.args.is_empty() && are_overridable(metadata, process, request.platform_api)?;
    let kept = if replaced { &[] } else { defaults };
    let own = fixed.iter().chain(kept).map(OsString::from);
    Ok(StartCommand {
        process_type: Some(process.process_type.clone()),
        program: program.into(),
        args: own.chain(request.args.iter().cloned()).collect(),
        strategy: if process.direct { Strategy::Direct } else { Strategy::Shell },
        working_dir: process.working_dir.clone(),
    })
}

/// Whether the user's arguments replace the process's `args`. A command of several words is enough
/// to know: only buildpacks that can say which arguments are overridable write one.
fn are_overridable(
    metadata: &LaunchMetadata,
    process: &Process,
    platform_api: PlatformApi,
) -> Result<bool, SelectError> {
    if !platform_api.has_overridable_args() {
        return Ok(false);
    }
    if process.command.len() > 1 {
        return Ok(true);
    }
    match metadata.buildpacks.iter().find(|buildpack| buildpack.id == process.buildpack_id) {
        Some(buildpack) => Ok(buildpack.api.has_command_array()),
        None => Err(SelectError::UnknownBuildpack {
            process_type: process.process_type.clone(),
            buildpack: process.buildpack_id.clone(),
        }),
    }
}
