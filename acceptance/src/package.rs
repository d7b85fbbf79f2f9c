//! What `cargo package-lifecycle` makes: found, or made once per process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flate2::read::GzDecoder;

use crate::repository;

/// The directory with the package: `LIFECYCLE_PACKAGE_DIR` if set, else made, which takes some minutes.
///
/// # Panics
///
/// When it cannot be made; the compiler's output stands before.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| std::env::var_os("LIFECYCLE_PACKAGE_DIR").map_or_else(make, PathBuf::from))
}

fn make() -> PathBuf {
    run(&[]);
    repository().join("target/package")
}

/// Packages the programs of the last whole run again, to `out`.
///
/// # Panics
///
/// When that fails.
pub fn again(out: &Path) {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let from = target.join(format!("{}-unknown-linux-gnu/dist", std::env::consts::ARCH));
    run(&["--from", &from.to_string_lossy(), "--out", &out.to_string_lossy()]);
}

fn run(arguments: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("package-lifecycle").args(arguments).current_dir(repository());
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "failed to package");
}

/// The only file of the package whose name ends so.
///
/// # Panics
///
/// When there is none, or more than one.
#[track_caller]
pub fn file(directory: &Path, ending: &str) -> PathBuf {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.flatten().map(|entry| entry.path());
    let found: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    assert_eq!(found.len(), 1, "*{ending} in {}: {found:?}", directory.display());
    found[0].clone()
}

/// Unpacks the tgz to `to`.
///
/// # Panics
///
/// When it is none.
pub fn unpack(to: &Path) {
    let tgz = fs::File::open(file(directory(), ".tgz")).expect("the tgz can be read");
    tar::Archive::new(GzDecoder::new(tgz)).unpack(to).expect("the tgz can be unpacked");
}
