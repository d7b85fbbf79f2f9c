//! What `bin/detect`, `bin/generate` and `bin/build` receive: arguments, directory, variables.
//!
//! Spec: buildpack.md "Buildpack Interface", "Environment", image_extension.md "Image Extension
//! Interface".

use std::ffi::OsString;
use std::path::Path;

use super::catalog::Component;
use super::process::Child;
use crate::env::{Env, EnvDir};
use crate::exec_env::ExecEnv;
use crate::files;
use crate::files::component_id::Kind;
use crate::log::Log;
use crate::target::Target;

/// Where a Linux image says which distribution it is.
pub const OS_RELEASE: &str = "/etc/os-release";

/// What surrounds every executable of a build alike. All paths are absolute.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The application directory.
    pub app_dir: &'a Path,
    /// The platform directory.
    pub platform_dir: &'a Path,
    /// The user's variables: `<platform>/env`.
    pub user: &'a EnvDir,
    /// The operator's variables: `<build-config>/env`.
    pub operator: &'a EnvDir,
    /// The target of the run image, [completed](Target::completed).
    pub target: &'a Target,
    /// What the app is built for.
    pub exec_env: &'a ExecEnv,
}

/// An executable of a component, with the paths of its own.
#[derive(Debug, Clone, Copy)]
pub enum Executable<'a> {
    /// `bin/detect`.
    Detect {
        /// Where it writes its build plan.
        plan: &'a Path,
    },
    /// `bin/generate`.
    Generate {
        /// The output directory.
        output: &'a Path,
        /// Its buildpack plan.
        plan: &'a Path,
    },
    /// `bin/build`.
    Build {
        /// Its layers directory.
        layers: &'a Path,
        /// Its buildpack plan.
        plan: &'a Path,
    },
}

impl Executable<'_> {
    /// Its name below `bin`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Detect { .. } => "detect",
            Self::Generate { .. } => "generate",
            Self::Build { .. } => "build",
        }
    }

    /// Arguments, in their order.
    fn args(self, platform: &Path) -> Vec<OsString> {
        let args = match self {
            Self::Detect { plan } => vec![platform, plan],
            Self::Generate { output, plan } => vec![output, platform, plan],
            Self::Build { layers, plan } => vec![layers, platform, plan],
        };
        args.into_iter().map(OsString::from).collect()
    }

    /// The same paths by name.
    fn variables(&self) -> Vec<(&'static str, &Path)> {
        match self {
            Self::Detect { plan } => vec![("CNB_BUILD_PLAN_PATH", plan)],
            Self::Generate { output, plan } => vec![("CNB_OUTPUT_DIR", output), ("CNB_BP_PLAN_PATH", plan)],
            Self::Build { layers, plan } => vec![("CNB_LAYERS_DIR", layers), ("CNB_BP_PLAN_PATH", plan)],
        }
    }
}

impl Component {
    /// One of its executables as a child. `env` is what it inherits and what earlier buildpacks
    /// gave it; the user's and the operator's variables and those of the interface are added.
    pub fn child(&self, executable: Executable<'_>, around: &Surroundings<'_>, env: &Env) -> Child {
        let user = if self.clear_env { None } else { Some(around.user) };
        let mut env = env.for_component(user, around.operator);
        let root = match self.kind {
            Kind::Buildpack => "CNB_BUILDPACK_DIR",
            Kind::Extension => "CNB_EXTENSION_DIR",
        };
        env.set(root, &self.dir);
        if self.api.passes_paths_in_env() {
            env.set("CNB_PLATFORM_DIR", around.platform_dir);
            executable.variables().into_iter().for_each(|(name, path)| env.set(name, path));
        }
        if self.api.has_targets() {
            around.target.variables().into_iter().for_each(|(name, value)| env.set(name, value));
        }
        if self.api.has_exec_env() {
            env.set("CNB_EXEC_ENV", around.exec_env.as_str());
        }
        Child {
            program: self.dir.join("bin").join(executable.name()),
            args: executable.args(around.platform_dir),
            dir: around.app_dir.to_owned(),
            env,
        }
    }
}

/// The target that components are told: the run image's, completed from the file `os_release` of
/// the image in which we run when it names no distribution.
pub fn base_target(run_image: Option<&Target>, os_release: &Path, log: &Log) -> Target {
    let target = run_image.cloned().unwrap_or_default();
    if target.distro.is_some() {
        return target.completed("");
    }
    log.info("target distro name/version labels not found, reading /etc/os-release file");
    match files::read_text(os_release) {
        Ok(text) => target.completed(&text),
        Err(cause) => {
            if !cause.is_not_found() {
                log.warn(format!("Encountered error trying to read /etc/os-release file: {cause}"));
            }
            target.completed("")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::BuildpackApi;
    use crate::log::Level;
    use std::path::PathBuf;

    fn component(kind: Kind, api: BuildpackApi) -> Component {
        Component {
            kind,
            id: "a/b".parse().unwrap(),
            version: "1".parse().unwrap(),
            api,
            dir: PathBuf::from("/cnb/a_b/1"),
            homepage: String::new(),
            clear_env: false,
            sbom_formats: Vec::new(),
            exec_env: Vec::new(),
            targets: Vec::new(),
            order: Vec::new(),
        }
    }

    fn child(component: &Component, executable: Executable<'_>) -> Child {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("USER_VAR"), "user").unwrap();
        let user = EnvDir::read(dir.path()).unwrap();
        let target = Target { os: "linux".into(), arch: "amd64".into(), ..Target::default() };
        let around = Surroundings {
            app_dir: Path::new("/app"),
            platform_dir: Path::new("/platform"),
            user: &user,
            operator: &EnvDir::default(),
            target: &target,
            exec_env: &ExecEnv::default(),
        };
        component.child(executable, &around, &Env::for_build([("HOME".into(), "/h".into())]))
    }

    #[track_caller]
    fn check(component: &Component, executable: Executable<'_>, args: &[&str], variables: &[&str]) {
        let child = child(component, executable);
        assert_eq!(child.args, args);
        let found: Vec<String> =
            child.env.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect();
        let mut expected: Vec<&str> = [&["HOME=/h"], variables].concat();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(child.program, Path::new("/cnb/a_b/1/bin").join(executable.name()));
        assert_eq!(child.dir, Path::new("/app"));
    }

    #[test]
    fn oldest_buildpacks_get_paths_as_arguments_only() {
        let buildpack = component(Kind::Buildpack, BuildpackApi::V0_7);
        let variables = ["CNB_BUILDPACK_DIR=/cnb/a_b/1", "USER_VAR=user"];
        check(&buildpack, Executable::Detect { plan: Path::new("/p") }, &["/platform", "/p"], &variables);
    }

    #[test]
    fn newest_buildpacks_get_everything_by_name_too() {
        let buildpack = component(Kind::Buildpack, BuildpackApi::V0_12);
        let executable = Executable::Build { layers: Path::new("/l"), plan: Path::new("/p") };
        let variables = [
            "CNB_BUILDPACK_DIR=/cnb/a_b/1",
            "CNB_BP_PLAN_PATH=/p",
            "CNB_LAYERS_DIR=/l",
            "CNB_PLATFORM_DIR=/platform",
            "CNB_TARGET_OS=linux",
            "CNB_TARGET_ARCH=amd64",
            "CNB_EXEC_ENV=production",
            "USER_VAR=user",
        ];
        check(&buildpack, executable, &["/l", "/platform", "/p"], &variables);
    }

    #[test]
    fn extensions_get_an_output_directory_and_no_layers() {
        let extension = Component { clear_env: true, ..component(Kind::Extension, BuildpackApi::V0_10) };
        let executable = Executable::Generate { output: Path::new("/o"), plan: Path::new("/p") };
        let variables = [
            "CNB_EXTENSION_DIR=/cnb/a_b/1",
            "CNB_BP_PLAN_PATH=/p",
            "CNB_OUTPUT_DIR=/o",
            "CNB_PLATFORM_DIR=/platform",
            "CNB_TARGET_OS=linux",
            "CNB_TARGET_ARCH=amd64",
        ];
        check(&extension, executable, &["/o", "/platform", "/p"], &variables);
    }

    #[test]
    fn distribution_is_read_only_where_it_is_missing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "ID=alpine\nVERSION_ID=3\n").unwrap();
        let (log, buffer) = Log::buffer(Level::Info);
        let target = base_target(None, file.path(), &log);
        assert_eq!(target.distro.as_ref().unwrap().name, "alpine");
        assert_eq!(base_target(Some(&target), Path::new("/none"), &log), target);
        assert_eq!(
            buffer.text(),
            "target distro name/version labels not found, reading /etc/os-release file\n"
        );
    }
}
