//! Builds through the `pack` on PATH, where there is one: what a user of it sees of our lifecycle, from the
//! builder that pack makes of it to the rebase and the inspection that pack does itself.

use std::fs;

use acceptance::data::toml;
use acceptance::platforms::engine::AppImage;
use acceptance::platforms::images::{Builder, Version, lifecycle_version};
use acceptance::platforms::real_pack::{RealPack, Trust};
use acceptance::sandbox::Outcome;
use serde_json::Value;

const FIRST: [&str; 3] = ["===> EXPORTING", "Adding layer 'test/web:site'", "Successfully built image"];
const AGAIN: [&str; 4] = [
    "Restoring data for \"test/web:tools\" from cache",
    "Tools: kept from the cache",
    "Reusing layer 'test/web:site'",
    "Reusing cache layer 'test/web:tools'",
];

#[track_caller]
fn says(outcome: Outcome, lines: &[&str]) -> Outcome {
    lines.iter().fold(outcome.ok(), |outcome, line| outcome.says(line))
}

#[track_caller]
fn answers(app: &AppImage, page: &str, base: &str) {
    let app = app.serve();
    let answer = app.get("/layers/test_web/site/page");
    assert!(answer.ends_with(page), "{answer}");
    assert!(app.get("/base-version").ends_with(base));
}

/// Builds, rebuilds, inspects and rebases in the engine.
#[track_caller]
fn check_engine(pack: &RealPack, trust: Trust) {
    let image = pack.name("app");
    pack.publish_run_image(Version::One);
    says(pack.build(trust, &image, &[]), &FIRST);
    answers(&pack.in_engine("app"), "A page, says nobody\n", "1\n");
    let again = says(pack.build(trust, &image, &[]), &AGAIN);
    assert!(!again.text().contains("Adding layer"), "{}", again.text());
    inspected(pack, &image, "local_info");
    pack.publish_run_image(Version::Two);
    says(pack.run(&["rebase", &image, "--pull-policy", "never"]), &["Successfully rebased image"]);
    answers(&pack.in_engine("app"), "A page, says nobody\n", "2\n");
    says(pack.build(trust, &image, &[]), &AGAIN);
}

/// The same in the registry; what pack saves with credentials is looked at through the engine.
#[track_caller]
fn check_registry(pack: &RealPack, trust: Trust) {
    let (image, cache) = (pack.name("published"), pack.name("cache"));
    let publish = ["--publish", "--cache-image", &cache];
    pack.publish_run_image(Version::One);
    says(pack.build(trust, &image, &publish), &FIRST);
    answers(&pack.pulled("published"), "A page, says nobody\n", "1\n");
    let again = says(pack.build(trust, &image, &publish), &AGAIN);
    assert!(!again.text().contains("Adding layer"), "{}", again.text());
    inspected(pack, &image, "remote_info");
    pack.publish_run_image(Version::Two);
    says(pack.run(&["rebase", &image, "--publish"]), &["Successfully rebased image"]);
    answers(&pack.pulled("published"), "A page, says nobody\n", "2\n");
}

/// What pack reads of an image: its labels, and the bills of materials in its layer.
#[track_caller]
fn inspected(pack: &RealPack, image: &str, place: &str) {
    let shown = pack.run(&["inspect", image, "--output", "json"]).ok().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"));
    let info = &shown[place];
    assert_eq!(info["stack"], "test.stack", "{shown}");
    assert_eq!(info["rebasable"], true, "{shown}");
    assert_eq!(info["run_images"][0]["name"], pack.name("run"), "{shown}");
    assert!(info["base_image"]["reference"].as_str().is_some_and(|text| !text.is_empty()), "{shown}");
    assert_eq!(info["buildpacks"][0]["homepage"], "https://example.org/web", "{shown}");
    let process = &info["processes"][0];
    assert_eq!((&process["type"], &process["command"]), (&"web".into(), &"busybox".into()), "{shown}");
    let directory = pack.path(&format!("sbom-{place}"));
    let mut download = vec!["sbom", "download", image, "--output-dir", directory.to_str().expect("UTF-8")];
    download.extend((place == "remote_info").then_some("--remote"));
    pack.run(&download).ok();
    let bill = fs::read_to_string(directory.join("layers/sbom/launch/test_web/site/sbom.cdx.json"));
    assert!(bill.expect("pack has brought it").contains("CycloneDX"));
}

#[test]
fn pack_makes_a_builder_and_builds_by_the_creator() {
    let Some(pack) = RealPack::find(Builder::Plain) else { return };
    let builder = pack.run(&["builder", "inspect", &pack.name("builder"), "--output", "json"]).ok().stdout;
    let builder: Value = serde_json::from_str(&builder).expect("JSON");
    let lifecycle = &builder["local_info"]["lifecycle"];
    assert_eq!(lifecycle["version"], lifecycle_version(), "{builder}");
    assert!(lifecycle["platform_apis"]["supported"].to_string().contains("\"0.15\""), "{builder}");
    check_engine(&pack, Trust::Trusted);
    check_registry(&pack, Trust::Trusted);
}

#[test]
fn pack_builds_by_five_phases() {
    let Some(pack) = RealPack::find(Builder::Plain) else { return };
    check_engine(&pack, Trust::Untrusted);
    check_registry(&pack, Trust::Untrusted);
    let cleared = pack.build(Trust::Untrusted, &pack.name("app"), &["--clear-cache"]);
    says(cleared, &["Skipping buildpack layer analysis", "Tools: installing"]);
}

#[test]
fn pack_builds_to_layouts() {
    let Some(pack) = RealPack::find(Builder::Plain) else { return };
    says(pack.build_layout(), &FIRST);
    says(pack.build_layout(), &AGAIN);
    answers(&pack.load_layout(), "A page, says nobody\n", "1\n");
}

#[test]
fn pack_builds_with_extensions() {
    let Some(pack) = RealPack::find(Builder::WithExtension) else { return };
    let page = "A page, says nobody\ngreeting of the build image\n";
    for (trust, publish) in [
        (Trust::Untrusted, &[][..]),
        (Trust::Untrusted, &["--publish"]),
        (Trust::Trusted, &[]),
        (Trust::Trusted, &["--publish"]),
    ] {
        let image = format!("{trust:?}-{}", publish.len()).to_lowercase();
        let name = pack.name(&image);
        says(pack.build(trust, &name, publish), &FIRST);
        says(pack.build(trust, &name, publish), &["Tools: kept", "Reusing layer 'test/web:site'"]);
        let app = if publish.is_empty() { pack.in_engine(&image) } else { pack.pulled(&image) };
        answers(&app, page, "1\n");
        assert!(app.serve().get("/greeting-of-run").ends_with("greeting of the run image\n"));
    }
    let name = pack.name("untrusted-0");
    pack.run(&["rebase", &name, "--pull-policy", "never"]).expect_code(1).says("not marked as rebasable");
}

#[test]
fn what_pack_is_told_reaches_the_image() {
    let Some(pack) = RealPack::find(Builder::Plain) else { return };
    let (previous, image, tag) = (pack.name("app"), pack.name("told"), pack.name("told:second"));
    pack.build(Trust::Trusted, &previous, &[]).ok();
    fs::create_dir_all(pack.path("binding")).expect("the directory is ours");
    fs::write(pack.path("binding/type"), "test").expect("the directory is ours");
    let volume = format!("{}:/platform/bindings/test", pack.path("binding").display());
    for (trust, out) in [(Trust::Trusted, "out-trusted"), (Trust::Untrusted, "out-untrusted")] {
        let out = pack.path(out);
        fs::create_dir_all(&out).expect("the directory is ours");
        let out = out.to_str().expect("UTF-8");
        let told = [
            ["--env", "SPEAKER=pack"],
            ["--volume", &volume],
            ["--creation-time", "1700000000"],
            ["--previous-image", &previous],
            ["--tag", &tag],
            ["--default-process", "web"],
            ["--workspace", "elsewhere"],
            ["--exec-env", "test"],
            ["--report-output-dir", out],
            ["--sbom-output-dir", out],
        ];
        pack.build(trust, &image, &told.concat()).ok();
        let config = pack.in_engine("told").config();
        assert_eq!(config["Created"], "2023-11-14T22:13:20Z");
        assert_eq!(config["Config"]["WorkingDir"], "/elsewhere");
        assert_eq!(config["Config"]["Labels"]["io.buildpacks.exec-env"], "test");
        assert_eq!(config["Id"], pack.in_engine("told:second").config()["Id"]);
        let report = toml(&fs::read_to_string(format!("{out}/report.toml")).expect("pack has brought it"));
        assert_eq!(report["image"]["tags"], serde_json::json!([image, tag]));
        assert_eq!(report["image"]["image-id"], config["Id"]);
        assert!(
            fs::exists(format!("{out}/sbom/launch/test_web/site/sbom.cdx.json")).is_ok_and(|there| there)
        );
        answers(&pack.in_engine("told"), "A page, says pack\n", "1\n");
    }
}
