//! Tests of the rules of a rebase.

use super::*;
use crate::digest::Digest;
use crate::files::damage::damaged;
use crate::image::manifest::{Encoding, MediaFamily};
use crate::image::{Descriptor, ImageConfig, Layer, Origin};
use crate::reference::{ImageName, StoreKind};

const NEW: PlatformApi = PlatformApi::V0_15;
const OLD: PlatformApi = PlatformApi::V0_9;

fn diff_id(layer: &str) -> DiffId {
    DiffId::new(Digest::of(layer.as_bytes()))
}

fn image(layers: &[&str], labels: &[(&str, &str)]) -> Image {
    let mut image = Image::new(ImageConfig::new("linux", "amd64"));
    for layer in layers {
        let blob = Descriptor::new(MediaFamily::Oci.layer(Encoding::Gzip), 1, diff_id(layer).digest());
        let origin = Origin::Sent;
        image.push_layer(Layer { diff_id: diff_id(layer), blob: Some(blob), origin }, layer);
    }
    for (label, value) in labels {
        image.config.set_label(label, value);
    }
    image
}

fn base(labels: &[(&str, &str)]) -> Image {
    let name = format!("r.io/run@{}", Digest::of(b"new"));
    Image { name: ImageName::recorded(StoreKind::Registry, &name).ok(), ..image(&["b1", "b2"], labels) }
}

/// An app image built by `api` on a base of one layer.
fn app(api: &str, labels: &[(&str, &str)]) -> Image {
    let mut app = image(&["old", "app", "config"], labels);
    if !api.is_empty() {
        app.config.set_env("CNB_PLATFORM_API", api);
    }
    if app.config.label(labels::LIFECYCLE_METADATA).is_none() {
        let metadata = format!(
            r#"{{"x":{{"z":1.0,"a":1e3}},"app":[{{"sha":"{}"}}],"config":{{"sha":"{}"}},"runImage":{{"topLayer":"{}","reference":"old","image":"r.io/run","mirrors":["m.io/run"],"y":12345678901234567890123}},"stack":{{"runImage":{{"image":"s.io/run"}},"w":"<"}}}}"#,
            diff_id("app"),
            diff_id("config"),
            diff_id("old")
        );
        app.config.set_label(labels::LIFECYCLE_METADATA, &metadata);
    }
    app
}

fn run(
    app: &Image,
    base: &Image,
    name: &str,
    platform: PlatformApi,
    force: Force,
) -> Result<Rebased, RebaseError> {
    rebase(&Rebase { app, base, base_name: name, platform, force })
}

#[track_caller]
fn check_layers(app: &Image, expected: &[&str]) {
    let rebased = run(app, &base(&[]), "r.io/run", NEW, Force::No).expect("rebased").image;
    let expected: Vec<DiffId> = expected.iter().copied().map(diff_id).collect();
    assert_eq!(rebased.config.diff_ids(), expected);
    assert_eq!(rebased.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>(), expected);
    assert_eq!(rebased.config.history().len(), expected.len());
    assert_eq!(rebased.name, None);
}

#[test]
fn layers_up_to_the_top_layer_are_swapped() {
    check_layers(&app("0.15", &[]), &["b1", "b2", "app", "config"]);
}

#[test]
fn a_top_layer_that_occurs_twice_is_the_one_below_the_apps_layers() {
    let metadata = app("0.15", &[]).config.label(labels::LIFECYCLE_METADATA).expect("metadata").to_owned();
    let labels = [(labels::LIFECYCLE_METADATA, metadata.as_str())];
    let rebuilt = |layers: &[&str], labels: &[(&str, &str)]| {
        let mut image = image(layers, labels);
        image.config.set_env("CNB_PLATFORM_API", "0.15");
        image
    };
    check_layers(&rebuilt(&["old", "x", "old", "app", "config"], &labels), &["b1", "b2", "app", "config"]);
    let extensions = (labels::BUILD_METADATA, r#"{"extensions":[{"id":"e"}]}"#);
    let labels = [labels[0], extensions];
    check_layers(
        &rebuilt(&["old", "x", "old", "app", "config"], &labels),
        &["b1", "b2", "x", "old", "app", "config"],
    );
    let chain = chain_id(&["old", "x", "old"].map(diff_id)).expect("layers");
    let footprints = format!(r#"{{"base":"{chain}"}}"#);
    let labels = [labels[0], extensions, (footprints::LABEL, footprints.as_str())];
    check_layers(
        &rebuilt(&["old", "x", "old", "old", "extension", "app", "config"], &labels),
        &["b1", "b2", "old", "extension", "app", "config"],
    );
}

#[test]
fn unknown_keys_of_the_metadata_are_kept_as_they_were() {
    let app = app("0.15", &[]);
    let old = app.config.label(labels::LIFECYCLE_METADATA).expect("metadata");
    let rebased = run(&app, &base(&[]), "m.io/run", NEW, Force::No).expect("rebased").image;
    let reference = format!("r.io/run@{}", Digest::of(b"new"));
    let expected = old
        .replace(&diff_id("old").to_string(), &diff_id("b2").to_string())
        .replace(r#""reference":"old""#, &format!(r#""reference":"{reference}""#));
    assert_eq!(rebased.config.label(labels::LIFECYCLE_METADATA), Some(expected.as_str()));
}

#[test]
fn the_rest_of_config_and_manifest_is_kept() {
    let mut app = app("0.15", &[("own", "1")]);
    app.family = MediaFamily::Docker;
    app.manifest = JsonObject::parse(r#"{"annotations":{"a":"1.0"}}"#).expect("an object");
    app.config.stamp("2001-01-01T00:00:00Z", HistoryRule::Keep);
    let mut base = base(&[("other", "2")]);
    base.config.set_env("PATH", "/new");
    base.config.set_process_text("User", "root");
    let rebased = run(&app, &base, "r.io/run", NEW, Force::No).expect("rebased").image;
    assert_eq!((rebased.config.env(), rebased.config.user()), (app.config.env(), app.config.user()));
    assert_eq!((rebased.config.label("own"), rebased.config.label("other")), (Some("1"), None));
    assert_eq!(rebased.config.created(), "2001-01-01T00:00:00Z");
    assert_eq!((&rebased.manifest, rebased.family), (&app.manifest, MediaFamily::Docker));
    let media_type = |layer: usize| rebased.layers[layer].blob.as_ref().map(|blob| blob.media_type.as_str());
    assert_eq!(media_type(0), Some(MediaFamily::Docker.layer(Encoding::Gzip)));
    assert_eq!(rebased.layers[2..], app.layers[1..]);
    let created = |entry: &JsonObject| entry.get::<String>("created").ok().flatten();
    let all = rebased.config.history().iter().map(created).collect::<Vec<_>>();
    assert_eq!(all, vec![Some("2001-01-01T00:00:00Z".to_owned()); 4]);
}

#[track_caller]
fn check_labels(platform: PlatformApi, expected: &[(&str, Option<&str>)]) {
    let old = [
        ("io.buildpacks.stack.id", "s"),
        ("io.buildpacks.stack.gone", "1"),
        ("io.buildpacks.base.gone", "1"),
        ("io.buildpacks.base.both", "old"),
        ("io.buildpacks.rebasable", "true"),
    ];
    let new = [
        ("io.buildpacks.stack.id", "s"),
        ("io.buildpacks.stack.new", "2"),
        ("io.buildpacks.base.both", "new"),
        ("io.buildpacks.rebasable", "maybe"),
    ];
    let rebased = run(&app("", &old), &base(&new), "r.io/run", platform, Force::No).expect("rebased").image;
    for (label, value) in expected {
        assert_eq!(rebased.config.label(label), *value, "{label}");
    }
}

#[test]
fn labels_of_the_base_become_those_of_the_new_base() {
    let both = [
        ("io.buildpacks.stack.gone", None),
        ("io.buildpacks.stack.new", Some("2")),
        ("io.buildpacks.rebasable", Some("true")),
    ];
    check_labels(NEW, &both);
    check_labels(NEW, &[("io.buildpacks.base.gone", None), ("io.buildpacks.base.both", Some("new"))]);
    check_labels(OLD, &both);
    check_labels(OLD, &[("io.buildpacks.base.gone", Some("1")), ("io.buildpacks.base.both", Some("old"))]);
}

/// Expects an error that begins with `expected`, and success with a warning when forced.
#[track_caller]
fn check_forced(app: &Image, base: &Image, name: &str, expected: &str) -> Image {
    let error = run(app, base, name, NEW, Force::No).expect_err("refused").to_string();
    let text = error.strip_suffix("; please provide -force to override").expect("advice");
    assert!(text.starts_with(expected), "{text}");
    let rebased = run(app, base, name, NEW, Force::Yes).expect("forced");
    assert_eq!(rebased.warnings, [text]);
    rebased.image
}

#[test]
fn an_image_that_says_it_is_not_rebasable_needs_force() {
    for api in ["0.12", "0.15"] {
        let app = app(api, &[(labels::REBASABLE, "false")]);
        check_forced(&app, &base(&[]), "r.io/run", "app image is not marked as rebasable");
    }
    for value in ["true", "", "no"] {
        assert!(
            run(&app("0.15", &[(labels::REBASABLE, value)]), &base(&[]), "r.io/run", NEW, Force::No).is_ok()
        );
    }
}

#[test]
fn another_target_needs_force_and_then_is_the_new_bases() {
    let mut base = base(&[(labels::DISTRO_NAME, "debian"), (labels::DISTRO_VERSION, "13")]);
    base.config.set_text("architecture", "arm64");
    base.config.set_text("os.version", "7");
    let mut app = app("0.12", &[(labels::DISTRO_NAME, "ubuntu")]);
    app.config.set_text("variant", "v2");
    let expected = r#"unable to satisfy target os/arch constraints; new run image: {"os":"linux","arch":"arm64","distro":{"name":"debian","version":"13"}}, old run image: {"os":"linux","arch":"amd64","arch-variant":"v2","distro":{"name":"ubuntu""#;
    let rebased = check_forced(&app, &base, "r.io/run", expected);
    let target = rebased.config.target();
    assert_eq!((target.arch.as_str(), target.variant.as_str()), ("arm64", ""));
    assert_eq!(target.distro.map(|distro| distro.name).as_deref(), Some("debian"));
    assert!(rebased.config.to_json().contains(r#""os.version":"7""#));
}

#[test]
fn a_variant_is_taken_from_the_new_base_or_stays() {
    let mut app = app("0.12", &[]);
    let variant = |app: &Image, base: &Image| {
        run(app, base, "r.io/run", NEW, Force::No).expect("rebased").image.config.variant()
    };
    let mut new = base(&[]);
    new.config.set_text("variant", "v2");
    assert_eq!(variant(&app, &new), "v2");
    app.config.set_text("variant", "v2");
    assert_eq!(variant(&app, &base(&[])), "v2");
}

#[test]
fn a_base_that_is_not_listed_needs_force_and_is_then_the_only_one() {
    let app = app("0.15", &[]);
    for name in
        ["r.io/run", "r.io/run:latest", "m.io/run", "s.io/run", &format!("r.io/run@{}", Digest::of(b""))]
    {
        assert!(run(&app, &base(&[]), name, NEW, Force::No).is_ok(), "{name}");
    }
    let rebased = check_forced(
        &app,
        &base(&[]),
        "r.io/other",
        "rebase app image: new base image 'r.io/other' not found in existing run image metadata: {\"topLayer\":",
    );
    let label = rebased.config.label(labels::LIFECYCLE_METADATA).expect("metadata");
    assert!(label.contains(r#""image":"r.io/other","y":12345678901234567890123}"#), "{label}");
    assert!(label.contains(r#""stack":{"runImage":{"image":"r.io/other"},"w":"<"}"#), "{label}");
}

#[test]
fn callers_before_0_12_may_take_any_base() {
    let labels = [(labels::STACK_ID, "s")];
    let rebased = run(&app("0.9", &labels), &base(&labels), "r.io/other", OLD, Force::No).expect("rebased");
    let label = rebased.image.config.label(labels::LIFECYCLE_METADATA).expect("metadata").to_owned();
    assert!(label.contains(r#""image":"r.io/run""#), "{label}");
    assert_eq!(rebased.image.config.history()[0], JsonObject::default());
}

#[track_caller]
fn check_refused(app: &Image, base: &Image, expected: &str) {
    for force in [Force::No, Force::Yes] {
        assert_eq!(run(app, base, "r.io/run", NEW, force).expect_err("refused").to_string(), expected);
    }
}

#[test]
fn images_built_before_0_12_need_the_same_stack_with_all_mixins() {
    let id = |id| (labels::STACK_ID, id);
    for api in ["", "0.3", "0.11"] {
        check_refused(&app(api, &[]), &base(&[id("s")]), "stack not defined on app image");
        check_refused(&app(api, &[id("s")]), &base(&[]), "stack not defined on new base image");
        check_refused(
            &app(api, &[id("s")]),
            &base(&[id("t")]),
            "incompatible stack: 't' is not compatible with 's'",
        );
    }
    let mixins = |list| (labels::STACK_MIXINS, list);
    let app_of = |list| app("0.9", &[id("s"), mixins(list)]);
    let base_of = |list| base(&[id("s"), mixins(list)]);
    check_refused(
        &app_of(r#"["b","build:a","c"]"#),
        &base_of(r#"["run:b"]"#),
        "missing required mixin(s): a, c",
    );
    assert!(run(&app_of(r#"["run:b"]"#), &base_of(r#"["b","a"]"#), "r.io/run", NEW, Force::No).is_ok());
    assert!(run(&app_of("null"), &base_of(""), "r.io/run", NEW, Force::No).is_ok());
    let error = run(&app_of("{"), &base_of(""), "r.io/run", NEW, Force::No).expect_err("refused").to_string();
    assert!(
        error.starts_with(
            "failed to unmarshal context of label 'io.buildpacks.stack.mixins' of the app image"
        ),
        "{error}"
    );
}

#[test]
fn images_without_usable_metadata_are_refused() {
    let mut plain = app("0.15", &[]);
    plain.config.remove_label(labels::LIFECYCLE_METADATA);
    check_refused(
        &plain,
        &base(&[]),
        "app image has no label 'io.buildpacks.lifecycle.metadata': it was not built by a lifecycle",
    );
    let listed = |run_image: &str| format!(r#"{{"runImage":{{"image":"r.io/run"{run_image}}}}}"#);
    let of = |metadata: &str| app("0.15", &[(labels::LIFECYCLE_METADATA, metadata)]);
    check_refused(&of(&listed("")), &base(&[]), "rebase app image: could not find base layer '' in image");
    check_refused(
        &of(&listed(r#","topLayer":"sha256:0""#)),
        &base(&[]),
        "rebase app image: could not find base layer 'sha256:0' in image",
    );
    let mut empty = image(&[], &[]);
    empty.name = base(&[]).name;
    check_refused(&app("0.15", &[]), &empty, "get rebase run image top layer SHA: image has no layers");
    assert!(matches!(run(&of("["), &base(&[]), "r.io/run", NEW, Force::No), Err(RebaseError::Label { .. })));
    check_refused(
        &app("next", &[]),
        &base(&[]),
        "get app image platform API: version `next` is not of the form `major.minor`",
    );
}

#[test]
fn run_images_come_from_the_stack_before_0_12_or_where_there_are_no_others() {
    let image = |app: &Image, platform| {
        recorded_run_images(app, platform).expect("metadata").map(|names| names.image)
    };
    let both = app("0.15", &[]);
    assert_eq!(image(&both, NEW).as_deref(), Some("r.io/run"));
    assert_eq!(image(&both, OLD).as_deref(), Some("s.io/run"));
    let of = |metadata: &str| app("0.15", &[(labels::LIFECYCLE_METADATA, metadata)]);
    assert_eq!(image(&of(r#"{"stack":{"runImage":{"image":"s"}}}"#), NEW).as_deref(), Some("s"));
    assert_eq!(image(&of(r#"{"runImage":{"image":"r"}}"#), OLD), None);
    assert_eq!(image(&of("{}"), NEW), None);
}

#[test]
fn metadata_of_old_lifecycles_is_enough() {
    let metadata = format!(
        r#"{{"app":{{"sha":"x"}},"buildpacks":null,"runImage":{{"topLayer":"{}"}},"stack":{{"runImage":{{"image":"r.io/run"}}}}}}"#,
        diff_id("old")
    );
    check_layers(&app("0.12", &[(labels::LIFECYCLE_METADATA, &metadata)]), &["b1", "b2", "app", "config"]);
}

const LABEL: &str = r#"{"app":[{"sha":"a"}],"buildpacks":[{"key":"k","layers":{"l":{"sha":"b"}}}],"config":{"sha":"c"},"runImage":{"topLayer":"sha256:0000000000000000000000000000000000000000000000000000000000000000","reference":"r","mirrors":["m"]},"stack":{"runImage":{"image":"i"}}}"#;

proptest::proptest! {
    #[test]
    fn any_metadata_is_used_or_refused(metadata in damaged(LABEL)) {
        let labels = [(labels::LIFECYCLE_METADATA, metadata.as_str())];
        let _ = run(&app("0.15", &labels), &base(&[]), "r.io/run", NEW, Force::Yes);
    }
}
