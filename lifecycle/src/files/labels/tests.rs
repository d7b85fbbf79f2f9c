//! Tests of the labels.

use super::*;
use crate::files::damage::damaged;

const LABEL: &str = concat!(
    r#"{"app":[{"sha":"sha256:a"}],"sbom":{"sha":"sha256:b"},"#,
    r#""buildpacks":[{"key":"x/y","version":"1","layers":{"#,
    r#""l":{"sha":"sha256:c","data":{"f":1.0,"n":9007199254740993},"build":true,"launch":true,"cache":false},"#,
    r#""m":{"sha":"sha256:d","data":null,"build":false,"launch":true,"cache":false}},"#,
    r#""store":{"metadata":{"k":"\u003cv\u003e"}}}],"#,
    r#""config":{"sha":"sha256:e"},"launcher":{"sha":"sha256:f"},"process-types":{"sha":"sha256:0"},"#,
    r#""runImage":{"topLayer":"sha256:1","reference":"r@sha256:2","image":"r","mirrors":["m"]},"#,
    r#""stack":{"runImage":{"image":"r","mirrors":["m"]}},"exec-env":"test","future":{"a":[1,2.0]}}"#,
);

fn metadata() -> LifecycleMetadata {
    LifecycleMetadata::from_label(LABEL).expect("a label")
}

#[test]
fn the_label_is_written_in_the_order_that_platforms_know() {
    assert_eq!(metadata().to_label(), LABEL);
    assert_eq!(
        LifecycleMetadata::default().to_label(),
        concat!(
            r#"{"app":[],"buildpacks":[],"config":{"sha":""},"launcher":{"sha":""},"process-types":{"sha":""},"#,
            r#""runImage":{"topLayer":"","reference":""}}"#
        )
    );
}

#[test]
fn nulls_and_absent_keys_are_empty() {
    let nulls = r#"{"app":null,"buildpacks":[{"key":"a","layers":null}],"config":null,"runImage":{"mirrors":null},"stack":null}"#;
    let found = LifecycleMetadata::from_label(nulls).expect("a label");
    assert_eq!(found.buildpack("a").map(|buildpack| buildpack.layers.len()), Some(0));
    assert_eq!(LifecycleMetadata::from_label("{}").expect("a label"), LifecycleMetadata::default());
}

#[test]
fn wrong_types_are_refused() {
    for label in ["", "[]", "null", r#"{"app":{"sha":"x"}}"#, r#"{"buildpacks":[1]}"#, r#"{"runImage":"x"}"#]
    {
        assert!(LifecycleMetadata::from_label(label).is_err(), "{label}");
    }
}

#[test]
fn toml_has_the_keys_of_the_reference_implementation() {
    let table = metadata().to_table();
    assert_eq!(table["run-image"]["top-layer"].as_str(), Some("sha256:1"));
    assert_eq!(table["stack"]["run-image"]["image"].as_str(), Some("r"));
    let layers = &table["buildpacks"][0]["layers"];
    assert_eq!(layers["l"]["metadata"]["n"].as_integer(), Some(9_007_199_254_740_993));
    assert_eq!(layers["l"]["metadata"]["f"].as_float(), Some(1.0));
    assert!(layers["m"].get("metadata").is_none());
    assert_eq!(LifecycleMetadata::from_table(&table).expect("metadata"), metadata());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in damaged(LABEL)) {
        if let Ok(metadata) = LifecycleMetadata::from_label(&text) {
            let table = metadata.to_table();
            let _ = LifecycleMetadata::from_table(&table);
        }
    }
}
