//! The three documents say the same of the same programs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::graph::{Linked, tests::graph};

fn bom() -> Bom {
    let linked = |crates: &[usize]| Linked {
        crates: crates.iter().copied().collect(),
        std: BTreeSet::from(["gimli-0.32.3".to_owned()]),
        c_library: Some("2.36-9+deb12u14".to_owned()),
    };
    let lifecycle = Program { name: "lifecycle", bytes: b"1".to_vec(), linked: linked(&[0, 2, 3]) };
    let builder = Program { name: "builder", bytes: b"2".to_vec(), linked: linked(&[0]) };
    Bom::of("lifecycle", &[&lifecycle, &builder], &graph(), "1.95.0")
}

/// The values of `key` in a list, sorted.
fn list<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    let mut list: Vec<&str> =
        value.as_array().expect("a list").iter().map(|it| it[key].as_str().expect("a text")).collect();
    list.sort_unstable();
    list
}

const NAMES: [&str; 6] = ["a", "c", "gimli", "glibc", "n", "rust-std"];

#[test]
fn programs_are_told_apart() {
    let bom = bom();
    let uses = |user: &str| bom.uses[user].iter().map(String::as_str).collect::<Vec<_>>();
    let foreign = ["pkg:generic/glibc@2.36-9%2Bdeb12u14", "pkg:generic/rust-std@1.95.0"];
    assert_eq!(uses("builder"), ["pkg:cargo/a@1.0.0", foreign[0], foreign[1]]);
    assert_eq!(uses("lifecycle")[..3], ["pkg:cargo/a@1.0.0", "pkg:cargo/c@1.0.0", "pkg:cargo/n@1.0.0"]);
    assert_eq!(uses("pkg:cargo/a@1.0.0"), ["pkg:cargo/c@1.0.0"]);
    assert_eq!(uses("pkg:generic/rust-std@1.95.0"), ["pkg:cargo/gimli@0.32.3"]);
}

#[test]
fn cyclonedx_lists_every_part_and_refers_to_nothing_else() {
    let document = cyclonedx::document(&bom());
    assert_eq!(list(&document["components"], "name"), NAMES);
    let mut known = list(&document["components"], "bom-ref");
    let subject = &document["metadata"]["component"];
    known.extend(list(&subject["components"], "bom-ref"));
    known.push(subject["bom-ref"].as_str().expect("a text"));
    let distinct: BTreeSet<&str> = known.iter().copied().collect();
    assert_eq!(distinct.len(), known.len(), "references are distinct");
    for dependency in document["dependencies"].as_array().expect("a list") {
        let used = dependency["dependsOn"].as_array().expect("a list");
        for reference in used.iter().chain([&dependency["ref"]]) {
            assert!(distinct.contains(reference.as_str().expect("a text")), "{reference}");
        }
    }
}

#[test]
fn spdx_has_distinct_ids_that_every_relationship_knows() {
    let document = spdx::document(&bom());
    let mut ids = list(&document["packages"], "SPDXID");
    ids.push("SPDXRef-DOCUMENT");
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len());
    let is_allowed = |byte: char| byte.is_ascii_alphanumeric() || byte == '.' || byte == '-';
    assert!(ids.iter().all(|id| id.chars().all(is_allowed)), "{ids:?}");
    for relationship in document["relationships"].as_array().expect("a list") {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            assert!(distinct.contains(relationship[end].as_str().expect("a text")), "{relationship}");
        }
    }
}

#[test]
fn syft_lists_every_part_with_the_programs_that_hold_it() {
    let document = syft::document(&bom());
    assert_eq!(list(&document["artifacts"], "name"), NAMES);
    let artifacts = document["artifacts"].as_array().expect("a list");
    let paths = |name: &str| {
        let artifact = artifacts.iter().find(|it| it["name"] == name).expect("it is listed");
        list(&artifact["locations"], "path")
    };
    assert_eq!(paths("a"), ["/cnb/lifecycle/builder", "/cnb/lifecycle/lifecycle"]);
    assert_eq!(paths("n"), ["/cnb/lifecycle/lifecycle"]);
}

#[test]
fn documents_change_with_the_programs_alone() {
    let bom = bom();
    assert_eq!(files(&bom), files(&self::bom()));
    let mut other = bom.clone();
    other.programs[0].1 = "0".to_owned();
    assert_ne!(bom.uuid(), other.uuid());
}
