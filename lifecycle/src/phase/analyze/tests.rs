//! Tests of analyses, of layouts in a temporary directory.

use super::*;
use crate::log::Level;
use crate::phase::world::{API, World, reference};

fn run(
    world: &World,
    api: PlatformApi,
    run_image: &RunImageChoice,
) -> (Result<Analyzed, AnalyzeError>, String) {
    let (log, buffer) = Log::buffer(Level::Info);
    let inputs = Analyze {
        api,
        store: &world.store,
        kind: StoreKind::Layout,
        previous_image: &reference("r.io/app"),
        names: &[reference("r.io/app")],
        cache_image: None,
        run_image,
        layers: &world.path("layers"),
        sbom: Sbom::Restore,
    };
    (analyze(&inputs, &log), buffer.text())
}

fn named(name: &str) -> RunImageChoice {
    RunImageChoice::Named(name.to_owned())
}

fn one_of(names: &[&str]) -> RunImageChoice {
    let mut names = names.iter().map(|name| (*name).to_owned());
    let images = MirroredImage { image: names.next().unwrap_or_default(), mirrors: names.collect() };
    RunImageChoice::OneOf { images, registry: "r.io".to_owned() }
}

#[track_caller]
fn ok(world: &World, run_image: &RunImageChoice) -> (Analyzed, String) {
    let (analyzed, log) = run(world, API, run_image);
    (analyzed.expect("analyzed"), log)
}

#[track_caller]
fn refused(world: &World, run_image: &RunImageChoice, text: &str) {
    let error = chain(&run(world, API, run_image).0.expect_err("refused"));
    assert!(error.contains(text), "{error}");
}

#[test]
fn first_build_has_a_run_image_and_no_previous_image() {
    let world = World::new();
    world.save_image("r.io/run", |image| {
        image.config.set_label("io.buildpacks.base.distro.name", "ubuntu");
        image.config.set_label("io.buildpacks.base.distro.version", "24.04");
    });
    let (analyzed, log) = ok(&world, &named("r.io/run"));
    let path = world.path("layouts/r.io/app/latest");
    assert_eq!(log, format!("Image with name \"{}\" not found\n", path.display()));
    let run_image = analyzed.run_image.expect("a run image");
    assert!(
        run_image.reference.starts_with(&*world.path("layouts/r.io/run/latest@sha256:").to_string_lossy())
    );
    let target = run_image.target.expect("a target");
    assert_eq!(
        (run_image.image.as_str(), target.os.as_str(), target.arch.as_str()),
        ("r.io/run", "linux", "amd64")
    );
    assert_eq!(target.distro.map(|distro| distro.version).as_deref(), Some("24.04"));
    assert_eq!((analyzed.previous_image, analyzed.metadata), (None, LifecycleMetadata::default()));
}

#[test]
fn metadata_of_the_previous_image_is_passed_on() {
    let world = World::new();
    world.save_image("r.io/app", |image| {
        let label = r#"{"buildpacks":[{"key":"a/b","version":"1","layers":{}}]}"#;
        image.config.set_label(labels::LIFECYCLE_METADATA, label);
    });
    let (analyzed, _) = ok(&world, &named("r.io/run"));
    assert_eq!(analyzed.metadata.buildpacks[0].key, "a/b");
    assert!(analyzed.previous_image.expect("found").contains("/r.io/app/latest@sha256:"));
}

#[test]
fn metadata_of_another_execution_environment_is_used() {
    let world = World::new();
    world.save_image("r.io/app", |image| {
        let label = r#"{"exec-env":"test","buildpacks":[{"key":"a/b","version":"1","layers":{}}]}"#;
        image.config.set_label(labels::LIFECYCLE_METADATA, label);
    });
    let (analyzed, _) = ok(&world, &named("r.io/run"));
    assert_eq!(analyzed.metadata.exec_env.as_deref(), Some("test"));
    assert_eq!(analyzed.metadata.buildpacks.len(), 1);
}

#[test]
fn previous_image_that_nobody_understands_is_as_good_as_none() {
    let world = World::new();
    world.save_image("r.io/app", |image| image.config.set_label(labels::LIFECYCLE_METADATA, "{"));
    let (analyzed, log) = ok(&world, &named("r.io/run"));
    assert_eq!((analyzed.previous_image, analyzed.metadata), (None, LifecycleMetadata::default()));
    assert!(log.contains("Warning: Ignoring the previous image"), "{log}");
    world.save_image("r.io/app", |_| {});
    let (analyzed, _) = ok(&world, &named("r.io/run"));
    assert_eq!(analyzed.metadata, LifecycleMetadata::default());
}

#[test]
fn sbom_layer_that_is_missing_costs_a_warning() {
    let world = World::new();
    world.save_image("r.io/app", |image| {
        let sha = format!("sha256:{}", "0".repeat(64));
        image.config.set_label(labels::LIFECYCLE_METADATA, &format!(r#"{{"sbom":{{"sha":"{sha}"}}}}"#));
    });
    let (_, log) = ok(&world, &named("r.io/run"));
    assert!(log.contains("Warning: Skipping restore of SBOM from previous image"), "{log}");
}

#[test]
fn run_image_that_is_missing_is_refused() {
    let world = World::new();
    refused(&world, &named("r.io/none"), "getting run image `r.io/none`: `r.io/none` was not found");
    refused(&world, &one_of(&["r.io/none", "m.io/none"]), "failed to find accessible run image");
    refused(&world, &one_of(&[]), "missing run image metadata (-run-image)");
    refused(&world, &named("r.io/UPPER"), "could not parse reference");
}

#[test]
fn mirror_on_the_application_s_registry_comes_first() {
    let world = World::new();
    world.save_image("m.io/run", |_| {});
    let taken = |names: &[&str]| ok(&world, &one_of(names)).0.run_image.expect("a run image").image;
    assert_eq!(taken(&["m.io/run", "r.io/run"]), "r.io/run");
    assert_eq!(taken(&["m.io/run", "r.io/none"]), "m.io/run");
    assert_eq!(taken(&["x.io/none", "m.io/run"]), "m.io/run");
}

#[test]
fn run_image_without_operating_system_is_refused_where_targets_are() {
    let world = World::new();
    world.save_image("r.io/run", |image| image.config.set_text("os", ""));
    refused(&world, &named("r.io/run"), "failed to find OS in run image config");
    let analyzed = run(&world, PlatformApi::V0_11, &named("r.io/run")).0.expect("analyzed");
    let run_image = analyzed.run_image.expect("a run image");
    assert_eq!((run_image.image.as_str(), run_image.target), ("", None));
}
