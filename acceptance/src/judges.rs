//! Independent tools that read what the phases wrote: skopeo and umoci.

use std::path::Path;
use std::process::Command;

/// Lets skopeo copy the layout at `directory` and umoci unpack the copy, as a user may.
///
/// # Panics
///
/// When either finds fault, or is not installed (`./acceptance/run` installs both).
#[track_caller]
pub fn accept_layout(directory: &Path) {
    let work = tempfile::tempdir().expect("a temporary directory can be made");
    let copy = work.path().join("copy");
    let source = format!("oci:{}", directory.display());
    run(Command::new("skopeo").args(["inspect", "--raw", &source]));
    run(Command::new("skopeo")
        .args(["--insecure-policy", "copy", "-q", &source])
        .arg(format!("oci:{}:judged", copy.display())));
    run(Command::new("umoci")
        .args(["unpack", "--rootless", "--image"])
        .arg(format!("{}:judged", copy.display()))
        .arg(work.path().join("bundle")));
}

#[track_caller]
fn run(command: &mut Command) {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} is needed (./acceptance/run installs it): {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
