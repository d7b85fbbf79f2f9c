//! A place with components, an app and a platform directory, in which tests detect and generate.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::api::PlatformApi;
use crate::component::catalog::Catalog;
use crate::component::run::Surroundings;
use crate::env::{Env, EnvDir};
use crate::exec_env::ExecEnv;
use crate::files::SpecFile;
use crate::files::group::GroupElement;
use crate::files::order::OrderFile;
use crate::files::system::SystemFile;
use crate::log::{Level, Log, LogBuffer};
use crate::phase::detect::{DetectError, DetectInputs, Detected, detect};
use crate::target::Target;

/// Components, an app and a platform directory.
pub struct Place {
    dir: tempfile::TempDir,
    pub api: PlatformApi,
    pub level: Level,
    pub exec_env: ExecEnv,
    pub system: String,
    pub target: Target,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["buildpacks", "extensions", "app", "platform/env", "config/env"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let target = Target { os: "linux".into(), arch: "amd64".into(), ..Target::default() };
        let api = *PlatformApi::ALL.last().unwrap();
        let (exec_env, system) = (ExecEnv::default(), String::new());
        Self { dir, api, level: Level::Info, exec_env, system, target }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A buildpack `id`, version 1, whose `bin/detect` is `script`.
    pub fn buildpack(&self, id: &str, script: &str) {
        self.buildpack_with(id, "", script);
    }

    pub fn buildpack_with(&self, id: &str, descriptor: &str, script: &str) {
        let dir = format!("buildpacks/{id}/1");
        let api = if descriptor.contains("api =") { "" } else { "api = '0.12'\n" };
        self.write(&format!("{dir}/buildpack.toml"), &format!("{api}{descriptor}"), 0o644);
        self.write(&format!("{dir}/bin/detect"), &format!("#!/bin/sh\n{script}\n"), 0o755);
        self.write(&format!("{dir}/bin/build"), "#!/bin/sh\nexit 1\n", 0o755);
    }

    pub fn extension(&self, id: &str, script: Option<&str>) {
        let dir = format!("extensions/{id}/1");
        self.write(&format!("{dir}/extension.toml"), "api = '0.12'\n", 0o644);
        if let Some(script) = script {
            self.write(&format!("{dir}/bin/detect"), &format!("#!/bin/sh\n{script}\n"), 0o755);
        }
    }

    pub fn catalog(&self) -> Catalog {
        Catalog::new(&self.path("buildpacks"), &self.path("extensions")).unwrap()
    }

    /// Detects by an order in TOML.
    pub fn detect_toml(&self, order: &str) -> (Result<Detected, DetectError>, LogBuffer) {
        let (log, buffer) = Log::buffer(self.level);
        let result = self.with_surroundings(|surroundings, env| {
            let inputs = DetectInputs {
                platform_api: self.api,
                order: &OrderFile::parse(order).unwrap(),
                system: &SystemFile::parse(&self.system).unwrap().system,
                catalog: &self.catalog(),
                surroundings,
                env,
            };
            detect(&inputs, &log)
        });
        (result, buffer)
    }

    /// Calls `act` with what surrounds executables in this place, and what they inherit.
    pub fn with_surroundings<T>(&self, act: impl FnOnce(Surroundings<'_>, &Env) -> T) -> T {
        let read = |name: &str| EnvDir::read(&self.path(name)).unwrap();
        let (user, operator) = (read("platform/env"), read("config/env"));
        let (app_dir, platform_dir) = (self.path("app"), self.path("platform"));
        let surroundings = Surroundings {
            app_dir: &app_dir,
            platform_dir: &platform_dir,
            user: &user,
            operator: &operator,
            target: &self.target,
            exec_env: &self.exec_env,
        };
        let inherited = [("PATH".into(), "/usr/bin:/bin".into()), ("SECRET".into(), "s".into())];
        act(surroundings, &Env::for_build(inherited))
    }

    /// Copies a directory of the fixtures over one of this place.
    pub fn copy(&self, from: &std::path::Path, to: &str) {
        for entry in walkdir::WalkDir::new(from) {
            let entry = entry.unwrap();
            let name = format!("{to}/{}", entry.path().strip_prefix(from).unwrap().display());
            if entry.file_type().is_file() {
                let mode = entry.metadata().unwrap().permissions().mode();
                self.write(&name, &fs::read_to_string(entry.path()).unwrap(), mode & 0o777);
            }
        }
    }

    /// Detects by an order as text: groups separated by `|`, elements by spaces, `id?` is optional;
    /// those before `:` are the extensions' groups.
    pub fn detect(&self, order: &str) -> (Result<Detected, DetectError>, String) {
        let (extensions, buildpacks) = order.split_once(':').unwrap_or(("", order));
        let groups = |table: &str, text: &str| {
            let groups = text.split('|').filter(|group| !group.trim().is_empty()).map(|group| {
                let element = |word: &str| {
                    let optional = word.ends_with('?');
                    let id = word.trim_end_matches('?');
                    format!("[[{table}.group]]\nid = '{id}'\nversion = '1'\noptional = {optional}\n")
                };
                format!("[[{table}]]\n{}", group.split_whitespace().map(element).collect::<String>())
            });
            groups.collect::<String>()
        };
        let (result, buffer) =
            self.detect_toml(&(groups("order", buildpacks) + &groups("order-extensions", extensions)));
        (result, buffer.text())
    }
}

/// A script that writes a plan.
pub fn plan(text: &str) -> String {
    format!("cat > \"$CNB_BUILD_PLAN_PATH\" <<'P'\n{text}\nP")
}

pub fn requires(name: &str) -> String {
    plan(&format!("[[requires]]\nname = '{name}'"))
}

pub fn provides(name: &str) -> String {
    plan(&format!("[[provides]]\nname = '{name}'"))
}

pub fn ids(group: &[GroupElement]) -> Vec<&str> {
    group.iter().map(|element| element.id.as_str()).collect()
}
