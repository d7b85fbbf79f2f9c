//! Which process is started, with which arguments: decided from metadata and the command line.
//!
//! Nothing is looked up on disk here.
//!
//! Spec: platform.md "launcher".

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::api::PlatformApi;
use crate::exec_env::ExecEnv;
use crate::files::metadata::Process;

use super::metadata::LaunchMetadata;

/// How the launcher was called, in which environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its own name: `argv[0]`. The last element selects a process type.
    pub name: OsString,
    /// The user's arguments.
    pub args: Vec<OsString>,
    /// The execution environment.
    pub exec_env: ExecEnv,
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
            exec_env: request.exec_env.to_string(),
        }),
    }
}

/// Spec: platform.md "launcher": no `exec-env`, `*`, or the environment in force.
fn is_eligible(process: &Process, request: &Request) -> bool {
    !request.platform_api.has_exec_env() || request.exec_env.is_supported_by(&process.exec_env)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PlatformApi as Platform;
    use crate::launch::metadata::LaunchMetadata;
    use proptest::prelude::{prop, prop_assert, proptest};

    const TEXT: &str = "
        buildpacks = [{ id = 'new', api = '0.9' }, { id = 'old', api = '0.8' }]
        processes = [
            { type = 'web', command = ['run'], args = ['a'], direct = true, buildpack-id = 'new', working-dir = '/w' },
            { type = 'fixed', command = ['run', 'f'], args = ['a'], direct = true, buildpack-id = 'new' },
            { type = 'plain', command = ['run'], direct = true, buildpack-id = 'new' },
            { type = 'old', command = 'run', args = ['a'], direct = true, buildpack-id = 'old' },
            { type = 'shell', command = 'run it', buildpack-id = 'old' },
            { type = 'lost', command = ['run'], buildpack-id = 'gone' },
            { type = 'only', command = ['run'], direct = true, buildpack-id = 'new', exec-env = ['test'] },
            { type = 'only', command = ['other'], direct = true, buildpack-id = 'new', exec-env = ['production'] },
            { type = 'never', command = ['run'], buildpack-id = 'new', exec-env = ['a', 'b'] },
        ]
    ";

    fn selected(platform_api: Platform, line: &str) -> Result<StartCommand, SelectError> {
        let metadata = LaunchMetadata::parse(TEXT).expect("valid");
        let mut words = line.split_whitespace().map(OsString::from);
        let name = words.next().expect("a name");
        let request = Request { name, args: words.collect(), exec_env: ExecEnv::default(), platform_api };
        select(&metadata, &request)
    }

    /// Commands are written as `type: program args in dir`, those for a shell with a `$`.
    #[track_caller]
    fn check(platform_api: Platform, line: &str, expected: Result<&str, &str>) {
        let show = |command: StartCommand| {
            let process_type = command.process_type.map_or_else(String::new, |name| format!("{name}: "));
            let shell = if command.strategy == Strategy::Shell { "$ " } else { "" };
            let args: Vec<String> = command.args.iter().map(|arg| format!(" {}", arg.display())).collect();
            let dir = command.working_dir.map_or_else(String::new, |dir| format!(" in {dir}"));
            format!("{process_type}{shell}{}{}{dir}", command.program.display(), args.concat())
        };
        let found = selected(platform_api, line).map(show).map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{line}");
    }

    #[test]
    fn the_last_element_of_the_name_selects_a_process() {
        check(Platform::V0_15, "web", Ok("web: run a in /w"));
        check(Platform::V0_15, "/cnb/process/web", Ok("web: run a in /w"));
        check(Platform::V0_15, "/web/launcher x", Ok("$ x"));
        check(Platform::V0_15, "shell", Ok("shell: $ run it"));
    }

    #[test]
    fn arguments_replace_or_follow() {
        check(Platform::V0_10, "web x y", Ok("web: run x y in /w"));
        check(Platform::V0_9, "web x y", Ok("web: run a x y in /w"));
        check(Platform::V0_10, "fixed x", Ok("fixed: run f x"));
        check(Platform::V0_9, "fixed x", Ok("fixed: run f a x"));
        check(Platform::V0_12, "fixed", Ok("fixed: run f a"));
        check(Platform::V0_12, "plain", Ok("plain: run"));
        check(Platform::V0_12, "plain x", Ok("plain: run x"));
        check(Platform::V0_12, "old x", Ok("old: run a x"));
        check(Platform::V0_12, "shell x", Ok("shell: $ run it x"));
        check(Platform::V0_12, "lost", Ok("lost: $ run"));
        let unknown = "process type `lost` is provided by the unknown buildpack `gone`";
        check(Platform::V0_12, "lost x", Err(unknown));
        check(Platform::V0_9, "lost x", Ok("lost: $ run x"));
    }

    #[test]
    fn two_dashes_make_a_command_direct() {
        check(Platform::V0_12, "launcher -- x y", Ok("x y"));
        check(Platform::V0_12, "launcher x -- y", Ok("$ x -- y"));
        check(Platform::V0_12, "launcher -- --", Ok("--"));
    }

    #[test]
    fn the_eligible_process_of_a_type_is_taken() {
        check(Platform::V0_15, "only", Ok("only: other"));
        check(Platform::V0_14, "only", Ok("only: run"));
        let refused =
            "process type `never` is for the execution environments a, b only, not for `production`";
        check(Platform::V0_15, "never", Err(refused));
        check(Platform::V0_14, "never", Ok("never: $ run"));
    }

    proptest! {
        #[test]
        fn any_call_is_answered(
            line in "(launcher|web|fixed|lost|/)( --| [a-z$]{0,3}){0,4}",
            api in prop::sample::select(Platform::ALL),
        ) {
            if let Ok(command) = selected(api, &line) {
                prop_assert!(!command.program.is_empty());
            }
        }
    }
}
