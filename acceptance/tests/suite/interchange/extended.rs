//! Extensions: the `/kaniko` volume that the reference implementation's restorer and executor left, and the
//! extended run image that its extender wrote.
//!
//! The run image has an empty layer, as many have. That executor adds an empty layer for each instruction
//! that changes no file, and gives it the blob of the run image's.

use std::fs;
use std::path::{Path, PathBuf};

use acceptance::docker::{Container, docker};
use acceptance::fixtures;
use acceptance::oci::LayoutImage;
use acceptance::places::skopeo;
use acceptance::sandbox::copy_tree;
use serde_json::Value;

use super::USER;
use crate::golden::Golden;

/// The run image's manifest.
const BASE: &str = "sha256:af4a268401ad7b6d86a958d3af29350356f9bb59f4921f01be5688ca59aaf472";
const EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
/// An image of the engine, made of the run image, for containers.
const ENGINE_IMAGE: &str = "acceptance.example/interchange/tiny:latest";

fn theirs(name: &str) -> PathBuf {
    fixtures().join("golden/interchange/extended").join(name)
}

/// Their build as it is after the detector or, `with` the extender's results, later.
fn build(with: &[&str]) -> Golden {
    let golden = Golden::new("0.15");
    // skopeo takes a colon in a path for the beginning of a tag.
    let layout = golden.sandbox.path("tiny-run");
    copy_tree(&theirs("kaniko/cache/base").join(BASE), &layout);
    golden.publish(&layout.to_string_lossy(), "golden/tiny-run:latest");
    for file in ["analyzed.toml", "group.toml"] {
        let text = fs::read_to_string(theirs("layers").join(file)).expect("a fixture");
        golden.sandbox.write(&format!("layers/{file}"), golden.ours(&text));
    }
    for name in with {
        copy_tree(&theirs("layers").join(name), &golden.sandbox.path("layers").join(name));
    }
    let launcher = golden.sandbox.path("cnb/lifecycle/launcher");
    fs::remove_file(&launcher).expect("the sandbox is ours");
    golden.sandbox.write("cnb/lifecycle/launcher", "launcher");
    golden.sandbox.write("layers/config/metadata.toml", "processes = []\n");
    golden
}

/// Exports, and brings the app image here.
fn export(golden: &Golden) -> LayoutImage {
    let app = golden.app();
    golden.run(true, "exporter", &[&USER[..], &["-run", "/cnb/run.toml", &app]].concat()).ok();
    let layout = golden.sandbox.path("app-image");
    let (source, target) = (format!("docker://{app}"), format!("oci:{}:x", layout.display()));
    skopeo(&["copy", "-q", "--src-tls-verify=false", &source, &target]);
    LayoutImage::read(&layout)
}

/// How the layers that extensions added were made.
fn made_by_extensions(image: &LayoutImage) -> Vec<String> {
    let history = image.config["history"].as_array().into_iter().flatten();
    let texts = history.filter_map(|entry| entry["created_by"].as_str());
    texts.filter_map(|text| Some(text.strip_suffix(", Created by extension: golden/e")?.to_owned())).collect()
}

/// Content, labels and configuration, which do not depend on who extended.
fn check_image(image: &LayoutImage) {
    let files = image.files();
    for (name, content) in [
        ("/opt/greet", "hello\n"),
        ("/opt/tool/made", "made\n"),
        ("/etc/old", "new\n"),
        ("/etc/.wh.gone", ""),
    ] {
        let found = files.get(Path::new(name)).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!(found.as_deref(), Some(content), "{name}");
    }
    assert_eq!(image.label("io.buildpacks.rebasable"), Some("true"));
    assert_eq!(image.label("org.example.tool"), Some("1"));
    assert_eq!(image.env("TOOL_MODE").as_deref(), Some("plain"));
    assert_eq!(image.config["config"]["User"], "1000:1000");
    let top = &image.json_label("io.buildpacks.lifecycle.metadata")["runImage"]["topLayer"];
    assert_eq!(*top, Value::from(image.diff_ids()[2]), "the run image has three layers");
    for layer in &image.layers[3..] {
        for entry in tar::Archive::new(layer.tar.as_slice()).entries().expect("a tar") {
            let entry = entry.expect("an entry");
            assert_eq!(entry.header().mtime().ok(), Some(315_532_801), "{:?}", entry.path());
        }
    }
}

#[test]
fn their_extended_run_image_becomes_an_app_image() {
    let golden = build(&["extended"]);
    let image = export(&golden);
    check_image(&image);
    let made = made_by_extensions(&image);
    assert_eq!(made.len(), 9, "one layer for each instruction: {made:?}");
    assert_eq!(made[0], "Layer: 'USER root'");
    let empty = image.diff_ids().iter().filter(|diff_id| **diff_id == EMPTY).count();
    assert_eq!(empty, 1 + 7, "the run image's is there once");
    let base = golden.sandbox.path("base");
    copy_tree(&theirs("kaniko/cache/base").join(BASE), &base);
    assert_eq!(image.diff_ids()[..3], LayoutImage::read(&base).diff_ids());
}

/// The names of all files below a directory.
fn names(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(names(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn our_restorer_and_extender_go_on_in_their_volume() {
    let golden = build(&["generated"]);
    let kaniko = golden.sandbox.path("kaniko");
    copy_tree(&theirs("kaniko"), &kaniko);
    let before = names(&kaniko);
    let volume = || Container::new().mount(&kaniko, "/kaniko", "rw");
    let run_image = format!("{}/golden/tiny-run", golden.registry.host);
    let restore = [&USER[..], &["-build-image", &run_image]].concat();
    golden.run_in(volume(), true, "restorer", &restore).ok();
    let source = format!("oci:{}", golden.sandbox.path("tiny-run").display());
    skopeo(&["copy", "-q", &source, &format!("docker-daemon:{ENGINE_IMAGE}")]);
    let path = |name: &str| golden.sandbox.path(name);
    let container = volume()
        .option("--user", "0:0")
        .env("CNB_PLATFORM_API", "0.15")
        .mount(&path("layers"), "/layers", "rw")
        .mount(&path("workspace"), "/workspace", "ro")
        .mount(&path("cnb/lifecycle"), "/cnb/lifecycle", "ro");
    let extend = || container.run(ENGINE_IMAGE, &["/cnb/lifecycle/extender", "-kind", "run"]);
    let (first, second) = (extend(), extend());
    docker(&["rmi", "-f", ENGINE_IMAGE]);
    first.ok().says("No cached layer found for cmd COPY greet /opt/greet");
    let second = second.ok();
    assert!(!second.text().contains("No cached layer"), "{}", second.text());
    assert!(before.iter().all(|path| path.exists()), "what is theirs stays");
    let image = export(&golden);
    check_image(&image);
    let made = made_by_extensions(&image);
    assert_eq!(made, ["Layer: 'COPY greet /opt/greet'", "Layer: 'RUN [\"/bin/make\"]'"]);
}

#[test]
fn our_restorer_leaves_what_their_executor_needs() {
    let golden = build(&["generated"]);
    let kaniko = golden.sandbox.path("kaniko");
    fs::create_dir(&kaniko).expect("the sandbox is ours");
    let container = Container::new().mount(&kaniko, "/kaniko", "rw");
    golden.run_in(container, true, "restorer", &USER).ok();
    let blobs = |root: &Path| root.join("cache/base").join(BASE).join("blobs/sha256");
    let layout = golden.sandbox.path("tiny-run");
    let image = LayoutImage::read(&layout);
    let empty = image.diff_ids().iter().position(|diff_id| *diff_id == EMPTY).expect("an empty layer");
    let digest = &image.manifest["layers"][empty]["digest"].as_str().expect("a digest")["sha256:".len()..];
    for name in [&BASE["sha256:".len()..], digest] {
        let (ours, theirs) = (blobs(&kaniko).join(name), blobs(&theirs("kaniko")).join(name));
        assert_eq!(fs::read(ours).expect("a blob"), fs::read(theirs).expect("a blob"), "{name}");
    }
    assert_eq!(names(&blobs(&kaniko)).len(), 3, "manifest, config and the empty layer");
}
