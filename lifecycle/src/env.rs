//! The environments of buildpacks and of processes: the specification's rules on variables,
//! as operations on values.
//!
//! Nothing here reads a directory or the lifecycle's own environment: [`EnvDir`] and [`LayerEnv`]
//! hold what was found on disk (they read it in `env/dir.rs`), and the caller hands in what is
//! inherited. Names and values are bytes; only NUL cannot stand in them.
//!
//! Spec: buildpack.md "Environment", platform.md "Environment".

mod dir;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

pub use dir::{EnvDir, EnvDirError, LayerEnv};

/// What a buildpack inherits of the lifecycle's own environment, beside the path variables.
const INHERITED_BY_BUILDPACKS: [&str; 9] = [
    "CNB_STACK_ID",
    "HOME",
    "HOSTNAME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// What a process does not inherit of the launcher's environment.
const HIDDEN_FROM_PROCESSES: [&str; 5] =
    ["CNB_APP_DIR", "CNB_DEPRECATION_MODE", "CNB_LAYERS_DIR", "CNB_PLATFORM_API", "CNB_PROCESS_TYPE"];

/// The lifecycle's own directories, which the exporter puts in front of `PATH`.
const LIFECYCLE_PATHS: [&[u8]; 2] = [b"/cnb/process", b"/cnb/lifecycle"];

/// The path variables of the build, each with the directory of a layer that it lists.
const BUILD_PATHS: [(&str, &str); 5] = [
    ("PATH", "bin"),
    ("LD_LIBRARY_PATH", "lib"),
    ("LIBRARY_PATH", "lib"),
    ("CPATH", "include"),
    ("PKG_CONFIG_PATH", "pkgconfig"),
];

/// The path variables of the launch, each with the directory of a layer that it lists.
const LAUNCH_PATHS: [(&str, &str); 2] = [("PATH", "bin"), ("LD_LIBRARY_PATH", "lib")];

/// The environment of a buildpack or a process: each name once, in byte order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Env(BTreeMap<OsString, OsString>);

/// What a file without suffix does to its variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bare {
    Override,
    Default,
}

impl Env {
    /// What a buildpack inherits: home directory, host name, proxies and the path variables.
    ///
    /// Everything else of `inherited` is dropped, registry credentials above all.
    ///
    /// Spec: platform.md "Buildpack Environment".
    pub fn for_build(inherited: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let keep = |name: &OsStr| {
            is_path_variable(name) || INHERITED_BY_BUILDPACKS.iter().any(|inherited| name == *inherited)
        };
        let mut env = Self::default();
        env.0.extend(inherited.into_iter().filter(|(name, _)| keep(name)));
        env
    }

    /// What a process inherits: everything but the launcher's own variables and directories.
    ///
    /// Spec: platform.md "Launch Environment". The directories are removed wherever they stand
    /// in `PATH`, as the reference implementation does.
    pub fn for_launch(inherited: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let hidden = |name: &OsStr| HIDDEN_FROM_PROCESSES.iter().any(|hidden| name == *hidden);
        let mut env = Self::default();
        env.0.extend(inherited.into_iter().filter(|(name, _)| !hidden(name)));
        if let Some(path) = env.0.get_mut(OsStr::new("PATH")) {
            let parts = path.as_bytes().split(|byte| *byte == b':');
            let kept: Vec<&[u8]> = parts.filter(|part| !LIFECYCLE_PATHS.contains(part)).collect();
            *path = OsString::from_vec(kept.join(&b':'));
        }
        env
    }

    /// The value of `name`, if it is set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Sets `name`, whatever it was.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Every variable with its value, in byte order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Applies the build layers of one buildpack, sorted by name: of each its directories, `env`
    /// and `env.build`, before the next layer.
    ///
    /// Later layers come first in the path variables (spec-notes/decisions.md, "Order of layer
    /// paths").
    pub fn add_build_layers(&mut self, layers: &[LayerEnv]) {
        for layer in layers {
            self.prepend_directories(layer, &BUILD_PATHS);
            self.modify(&layer.env, &layer.env, Bare::Override);
            self.modify(&layer.env_build, &layer.env, Bare::Override);
        }
    }

    /// Applies the launch layers of one buildpack, sorted by name: first the directories of all,
    /// then of each its `env`, `env.launch` and `env.launch/<process>`.
    ///
    /// The order is the reference implementation's (spec-notes/decisions.md, "Launch paths before
    /// files"), so that an image's environment does not depend on which launcher is in it.
    pub fn add_launch_layers(&mut self, layers: &[LayerEnv]) {
        for layer in layers {
            self.prepend_directories(layer, &LAUNCH_PATHS);
        }
        for layer in layers {
            for dir in [&layer.env, &layer.env_launch, &layer.env_process] {
                self.modify(dir, &layer.env, Bare::Override);
            }
        }
    }

    /// The environment of one buildpack: `self` with the user's variables (`None` when the
    /// buildpack asks for `clear-env`) and then the operator's.
    ///
    /// A user's value is put in front of a path variable and replaces any other; the whole file
    /// name is the variable's name. The operator's files follow the modification rules, where a
    /// bare name is a default.
    ///
    /// Spec: platform.md "User-Provided Variables" and "Operator-Defined Variables".
    #[must_use]
    pub fn for_component(&self, user: Option<&EnvDir>, operator: &EnvDir) -> Self {
        let mut env = self.clone();
        for (name, value) in user.into_iter().flat_map(EnvDir::files) {
            if !is_variable_name(name.as_bytes()) {
                continue;
            }
            if is_path_variable(name) {
                env.prepend(name, value, b":");
            } else {
                env.set(name, value);
            }
        }
        env.modify(operator, operator, Bare::Default);
        env
    }

    /// Applies one directory's files in byte order of their names; delimiters that it lacks are
    /// those of `layer_env`, the `env` directory of the same layer.
    ///
    /// Spec: buildpack.md "Environment Variable Modification Rules". Unknown suffixes are ignored.
    fn modify(&mut self, dir: &EnvDir, layer_env: &EnvDir, bare: Bare) {
        for (file, value) in dir.files() {
            let (name, suffix) = split_suffix(file);
            if !is_variable_name(name.as_bytes()) {
                continue;
            }
            let delimiter = || dir.delimiter(name).or_else(|| layer_env.delimiter(name)).unwrap_or_default();
            match (suffix, bare) {
                (Some(b"append"), _) => self.append(name, value, delimiter()),
                (Some(b"prepend"), _) => self.prepend(name, value, delimiter()),
                (Some(b"default"), _) | (None, Bare::Default) => self.set_default(name, value),
                (Some(b"override"), _) | (None, Bare::Override) => self.set(name, value),
                (Some(_), _) => {}
            }
        }
    }

    /// Puts the directories that `layer` has in front of the path variables.
    fn prepend_directories(&mut self, layer: &LayerEnv, variables: &[(&str, &str)]) {
        for (name, directory) in variables {
            if layer.has_directory(directory) {
                let path = Path::join(&layer.path, directory);
                self.prepend(OsStr::new(name), path.as_os_str(), b":");
            }
        }
    }

    fn append(&mut self, name: &OsStr, value: &OsStr, delimiter: &[u8]) {
        let joined = join(self.earlier(name), delimiter, value);
        self.set(name, joined);
    }

    fn prepend(&mut self, name: &OsStr, value: &OsStr, delimiter: &[u8]) {
        let earlier = self.earlier(name);
        let joined = if earlier.is_empty() { value.to_owned() } else { concat(value, delimiter, earlier) };
        self.set(name, joined);
    }

    fn set_default(&mut self, name: &OsStr, value: &OsStr) {
        if self.earlier(name).is_empty() {
            self.set(name, value);
        }
    }

    /// The value so far; a variable that is not set and one that is empty are alike.
    fn earlier(&self, name: &OsStr) -> &OsStr {
        self.0.get(name).map_or(OsStr::new(""), OsString::as_os_str)
    }
}

/// `earlier`, delimited if it is not empty, and `value`.
fn join(earlier: &OsStr, delimiter: &[u8], value: &OsStr) -> OsString {
    if earlier.is_empty() { value.to_owned() } else { concat(earlier, delimiter, value) }
}

fn concat(first: &OsStr, delimiter: &[u8], second: &OsStr) -> OsString {
    OsString::from_vec([first.as_bytes(), delimiter, second.as_bytes()].concat())
}

/// The variable that a file is about and, after the first dot, what it does to it.
fn split_suffix(file: &OsStr) -> (&OsStr, Option<&[u8]>) {
    let bytes = file.as_bytes();
    match bytes.iter().position(|byte| *byte == b'.') {
        None => (file, None),
        Some(dot) => (OsStr::from_bytes(&bytes[..dot]), Some(&bytes[dot + 1..])),
    }
}

/// Whether a process can be given a variable of this name at all.
fn is_variable_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|byte| matches!(byte, b'=' | 0))
}

fn is_path_variable(name: &OsStr) -> bool {
    BUILD_PATHS.iter().any(|(variable, _)| name == *variable)
}
