//! An app image's directories and environment, and its launcher.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The directories of an app image, and the environment that its configuration sets.
pub struct Image {
    pub root: TempDir,
    pub env: Vec<(OsString, OsString)>,
}

/// How a launch ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Processes as Buildpack API 0.9 and later, and earlier, contribute them.
pub const METADATA: &str = r#"
buildpack-default-process-type = "web"
[[buildpacks]]
id = "new/one"
version = "1"
api = "0.10"
[[buildpacks]]
id = "old"
version = "1"
api = "0.8"
[[processes]]
type = "web"
command = ["sh", "-c"]
args = ["echo web $#"]
direct = true
buildpack-id = "new/one"
[[processes]]
type = "echo"
command = ["echo"]
args = ["default", "args"]
direct = true
buildpack-id = "new/one"
[[processes]]
type = "fixed"
command = ["echo", "always"]
args = ["default"]
direct = true
buildpack-id = "new/one"
[[processes]]
type = "old"
command = "echo"
args = ["one", "$X"]
direct = false
buildpack-id = "old"
[[processes]]
type = "old-direct"
command = "echo"
args = ["one", "$X"]
direct = true
buildpack-id = "old"
[[processes]]
type = "script"
command = "echo \"$X\" | tr a-z A-Z; echo $0 $#"
direct = false
buildpack-id = "old"
[[processes]]
type = "in-dir"
command = ["pwd"]
direct = true
buildpack-id = "new/one"
working-dir = "sub"
[[processes]]
type = "shell-in-dir"
command = "pwd"
direct = false
buildpack-id = "old"
working-dir = "it's"
[[processes]]
type = "lost"
command = ["no-such-program"]
direct = true
buildpack-id = "new/one"
[[processes]]
type = "empty"
command = []
direct = true
buildpack-id = "new/one"
[[processes]]
type = "test-only"
command = ["echo", "test"]
direct = true
buildpack-id = "new/one"
exec-env = ["test", "ci"]
[[processes]]
type = "everywhere"
command = ["echo", "all"]
direct = true
buildpack-id = "new/one"
exec-env = ["*"]
"#;

impl Image {
    pub fn new() -> Self {
        let image = Self { root: tempfile::tempdir().expect("a directory"), env: Vec::new() };
        image.file("layers/config/metadata.toml", METADATA);
        for dir in ["app/sub", "app/it's"] {
            fs::create_dir_all(image.path(dir)).expect("made");
        }
        let (app, layers) = (image.path("app"), image.path("layers"));
        image
            .with("PATH", "/cnb/process:/cnb/lifecycle:/usr/bin:/bin")
            .with("CNB_PLATFORM_API", "0.15")
            .with("CNB_APP_DIR", app)
            .with("CNB_LAYERS_DIR", layers)
            .with("CNB_NO_COLOR", "true")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().expect("exists").join(name)
    }

    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    pub fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
        self
    }

    pub fn script(&self, name: &str, text: &str) -> &Self {
        self.file(&format!("{name}.text"), &format!("#!/bin/sh\n{text}\n"));
        copy(&self.path(&format!("{name}.text")), &self.path(name));
        fs::remove_file(self.path(&format!("{name}.text"))).expect("removed");
        self
    }

    pub fn command(&self, name: &str, args: &[&str]) -> Command {
        let launcher = std::env::var_os("LAUNCHER").unwrap_or_else(|| env!("CARGO_BIN_EXE_launcher").into());
        let mut command = Command::new(launcher);
        command.arg0(name).args(args).env_clear().envs(self.env.iter().cloned()).stdin(Stdio::null());
        command
    }

    pub fn launch(&self, name: &str, args: &[&str]) -> Ended {
        let output = self.command(name, args).output().expect("the launcher runs");
        Ended {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Launches and expects success with this output.
    #[track_caller]
    pub fn check(&self, line: &str, out: &str) -> &Self {
        let (name, args) = words(line);
        let ended = self.launch(name, &args);
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), out), "{line}: {}", ended.err);
        self
    }

    /// Launches and expects this code and a message with this text.
    #[track_caller]
    pub fn check_fails(&self, line: &str, code: i32, message: &str) -> &Self {
        let (name, args) = words(line);
        let ended = self.launch(name, &args);
        assert_eq!(ended.code, Some(code), "{line}: {ended:?}");
        assert!(ended.err.contains(message), "{line}: {ended:?}");
        assert!(ended.err.starts_with("ERROR: failed to ") && ended.out.is_empty(), "{line}: {ended:?}");
        self
    }
}

/// Copies an executable. In a child: what is still open for writing here could be inherited by a
/// process that another test starts, and cannot be executed meanwhile.
pub fn copy(from: &Path, to: &Path) {
    fs::set_permissions(from, fs::Permissions::from_mode(0o755)).expect("executable");
    let status = Command::new("cp").arg("-p").args([from, to]).status().expect("cp runs");
    assert!(status.success(), "cp: {status}");
}

/// Words of a command line; `|` separates words that hold spaces.
fn words(line: &str) -> (&str, Vec<&str>) {
    let separator = if line.contains('|') { '|' } else { ' ' };
    let mut words = line.split(separator);
    (words.next().expect("a name"), words.collect())
}
