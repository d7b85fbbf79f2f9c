//! What one extension puts out, made and checked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use extensions::dockerfile::parse;
use extensions::policy::{Permitted, Target, permit};
use extensions::state::Arguments;

use super::publish::{self, Staging};
use super::{GenerateError, GenerateInputs};
use crate::component::catalog::Component;
use crate::component::run::Executable;
use crate::files::extend_config::{Arg, ExtendConfig};
use crate::files::plan::BuildpackPlan;
use crate::files::{Cause, SpecFile};
use crate::log::Log;
use crate::phase::extend::platform;

/// The most bytes read from a file that is put out, a little above what any may have.
const MAX_BYTES: u64 = (1 << 20) + 1;

/// The configuration of the extend phase.
pub const CONFIG: &str = "extend-config.toml";

/// What one extension put out.
#[derive(Debug)]
pub struct Output {
    /// Which extension.
    pub extension: Component,
    /// Its build.Dockerfile.
    pub build: Option<Permitted>,
    /// Its run.Dockerfile.
    pub run: Option<Permitted>,
    /// The names of the arguments that it gives its build.Dockerfile.
    pub build_args: Vec<String>,
    /// The names of the arguments that it gives its run.Dockerfile.
    pub run_args: Vec<String>,
}

/// The name of a Dockerfile that is put out.
pub fn file_name(target: Target) -> &'static str {
    match target {
        Target::Build => "build.Dockerfile",
        Target::Run => "run.Dockerfile",
    }
}

/// Whether the extension generates, instead of bringing its output along.
pub fn has_generate(extension: &Component) -> bool {
    extension.dir.join("bin/generate").symlink_metadata().is_ok()
}

/// Makes the output of an extension in its place in `staging`, and checks it.
pub fn make(
    extension: &Component,
    plan: &BuildpackPlan,
    inputs: &GenerateInputs<'_>,
    staging: &Staging,
    log: &Log,
) -> Result<Output, GenerateError> {
    let dir = &staging.output(&extension.id);
    fs::create_dir(dir).map_err(GenerateError::io("create", dir))?;
    let origin = if has_generate(extension) {
        run(extension, plan, inputs, staging, log)?;
        dir.to_owned()
    } else {
        let origin = extension.dir.join("generate");
        publish::copy(&origin, dir)?;
        origin
    };
    log.debug("Reading output files");
    check(extension, inputs, &origin, dir, log)
}

fn run(
    extension: &Component,
    plan: &BuildpackPlan,
    inputs: &GenerateInputs<'_>,
    staging: &Staging,
    log: &Log,
) -> Result<(), GenerateError> {
    let plan_path = staging.plan();
    fs::write(&plan_path, plan.to_toml()).map_err(GenerateError::io("write", &plan_path))?;
    let executable = Executable::Generate { output: &staging.output(&extension.id), plan: &plan_path };
    let child = extension.child(executable, &inputs.surroundings, inputs.env);
    log.debug("Running generate command");
    match child.stream(log) {
        Ok(exit) if exit.is_success() => Ok(()),
        Ok(exit) => Err(GenerateError::Failed { extension: extension.to_string(), exit }),
        Err(source) => Err(GenerateError::NotStarted { extension: extension.to_string(), source }),
    }
}

/// Checks what is in `dir`; files were made in `origin`.
fn check(
    extension: &Component,
    inputs: &GenerateInputs<'_>,
    origin: &Path,
    dir: &Path,
    log: &Log,
) -> Result<Output, GenerateError> {
    let config = match settle(origin, dir, CONFIG).map_err(|cause| file(extension, CONFIG, cause))? {
        Some(bytes) => config(bytes).map_err(|cause| file(extension, CONFIG, cause))?,
        None => ExtendConfig::default(),
    };
    let dockerfile = |target: Target, args: &[Arg]| -> Result<Option<Permitted>, GenerateError> {
        let name = file_name(target);
        let found = settle(origin, dir, name).map_err(|cause| file(extension, name, cause))?;
        let permitted = found.map(|bytes| permitted(extension, inputs, target, args, &bytes)).transpose()?;
        for warning in permitted.iter().flat_map(Permitted::warnings) {
            log.warn(format!("extension {extension}: {}", warning.message));
        }
        if permitted.is_some() {
            log.debug(format!("Found {name} for processing"));
        }
        Ok(permitted)
    };
    let run = dockerfile(Target::Run, &config.run.args)?;
    let build = dockerfile(Target::Build, &config.build.args)?;
    if run.as_ref().is_some_and(Permitted::extends) && !inputs.platform_api.extends_run_image() {
        let api = inputs.platform_api;
        log.warn(format!(
            "extension {extension}: Platform API {api} does not extend the run image; \
             all but FROM of its run.Dockerfile is ignored"
        ));
    }
    if inputs.platform_api.generated_by_extension() {
        contexts(extension, dir, log)?;
    }
    let names = |args: Vec<Arg>| args.into_iter().map(|arg| arg.name).collect();
    let (build_args, run_args) = (names(config.build.args), names(config.run.args));
    Ok(Output { extension: extension.clone(), build, run, build_args, run_args })
}

fn file(extension: &Component, file: &'static str, cause: Cause) -> GenerateError {
    GenerateError::File { extension: extension.to_string(), file, cause }
}

/// Reads a file of the output; `None` if there is none. A symbolic link, which would lead elsewhere
/// once the output is moved, is replaced by what it leads to.
fn settle(origin: &Path, dir: &Path, name: &str) -> Result<Option<Vec<u8>>, Cause> {
    let (source, copy) = (origin.join(name), dir.join(name));
    let system = |operation: &'static str, path: &Path| {
        let path = path.to_owned();
        move |error| Cause::System { operation, path, error }
    };
    let Ok(found) = source.symlink_metadata() else { return Ok(None) };
    let target = source.metadata().map_err(system("open", &source))?;
    if !target.is_file() {
        let error = std::io::Error::other("not a regular file");
        return Err(Cause::System { operation: "open", path: source, error });
    }
    let mut bytes = Vec::new();
    let file = File::open(&source).map_err(system("open", &source))?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(system("read", &source))?;
    if found.is_symlink() {
        fs::remove_file(&copy).map_err(system("replace", &copy))?;
        fs::write(&copy, &bytes).map_err(system("write", &copy))?;
    }
    Ok(Some(bytes))
}

fn config(bytes: Vec<u8>) -> Result<ExtendConfig, Cause> {
    let path = || PathBuf::from(CONFIG);
    if bytes.len() as u64 >= MAX_BYTES {
        return Err(Cause::TooLarge(path()));
    }
    let text = String::from_utf8(bytes).map_err(|_| Cause::NotText(path()))?;
    ExtendConfig::parse(&text).map_err(|error| Cause::Syntax { path: path(), error })
}

fn permitted(
    extension: &Component,
    inputs: &GenerateInputs<'_>,
    target: Target,
    args: &[Arg],
    bytes: &[u8],
) -> Result<Permitted, GenerateError> {
    let refuse = |source: Box<dyn std::error::Error + Send + Sync>| GenerateError::Dockerfile {
        extension: extension.to_string(),
        target,
        source,
    };
    let dockerfile = parse(file_name(target), bytes).map_err(|error| refuse(error.into()))?;
    let supplied = args.iter().map(|arg| (arg.name.clone(), arg.value.clone())).collect();
    let arguments =
        Arguments { supplied, platform: platform(inputs.surroundings.target), proxies: BTreeMap::new() };
    let permitted = permit(dockerfile, target, &arguments).map_err(|error| refuse(error.into()))?;
    if target == Target::Run && !extension.api.extends_run_image() {
        permitted.only_switches().map_err(|error| refuse(error.into()))?;
    }
    Ok(permitted)
}

/// Fails if there is a context for both images beside one for an image.
fn contexts(extension: &Component, dir: &Path, log: &Log) -> Result<(), GenerateError> {
    let found = ["context", "context.build", "context.run"].map(|name| dir.join(name).is_dir());
    log.debug(format!(
        "Found '{}' Build Contexts for processing",
        found.iter().filter(|found| **found).count()
    ));
    match found {
        [true, true, _] | [true, _, true] => Err(GenerateError::Contexts(extension.to_string())),
        _ => Ok(()),
    }
}
