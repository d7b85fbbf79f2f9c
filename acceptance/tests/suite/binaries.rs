//! What the binaries are: static, and without network code where none belongs.

use std::fs;
use std::process::Command;

use acceptance::binaries::{PHASES, directory};

fn bytes(phase: &str) -> Vec<u8> {
    fs::read(directory().join(phase)).unwrap_or_else(|error| panic!("{phase}: {error}"))
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn every_phase_is_one_static_file() {
    for phase in PHASES {
        let output = Command::new("readelf").args(["-ld"]).arg(directory().join(phase)).output();
        let output = output.expect("readelf comes with the C compiler");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("INTERP") && !text.contains("NEEDED"), "{phase} needs a loader:\n{text}");
    }
}

#[test]
fn phases_that_run_foreign_code_hold_no_network_code() {
    // Texts that TLS, HTTP and registry code cannot do without; the exporter shows that they are found.
    let marks = ["TLS13", "HTTP/1.1", "www-authenticate", "blobs/uploads"];
    let exporter = bytes("exporter");
    assert!(
        marks.iter().filter(|mark| contains(&exporter, mark)).count() >= 3,
        "the marks are found where they belong"
    );
    for phase in ["detector", "builder", "launcher"] {
        let bytes = bytes(phase);
        let found: Vec<_> = marks.iter().filter(|mark| contains(&bytes, mark)).collect();
        assert!(found.is_empty(), "{phase} holds {found:?}");
    }
}

#[test]
fn every_phase_says_its_version_and_explains_itself() {
    for phase in PHASES.iter().filter(|phase| **phase != "launcher") {
        let run = |argument: &str| {
            let output = Command::new(directory().join(phase)).arg(argument).env_clear().output();
            let output = output.expect("a phase can be started");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (code, version) = run("-version");
        assert_eq!((code, version.trim()), (Some(0), env!("CARGO_PKG_VERSION")), "{phase}");
        let (code, help) = run("-help");
        assert!(code == Some(0) && help.contains("-log-level"), "{phase}: {help}");
    }
}
