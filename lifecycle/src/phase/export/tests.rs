//! Tests of whole exports, to layouts and caches in a temporary directory.

use super::*;
use crate::api::PlatformApi;
use crate::files::SpecFile;
use crate::files::footprints::{self, Footprints};
use crate::files::labels::{BUILD_METADATA, EXEC_ENV, LIFECYCLE_METADATA, PROJECT_METADATA, REBASABLE};
use crate::image::manifest::MediaFamily;
use crate::log::Level;
use crate::phase::world::{API, World, files, group, reference, threads};

/// One export: what differs from test to test.
struct Run<'a> {
    world: &'a World,
    api: PlatformApi,
    build: BuildMetadata,
    process_type: Option<&'a str>,
    caching: bool,
    threads: usize,
    extended: Option<PathBuf>,
}

impl<'a> Run<'a> {
    fn new(world: &'a World) -> Self {
        let build = "[[processes]]\ntype = 'web'\ncommand = ['web']\nbuildpack-id = 'a/b'\ndirect = true\n";
        let build = BuildMetadata::parse(build).expect("valid");
        Self { world, api: API, build, process_type: None, caching: true, threads: 2, extended: None }
    }

    /// Exports to `r.io/app` on top of what is there, and returns the log.
    fn export(&self) -> (Result<Report, ExportError>, String) {
        let world = self.world;
        let (names, run_image, group) = ([reference("r.io/app")], reference("r.io/run"), group());
        let previous = world.store.find(&names[0]).expect("readable");
        let label = previous.as_ref().and_then(|image| image.config.label(LIFECYCLE_METADATA));
        let metadata = LifecycleMetadata::from_label(label.unwrap_or("{}")).expect("a label");
        let image = previous.and_then(|image| image.name);
        let cache = world.cache();
        let owner = Owner { uid: 1000, gid: 1000 };
        let (log, buffer) = Log::buffer(Level::Info);
        let report = export(
            &Export {
                api: self.api,
                store: &world.store,
                names: &names,
                run_image: &run_image,
                run_image_names: Some(&MirroredImage {
                    image: "r.io/run".to_owned(),
                    mirrors: vec!["m.io/run".to_owned()],
                }),
                extended: self.extended.as_deref(),
                previous: image.as_ref().map(|image| Previous { image, metadata: &metadata }),
                group: &group,
                build: &self.build,
                project: &ProjectMetadata::default(),
                layers: &world.path("layers"),
                app: &world.path("app"),
                launcher: Launcher {
                    path: &world.path("launcher"),
                    version: "1",
                    sbom_dir: None,
                    lifecycle_dir: &world.path("lifecycle"),
                },
                process_type: self.process_type,
                exec_env: &ExecEnv::default(),
                owner,
                created: "1980-01-01T00:00:01Z",
                cache: self.caching.then_some(&cache as &dyn Cache),
                cache_saving: CacheSaving::WithImage,
                threads: threads(self.threads),
            },
            &log,
        );
        (report, buffer.text())
    }

    #[track_caller]
    fn ok(&self) -> (Image, String) {
        let (report, log) = self.export();
        report.expect("exported");
        (self.world.image("r.io/app"), log)
    }

    #[track_caller]
    fn refused(&self, text: &str) {
        let (report, _) = self.export();
        let error = crate::log::chain(&report.expect_err("refused"));
        assert!(error.contains(text), "{error}");
    }
}

fn lifecycle_label(image: &Image) -> serde_json::Value {
    serde_json::from_str(image.config.label(LIFECYCLE_METADATA).expect("a label")).expect("JSON")
}

#[test]
fn image_has_the_layers_of_buildpack_application_and_launcher_in_order() {
    let world = World::new();
    world.write("layers/a_b/z.toml", "[types]\nlaunch = true\n[metadata]\ncount = 3\n");
    world.write("layers/a_b/z/file", "z");
    world.write("layers/a_b/a.toml", "[types]\nlaunch = true\nbuild = true\n");
    world.write("layers/a_b/a/file", "a");
    world.write("layers/a_b/b.toml", "[types]\nbuild = true\n");
    world.write("layers/a_b/b/file", "b");
    world.write("layers/sbom/launch/a_b/sbom.cdx.json", "{}");
    let (image, log) = Run::new(&world).ok();
    let history: Vec<String> =
        image.config.history().iter().filter_map(|entry| entry.get("created_by").ok().flatten()).collect();
    assert_eq!(
        history,
        [
            "base",
            "Layer: 'a', Created by buildpack: a/b@1.2",
            "Layer: 'z', Created by buildpack: a/b@1.2",
            "Software Bill-of-Materials",
            "Application Layer",
            "Buildpacks Application Launcher",
            "Buildpacks Launcher Config",
            "Buildpacks Process Types",
        ]
    );
    let path = world.path("layouts/r.io/app/latest");
    let lines = "Adding layer 'a/b:a'\nAdding layer 'a/b:z'\nAdding layer 'buildpacksio/";
    assert!(log.starts_with(&format!("Using app image: {}\n{lines}", path.display())), "{log}");
    let label = lifecycle_label(&image);
    let shas: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    assert_eq!(label["buildpacks"][0]["layers"]["a"]["sha"], shas[1]);
    assert_eq!(label["buildpacks"][0]["layers"]["z"]["data"]["count"], 3);
    assert_eq!(label["sbom"]["sha"], shas[3]);
    assert_eq!(
        (&label["app"][0]["sha"], &label["launcher"]["sha"]),
        (&shas[4].as_str().into(), &shas[5].as_str().into())
    );
    assert_eq!(
        (&label["config"]["sha"], &label["process-types"]["sha"]),
        (&shas[6].as_str().into(), &shas[7].as_str().into())
    );
    assert_eq!(label["runImage"]["topLayer"], shas[0]);
    assert_eq!(label["stack"]["runImage"]["mirrors"][0], "m.io/run");
    assert_eq!(label["exec-env"], "production");
}

#[test]
fn config_of_the_run_image_is_kept_but_for_what_the_specification_sets() {
    let world = World::new();
    world.save_image("r.io/run", |image| {
        image.config.set_process_text("User", "1000:1000");
        image.config.set_label("org.example", "kept");
        image.config.set_entrypoint(&["/bin/sh"]);
    });
    let (image, log) = Run::new(&world).ok();
    let (layers, app) = (world.path("layers"), world.path("app"));
    assert_eq!(
        image.config.env(),
        [
            "PATH=/cnb/process:/cnb/lifecycle:/usr/bin".to_owned(),
            "BASE=1".to_owned(),
            format!("CNB_LAYERS_DIR={}", layers.display()),
            format!("CNB_APP_DIR={}", app.display()),
            "CNB_PLATFORM_API=0.15".to_owned(),
            "CNB_DEPRECATION_MODE=quiet".to_owned(),
        ]
    );
    assert_eq!(
        (image.config.user(), image.config.label("org.example")),
        ("1000:1000".to_owned(), Some("kept"))
    );
    assert_eq!(
        (image.config.entrypoint(), image.config.cmd().len()),
        (vec!["/cnb/lifecycle/launcher".to_owned()], 0)
    );
    assert_eq!(image.config.working_dir(), app.to_string_lossy());
    assert_eq!(image.config.created(), "1980-01-01T00:00:01Z");
    assert!(log.contains("no default process type\n"), "{log}");
}

#[test]
fn empty_path_of_the_run_image_does_not_put_the_working_directory_on_it() {
    let world = World::new();
    world.save_image("r.io/run", |image| image.config.set_env("PATH", ""));
    let (image, _) = Run::new(&world).ok();
    assert_eq!(image.config.env_value("PATH").as_deref(), Some("/cnb/process:/cnb/lifecycle"));
}

#[test]
fn process_to_start_is_the_platforms_else_the_buildpacks() {
    let world = World::new();
    let entrypoint = |run: &Run<'_>| run.ok().0.config.entrypoint();
    let run = Run { process_type: Some("web"), ..Run::new(&world) };
    assert_eq!(entrypoint(&run), ["/cnb/process/web"]);
    let mut run = Run::new(&world);
    run.build.buildpack_default_process_type = Some("web".to_owned());
    assert_eq!(entrypoint(&run), ["/cnb/process/web"]);
    Run { process_type: Some("other"), ..Run::new(&world) }
        .refused("tried to set other to default but it doesn't exist; there is 'web'");
}

#[test]
fn nothing_is_saved_when_an_export_is_refused() {
    let world = World::new();
    Run { process_type: Some("other"), ..Run::new(&world) }.refused("other");
    assert!(world.store.find(&reference("r.io/app")).expect("readable").is_none());
    assert_eq!(files(&world.path("cache")), [""; 0]);
}

#[test]
fn same_inputs_give_the_same_image_whatever_the_number_of_threads() {
    let digest = |threads| {
        let world = World::new();
        world.write("layers/a_b/z.toml", "[types]\nlaunch = true\ncache = true\n");
        world.write("layers/a_b/z/file", &"z".repeat(100_000));
        let run = Run { threads, ..Run::new(&world) };
        (
            run.export().0.expect("exported").image.digest,
            run.export().0.expect("exported").image.digest,
            world,
        )
    };
    let (one, again, _world) = digest(1);
    assert_eq!(one, again);
    let world = World::new();
    let exported = |threads| Run { threads, ..Run::new(&world) }.export().0.expect("exported").image.digest;
    assert_eq!(exported(1), exported(3));
}

#[test]
fn unchanged_layers_are_taken_from_the_previous_image() {
    let world = World::new();
    world.write("layers/a_b/z.toml", "[types]\nlaunch = true\n");
    world.write("layers/a_b/z/file", "z");
    let (first, _) = Run::new(&world).ok();
    let (second, log) = Run::new(&world).ok();
    assert_eq!(first.config, second.config);
    for line in [
        "Reusing layers from image '",
        "Reusing layer 'a/b:z'\n",
        "Reused 1/1 app layer(s)\n",
        "Reusing layer 'buildpacksio/lifecycle:launcher'\n",
        "Reusing layer 'buildpacksio/lifecycle:config'\n",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("Adding layer"), "{log}");
}

#[test]
fn layers_of_the_previous_image_get_the_media_types_of_the_new_one() {
    let world = World::new();
    let (first, _) = Run::new(&world).ok();
    let mut mixed = first.clone();
    for layer in &mut mixed.layers[1..] {
        layer.blob = layer.blob.take().map(|blob| blob.in_family(MediaFamily::Docker));
    }
    world.store.save(&mixed, &[reference("r.io/app")]).expect("saved");
    let (second, log) = Run::new(&world).ok();
    assert!(log.contains("Reused 1/1 app layer(s)"), "{log}");
    assert_eq!(
        second.layers.iter().map(|layer| &layer.blob).collect::<Vec<_>>(),
        first.layers.iter().map(|layer| &layer.blob).collect::<Vec<_>>()
    );
}

#[test]
fn application_layer_is_found_again_at_another_place() {
    let world = World::new();
    Run::new(&world).ok();
    let mut run = Run::new(&world);
    run.build.slices = BuildMetadata::parse("[[slices]]\npaths = ['nothing']\n").expect("valid").slices;
    let (image, log) = run.ok();
    assert!(log.contains("Reused 1/2 app layer(s)\nAdded 1/2 app layer(s)\n"), "{log}");
    assert_eq!(lifecycle_label(&image)["app"].as_array().map(Vec::len), Some(2));
}

#[test]
fn launch_layer_without_contents_is_the_previous_images() {
    let world = World::new();
    world.write("layers/a_b/z.toml", "[types]\nlaunch = true\n[metadata]\nv = 1\n");
    world.write("layers/a_b/z/file", "z");
    let (first, _) = Run::new(&world).ok();
    world.clear_layers();
    world.write("layers/a_b/z.toml", "[types]\nlaunch = true\n[metadata]\nv = 2\n");
    let (second, log) = Run::new(&world).ok();
    assert!(log.contains("Reusing layer 'a/b:z'\n"), "{log}");
    assert_eq!(second.layers[1].diff_id, first.layers[1].diff_id);
    assert_eq!(lifecycle_label(&second)["buildpacks"][0]["layers"]["z"]["data"]["v"], 2);
}

#[test]
fn a_launch_layer_is_replaced_by_its_directory_and_dropped_without_its_file() {
    let world = World::new();
    world.write("layers/a_b/z.toml", "[types]\nlaunch = true\n");
    world.write("layers/a_b/z/file", "z");
    let (first, _) = Run::new(&world).ok();
    world.write("layers/a_b/z/file", "another");
    let (second, log) = Run::new(&world).ok();
    assert!(log.contains("Adding layer 'a/b:z'\n"), "{log}");
    assert_eq!(second.layers.len(), first.layers.len());
    assert_ne!(second.layers[1].diff_id, first.layers[1].diff_id);
    world.write("layers/a_b/z.toml", "[types]\nbuild = true\n");
    assert_eq!(Run::new(&world).ok().0.layers.len(), first.layers.len() - 1);
    std::fs::remove_file(world.path("layers/a_b/z.toml")).expect("there");
    let (last, _) = Run::new(&world).ok();
    assert_eq!(last.layers.len(), first.layers.len() - 1);
    assert_eq!(lifecycle_label(&last)["buildpacks"][0]["layers"], serde_json::json!({}));
}

#[test]
fn store_of_a_buildpack_stands_in_the_label() {
    let world = World::new();
    world.write("layers/a_b/store.toml", "[metadata]\nkept = 7\n");
    world.write("layers/a_b/z.toml", "[types]\nlaunch = true\n");
    world.write("layers/a_b/z/file", "z");
    let (image, _) = Run::new(&world).ok();
    let label = &lifecycle_label(&image)["buildpacks"][0];
    assert_eq!((&label["key"], &label["version"]), (&"a/b".into(), &"1.2".into()));
    assert_eq!(label["store"]["metadata"]["kept"], 7);
    let layer = &label["layers"]["z"];
    assert_eq!(layer["sha"], image.layers[1].diff_id.to_string());
    assert_eq!(
        (&layer["launch"], &layer["build"], &layer["cache"]),
        (&true.into(), &false.into(), &false.into())
    );
}

#[test]
fn launch_layer_without_contents_and_without_a_past_is_refused() {
    let world = World::new();
    world.write("layers/a_b/z.toml", "[types]\nlaunch = true\n");
    Run::new(&world).refused("cannot reuse 'a/b:z', previous image has no metadata for layer 'a/b:z'");
    world.write("layers/a_b/z.toml", "[types]\nlaunch = true\ncache = true\n");
    Run::new(&world).refused("layer 'a/b:z' is cache=true but has no contents");
    world.write("layers/a_b/z.toml", "launch = true\n");
    Run::new(&world).refused("'[a/b:z]'");
}

#[test]
fn lifecycle_labels_cannot_be_replaced_by_buildpacks() {
    let world = World::new();
    let mut run = Run::new(&world);
    let labels = format!(
        "[[labels]]\nkey = '{BUILD_METADATA}'\nvalue = 'mine'\n[[labels]]\nkey = '{EXEC_ENV}'\nvalue = 'mine'\n\
         [[labels]]\nkey = 'my.label'\nvalue = 'first'\n[[labels]]\nkey = 'my.label'\nvalue = 'last'\n"
    );
    run.build.labels = BuildMetadata::parse(&labels).expect("valid").labels;
    let (image, log) = run.ok();
    assert!(log.contains(&format!("Warning: Ignoring label '{BUILD_METADATA}'")), "{log}");
    assert!(image.config.label(BUILD_METADATA).is_some_and(|label| label.starts_with('{')));
    assert_eq!(image.config.label(EXEC_ENV), Some("production"));
    assert_eq!(image.config.label(PROJECT_METADATA), Some("{}"));
    assert_eq!(image.config.label("my.label"), Some("last"));
}

#[test]
fn older_platforms_get_what_they_know() {
    let world = World::new();
    world.write("layers/sbom/launch/a_b/sbom.cdx.json", "{}");
    let (image, _) = Run { api: PlatformApi::V0_7, ..Run::new(&world) }.ok();
    let label = lifecycle_label(&image);
    assert!(
        label.get("sbom").is_none()
            && label.get("exec-env").is_none()
            && label["runImage"].get("image").is_none()
    );
    assert_eq!(label["stack"]["runImage"]["image"], "r.io/run");
    assert_eq!(image.config.label(EXEC_ENV), None);
    assert!(image.config.history().iter().all(|entry| entry.raw("created_by").is_none()));
    let build: serde_json::Value =
        serde_json::from_str(image.config.label(BUILD_METADATA).expect("a label")).expect("JSON");
    assert_eq!(build["processes"][0]["command"], "web");
    assert!(build["bom"].is_null() && build.get("bom").is_some());
    assert!(build["buildpacks"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn cache_holds_the_cached_layers_and_their_sbom() {
    let world = World::new();
    world.write("layers/a_b/z.toml", "[types]\ncache = true\nbuild = true\n[metadata]\nv = 1\n");
    world.write("layers/a_b/z/file", "z");
    world.write("layers/a_b/y.toml", "[types]\ncache = true\n");
    world.write("layers/sbom/cache/a_b/z/sbom.cdx.json", "{}");
    let (_, log) = Run::new(&world).ok();
    assert!(log.contains("Warning: Failed to cache layer 'a/b:y' because it has no contents\n"), "{log}");
    assert!(
        log.contains("Adding cache layer 'a/b:z'\nAdding cache layer 'buildpacksio/lifecycle:cache.sbom'\n"),
        "{log}"
    );
    let metadata = world.cache().metadata().expect("readable");
    let layer = &metadata.buildpacks[0].layers["z"];
    assert!(
        layer.cache && layer.build && !layer.launch && layer.data["v"] == 1 && !metadata.sbom.sha.is_empty()
    );
    let (_, log) = Run::new(&world).ok();
    assert!(log.contains("Reusing cache layer 'a/b:z'\nAdding cache layer 'a/b:z'\n"), "{log}");
}

#[test]
fn no_cache_is_fine() {
    let world = World::new();
    world.write("layers/a_b/z.toml", "[types]\ncache = true\n");
    world.write("layers/a_b/z/file", "z");
    let (_, log) = Run { caching: false, ..Run::new(&world) }.ok();
    assert!(!log.contains("cache"), "{log}");
}

#[test]
fn bills_of_materials_of_the_lifecycle_are_copied() {
    let world = World::new();
    world.write("lifecycle/launcher.sbom.cdx.json", "{\"launcher\":1}");
    world.write("lifecycle/lifecycle.sbom.spdx.json", "{\"lifecycle\":1}");
    let (_, log) = Run::new(&world).ok();
    assert!(log.contains("Warning: Did not find SBOM launcher.sbom.syft.json in "), "{log}");
    assert_eq!(
        files(&world.path("layers/sbom")),
        [
            "build/buildpacksio_lifecycle/sbom.spdx.json",
            "launch/buildpacksio_lifecycle/launcher/sbom.cdx.json"
        ]
    );
}

#[test]
fn extended_run_image_gives_its_layers_its_config_and_its_verdict() {
    let world = World::new();
    let base = world.image("r.io/run");
    world.save_image("r.io/extended", |image| {
        image.config.set_process_text("User", "2000");
        image.config.set_label("org.example", "extended");
    });
    let blob = world.path("layouts/r.io/extended/latest");
    std::fs::create_dir_all(world.path("extended/run")).expect("writable");
    std::fs::rename(blob, world.path("extended/run/sha256:1")).expect("writable");
    let run = Run { extended: Some(world.path("extended")), ..Run::new(&world) };
    let (image, _) = run.ok();
    assert_eq!(
        (image.config.user(), image.config.label("org.example")),
        ("2000".to_owned(), Some("extended"))
    );
    assert_eq!(image.config.label(REBASABLE), Some("false"));
    assert_eq!(image.layers[0].diff_id, base.layers[0].diff_id);
    assert_eq!(lifecycle_label(&image)["runImage"]["topLayer"], base.layers[0].diff_id.to_string());
    assert_eq!(image.config.label(footprints::LABEL), None, "this extender says nothing");
    std::fs::create_dir(world.path("extended/run/other")).expect("writable");
    run.refused("expected one image, found 2");
}

#[test]
fn layers_of_the_run_image_are_not_added_again_though_the_extended_one_has_their_blobs() {
    let world = World::new();
    let base = world.image("r.io/run");
    let added = world.layer(&reference("r.io/extended"), &[0; 2048]);
    world.save_image("r.io/extended", |image| {
        image.push_layer(added.clone(), "Layer: 'RUN x', Created by extension: e");
        // As an extender does whose layer without contents is the run image's.
        image.push_layer(base.layers[0].clone(), "Layer: 'ENV A=1', Created by extension: e");
    });
    std::fs::create_dir_all(world.path("extended/run")).expect("writable");
    std::fs::rename(world.path("layouts/r.io/extended/latest"), world.path("extended/run/sha256:1"))
        .expect("there");
    let (plain, _) = Run::new(&world).ok();
    let (image, _) = Run { extended: Some(world.path("extended")), ..Run::new(&world) }.ok();
    assert_eq!(image.layers.len(), plain.layers.len() + 2);
}

#[test]
fn footprints_of_extensions_stay_on_the_image_and_are_nobody_elses() {
    let world = World::new();
    world.save_image("r.io/run", |image| image.config.set_label(footprints::LABEL, "another's"));
    assert_eq!(Run::new(&world).ok().0.config.label(footprints::LABEL), None);
    let base = world.image("r.io/run");
    std::fs::create_dir_all(world.path("extended/run")).expect("writable");
    std::fs::rename(world.path("layouts/r.io/run/latest"), world.path("extended/run/sha256:1"))
        .expect("there");
    world.save_image("r.io/run", |image| *image = base.clone());
    let file = "extended/run/sha256:1/footprints.json";
    world.write(
        file,
        r#"[{"extension":"e","footprint":{"added":1,"overwrites":{"a":null},"whiteouts":["b"]}}]"#,
    );
    let mut run = Run { extended: Some(world.path("extended")), ..Run::new(&world) };
    let labels = format!("[[labels]]\nkey = '{}'\nvalue = 'mine'\n", footprints::LABEL);
    run.build.labels = BuildMetadata::parse(&labels).expect("valid").labels;
    let (image, log) = run.ok();
    let label = Footprints::parse(image.config.label(footprints::LABEL).expect("a label")).expect("ours");
    assert_eq!(label.base, Some(base.layers[0].diff_id.digest()));
    assert_eq!(label.extensions_at("a"), label.extensions_at("b"));
    assert!(
        log.contains("Ignoring label") && !image.config.label(footprints::LABEL).unwrap().contains("mine")
    );
    world.write(file, "[{}]");
    run.refused("extended run image in");
}
