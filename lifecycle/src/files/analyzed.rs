//! `analyzed.toml`: the previous image, the run image and the build image, as the phases found them.
//!
//! Spec: platform.md "analyzed.toml". Its tables are `[image]`, `[metadata]` and `[run-image.target]`,
//! and an architecture's variant stands in it twice: spec-notes/decisions.md#analyzedtoml.

use serde::{Deserialize, Serialize};
use toml::Table;

use super::labels::LifecycleMetadata;
use super::{SpecFile, SyntaxError, parse_toml};
use crate::target::{Distro, Target};

/// What the phases know about the images of a build. References name exactly one image each:
/// `repo@sha256:…`, a daemon's image ID, or a layout path with digest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Analyzed {
    /// The previous image, if there is one.
    pub previous_image: Option<String>,
    /// What the previous image says about its layers.
    pub metadata: LifecycleMetadata,
    /// The run image.
    pub run_image: Option<RunImage>,
    /// The image whose file system is extended for the build.
    pub build_image: Option<BuildImage>,
}

/// The run image of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunImage {
    /// What names exactly it; empty while it is not known.
    pub reference: String,
    /// Its name as the platform or an extension gave it; empty before Platform API 0.12.
    pub image: String,
    /// Whether extensions change it.
    pub extend: bool,
    /// What it runs on, from Platform API 0.12.
    pub target: Option<Target>,
}

/// The build image, where extensions change it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildImage {
    /// What names exactly it; empty while it is not known.
    pub reference: String,
    /// Whether extensions change it, from Platform API 0.13.
    #[serde(skip_serializing_if = "is_false")]
    pub extend: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The file, key by key.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct AnalyzedFile {
    image: Option<ImageTable>,
    build_image: Option<BuildImage>,
    metadata: Table,
    run_image: Option<RunImageTable>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ImageTable {
    reference: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct RunImageTable {
    reference: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    image: String,
    #[serde(skip_serializing_if = "is_false")]
    extend: bool,
    target: Option<TargetTable>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct TargetTable {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    os: String,
    arch: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    arch_variant: String,
    distro: Option<Distro>,
}

impl From<TargetTable> for Target {
    fn from(table: TargetTable) -> Self {
        let variant = if table.variant.is_empty() { table.arch_variant } else { table.variant };
        Self { id: table.id, os: table.os, arch: table.arch, variant, distro: table.distro }
    }
}

impl From<&Target> for TargetTable {
    fn from(target: &Target) -> Self {
        let Target { id, os, arch, variant, distro } = target.clone();
        Self { id, os, arch, variant: variant.clone(), arch_variant: variant, distro }
    }
}

impl SpecFile for Analyzed {
    const NAME: &'static str = "analyzed";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        let file: AnalyzedFile = parse_toml(text)?;
        let metadata = LifecycleMetadata::from_table(&file.metadata)
            .map_err(|error| SyntaxError::rule(format!("in `metadata`: {error}")))?;
        let run_image = file.run_image.map(|table| RunImage {
            reference: table.reference,
            image: table.image,
            extend: table.extend,
            target: table.target.map(Target::from),
        });
        let previous_image = file.image.map(|image| image.reference).filter(|name| !name.is_empty());
        Ok(Self { previous_image, metadata, run_image, build_image: file.build_image })
    }
}

impl Analyzed {
    /// The file's text. `[image]` and `[metadata]` are always there, as in the reference implementation's.
    pub fn to_toml(&self) -> String {
        let file = AnalyzedFile {
            image: Some(ImageTable { reference: self.previous_image.clone().unwrap_or_default() }),
            build_image: self.build_image.clone(),
            metadata: self.metadata.to_table(),
            run_image: self.run_image.as_ref().map(|run_image| RunImageTable {
                reference: run_image.reference.clone(),
                image: run_image.image.clone(),
                extend: run_image.extend,
                target: run_image.target.as_ref().map(TargetTable::from),
            }),
        };
        toml::to_string(&file).expect("tables of texts, numbers and flags are TOML")
    }

    /// The run image's target, from Platform API 0.12.
    pub fn target(&self) -> Option<&Target> {
        self.run_image.as_ref()?.target.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[track_caller]
    fn check(text: &str, expected: &Analyzed) {
        let found = Analyzed::parse(text).expect("an analyzed.toml");
        assert_eq!(&found, expected);
        assert_eq!(&Analyzed::parse(&found.to_toml()).expect("what was written"), expected);
    }

    fn target(variant: &str) -> Target {
        let distro = Distro { name: "golden".to_owned(), version: "1".to_owned() };
        let (os, arch) = ("linux".to_owned(), "arm64".to_owned());
        Target { id: String::new(), os, arch, variant: variant.to_owned(), distro: Some(distro) }
    }

    #[test]
    fn a_first_build_has_no_previous_image() {
        let text = "[image]\n  reference = \"\"\n[metadata]\n  [metadata.config]\n    sha = \"\"\n";
        check(text, &Analyzed::default());
        check("", &Analyzed::default());
        let written = Analyzed::default().to_toml();
        assert!(written.starts_with("[image]\nreference = \"\"\n"), "{written}");
    }

    #[test]
    fn images_and_target_are_read_and_written() {
        let run_image = RunImage {
            reference: "r@sha256:1".to_owned(),
            image: "r".to_owned(),
            extend: true,
            target: Some(target("v8")),
        };
        let build_image = BuildImage { reference: "b@sha256:2".to_owned(), extend: true };
        let expected = Analyzed {
            previous_image: Some("p@sha256:3".to_owned()),
            run_image: Some(run_image),
            build_image: Some(build_image),
            ..Analyzed::default()
        };
        let text = "[image]\nreference = \"p@sha256:3\"\n[build-image]\nreference = \"b@sha256:2\"\nextend = true\n\
            [run-image]\nreference = \"r@sha256:1\"\nimage = \"r\"\nextend = true\n[run-image.target]\nos = \"linux\"\n\
            arch = \"arm64\"\nvariant = \"v8\"\n[run-image.target.distro]\nname = \"golden\"\nversion = \"1\"\n";
        check(text, &expected);
        check(&text.replace("variant", "arch-variant"), &expected);
        let written = expected.to_toml();
        assert!(written.contains("\nvariant = \"v8\"\narch-variant = \"v8\"\n"), "{written}");
    }

    #[test]
    fn wrong_types_are_refused_with_a_place_where_there_is_one() {
        let error = Analyzed::parse("[image]\nreference = 1\n").expect_err("refused");
        assert_eq!(error.place, Some((2, 13)));
        let error = Analyzed::parse("[metadata]\napp = 1\n").expect_err("refused").to_string();
        assert!(error.starts_with("toml: in `metadata`: "), "{error}");
    }

    const GOLDEN: &str = include_str!("../../../fixtures/golden/analyzed/analyzed.toml");

    /// What JSON loses on its way through the reference implementation.
    fn without_integers(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Number(number) => *value = number.as_f64().into(),
            serde_json::Value::Array(items) => items.iter_mut().for_each(without_integers),
            serde_json::Value::Object(members) => members.values_mut().for_each(without_integers),
            _ => {}
        }
    }

    #[test]
    fn what_the_reference_implementation_wrote_is_the_label_it_wrote_it_from() {
        let golden = Analyzed::parse(GOLDEN).expect("an analyzed.toml");
        let mut label =
            serde_json::from_str(include_str!("../../../fixtures/golden/analyzed/label.json")).expect("JSON");
        without_integers(&mut label);
        assert_eq!(golden.metadata, serde_json::from_value(label).expect("a label"));
        let target = golden.target().expect("a target");
        assert_eq!((target.os.as_str(), target.arch.as_str()), ("linux", "amd64"));
        assert_eq!(Analyzed::parse(&golden.to_toml()), Ok(golden));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(GOLDEN)) {
            if let Ok(analyzed) = Analyzed::parse(&text) {
                let _ = analyzed.to_toml();
            }
        }
    }
}
