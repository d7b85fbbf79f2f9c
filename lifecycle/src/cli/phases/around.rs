//! What surrounds the executables of buildpacks and extensions: directories, variables, the target.

use std::path::{Path, PathBuf};

use crate::cli::exit::Failure;
use crate::cli::values::Inputs;
use crate::cli::{inputs, setup};
use crate::component::catalog::Catalog;
use crate::component::run::{self, Surroundings};
use crate::env::{Env, EnvDir};
use crate::exec_env::ExecEnv;
use crate::log::Log;
use crate::target::Target;

/// What surrounds executables, owned.
#[derive(Debug)]
pub struct Around {
    /// Where components are.
    pub catalog: Catalog,
    /// What they inherit of our environment.
    pub env: Env,
    app: PathBuf,
    platform: PathBuf,
    user: EnvDir,
    operator: EnvDir,
    target: Target,
    exec_env: ExecEnv,
}

impl Around {
    /// Gathers it; `run_image` is the target of the run image, where it is known.
    ///
    /// # Errors
    /// When a directory of variables cannot be read.
    pub fn new(inputs: &Inputs, run_image: Option<&Target>, log: &Log) -> Result<Self, Failure> {
        let failed = |error| Failure::new(inputs.phase.into(), "read variables", error);
        let platform = inputs.path_of(inputs::PLATFORM);
        let (user, operator) = (platform.join("env"), inputs.path_of(inputs::BUILD_CONFIG).join("env"));
        let extensions = inputs.path_of(inputs::EXTENSIONS);
        let catalog = Catalog::new(&inputs.path_of(inputs::BUILDPACKS), &extensions)
            .map_err(|error| Failure::new(inputs.phase.into(), "find buildpacks", error))?;
        let mut env = Env::for_build(inputs.variables.clone());
        if let Some(trace) =
            inputs.text(inputs::OTEL_TRACEPARENT).filter(|_| inputs.switch(inputs::TELEMETRY))
        {
            env.set(inputs::OTEL_TRACEPARENT.variable, trace);
        }
        Ok(Self {
            catalog,
            env,
            app: inputs.path_of(inputs::APP),
            platform,
            user: EnvDir::read(&user).map_err(failed)?,
            operator: EnvDir::read(&operator).map_err(failed)?,
            target: run::base_target(run_image, Path::new(run::OS_RELEASE), log),
            exec_env: setup::exec_env(inputs)?,
        })
    }

    /// The same in an image that extensions changed: what executables inherit, the image's environment
    /// decides before our own. `None` where they did not. Values may hold `=`.
    #[must_use]
    pub fn with_image_env(mut self, inputs: &Inputs, env: Option<Vec<String>>) -> Self {
        let mut variables = inputs.variables.clone();
        for entry in env.into_iter().flatten() {
            // The home directory is the user's, whom the image's environment is not for.
            if let Some((name, value)) = entry.split_once('=').filter(|(name, _)| *name != "HOME") {
                variables.insert(name.into(), value.into());
            }
        }
        self.env = Env::for_build(variables);
        self
    }

    /// What each executable is surrounded by.
    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            app_dir: &self.app,
            platform_dir: &self.platform,
            user: &self.user,
            operator: &self.operator,
            target: &self.target,
            exec_env: &self.exec_env,
        }
    }
}
