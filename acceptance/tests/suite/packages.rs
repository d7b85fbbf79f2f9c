//! What ships: the tgz as `pack` and `kpack` read it, the image, the bills of materials.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use acceptance::binaries::PHASES;
use acceptance::docker::docker;
use acceptance::oci::LayoutImage;
use acceptance::package::{self, directory, file};
use flate2::read::GzDecoder;
use serde_json::Value;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the reference implementation's tgz and half of its launcher take, in bytes.
const MAX_TGZ: u64 = 9_600_000;
const MAX_LAUNCHER: u64 = 1_400_000;

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).len()
}

fn unpacked() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    package::unpack(dir.path());
    dir
}

/// `type mode name` of each entry, in order; every one is root's and of 1980.
fn entries(tar: impl Read) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let header = entry.header();
            let owner = (header.uid().ok(), header.gid().ok(), header.mtime().ok());
            assert_eq!(owner, (Some(0), Some(0), Some(315_532_801)));
            let (kind, mode) = (header.entry_type().as_byte() as char, header.mode().expect("a mode"));
            format!("{kind} {mode:o} {}", String::from_utf8_lossy(&entry.path_bytes()))
        })
        .collect()
}

#[test]
fn tgz_is_what_builder_tools_look_for() {
    let tgz = file(directory(), ".tgz");
    let name = tgz.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.starts_with(&format!("lifecycle-v{VERSION}+linux.")), "{name}");
    assert!(size(&tgz) <= MAX_TGZ, "{} bytes", size(&tgz));
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--quiet"]).arg(file(directory(), ".sha256")).current_dir(directory());
    assert!(check.status().expect("coreutils are there").success());
    let names = entries(GzDecoder::new(fs::File::open(&tgz).expect("it can be read")));
    assert_eq!(names[..2], ["0 644 lifecycle.toml", "5 755 lifecycle"]);
    for phase in PHASES {
        let found = names.iter().find(|entry| entry.ends_with(&format!(" lifecycle/{phase}")));
        let found = found.unwrap_or_else(|| panic!("{phase} is in {names:?}"));
        assert!(found.starts_with("0 755") || found.starts_with("2 777"), "{found}");
    }
    // Tools copy what lies directly in the directory, and nothing else.
    assert!(names[2..].iter().all(|name| name.matches('/').count() == 1), "{names:?}");
}

#[test]
fn descriptor_lists_versions_in_ascending_order() {
    let dir = unpacked();
    let text = fs::read_to_string(dir.path().join("lifecycle.toml")).expect("it is there");
    let file: toml::Table = toml::from_str(&text).expect("TOML");
    assert_eq!(file["lifecycle"]["version"].as_str(), Some(VERSION));
    for (api, last) in [("platform", "0.15"), ("buildpack", "0.12")] {
        let supported = file["apis"][api]["supported"].as_array().expect("a list");
        let minors: Vec<u32> = supported
            .iter()
            .filter_map(|version| version.as_str()?.strip_prefix("0.")?.parse().ok())
            .collect();
        assert!(minors.len() == supported.len() && minors.is_sorted(), "{supported:?}");
        assert_eq!(supported.last().and_then(toml::Value::as_str), Some(last));
        assert_eq!(file["api"][api].as_str(), Some("0.7"));
    }
}

#[test]
fn programs_run_by_every_name_and_hold_what_they_may() {
    let dir = unpacked();
    let lifecycle = dir.path().join("lifecycle");
    for phase in PHASES.iter().filter(|phase| **phase != "launcher") {
        let output = Command::new(lifecycle.join(phase)).arg("-version").env_clear().output();
        let output = output.expect("it can be started");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), VERSION, "{phase}");
    }
    let output = Command::new(lifecycle.join("lifecycle")).output().expect("it can be started");
    assert_eq!(output.status.code(), Some(3));
    assert!(size(&lifecycle.join("launcher")) <= MAX_LAUNCHER, "{}", size(&lifecycle.join("launcher")));
    for program in ["builder", "detector", "launcher"] {
        let bytes = fs::read(lifecycle.join(program)).expect("it can be read");
        let has = |mark: &str| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
        let marks = ["TLS13", "HTTP/1.1", "www-authenticate", "blobs/uploads"];
        assert!(!marks.into_iter().any(has), "{program} holds network code");
    }
    for program in ["builder", "detector", "launcher", "lifecycle"] {
        let bytes = fs::read(lifecycle.join(program)).expect("it can be read");
        let home = std::env::var("HOME").unwrap_or_default();
        for path in [acceptance::repository().to_string_lossy().into_owned(), format!("{home}/.cargo")] {
            let found = bytes.windows(path.len()).any(|window| window == path.as_bytes());
            assert!(!found, "{program} says that it was built at {path}");
        }
    }
}

#[test]
fn image_ends_with_a_layer_that_platforms_can_cut_out() {
    let layout = file(directory(), ".image");
    let image = LayoutImage::judged(&layout);
    assert_eq!(image.layers.len(), 2);
    let base = entries(image.layers[0].tar.as_slice());
    assert_eq!(base, ["5 755 /etc", "0 644 /etc/group", "0 644 /etc/passwd", "5 1777 /tmp"]);
    let names = entries(image.layers[1].tar.as_slice());
    // It is put on run images, whose own files it must not hide.
    assert!(names.iter().all(|name| name.contains(" /cnb")), "{names:?}");
    assert_eq!(names[..3], ["5 755 /cnb", "0 644 /cnb/lifecycle.toml", "5 755 /cnb/lifecycle"]);
    for phase in PHASES {
        assert!(names.iter().any(|name| name.ends_with(&format!(" /cnb/lifecycle/{phase}"))), "{phase}");
    }
    assert_eq!(image.label("io.buildpacks.lifecycle.version"), Some(VERSION));
    assert_eq!(image.json_label("io.buildpacks.builder.metadata")["lifecycle"]["version"], VERSION);
    let apis = image.json_label("io.buildpacks.lifecycle.apis");
    assert_eq!(apis["platform"]["supported"].as_array().and_then(|all| all.last()), Some(&"0.15".into()));
    assert_eq!(image.config["config"]["WorkingDir"], "/layers");
}

#[test]
fn image_can_be_loaded_and_run() {
    let archive = file(directory(), ".image.tar");
    let name = format!("lifecycle:{VERSION}");
    docker(&["load", "--input", &archive.to_string_lossy()]).ok().says(&name);
    for phase in ["analyzer", "detector", "rebaser"] {
        let program = format!("/cnb/lifecycle/{phase}");
        let run = ["run", "--rm", "--network", "none", "--user", "root", &name, &program, "-version"];
        docker(&run).ok().says(VERSION); // pack names the user so, and the engine looks it up in the image
    }
    docker(&["image", "rm", &name]).ok();
}

/// The JSON of a bill, and the names of what it lists.
fn bill(dir: &Path, file: &str, list: &str) -> (Value, BTreeSet<String>) {
    let text = fs::read(dir.join("lifecycle").join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let value: Value = serde_json::from_slice(&text).expect("a bill is JSON");
    let names = value[list].as_array().expect("a list").iter();
    let names = names.map(|it| it["name"].as_str().expect("a name").to_owned()).collect();
    (value, names)
}

#[test]
fn bills_of_materials_list_what_is_really_there() {
    let dir = unpacked();
    for (subject, has, has_not) in [
        (
            "lifecycle",
            vec!["rustls", "ring", "zstd-sys", "serde", "glibc", "rust-std"],
            vec!["proptest", "cc", "syn"],
        ),
        ("launcher", vec!["toml", "glibc", "rust-std"], vec!["rustls", "ring", "ureq", "zstd-sys", "syn"]),
    ] {
        let (cyclonedx, names) = bill(dir.path(), &format!("{subject}.sbom.cdx.json"), "components");
        for name in has {
            assert!(names.contains(name), "{subject} has {name}: {names:?}");
        }
        for name in has_not {
            assert!(!names.contains(name), "{subject} has no {name}");
        }
        assert_eq!(
            (&cyclonedx["bomFormat"], &cyclonedx["specVersion"]),
            (&"CycloneDX".into(), &"1.5".into())
        );
        let (spdx, mut packages) = bill(dir.path(), &format!("{subject}.sbom.spdx.json"), "packages");
        packages.retain(|name| names.contains(name));
        assert_eq!((&spdx["spdxVersion"], packages), (&"SPDX-2.3".into(), names.clone()));
        let (syft, artifacts) = bill(dir.path(), &format!("{subject}.sbom.syft.json"), "artifacts");
        assert!(syft["schema"]["version"].is_string());
        assert_eq!(artifacts, names);
    }
    let (cyclonedx, _) = bill(dir.path(), "lifecycle.sbom.cdx.json", "components");
    let uses = cyclonedx["dependencies"].as_array().expect("a list");
    let detector = uses.iter().find(|it| it["ref"] == "detector").expect("each program is listed");
    assert!(!detector["dependsOn"].to_string().contains("rustls"), "{detector}");
}

#[test]
fn packing_again_gives_the_same_bytes() {
    directory();
    let out = tempfile::tempdir().expect("a temporary directory");
    package::again(out.path());
    for ending in [".tgz", ".tgz.sha256", ".image.tar"] {
        let (first, second) = (file(directory(), ending), file(out.path(), ending));
        let same = fs::read(first).expect("it can be read") == fs::read(second).expect("it can be read");
        assert!(same, "*{ending} differs");
    }
}
