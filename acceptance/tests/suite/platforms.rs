//! Builds as pack drives them, in containers: trusted and untrusted builders, to the engine, a registry
//! and a directory of layouts, each built, rebuilt with reuse, rebased, and asked over HTTP.

use acceptance::data::toml;
use acceptance::platforms::images::{Builder, Version, lifecycle_version};
use acceptance::platforms::pack::{Pack, Target};
use acceptance::sandbox::Outcome;
use serde_json::Value;

fn layout() -> Target {
    Target::Layout(tempfile::tempdir().expect("a temporary directory can be made"))
}

/// Both streams of all phases; fails unless all succeeded.
#[track_caller]
fn text(outcomes: Vec<Outcome>) -> String {
    outcomes.into_iter().map(|outcome| outcome.ok().text()).collect()
}

#[track_caller]
fn says(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

fn diff_ids(config: &Value) -> Vec<String> {
    let layers = config["RootFS"]["Layers"].as_array().into_iter().flatten();
    layers.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Builds, rebuilds and rebases; `page` is what the app answers.
#[track_caller]
fn check(pack: &Pack, page: &str, build: impl Fn() -> Vec<Outcome>) {
    let first = text(build());
    says(&first, &["Adding layer 'test/web:site'", "Adding cache layer 'test/web:tools'"]);
    let config = pack.image().config();
    answers(pack, page, "1\n");
    metadata(pack, &config);
    let again = text(build());
    says(
        &again,
        &[
            "Restoring data for \"test/web:tools\" from cache",
            "Restoring metadata for \"test/web:site\" from app image",
            "Tools: kept from the cache",
            "Reusing layer 'test/web:site'",
            "Reusing cache layer 'test/web:tools'",
        ],
    );
    assert!(!again.contains("Adding layer"), "{again}");
    assert_eq!(diff_ids(&config), diff_ids(&pack.image().config()));
    pack.publish_run_image(Version::Two);
    pack.rebase().ok();
    let rebased = diff_ids(&pack.image().config());
    assert_ne!(diff_ids(&config)[0], rebased[0]);
    assert_eq!(diff_ids(&config)[1..], rebased[1..]);
    answers(pack, page, "2\n");
}

#[track_caller]
fn answers(pack: &Pack, page: &str, base: &str) {
    let app = pack.image().serve();
    let answer = app.get("/layers/test_web/site/page");
    assert!(answer.ends_with(page), "{answer}");
    assert!(app.get("/base-version").ends_with(base));
}

/// What pack reads back: `inspect`, `sbom download`, `rebase`, `--report-output-dir`.
#[track_caller]
fn metadata(pack: &Pack, config: &Value) {
    let labels = &config["Config"]["Labels"];
    let label = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
    let lifecycle: Value = serde_json::from_str(&label("io.buildpacks.lifecycle.metadata")).expect("JSON");
    let sbom = lifecycle["sbom"]["sha"].as_str().expect("a diffID").to_owned();
    assert!(diff_ids(config).contains(&sbom), "the SBOM is a layer");
    let run = lifecycle["runImage"]["image"].as_str().expect("a name");
    assert!(run.ends_with("/run"), "{run}");
    assert!(label("io.buildpacks.lifecycle.metadata").contains(&format!("\"image\":\"{run}\"")));
    let build: Value = serde_json::from_str(&label("io.buildpacks.build.metadata")).expect("JSON");
    assert_eq!(build["launcher"]["version"], lifecycle_version());
    assert_eq!(
        label("io.buildpacks.project.metadata"),
        "{\"source\":{\"type\":\"project\",\"version\":{\"declared\":\"1.0.2\"},\
         \"metadata\":{\"url\":\"https://github.com/buildpacks/pack\"}}}"
    );
    assert_eq!(config["Config"]["Entrypoint"], serde_json::json!(["/cnb/process/web"]));
    let report = toml(&pack.report());
    assert_eq!(report["image"]["tags"].as_array().map(Vec::len), Some(pack.tags()), "{report}");
}

const PAGE: &str = "A page, says the builder\n";

#[test]
fn a_trusted_builder_builds_to_the_engine() {
    let pack = Pack::new(Target::Daemon, Builder::Plain);
    check(&pack, PAGE, || vec![pack.create()]);
}

#[test]
fn a_trusted_builder_builds_to_a_registry() {
    let pack = Pack::new(Target::Registry, Builder::Plain);
    check(&pack, PAGE, || vec![pack.create()]);
}

#[test]
fn a_trusted_builder_builds_to_layouts() {
    let pack = Pack::new(layout(), Builder::Plain);
    check(&pack, PAGE, || vec![pack.create()]);
}

#[test]
fn an_untrusted_builder_builds_to_the_engine() {
    let mut pack = Pack::new(Target::Daemon, Builder::Plain);
    check(&pack, PAGE, || pack.build());
    pack.clear_cache = true;
    let cleared = text(pack.build());
    says(&cleared, &["Skipping buildpack layer analysis", "Tools: installing"]);
}

#[test]
fn an_untrusted_builder_builds_to_a_registry() {
    let pack = Pack::new(Target::Registry, Builder::Plain);
    check(&pack, PAGE, || pack.build());
}

#[test]
fn an_untrusted_builder_builds_to_layouts() {
    let pack = Pack::new(layout(), Builder::Plain);
    check(&pack, PAGE, || pack.build());
}

#[test]
fn a_cache_image_is_used_though_a_directory_is_named_too() {
    let mut pack = Pack::new(Target::Registry, Builder::Plain);
    pack.cache_image = true;
    check(&pack, PAGE, || pack.build());
    pack.publish_run_image(Version::One);
    let created = text(vec![pack.create()]);
    says(&created, &["Tools: kept from the cache", "Reusing cache layer 'test/web:tools'"]);
}

const EXTENDED: &str = "A page, says the builder\ngreeting of the build image\n";

/// As [`check`], with an extension that changes build and run image.
#[track_caller]
fn check_extended(pack: &Pack, build: impl Fn() -> Vec<Outcome>) {
    text(build());
    let config = pack.image().config();
    answers(pack, EXTENDED, "1\n");
    assert!(pack.image().serve().get("/greeting-of-run").ends_with("greeting of the run image\n"));
    let again = text(build());
    says(&again, &["Tools: kept from the cache", "Reusing layer 'test/web:site'"]);
    assert_eq!(diff_ids(&config), diff_ids(&pack.image().config()), "extensions give the same layers again");
    // The extension does not say that what it did may be put on another base.
    pack.publish_run_image(Version::Two);
    pack.rebase().expect_code(72).says("rebasable");
}

#[test]
fn an_untrusted_builder_with_an_extension_builds_to_a_registry() {
    let pack = Pack::new(Target::Registry, Builder::WithExtension);
    check_extended(&pack, || pack.build());
}

#[test]
fn an_untrusted_builder_with_an_extension_builds_to_the_engine() {
    let pack = Pack::new(Target::Daemon, Builder::WithExtension);
    check_extended(&pack, || pack.build());
}

#[test]
fn a_trusted_builder_with_an_extension_builds_to_a_registry() {
    let pack = Pack::new(Target::Registry, Builder::WithExtension);
    check_extended(&pack, || vec![pack.create()]);
}

#[test]
fn a_trusted_builder_with_an_extension_builds_to_the_engine() {
    let pack = Pack::new(Target::Daemon, Builder::WithExtension);
    check_extended(&pack, || vec![pack.create()]);
}

#[test]
fn an_untrusted_builder_with_an_extension_builds_to_layouts() {
    let pack = Pack::new(layout(), Builder::WithExtension);
    check_extended(&pack, || pack.build());
}

#[test]
fn a_trusted_builder_with_an_extension_builds_to_layouts() {
    let pack = Pack::new(layout(), Builder::WithExtension);
    check_extended(&pack, || vec![pack.create()]);
}
