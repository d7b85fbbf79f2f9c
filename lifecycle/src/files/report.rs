//! `report.toml`: what was exported or rebased, for the platform.
//!
//! Spec: platform.md "report.toml". Platforms read `digest = "sha256:…"` with a line-wise search,
//! so that text stands exactly once, on a line of its own.

use serde::Serialize;
use toml::Table;

/// What was saved, and under which names.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The saved image.
    pub image: ImageReport,
    /// The build; only before Platform API 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildReport>,
}

/// The saved image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageReport {
    /// Every name it was saved under: tag references, or paths in a layout.
    pub tags: Vec<String>,
    /// The Docker daemon's image ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The manifest's digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The manifest's size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_size: Option<u64>,
    /// The run image below; only where the platform asks for it (RFC 0129).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_image: Option<RunImageReport>,
}

/// The run image that a saved image is on, as the image itself says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunImageReport {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// What names exactly it: an image ID, or a name with a digest.
    pub reference: String,
    /// The diffID of its top layer.
    pub top_layer: String,
    /// Where else it can be had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

/// The legacy bill of materials.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BuildReport {
    /// Its entries as buildpacks gave them.
    pub bom: Vec<Table>,
}

impl Report {
    /// What messages call the file.
    pub const NAME: &'static str = "report";

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("tables of texts and numbers are TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(image: ImageReport, expected: &str) {
        assert_eq!(Report { image, build: None }.to_toml(), expected);
    }

    #[test]
    fn the_digest_stands_once_on_a_line_of_its_own() {
        let image = ImageReport {
            tags: vec!["r.io/app".to_owned(), "r.io/app:2".to_owned()],
            digest: Some("sha256:0".to_owned()),
            manifest_size: Some(2022),
            image_id: None,
            run_image: None,
        };
        check(
            image,
            "[image]\ntags = [\"r.io/app\", \"r.io/app:2\"]\ndigest = \"sha256:0\"\nmanifest-size = 2022\n",
        );
    }

    #[test]
    fn a_daemon_has_an_image_id_instead() {
        let (tags, image_id) = (vec!["app".to_owned()], Some("sha256:0".to_owned()));
        let image = ImageReport { tags, image_id, ..ImageReport::default() };
        check(image, "[image]\ntags = [\"app\"]\nimage-id = \"sha256:0\"\n");
    }

    #[test]
    fn the_run_image_stands_below_the_image() {
        let (image, reference, top_layer) = ("run", "r.io/run@sha256:1", "sha256:2");
        let run_image = RunImageReport {
            image: image.to_owned(),
            reference: reference.to_owned(),
            top_layer: top_layer.to_owned(),
            mirrors: vec!["m.io/run".to_owned()],
        };
        let report = Report {
            image: ImageReport { run_image: Some(run_image), ..ImageReport::default() },
            build: None,
        };
        let read: Table = toml::from_str(&report.to_toml()).expect("TOML");
        let found = &read["image"]["run-image"];
        assert_eq!(found["image"].as_str(), Some(image));
        assert_eq!(found["reference"].as_str(), Some(reference));
        assert_eq!(found["top-layer"].as_str(), Some(top_layer));
        assert_eq!(found["mirrors"][0].as_str(), Some("m.io/run"));
    }

    #[test]
    fn a_legacy_bom_stands_below_build() {
        let entry = toml::from_str("name = \"dep\"\n[metadata]\nv = 1\n").expect("TOML");
        let report = Report { build: Some(BuildReport { bom: vec![entry] }), ..Report::default() };
        let read: Table = toml::from_str(&report.to_toml()).expect("TOML");
        assert_eq!(read["build"]["bom"][0]["metadata"]["v"].as_integer(), Some(1));
    }
}
