//! Where the phase binaries are: `LIFECYCLE_BIN_DIR` if set, else built once per process from this
//! checkout, with the profile of the running program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::repository;

/// Every phase, as its binary is called.
pub const PHASES: [&str; 9] =
    ["analyzer", "detector", "restorer", "extender", "builder", "exporter", "creator", "rebaser", "launcher"];

/// The directory that holds all phase binaries.
///
/// # Panics
///
/// When they cannot be built; the compiler's output stands before.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| match std::env::var_os("LIFECYCLE_BIN_DIR") {
        Some(given) => PathBuf::from(given),
        None => build(),
    })
}

fn build() -> PathBuf {
    let profile_dir = profile_dir();
    let release = profile_dir.file_name().is_some_and(|name| name == "release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "lifecycle", "--bins"])
        .args(release.then_some("--release"))
        .current_dir(repository())
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "failed to build the phase binaries");
    profile_dir
}

/// `target/<triple>/<profile>`, two levels above a test and one above a program.
fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("a running program has a path");
    let parent = exe.parent().expect("a program lies in a directory");
    let profile = if parent.ends_with("deps") { parent.parent().unwrap_or(parent) } else { parent };
    profile.to_owned()
}
