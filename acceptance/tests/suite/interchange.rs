//! Builds that the reference implementation began and our phases go on with: its volume cache, its
//! cache image, its app image, its `analyzed.toml`, `group.toml` and `plan.toml`; in [`extended`] what its
//! phases leave of extensions.
//!
//! See `fixtures/golden/interchange`. The other way round needs its binaries and was done by hand.

mod extended;

use std::fs;

use acceptance::docker::Container;
use acceptance::fixtures;
use acceptance::sandbox::copy_tree;
use acceptance::servers::proxy::{Proxy, Seen};
use serde_json::Value;

use crate::golden::Golden;

const USER: [&str; 5] = ["-no-color", "-uid", "1000", "-gid", "1000"];
/// Every layer that the rebuild reuses from the image or the cache.
const REUSED: [&str; 8] = [
    "Reusing layer 'golden/runtime:rt'",
    "Reusing layer 'golden/deps:modules'",
    "Reusing layer 'golden/deps:web-only'",
    "Reusing layer 'buildpacksio/lifecycle:launch.sbom'",
    "Reused 3/3 app layer(s)",
    "Reusing layer 'buildpacksio/lifecycle:launcher'",
    "Reusing cache layer 'golden/deps:modules'",
    "Reusing cache layer 'buildpacksio/lifecycle:cache.sbom'",
];
const RESTORED: [&str; 4] = [
    "Restoring metadata for \"golden/deps:tools\" from cache",
    "Restoring data for \"golden/runtime:rt\" from cache",
    "Restoring data for \"golden/deps:modules\" from cache",
    "Restoring data for SBOM from cache",
];

/// The second build's world: their app image in the registry, their launcher.
fn second_build() -> Golden {
    let golden = Golden::new("0.15");
    golden.publish("golden/interchange/app-image", "golden/app-15:latest");
    let launcher = golden.sandbox.path("cnb/lifecycle/launcher");
    fs::remove_file(&launcher).expect("the sandbox is ours");
    fs::write(&launcher, "launcher").expect("the sandbox is ours");
    fs::set_permissions(&launcher, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("modes");
    golden
}

fn sent(seen: &[Seen]) -> u64 {
    seen.iter().filter(|seen| seen.target.contains("/blobs/uploads/")).map(|seen| seen.sent).sum()
}

#[test]
fn their_volume_cache_and_image_are_rebuilt_as_by_themselves() {
    let mut golden = second_build();
    copy_tree(&fixtures().join("golden/interchange/volume-cache"), &golden.sandbox.path("cache"));
    golden.sandbox.own_all();
    golden.build(2);
    golden.compare_image("2-image", &golden.app());
    // What their image says of its run image is passed on, and names their registry.
    golden.faults.retain(|fault| !fault.contains("/run-image/") || !fault.contains("127.0.0.1:5000/"));
    assert!(golden.faults.is_empty(), "{}", golden.faults.join("\n"));
}

#[test]
fn their_files_and_cache_image_are_taken_up_in_the_middle_of_a_build() {
    let mut golden = second_build();
    golden.publish("golden/interchange/cache-image", "golden/cache-15:latest");
    for file in ["analyzed.toml", "group.toml", "plan.toml"] {
        let path = fixtures().join("golden/interchange/phases").join(file);
        let text = fs::read_to_string(path).expect("a fixture");
        golden.sandbox.write(&format!("layers/{file}"), golden.ours(&text));
    }
    let proxy = Proxy::counting(&golden.registry.host);
    let cache = format!("{}/golden/cache-15", proxy.host);
    let restore = [&USER[..], &["-cache-image", &cache]].concat();
    let restored = golden.run(true, "restorer", &restore).ok();
    RESTORED.iter().fold(restored, |outcome, line| outcome.says(line));
    golden.run(false, "builder", &["-no-color"]).ok();
    let app = golden.app();
    let export = ["-cache-image", &cache, "-process-type", "web", "-run", "/cnb/run.toml", &app];
    let exported = golden.run(true, "exporter", &[&USER[..], &export].concat()).ok();
    REUSED.iter().fold(exported, |outcome, line| outcome.says(line));
    // Of the cache image the config alone is new: it names an architecture.
    assert!(sent(&proxy.seen()) < 4096, "{:?}", proxy.seen());
    golden.compare_image("2-image", &app);
    assert!(golden.faults.is_empty(), "{}", golden.faults.join("\n"));
}

/// The layout under `directory/cache/base/<digest>`: its path, and its manifest's descriptor.
fn base_of(directory: &std::path::Path) -> (String, Value, Vec<u8>) {
    let entries = fs::read_dir(directory.join("cache/base")).expect("there are base images");
    let path = entries.flatten().next().expect("there is one").path();
    let digest = path.file_name().expect("a name").to_string_lossy().into_owned();
    let index = fs::read(path.join("index.json")).expect("a layout has an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let manifest = fs::read(path.join("blobs/sha256").join(&digest[7..])).expect("the manifest");
    (digest, index["manifests"][0].clone(), manifest)
}

#[test]
fn the_base_image_for_the_extender_lies_where_they_have_it() {
    let golden = second_build();
    for file in ["analyzed.toml", "group.toml", "plan.toml"] {
        let path = fixtures().join("golden/interchange/phases").join(file);
        let text = fs::read_to_string(path).expect("a fixture");
        golden.sandbox.write(&format!("layers/{file}"), golden.ours(&text));
    }
    let kaniko = golden.sandbox.path("kaniko");
    fs::create_dir(&kaniko).expect("the sandbox is ours");
    let build_image = format!("{}/golden/run", golden.registry.host);
    let container = Container::new().mount(&kaniko, "/kaniko", "rw");
    golden.run_in(container, true, "restorer", &[&USER[..], &["-build-image", &build_image]].concat()).ok();
    let (theirs, ours) = (base_of(&fixtures().join("golden/interchange/kaniko")), base_of(&kaniko));
    assert_eq!((&ours.0, &ours.2), (&theirs.0, &theirs.2), "the same image in the same place");
    for key in ["mediaType", "size", "digest"] {
        assert_eq!(ours.1[key], theirs.1[key], "{key}");
    }
    let analyzed = golden.sandbox.read("layers/analyzed.toml");
    let reference = format!("reference = \"{build_image}@{}\"", ours.0);
    assert!(analyzed.contains("[build-image]") && analyzed.contains(&reference), "{analyzed}");
}
