//! Tests of restorations: what an export put into image and cache comes back, and what others put
//! there does no harm.

use std::fs;

use super::*;
use crate::api::PlatformApi;
use crate::exec_env::ExecEnv;
use crate::files::SpecFile;
use crate::files::labels::LIFECYCLE_METADATA;
use crate::files::metadata::BuildMetadata;
use crate::files::project::ProjectMetadata;
use crate::layers::tar::Owner;
use crate::log::Level;
use crate::phase::export::{Export, Launcher, export};
use crate::phase::world::{API, World, files, group, reference, threads};

/// Exports what is in the layers directory, and starts anew with an empty one.
fn build(world: &World) -> LifecycleMetadata {
    let (log, _) = Log::buffer(Level::Info);
    let (names, run_image, cache) = ([reference("r.io/app")], reference("r.io/run"), world.cache());
    let exported = export(
        &Export {
            api: API,
            store: &world.store,
            names: &names,
            run_image: &run_image,
            run_image_names: None,
            extended: None,
            previous: None,
            group: &group(),
            build: &BuildMetadata::parse("").expect("valid"),
            project: &ProjectMetadata::default(),
            layers: &world.path("layers"),
            app: &world.path("app"),
            launcher: Launcher {
                path: &world.path("launcher"),
                version: "1",
                sbom_dir: None,
                lifecycle_dir: &world.path("none"),
            },
            process_type: None,
            exec_env: &ExecEnv::default(),
            owner: Owner { uid: 1000, gid: 1000 },
            created: "1980-01-01T00:00:01Z",
            cache: Some(&cache),
            cache_saving: crate::phase::export::CacheSaving::AfterImage,
            threads: threads(2),
        },
        &log,
    );
    exported.expect("exported");
    let image = world.image("r.io/app");
    let metadata = LifecycleMetadata::from_label(image.config.label(LIFECYCLE_METADATA).expect("a label"));
    let metadata = metadata.expect("valid");
    let sbom = world.path("layers/sbom/launch");
    world.clear_layers();
    crate::phase::sbom::restore_from_image(&world.store, &image, &metadata, &world.path("layers"), &log);
    assert_eq!(sbom.exists(), metadata.sbom.is_some());
    metadata
}

struct Run<'a> {
    world: &'a World,
    api: PlatformApi,
    extent: Extent,
    caching: bool,
}

impl<'a> Run<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, api: API, extent: Extent::Everything, caching: true }
    }

    /// Restores, and returns the log.
    fn ok(&self, previous: &LifecycleMetadata) -> String {
        let (log, buffer) = Log::buffer(Level::Info);
        let cache = self.world.cache();
        let inputs = Restore {
            api: self.api,
            layers: &self.world.path("layers"),
            group: &group().group,
            previous,
            cache: self.caching.then_some(&cache as &dyn Cache),
            extent: self.extent,
            threads: threads(2),
        };
        restore(&inputs, &log).expect("restored");
        buffer.text()
    }

    #[track_caller]
    fn check(&self, previous: &LifecycleMetadata, expected: &[&str]) {
        self.ok(previous);
        assert_eq!(files(&self.world.path("layers/a_b")), expected);
        assert!(!self.world.path("layers/sbom").exists());
    }
}

/// Three layers of each useful kind, with SBOM files, and a store.
fn world() -> World {
    let world = World::new();
    for (name, types) in [
        ("launch", "launch = true"),
        ("cached", "cache = true\nbuild = true"),
        ("both", "launch = true\ncache = true"),
    ] {
        // `launch.toml` is no layer's file.
        let name = name.replace("launch", "image");
        let text =
            format!("[types]\n{types}\n[metadata]\ncount = 3\nratio = 1.0\nnested = {{ name = '{name}' }}\n");
        world.write(&format!("layers/a_b/{name}.toml"), &text);
        world.write(&format!("layers/a_b/{name}/bin/tool"), &name);
        for kind in ["launch", "cache"] {
            if types.contains(kind) {
                let path = format!("layers/sbom/{kind}/a_b/{name}/sbom.cdx.json");
                world.write(&path, &format!("{{\"{kind}\":\"{name}\"}}"));
            }
        }
    }
    world.write("layers/a_b/store.toml", "[metadata]\nkept = 7\n");
    world
}

fn read(world: &World, name: &str) -> String {
    fs::read_to_string(world.path(name)).expect("readable")
}

#[test]
fn layers_come_back_as_their_types_say() {
    let world = world();
    let previous = build(&world);
    Run::new(&world).check(
        &previous,
        &[
            "both.sbom.cdx.json",
            "both.toml",
            "both/bin/tool",
            "cached.sbom.cdx.json",
            "cached.toml",
            "cached/bin/tool",
            "image.sbom.cdx.json",
            "image.toml",
            "store.toml",
        ],
    );
    assert_eq!(read(&world, "layers/a_b/cached/bin/tool"), "cached");
    assert_eq!(read(&world, "layers/a_b/image.sbom.cdx.json"), "{\"launch\":\"image\"}");
    assert_eq!(read(&world, "layers/a_b/store.toml"), "[metadata]\nkept = 7\n");
    let metadata: toml::Table = read(&world, "layers/a_b/both.toml").parse().expect("TOML");
    let expected = "[metadata]\ncount = 3\nratio = 1.0\nnested = { name = 'both' }\n";
    assert_eq!(metadata, expected.parse().expect("TOML"));
}

#[test]
fn what_comes_back_is_told_in_the_words_that_platforms_look_for() {
    let world = world();
    let previous = build(&world);
    assert_eq!(
        Run::new(&world).ok(&previous),
        "Restoring metadata for \"a/b:both\" from app image\n\
         Restoring metadata for \"a/b:cached\" from cache\n\
         Restoring metadata for \"a/b:image\" from app image\n\
         Restoring data for \"a/b:both\" from cache\n\
         Restoring data for \"a/b:cached\" from cache\n\
         Restoring data for SBOM from cache\n"
    );
}

#[test]
fn only_stores_come_back_when_restoring_is_skipped() {
    let world = world();
    let previous = build(&world);
    fs::remove_dir_all(world.path("layers/sbom")).expect("there");
    let run = Run { extent: Extent::Stores, ..Run::new(&world) };
    assert_eq!(run.ok(&previous), "Skipping buildpack layer analysis\n");
    assert_eq!(files(&world.path("layers/a_b")), ["store.toml"]);
}

#[test]
fn without_a_cache_only_launch_layers_come_back() {
    let world = world();
    let previous = build(&world);
    Run { caching: false, ..Run::new(&world) }
        .check(&previous, &["image.sbom.cdx.json", "image.toml", "store.toml"]);
}

#[test]
fn without_a_previous_image_the_cache_decides_from_0_14_on() {
    let world = world();
    build(&world);
    fs::remove_dir_all(world.path("layers/sbom")).expect("there");
    let none = LifecycleMetadata::default();
    let cached = ["cached.sbom.cdx.json", "cached.toml", "cached/bin/tool"];
    Run { api: PlatformApi::V0_13, ..Run::new(&world) }.check(&none, &cached);
    let both = ["both.sbom.cdx.json", "both.toml", "both/bin/tool"];
    Run::new(&world).check(&none, &[both, cached].concat());
}

#[test]
fn sbom_files_do_not_come_back_before_0_8() {
    let world = world();
    let previous = build(&world);
    fs::remove_dir_all(world.path("layers/sbom")).expect("there");
    Run { api: PlatformApi::V0_7, ..Run::new(&world) }.check(
        &previous,
        &["both.toml", "both/bin/tool", "cached.toml", "cached/bin/tool", "image.toml", "store.toml"],
    );
}

#[test]
fn damaged_layer_of_the_cache_comes_back_with_nothing() {
    let world = world();
    let previous = build(&world);
    let sha = &previous.buildpack("a/b").expect("there").layers["both"].sha;
    let tar = world.path("cache/committed").join(format!("{sha}.tar"));
    let mut bytes = fs::read(&tar).expect("a layer");
    let end = bytes.len() - 600;
    bytes[end] ^= 1;
    fs::remove_file(&tar).expect("ours");
    fs::write(&tar, bytes).expect("writable");
    world.write("layers/a_b/both/stale", "of an earlier build");
    let log = Run::new(&world).ok(&previous);
    assert!(log.contains("Warning: Skipping restore for layer a/b:both: "), "{log}");
    assert!(files(&world.path("layers/a_b")).iter().all(|file| !file.starts_with("both")));
    assert!(world.path("layers/a_b/cached/bin/tool").exists());
}

#[test]
fn layer_that_is_gone_from_the_cache_comes_back_with_nothing() {
    let world = world();
    let previous = build(&world);
    let sha = &previous.buildpack("a/b").expect("there").layers["both"].sha;
    fs::remove_file(world.path("cache/committed").join(format!("{sha}.tar"))).expect("there");
    let log = Run::new(&world).ok(&previous);
    assert!(
        log.contains("Warning: Skipping restore for layer a/b:both: failed to find cache layer"),
        "{log}"
    );
    assert!(!world.path("layers/a_b/both.toml").exists());
}

#[test]
fn layer_of_another_build_is_dropped() {
    let world = world();
    let mut previous = build(&world);
    let other = format!("sha256:{}", "1".repeat(64));
    previous.buildpacks[0].layers.get_mut("both").expect("there").sha = other;
    let log = Run::new(&world).ok(&previous);
    assert!(log.contains("Removing \"a/b:both\", wrong sha\n"), "{log}");
    assert!(!world.path("layers/a_b/both.toml").exists() && !world.path("layers/a_b/both").exists());
}

#[test]
fn broken_metadata_of_the_cache_costs_a_rebuild() {
    let world = world();
    let previous = build(&world);
    fs::write(world.path("cache/committed/io.buildpacks.lifecycle.cache.metadata"), "{").expect("writable");
    let log = Run::new(&world).ok(&previous);
    assert!(log.contains("Warning: "), "{log}");
    assert_eq!(files(&world.path("layers/a_b")), ["image.sbom.cdx.json", "image.toml", "store.toml"]);
}
