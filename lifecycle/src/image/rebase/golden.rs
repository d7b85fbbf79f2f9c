//! Rebases that the reference implementation made, made again.

use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
use crate::image::manifest::{Encoding, MediaFamily};
use crate::image::{Descriptor, ImageConfig, Layer, Origin};
use crate::reference::{ImageName, StoreKind};

macro_rules! golden {
    ($api:literal, $file:literal) => {
        include_str!(concat!("../../../../fixtures/golden/rebase/", $api, "/", $file, ".json"))
    };
}

/// The run image's second version, as `base.py` of the golden builds writes it.
fn new_base() -> Image {
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2020-01-01T00:00:00Z",
        "config": {"User": "1000:1000", "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "BASE=2"], "Labels": {
            "io.buildpacks.stack.id": "golden.stack", "io.buildpacks.base.distro.name": "golden",
            "io.buildpacks.base.distro.version": "1", "org.example.base": "2"}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:d5325458d239aa1cb8727db2e7e1fea8f2abf580f22f8694405c7e951e2f8327"]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "base 2"}],
    });
    let name =
        "127.0.0.1:5000/golden/run@sha256:0eed4519e6f25374e9e684e2b25ddb5a2e749a035da5a931858fd7b159362970";
    Image { name: ImageName::recorded(StoreKind::Registry, name).ok(), ..image(&config.to_string()) }
}

fn image(config: &str) -> Image {
    let config = ImageConfig::parse(config).expect("a config");
    let layer = |diff_id: &DiffId| {
        let digest = Digest::of(diff_id.to_string().as_bytes());
        let blob = Descriptor::new(MediaFamily::Oci.layer(Encoding::Gzip), 1, digest);
        Layer { diff_id: *diff_id, blob: Some(blob), origin: Origin::Sent }
    };
    let layers = config.diff_ids().iter().map(layer).collect();
    Image { layers, ..Image::new(config) }
}

/// A config as data: labels that are JSON are parsed, the history is apart.
fn data(config: &str) -> (Value, Value) {
    let mut config: Value = serde_json::from_str(config).expect("JSON");
    let history = config["history"].take();
    for label in config["config"]["Labels"].as_object_mut().expect("labels").values_mut() {
        let text = label.as_str().expect("a text");
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            *label = value;
        }
    }
    (config, history)
}

#[track_caller]
fn check(platform: PlatformApi, app: &str, expected: &str) {
    let (app, base) = (image(app), new_base());
    let base_name = "127.0.0.1:5000/golden/run:latest";
    let request = Rebase { app: &app, base: &base, base_name, platform, force: Force::No };
    let rebased = rebase(&request).expect("rebased");
    assert!(rebased.warnings.is_empty());
    assert_eq!(rebased.image.layers[0], base.layers[0]);
    assert_eq!(rebased.image.layers[1..], app.layers[1..]);
    let (found, history) = data(&rebased.image.config.to_json());
    let (mut expected, blank) = data(expected);
    let big = &mut expected["config"]["Labels"]["io.buildpacks.lifecycle.metadata"]["buildpacks"][0]["layers"]
        ["rt"]["data"]["big"];
    assert_eq!(big.take(), json!(9_007_199_254_740_992_u64));
    *big = json!(9_007_199_254_740_993_u64);
    assert_eq!(found, expected);
    if platform.keeps_history() {
        let (_, old) = data(&app.config.to_json());
        let first = json!({"created": "1980-01-01T00:00:01Z", "created_by": "base 2"});
        assert_eq!((&history[0], &history[1], &history[10]), (&first, &old[1], &old[10]));
    } else {
        assert_eq!(history, blank);
    }
}

#[test]
fn rebases_give_what_the_reference_implementation_gives() {
    for platform in PlatformApi::ALL {
        match platform.as_str() {
            "0.7" => check(*platform, golden!("0.7", "app"), golden!("0.7", "rebased")),
            "0.9" => check(*platform, golden!("0.9", "app"), golden!("0.9", "rebased")),
            "0.10" => check(*platform, golden!("0.10", "app"), golden!("0.10", "rebased")),
            "0.12" => check(*platform, golden!("0.12", "app"), golden!("0.12", "rebased")),
            "0.13" => check(*platform, golden!("0.13", "app"), golden!("0.13", "rebased")),
            "0.15" => check(*platform, golden!("0.15", "app"), golden!("0.15", "rebased")),
            _ => {}
        }
    }
}

#[test]
fn only_what_belongs_to_the_base_changes_byte_by_byte() {
    let text = golden!("0.15", "app");
    let (app, base) = (image(text), new_base());
    let base_name = "127.0.0.1:5000/golden/run";
    let platform = *PlatformApi::ALL.last().expect("versions");
    let request = Rebase { app: &app, base: &base, base_name, platform, force: Force::No };
    let old = "sha256:1d412b875c9951b1944fd30f34182650a4d5a8db3d3f67c5be584455cd27e64e";
    let new = "sha256:d5325458d239aa1cb8727db2e7e1fea8f2abf580f22f8694405c7e951e2f8327";
    let expected = text
        .trim_end()
        .replace(old, new)
        .replace(
            "06eec8abe4274f77f5ebe1672b753452433694c18fe22f779a01e08d7e24f202",
            "0eed4519e6f25374e9e684e2b25ddb5a2e749a035da5a931858fd7b159362970",
        )
        .replace("base 1", "base 2");
    assert_eq!(rebase(&request).expect("rebased").image.config.to_json(), expected);
}
