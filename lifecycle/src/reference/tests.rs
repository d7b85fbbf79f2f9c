//! Tests of references and names.

use std::path::Component;

use proptest::prelude::*;

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// `expected` is `registry repository tag`, the tag `-` when there is none.
#[track_caller]
fn check(text: &str, expected: &str) {
    let found = Reference::parse(text).expect("a reference");
    let tag = found.tag.as_deref().unwrap_or("-");
    assert_eq!(format!("{} {} {tag}", found.registry, found.repository), expected);
    assert_eq!(found.to_string(), text);
    assert_eq!(found.digest.is_some(), text.contains('@'));
}

#[track_caller]
fn check_refused(text: &str, why: &str) {
    let error = Reference::parse(text).expect_err("refused");
    assert!(error.why.contains(why), "{text}: {error}");
}

#[test]
fn docker_hub_names_are_completed() {
    check("ubuntu", "index.docker.io library/ubuntu latest");
    check("ubuntu:24.04", "index.docker.io library/ubuntu 24.04");
    check("my/app", "index.docker.io my/app latest");
    check("docker.io/ubuntu", "index.docker.io library/ubuntu latest");
    check("index.docker.io/my/app:v1", "index.docker.io my/app v1");
    check("a/b/c/d", "index.docker.io a/b/c/d latest");
}

#[test]
fn a_first_part_with_a_dot_or_a_colon_is_a_registry() {
    check("gcr.io/app", "gcr.io app latest");
    check("localhost/app:1", "localhost app 1");
    check("localhost:5000/app", "localhost:5000 app latest");
    check("127.0.0.1:5000/golden/run:latest", "127.0.0.1:5000 golden/run latest");
    check("[::1]:5000/app:1", "[::1]:5000 app 1");
    check("[2001:db8::1]/app", "[2001:db8::1] app latest");
    check("GCR.io/app", "GCR.io app latest");
    check("gcr.io./app", "gcr.io. app latest");
    check("registry_1.local/app", "registry_1.local app latest");
}

#[test]
fn a_digest_stands_for_the_tag() {
    check(&format!("ubuntu@sha256:{HEX}"), "index.docker.io library/ubuntu -");
    check(&format!("gcr.io/a/b:1.0@sha256:{HEX}"), "gcr.io a/b 1.0");
    check(&format!("localhost:5000/a@sha256:{HEX}"), "localhost:5000 a -");
}

#[test]
fn what_is_no_reference_is_refused_with_the_reason() {
    check_refused("", "no repository");
    check_refused("Ubuntu", "other characters");
    check_refused("gcr.io/App", "other characters");
    check_refused("a b", "other characters");
    check_refused("http://gcr.io/a", "valid port");
    check_refused("a:", "after the colon");
    check_refused("gcr.io/", "no repository");
    check_refused("a@sha256:0", "digest");
    check_refused(&format!("a@sha512:{HEX}"), "digest");
    check_refused(&format!("a@sha256:{HEX}@sha256:{HEX}"), "digest");
    check_refused("host:99999/a", "port");
    check_refused("host:/a", "port");
    check_refused("ho$t.io/a", "host name");
    check_refused("[::1/a", "without");
    check_refused("./a", "host name");
    check_refused("a..b/c", "host name");
    check_refused(&format!("a:{}", "x".repeat(129)), "longer than 128");
    check_refused(&"a".repeat(256), "longer than 255");
    check_refused(&"a".repeat(2000), "too long");
}

#[test]
fn no_part_can_lead_elsewhere() {
    check_refused("gcr.io/../../etc", "`..`");
    check_refused("a/./b", "`.`");
    check_refused("a//b", "empty part");
    check_refused("/a/b", "empty part");
    check_refused("../a", "host name");
    check_refused("a:..", "begins with");
    check_refused("a:.hidden", "begins with");
}

#[test]
fn a_layout_path_follows_from_the_reference() {
    let path = |text: &str| Reference::parse(text).expect("a reference").layout_path(Path::new("/l"));
    assert_eq!(path("ubuntu"), Path::new("/l/index.docker.io/library/ubuntu/latest"));
    assert_eq!(path("gcr.io/a/b:1"), Path::new("/l/gcr.io/a/b/1"));
    assert_eq!(
        path(&format!("a:1@sha256:{HEX}")).to_str(),
        Some(&*format!("/l/index.docker.io/library/a/sha256/{HEX}"))
    );
}

#[track_caller]
fn check_same(one: &str, other: &str, expected: bool) {
    let (one, other) = (Reference::parse(one).expect("one"), Reference::parse(other).expect("other"));
    assert_eq!((one.is_same_image(&other), other.is_same_image(&one)), (expected, expected));
}

#[test]
fn images_are_compared_without_digests() {
    check_same("ubuntu", "index.docker.io/library/ubuntu:latest", true);
    check_same("gcr.io/a:1", &format!("gcr.io/a:1@sha256:{HEX}"), true);
    check_same("gcr.io/a:1", &format!("gcr.io/a@sha256:{HEX}"), true);
    check_same("gcr.io/a:1", "gcr.io/a:2", false);
    check_same("gcr.io/a", "gcr.io/b", false);
    check_same("gcr.io/a", "ghcr.io/a", false);
}

#[test]
fn pinning_keeps_the_repository() {
    let digest = format!("sha256:{HEX}").parse().expect("a digest");
    let pinned = Reference::parse("ubuntu:24.04").expect("a reference").pinned(digest);
    assert_eq!(pinned.to_string(), format!("index.docker.io/library/ubuntu@sha256:{HEX}"));
    assert_eq!(Reference::parse(&pinned.written), Ok(pinned));
}

#[track_caller]
fn check_recorded(kind: StoreKind, text: &str, expected: &ImageName) {
    let found = ImageName::recorded(kind, text).expect("a name");
    assert_eq!(&found, expected);
    let shown = if kind == StoreKind::Daemon { text.trim_start_matches("sha256:") } else { text };
    assert_eq!(found.to_string(), shown);
}

#[test]
fn recorded_names_are_read_by_kind_of_store() {
    let id: Digest = format!("sha256:{HEX}").parse().expect("a digest");
    let reference = |text: &str| ImageName::Reference(Reference::parse(text).expect("a reference"));
    let layout = |path: &str, digest| ImageName::Layout { path: PathBuf::from(path), digest };
    let pinned = format!("gcr.io/a@sha256:{HEX}");
    check_recorded(StoreKind::Registry, &pinned, &reference(&pinned));
    check_recorded(StoreKind::Daemon, HEX, &ImageName::ImageId(id));
    check_recorded(StoreKind::Daemon, &format!("sha256:{HEX}"), &ImageName::ImageId(id));
    check_recorded(StoreKind::Daemon, "app:1", &reference("app:1"));
    check_recorded(StoreKind::Layout, "/L/Upper/app/latest", &layout("/L/Upper/app/latest", None));
    check_recorded(StoreKind::Layout, &format!("/a@b/c@sha256:{HEX}"), &layout("/a@b/c", Some(id)));
    assert!(ImageName::recorded(StoreKind::Layout, "").is_err());
}

proptest! {
    #[test]
    fn no_reference_leaves_the_layout_directory(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,40}") {
        if let Ok(found) = Reference::parse(&text) {
            let path = found.layout_path(Path::new("/l"));
            let inside = path.strip_prefix("/l").expect("below the directory");
            prop_assert!(inside.components().all(|part| matches!(part, Component::Normal(_))));
            prop_assert!(inside.components().count() >= 3);
        }
    }

    #[test]
    fn any_text_is_a_reference_or_an_error(text in ".{0,80}") {
        for kind in [StoreKind::Registry, StoreKind::Layout, StoreKind::Daemon] {
            let _ = ImageName::recorded(kind, &text);
        }
    }
}
