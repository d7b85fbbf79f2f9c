//! Builds as kpack and Tekton drive them: unprivileged containers of the builder image, images in a
//! registry with accounts, each built, rebuilt with reuse, rebased, and asked over HTTP.

use acceptance::data::toml;
use acceptance::platforms::images::{Builder, Version, lifecycle_version};
use acceptance::platforms::kpack::{Cache, Kpack};
use acceptance::platforms::pod::Pod;
use acceptance::platforms::tekton::Tekton;
use acceptance::sandbox::Outcome;
use serde_json::Value;

#[track_caller]
fn text(outcomes: Vec<Outcome>) -> String {
    outcomes.into_iter().map(|outcome| outcome.ok().text()).collect()
}

#[track_caller]
fn reused(text: &str, lines: &[&str]) {
    for line in lines.iter().chain(&["Reusing layer 'test/web:site'"]) {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("Adding layer"), "{text}");
}

const CACHED: [&str; 3] = [
    "Restoring data for \"test/web:tools\" from cache",
    "Tools: kept from the cache",
    "Reusing cache layer 'test/web:tools'",
];

#[track_caller]
fn answers(pod: &Pod, page: &str, base: &str) {
    let app = pod.image().serve();
    let answer = app.get("/layers/test_web/site/page");
    assert!(answer.ends_with(page), "{answer}");
    assert!(app.get("/base-version").ends_with(base));
}

fn label(config: &Value, name: &str) -> Value {
    let text = config["Config"]["Labels"][name].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

#[track_caller]
fn check_kpack(api: &'static str, cache: Cache) {
    let kpack = Kpack::new(api, cache);
    text(kpack.build());
    answers(&kpack.pod, "A page, says kpack\n", "1\n");
    // What its completion step reads.
    let config = kpack.pod.image().config();
    assert_eq!(label(&config, "io.buildpacks.stack.id"), "test.stack");
    let build = label(&config, "io.buildpacks.build.metadata");
    assert_eq!(build["launcher"]["version"], lifecycle_version());
    assert_eq!(build["buildpacks"][0]["homepage"], "https://example.org/web");
    let lifecycle = label(&config, "io.buildpacks.lifecycle.metadata");
    for place in ["/runImage/reference", "/stack/runImage/image"] {
        let name = lifecycle.pointer(place).and_then(Value::as_str).unwrap_or_default();
        assert!(name.starts_with(&kpack.pod.name("run")), "{place} is {name:?}");
    }
    let report = toml(&kpack.pod.read("report/report.toml"));
    assert_eq!(report["image"]["tags"][0], kpack.pod.name("app"));
    assert_eq!(report["image"]["digest"], kpack.pod.digest("app"));
    reused(&text(kpack.build()), &CACHED);
    kpack.rebase(Version::Two).ok();
    let report = toml(&kpack.pod.read("report/report.toml"));
    assert_eq!(report["image"]["digest"], kpack.pod.digest("app"));
    answers(&kpack.pod, "A page, says kpack\n", "2\n");
}

#[test]
fn kpack_builds_at_platform_0_9_with_a_volume() {
    check_kpack("0.9", Cache::Volume);
}

#[test]
fn kpack_builds_at_platform_0_9_with_a_cache_image() {
    check_kpack("0.9", Cache::Registry);
}

#[test]
fn kpack_builds_at_platform_0_8() {
    check_kpack("0.8", Cache::Volume);
}

#[test]
fn kpack_builds_at_platform_0_7() {
    check_kpack("0.7", Cache::Registry);
}

#[track_caller]
fn check_tekton(tekton: &Tekton, build: impl Fn() -> Vec<Outcome>) {
    text(build());
    assert_eq!(tekton.result(), tekton.pod.digest("app"));
    answers(&tekton.pod, "A page, says Tekton\n", "1\n");
    reused(&text(build()), if tekton.cached { &CACHED } else { &["Tools: installing"] });
    tekton.rebase(Version::Two).ok();
    answers(&tekton.pod, "A page, says Tekton\n", "2\n");
}

#[test]
fn tekton_builds_in_one_step_with_empty_flags() {
    let mut tekton = Tekton::new(Builder::WithoutRunToml);
    tekton.cached = false;
    check_tekton(&tekton, || vec![tekton.create()]);
}

#[test]
fn tekton_builds_in_one_step_with_a_cache() {
    let tekton = Tekton::new(Builder::Plain);
    check_tekton(&tekton, || vec![tekton.create()]);
}

#[test]
fn tekton_builds_phase_by_phase() {
    let tekton = Tekton::new(Builder::Plain);
    check_tekton(&tekton, || tekton.build());
}

#[test]
fn tekton_builds_phase_by_phase_without_a_cache() {
    let mut tekton = Tekton::new(Builder::Plain);
    tekton.cached = false;
    check_tekton(&tekton, || tekton.build());
}

#[test]
fn tekton_extends_the_build_image_in_place_of_the_builder() {
    let tekton = Tekton::new(Builder::WithExtension);
    for _ in 0..2 {
        text(tekton.build());
        assert_eq!(tekton.result(), tekton.pod.digest("app"));
    }
    answers(&tekton.pod, "A page, says Tekton\ngreeting of the build image\n", "1\n");
}
