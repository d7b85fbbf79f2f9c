//! Between the platform and a phase: arguments, environment, privileges, log, exit code.
//!
//! The only code that reads the environment, prints or exits. [`main`] does in the same order for
//! every phase what platforms rely on: the Platform API is judged before anything else, then the
//! flags are parsed, then the log begins, then the inputs are put together.

pub mod container;
pub mod exit;
pub mod experimental;
pub mod flags;
mod help;
pub mod images;
pub mod inputs;
mod json_log;
pub mod keychain;
pub mod phases;
pub mod privileges;
mod progress;
mod reason;
mod registries;
pub mod setup;
pub mod signals;
pub mod stores;
mod telemetry;
mod timing;
pub mod values;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use crate::api::{ApiError, PlatformApi};
use crate::log::{Level, Log, Outcome};
use exit::{Exit, Failure};
use flags::{FlagError, Parsed};
use inputs::Phase;
use timing::{Timing, rfc3339};
use values::{Inputs, Variables};

/// The version of this lifecycle.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs `phase` with what this process was given, and returns its exit code.
pub fn main(phase: Phase, run: fn(&Inputs, &Log) -> Result<(), Failure>) -> ExitCode {
    exit::on_panic(phase.name(), phase.into());
    signals::obey_as_first_process();
    let variables: Variables = std::env::vars_os().collect();
    let mut log = first_log(phase, &variables);
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let result = begin(phase, &args, variables).and_then(|begun| match begun {
        Begun::Text(text) => {
            print(&text);
            Ok(())
        }
        Begun::Inputs(inputs) => {
            log = open_log(&inputs)?;
            perform(&inputs, &log, run)
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match failure.exit {
                Exit::Usage if !log.has_writer() => eprintln!("{}", failure.text()),
                _ => failure.tell(&log),
            }
            ExitCode::from(failure.exit.code())
        }
    }
}

/// What a command line asks for.
#[derive(Debug)]
enum Begun {
    /// A text: the version or the help.
    Text(String),
    /// The phase.
    Inputs(Inputs),
}

/// Judges the Platform API, then parses `args`. The version and the help are for everyone: they
/// need no Platform API.
fn begin(phase: Phase, args: &[String], variables: Variables) -> Result<Begun, Failure> {
    let api = platform_api(&variables);
    let known = inputs::flags(phase, api.as_ref().copied().unwrap_or(newest()));
    let parsed = flags::parse(args, &known);
    if let Some(text) = text_asked_for(phase, parsed.as_ref(), api.as_ref().copied().unwrap_or(newest())) {
        return Ok(Begun::Text(text));
    }
    let api = api?;
    let parsed = parsed.map_err(|error| {
        Failure::new(Exit::Usage, "", format!("{error}\n{}", help::usage(phase)))
            .hint(format!("`{} -help` shows the flags of Platform API {api}.", phase.name()))
    })?;
    let working_dir = std::env::current_dir().unwrap_or_else(|_| "/".into());
    Ok(Begun::Inputs(Inputs::new(phase, api, parsed, variables, working_dir)))
}

fn text_asked_for(phase: Phase, parsed: Result<&Parsed, &FlagError>, api: PlatformApi) -> Option<String> {
    match parsed {
        Err(FlagError::Help) => Some(help::help(phase, api)),
        Ok(parsed) if asks_for_version(parsed) => Some(format!("{VERSION}\n")),
        _ => None,
    }
}

fn asks_for_version(parsed: &Parsed) -> bool {
    let version = parsed.flags.iter().rfind(|(name, _)| *name == inputs::VERSION.flag);
    version.is_some_and(|(_, value)| flags::parse_switch(value) == Some(true))
}

fn newest() -> PlatformApi {
    *PlatformApi::ALL.last().expect("at least one version is supported")
}

/// The Platform API that the platform speaks.
///
/// Spec: platform.md "Platform API Compatibility". The text speaks of a variable that is set; without
/// one nobody knows what the inputs mean, so it is an error here as in the reference implementation.
pub fn platform_api(variables: &Variables) -> Result<PlatformApi, Failure> {
    let text =
        variables.get(OsStr::new("CNB_PLATFORM_API")).map(|value| value.to_string_lossy().into_owned());
    let text = text.unwrap_or_default().trim().to_owned();
    let supported =
        format!("Set CNB_PLATFORM_API to the version that your platform speaks: {}.", supported());
    if text.is_empty() {
        let error = "please set 'CNB_PLATFORM_API' to specify the desired platform API version";
        let text = format!("failed to get platform API version; {error}");
        return Err(Failure::new(Exit::PlatformApi, "", text).hint(supported));
    }
    text.parse().map_err(|error| {
        let why = match error {
            ApiError::Malformed(_) => error.to_string(),
            ApiError::Unsupported { .. } => {
                format!("platform API version '{text}' is incompatible with the lifecycle")
            }
        };
        Failure::new(Exit::PlatformApi, "set platform API", why).hint(supported)
    })
}

fn supported() -> String {
    PlatformApi::ALL.iter().map(|api| api.as_str()).collect::<Vec<_>>().join(", ")
}

/// Warns of arguments that look like flags, checks the number of images, and runs the phase.
fn perform(inputs: &Inputs, log: &Log, run: fn(&Inputs, &Log) -> Result<(), Failure>) -> Result<(), Failure> {
    for arg in inputs.images.iter().filter(|arg| arg.starts_with('-')) {
        log.warn(format!(
            "unconsumed flag-like positional arg: \n\t{arg}\n\t This will not be interpreted as a flag.\
             \n\t Did you mean to put this before the first positional argument?"
        ));
    }
    log.debug(format!("Starting {}...", inputs.phase.name()));
    log.debug("Parsing inputs...");
    inputs
        .check_images()
        .map_err(|error| Failure::new(Exit::Arguments, "", error).hint(help::usage(inputs.phase)))?;
    let name = capitalised(inputs.phase.name());
    let (clock, start) = (Instant::now(), SystemTime::now());
    log.debug(format!("Timer: {name} started at {}", rfc3339(start)));
    let timing = Timing::begin(inputs, log);
    let observed = log.clone().observed_by(timing.listener());
    let result = progress::told(inputs, log, || run(inputs, &observed));
    timing.end(Outcome::from(&result));
    let (took, end) = (clock.elapsed(), SystemTime::now());
    log.debug(format!("Timer: {name} ran for {took:.1?} and ended at {}", rfc3339(end)));
    result
}

fn capitalised(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

fn open_log(inputs: &Inputs) -> Result<Log, Failure> {
    let text = inputs.text(inputs::LOG_LEVEL).expect("the log level has a default");
    let level = match text.to_lowercase().as_str() {
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" | "warning" => Level::Warn,
        "error" | "fatal" => Level::Error,
        _ => {
            let failure = Failure::new(Exit::Failed, "parse log level", "invalid level");
            return Err(failure.hint(format!("`{text}` is none of debug, info, warn and error.")));
        }
    };
    let log = start_log(level, !inputs.switch(inputs::NO_COLOR));
    match inputs.text(inputs::LOG_FORMAT).as_deref() {
        Some("text") | None => Ok(log),
        Some("json") => Ok(in_json(inputs.phase, log)),
        Some(other) => {
            let failure = Failure::new(Exit::Failed, "parse log format", format!("`{other}` is no format"));
            Err(failure.hint("CNB_LOG_FORMAT is text or json."))
        }
    }
}

/// The log of what happens before inputs are known.
fn first_log(phase: Phase, variables: &Variables) -> Log {
    let log = start_log(Level::Info, !is_set(variables, "CNB_NO_COLOR"));
    let is_json = variables.get(OsStr::new(inputs::LOG_FORMAT.variable)).is_some_and(|value| value == "json");
    if is_json { in_json(phase, log) } else { log }
}

fn in_json(phase: Phase, log: Log) -> Log {
    log.written_by(json_log::writer(phase.verb(), io::stdout(), io::stderr()))
}

fn start_log(level: Level, color: bool) -> Log {
    Log::new(level, color, io::stdout(), io::stderr())
}

/// Whether the variable `name` is set to a true value, as Go reads them.
pub fn is_set(variables: &Variables, name: &str) -> bool {
    variables.get(OsStr::new(name)).and_then(|value| value.to_str()).and_then(flags::parse_switch)
        == Some(true)
}

/// The name that this program was called by, without directories.
pub fn program_name() -> String {
    let path = PathBuf::from(std::env::args_os().next().unwrap_or_default());
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Ends a program that was called by a name that is no phase's.
pub fn unknown_phase(name: &str) -> ExitCode {
    let phases = "analyzer, creator, exporter, extender, rebaser, restorer";
    let failure = Failure::new(Exit::Arguments, "", format!("failed to recognize phase: {name}"))
        .hint(format!("Call this program by the name of a link to it: {phases}."));
    failure.tell(&start_log(Level::Info, true));
    ExitCode::from(failure.exit.code())
}

/// Prints `text`. A reader that went away is no failure.
fn print(text: &str) {
    let _: io::Result<()> = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests;
