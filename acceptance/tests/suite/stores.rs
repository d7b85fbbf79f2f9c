//! One table of tests over three stores: a layout, a registry, the Docker engine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use acceptance::docker::{Container, base_image};
use acceptance::oci::LayoutImage;
use acceptance::places::{Place, Stored, World};
use acceptance::run_image::RunImage;
use acceptance::sandbox::{Outcome, Sandbox, is_root};
use acceptance::servers::registry::Registry;
use serde_json::Value;

const TABLE: [&str; 3] = ["layout", "registry", "daemon"];

fn place(kind: &str, registry: &Registry, test: &str) -> Place {
    match kind {
        "layout" => Place::Layout,
        "registry" => Place::Registry(registry.host.clone()),
        _ => Place::Daemon(format!("acceptance.example/{test}-{}", std::process::id())),
    }
}

/// Runs `test` in each store, in one sandbox: its paths are in the layers.
fn in_each_store<T>(name: &str, test: impl Fn(&World<'_>) -> T) -> Vec<T> {
    let sandbox = Sandbox::new().with_app("greeter").with_order("greeter");
    let registry = Registry::plain();
    let each = TABLE.map(|kind| {
        for directory in ["layers", "cache", "launch-cache"] {
            sandbox.clear(directory);
        }
        test(&World::new(&sandbox, place(kind, &registry, name)))
    });
    each.into()
}

/// An image without what differs by its place: names, and how the run image is identified.
fn without_place(world: &World<'_>, image: &Stored) -> Value {
    let mut config = image.config.clone();
    let label = &mut config["config"]["Labels"]["io.buildpacks.lifecycle.metadata"];
    let mut metadata: Value = serde_json::from_str(label.as_str().expect("a label")).expect("JSON");
    assert!(!metadata["runImage"]["reference"].as_str().expect("a reference").is_empty());
    metadata["runImage"]["reference"] = "reference".into();
    *label = metadata.to_string().into();
    let text = config.to_string().replace(&world.name("run"), "RUN");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    // The engine writes defaults out and adds how it runs.
    if let Some(object) = config.as_object_mut() {
        object.retain(|key, _| {
            ["architecture", "os", "created", "config", "rootfs", "history"].contains(&key.as_str())
        });
    }
    config
}

#[track_caller]
fn same(images: &[Value]) {
    for (kind, image) in TABLE.iter().zip(images) {
        assert_eq!(image, &images[0], "{kind} is unlike {}", TABLE[0]);
    }
}

#[track_caller]
fn ok(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    outcomes.into_iter().map(Outcome::ok).collect()
}

#[test]
fn phases_build_the_same_image_in_each_store_and_reuse_it() {
    let images = in_each_store("phases", |world| {
        let built = ok(world.build());
        let shown = world.shown("app");
        built[0].clone().says(&format!("Image with name \"{shown}\" not found"));
        assert_eq!(
            built[4].text().contains(&format!("Using app image: {shown}\n")),
            world.place == Place::Layout
        );
        let first = world.image("app");
        world.sandbox.clear("layers");
        let outcomes = ok(world.build());
        let (restored, exported) = (outcomes[2].text(), outcomes[4].text());
        assert!(
            restored.contains("Restoring data for \"demo/toolchain:toolchain\" from cache"),
            "{restored}"
        );
        assert!(exported.contains("Reusing layer 'demo/toolchain:toolchain'"), "{exported}");
        assert!(exported.contains("Reusing cache layer 'demo/toolchain:toolchain'"), "{exported}");
        assert!(!exported.contains("Adding layer"), "{exported}");
        // Of an engine's image, an ID says little to users.
        let says_whose = exported.contains(&format!("Reusing layers from image '{shown}"));
        assert_eq!(says_whose, !matches!(world.place, Place::Daemon(_)), "{exported}");
        assert_eq!(first, world.image("app"));
        without_place(world, &first)
    });
    same(&images);
}

#[test]
fn the_creator_builds_the_same_image_in_each_store_and_reuses_it() {
    let images = in_each_store("creator", |world| {
        world.create(&["-cache-dir", "CACHE"]).ok();
        let first = world.image("app");
        world.sandbox.clear("layers");
        let again = world.create(&["-cache-dir", "CACHE"]).ok();
        assert!(!again.text().contains("Adding layer"), "{}", again.text());
        assert_eq!(first, world.image("app"));
        without_place(world, &first)
    });
    same(&images);
}

#[test]
fn a_rebase_gives_the_same_image_in_each_store() {
    let images = in_each_store("rebase", |world| {
        ok(world.build());
        let before = world.image("app").diff_ids();
        world.publish_run_image(&RunImage::version(2));
        world.rebase().ok();
        let rebased = world.image("app");
        assert_eq!(before[2..], rebased.diff_ids()[2..]);
        assert_ne!(before[1], rebased.diff_ids()[1]);
        without_place(world, &rebased)
    });
    same(&images);
}

#[test]
fn a_rebase_saves_to_one_registry_that_the_image_is_on() {
    let sandbox = Sandbox::new().with_app("greeter").with_order("greeter");
    let (registry, other) = (Registry::plain(), Registry::plain());
    let world = World::new(&sandbox, Place::Registry(registry.host.clone()));
    ok(world.build());
    world.publish_run_image(&RunImage::version(2));
    let elsewhere = format!("{}/demo/copy", other.host);
    let refused = world.phase("rebaser", &["-report", "REPORT", "APP", &elsewhere]).expect_code(3);
    refused.says("writing to multiple registries is unsupported");
    let (before, copy) = (world.fetch("app").digest, world.name("copy"));
    let previous = ["-report", "REPORT", "-previous-image", "APP", &copy];
    world.phase("rebaser", &previous).ok();
    assert_eq!(world.fetch("app").digest, before, "the previous image stays");
    assert_ne!(world.fetch("copy").digest, before);
}

#[test]
fn root_without_the_right_to_give_files_away_needs_none_where_nothing_is_to_be_given() {
    let sandbox = Sandbox::new().with_app("greeter").with_order("greeter");
    let registry = Registry::plain();
    let world = World::new(&sandbox, Place::Registry(registry.host.clone()));
    let analyze = |chown: &str| {
        let mut container = Container::new().option("--cap-drop", chown);
        for (name, value) in sandbox.environment() {
            container = container.env(name, value.to_string_lossy());
        }
        let root = sandbox.path(".");
        let container = container.mount(&root, &root.to_string_lossy(), "rw");
        let program = sandbox.phase_path("analyzer").display().to_string();
        container.run(base_image(), &[&program, "-run-image", &world.name("run"), &world.name("app")])
    };
    analyze("CHOWN").ok();
    if is_root() {
        let layers = sandbox.path("layers");
        std::os::unix::fs::chown(&layers, Some(0), Some(0)).expect("root may");
        analyze("CHOWN").expect_code(1).says("chown").says("layers");
        analyze("MKNOD").ok();
    }
}

/// pack run by root puts the run image into a layout whose layers only root may read, and the phases have
/// given root up by then.
#[test]
fn a_run_image_whose_layers_may_not_be_read_is_left_out_of_the_layout() {
    let sandbox = Sandbox::new().with_app("greeter").with_order("greeter");
    let world = World::new(&sandbox, Place::Layout);
    let run = LayoutImage::read(&sandbox.path("layouts").join(world.name("run")).join("latest"));
    for layer in &run.layers {
        let blob = format!("layouts/{}/latest/blobs/sha256/{}", world.name("run"), &layer.digest[7..]);
        fs::set_permissions(sandbox.path(blob), fs::Permissions::from_mode(0o000))
            .expect("the sandbox is ours");
    }
    let outcomes = ok(world.build());
    let text = outcomes[4].text();
    assert!(text.contains("Left out 2 layer(s) of the run image that may not be read"), "{text}");
    let blobs = sandbox.path("layouts").join(world.name("app")).join("latest/blobs/sha256");
    for layer in &run.layers {
        assert!(!blobs.join(&layer.digest[7..]).exists());
    }
    sandbox.clear("layers");
    let again = ok(world.build());
    assert!(again[4].text().contains("Reusing layer 'demo/toolchain:toolchain'"));
}
