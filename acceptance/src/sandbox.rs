//! One test's world: the directories a platform would mount, phases run in them, and nothing left.
//!
//! `detector` and `builder` refuse root, so phases run as uid and gid 1000 where the test runs
//! as root. Binaries are copied in: the checkout may lie where that user cannot look.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{binaries, fixtures};

/// The user that phases run as where the test runs as root, as builders set `CNB_USER_ID`.
pub const CNB_ID: u32 = 1000;

/// A temporary directory with `layers`, `workspace`, `cache`, `platform/env`, `cnb` and `layouts`.
#[derive(Debug)]
pub struct Sandbox {
    root: tempfile::TempDir,
    /// `CNB_PLATFORM_API` of phases run here.
    pub platform_api: String,
    /// Further variables of phases run here.
    pub variables: Vec<(&'static str, &'static str)>,
}

/// How a phase ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The phase and its arguments, as one line.
    pub command: String,
    /// Exit code; 128 plus the signal's number where one ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Outcome {
    /// Fails the test unless the phase ended with `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "{}\n--- stdout\n{}--- stderr\n{}",
            self.command, self.stdout, self.stderr
        );
        self
    }

    /// Fails the test unless the phase succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.expect_code(0)
    }

    /// Both streams.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails the test unless either stream holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.text().contains(text), "{} does not say {text:?}:\n{}", self.command, self.text());
        self
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// Makes the directories, with the fixtures' buildpacks as `/cnb/buildpacks` would hold them.
    ///
    /// # Panics
    ///
    /// When the temporary directory cannot be written.
    pub fn new() -> Self {
        let root =
            tempfile::Builder::new().prefix("cnb-").tempdir().expect("a temporary directory can be made");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))
            .expect("the owner may change modes");
        let sandbox = Self { root, platform_api: "0.15".to_owned(), variables: Vec::new() };
        for dir in
            ["layers", "workspace", "cache", "launch-cache", "platform/env", "cnb/lifecycle", "layouts"]
        {
            fs::create_dir_all(sandbox.path(dir)).expect("a new directory can be written");
        }
        for phase in binaries::PHASES {
            let (from, to) = (binaries::directory().join(phase), sandbox.phase_path(phase));
            // What ships has links to one program.
            if let Ok(from) = from.canonicalize() {
                fs::hard_link(&from, &to)
                    .or_else(|_| fs::copy(&from, &to).map(drop))
                    .expect("a binary can be copied");
            }
        }
        copy_tree(&fixtures().join("buildpacks"), &sandbox.path("cnb/buildpacks"));
        sandbox.own_all();
        sandbox
    }

    /// A path in the sandbox.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// A phase's binary.
    pub fn phase_path(&self, phase: &str) -> PathBuf {
        self.path("cnb/lifecycle").join(phase)
    }

    /// Copies a fixture application to `workspace`.
    pub fn with_app(self, name: &str) -> Self {
        copy_tree(&fixtures().join("apps").join(name), &self.path("workspace"));
        self.own_all();
        self
    }

    /// Copies a fixture order to `cnb/order.toml`.
    #[must_use]
    pub fn with_order(self, name: &str) -> Self {
        fs::copy(fixtures().join("orders").join(format!("{name}.toml")), self.path("cnb/order.toml"))
            .expect("the order exists");
        self
    }

    /// Writes a file, its parents made as needed, owned by the phases' user.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("parents can be made");
        fs::write(&path, content).expect("a file can be written");
        self.own_all();
    }

    /// Writes an executable script.
    pub fn script(&self, relative: &str, content: &str) {
        self.write(relative, content);
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(0o755))
            .expect("modes can be set");
    }

    /// Reads a file as text.
    #[track_caller]
    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Empties a directory of the sandbox, as a platform does between two builds.
    pub fn clear(&self, relative: &str) {
        let path = self.path(relative);
        fs::remove_dir_all(&path).expect("the sandbox is ours");
        fs::create_dir_all(&path).expect("the sandbox is ours");
        self.own_all();
    }

    /// Runs a phase with `arguments`, in an environment of its own.
    pub fn run<S: AsRef<OsStr>>(&self, phase: &str, arguments: impl IntoIterator<Item = S>) -> Outcome {
        self.run_with(phase, arguments, |_| {})
    }

    /// Runs a phase, its command changed by `change` first.
    pub fn run_with<S: AsRef<OsStr>>(
        &self,
        phase: &str,
        arguments: impl IntoIterator<Item = S>,
        change: impl FnOnce(&mut Command),
    ) -> Outcome {
        let mut command = Command::new(self.phase_path(phase));
        command.args(arguments).env_clear().envs(self.environment()).current_dir(self.path("."));
        as_cnb_user(&mut command);
        change(&mut command);
        finish(phase, command)
    }

    /// What every phase finds in its environment here: the API, and where the directories are.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let path = |relative: &str| self.path(relative);
        let mut variables = vec![
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
            ("HOME", self.path(".")),
            ("CNB_PLATFORM_API", PathBuf::from(&self.platform_api)),
            ("CNB_EXPERIMENTAL_MODE", "quiet".into()),
            ("CNB_NO_COLOR", "true".into()),
            ("CNB_LAYERS_DIR", path("layers")),
            ("CNB_APP_DIR", path("workspace")),
            ("CNB_PLATFORM_DIR", path("platform")),
            ("CNB_BUILDPACKS_DIR", path("cnb/buildpacks")),
            ("CNB_EXTENSIONS_DIR", path("cnb/extensions")),
            ("CNB_BUILD_CONFIG_DIR", path("cnb/build-config")),
            ("CNB_ORDER_PATH", path("cnb/order.toml")),
            ("CNB_RUN_PATH", path("cnb/run.toml")),
            ("CNB_STACK_PATH", path("cnb/stack.toml")),
            ("CNB_SYSTEM_PATH", path("cnb/system.toml")),
            ("CNB_USER_ID", CNB_ID.to_string().into()),
            ("CNB_GROUP_ID", CNB_ID.to_string().into()),
        ];
        variables.extend(self.variables.iter().map(|(name, value)| (*name, PathBuf::from(value))));
        variables
    }

    /// Gives everything to the phases' user, where the test runs as root.
    pub fn own_all(&self) {
        if is_root() {
            own(self.root.path());
        }
    }
}

/// Lets `command` run as the phases' user, where this process is root.
pub fn as_cnb_user(command: &mut Command) {
    if is_root() {
        command.uid(CNB_ID).gid(CNB_ID);
    }
}

/// Whether this process is root.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Runs `command` to its end.
///
/// # Panics
///
/// When it cannot be started.
pub fn finish(name: &str, mut command: Command) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    let line = std::iter::once(name.to_owned())
        .chain(command.get_args().map(|argument| argument.to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join(" ");
    let start = Instant::now();
    let output = command.output().unwrap_or_else(|error| panic!("failed to start {name}: {error}"));
    Outcome {
        command: line,
        code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: start.elapsed(),
    }
}

/// Copies a directory's content; modes are kept, times are not.
///
/// # Panics
///
/// When a file cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("a directory can be listed");
        let (kind, target) = (entry.file_type().expect("an entry has a type"), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else if kind.is_symlink() {
            let link = fs::read_link(entry.path()).expect("a link can be read");
            std::os::unix::fs::symlink(link, target).expect("a link can be made");
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

fn own(path: &Path) {
    if path.ends_with("cnb/lifecycle") {
        return; // hard links of the checkout's binaries
    }
    lchown(path, Some(CNB_ID), Some(CNB_ID)).expect("root may change owners");
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            own(&entry.path());
        }
    }
}
