//! Launching: the environment, exec.d, and the process in the launcher's place.
//!
//! Spec: platform.md "launcher", "Execution".

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::env::{Env, EnvDirError, LayerEnv};
use crate::files::{self, Cause};
use crate::launch::exec::{self, ExecError};
use crate::launch::exec_d::{self, ExecDError};
use crate::launch::layers::{self, ListError};
use crate::launch::metadata::{LaunchMetadata, MetadataError};
use crate::launch::process::{self, Request, SelectError, StartCommand, Strategy};
use crate::launch::shell;

/// What the launcher is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchInputs {
    /// The application directory, absolute.
    pub app_dir: PathBuf,
    /// The layers directory, absolute.
    pub layers_dir: PathBuf,
    /// What to launch.
    pub request: Request,
    /// What the process inherits: see [`Env::for_launch`].
    pub env: Env,
}

/// Why nothing was launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// `metadata.toml` cannot be read.
    #[error("read metadata: {0}")]
    Read(Cause),
    /// `metadata.toml` is not what it must be; a buildpack's API may not be supported.
    #[error("read metadata: {path}: {source}", path = path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: MetadataError,
    },
    /// Nothing can be started.
    #[error("determine start command: {0}")]
    Select(#[from] SelectError),
    /// A layer cannot be listed.
    #[error("find layers")]
    List(#[from] ListError),
    /// A layer's variables cannot be read.
    #[error("modify env")]
    Env(#[from] EnvDirError),
    /// An exec.d executable failed.
    #[error("exec.d")]
    ExecD(#[from] ExecDError),
    /// The process needs a shell, and the image has none.
    #[error(
        "bash exec: the process is not direct and needs `{}`, which this image does not have",
        shell::BASH
    )]
    NoBash,
    /// The process could not be executed.
    #[error("{doing} exec")]
    Exec {
        /// `direct` or `bash`.
        doing: &'static str,
        /// Why.
        source: ExecError,
    },
}

impl LaunchError {
    /// Whether a buildpack of the image speaks an API that is not supported.
    pub fn is_buildpack_api(&self) -> bool {
        matches!(self, Self::Metadata { source: MetadataError::Api { .. }, .. })
    }
}

/// Replaces this process by what `inputs` ask for. Returns only when that fails.
pub fn launch(inputs: &LaunchInputs) -> LaunchError {
    let Err(error) = start(inputs);
    error
}

/// Of this type is nothing: a launch that succeeds does not return.
enum Launched {}

fn start(inputs: &LaunchInputs) -> Result<Launched, LaunchError> {
    let metadata = read_metadata(&inputs.layers_dir)?;
    let command = process::select(&metadata, &inputs.request)?;
    let layers = launch_layers(inputs, &metadata)?;
    let mut env = inputs.env.clone();
    modify(&mut env, &layers, command.process_type.as_deref())?;
    run_exec_d(&mut env, &layers, &inputs.app_dir, command.process_type.as_deref())?;
    let dir = command.working_dir.as_ref().map_or(inputs.app_dir.clone(), |dir| inputs.app_dir.join(dir));
    match command.strategy {
        Strategy::Direct => Err(direct(&command, inputs, &dir, &env)),
        Strategy::Shell => Err(through_bash(&command, inputs, &dir, &env, &layers)?),
    }
}

fn read_metadata(layers_dir: &Path) -> Result<LaunchMetadata, LaunchError> {
    let path = layers_dir.join("config").join("metadata.toml");
    let text = files::read_text(&path).map_err(LaunchError::Read)?;
    LaunchMetadata::parse(&text).map_err(|source| LaunchError::Metadata { path, source })
}

/// The layers of each buildpack.
fn launch_layers(inputs: &LaunchInputs, metadata: &LaunchMetadata) -> Result<Vec<Vec<PathBuf>>, ListError> {
    let ids = metadata.buildpacks.iter().map(|buildpack| &buildpack.id);
    ids.map(|id| layers::layers(&inputs.layers_dir, id)).collect()
}

fn modify(env: &mut Env, layers: &[Vec<PathBuf>], process: Option<&str>) -> Result<(), EnvDirError> {
    for layers in layers {
        let layers: Vec<LayerEnv> =
            layers.iter().map(|layer| LayerEnv::read_for_launch(layer, process)).collect::<Result<_, _>>()?;
        env.add_launch_layers(&layers);
    }
    Ok(())
}

/// Each executable sees what the ones before it have set.
fn run_exec_d(
    env: &mut Env,
    layers: &[Vec<PathBuf>],
    app_dir: &Path,
    process: Option<&str>,
) -> Result<(), LaunchError> {
    for layer in layers.iter().flatten() {
        for executable in layers::files(layer, "exec.d", process)? {
            for (name, value) in exec_d::run(&executable, app_dir, env)? {
                env.set(name, value);
            }
        }
    }
    Ok(())
}

fn direct(command: &StartCommand, inputs: &LaunchInputs, dir: &Path, env: &Env) -> LaunchError {
    let failed = |source| LaunchError::Exec { doing: "direct", source };
    let program = match exec::find(&command.program, env, &inputs.app_dir, dir) {
        Ok(program) => program,
        Err(error) => return failed(error),
    };
    let words = std::iter::once(&command.program).chain(&command.args);
    let arguments: Vec<OsString> = words.cloned().collect();
    failed(exec::replace(&program, &arguments, dir, env))
}

fn through_bash(
    command: &StartCommand,
    inputs: &LaunchInputs,
    dir: &Path,
    env: &Env,
    layers: &[Vec<PathBuf>],
) -> Result<LaunchError, ListError> {
    let bash = Path::new(shell::BASH);
    if !bash.exists() {
        return Ok(LaunchError::NoBash);
    }
    let mut profiles = Vec::new();
    for layer in layers.iter().flatten() {
        profiles.extend(layers::files(layer, "profile.d", command.process_type.as_deref())?);
    }
    let of_app = inputs.app_dir.join(".profile");
    profiles.extend(of_app.is_file().then_some(of_app));
    let arguments = shell::arguments(command, dir, &profiles, &inputs.request.name);
    Ok(LaunchError::Exec { doing: "bash", source: exec::replace(bash, &arguments, &inputs.app_dir, env) })
}
