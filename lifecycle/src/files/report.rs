//! `report.toml`: what was exported or rebased, for the platform.
//!
//! Spec: platform.md "report.toml". Platforms read `digest = "sha256:…"` with a line-wise search,
//! so that text stands exactly once, on a line of its own.

use serde::Serialize;
use toml::Table;

use crate::image::Saved;

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

    /// The report of an image saved under `tags`.
    pub fn of(saved: &Saved, tags: Vec<String>) -> Self {
        let image_id = saved.digest.is_none().then(|| saved.image_id.to_string());
        let digest = saved.digest.map(|digest| digest.to_string());
        let image = ImageReport { tags, image_id, digest, manifest_size: saved.manifest_size };
        Self { image, build: None }
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("tables of texts and numbers are TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_registry_report_has_one_line_with_the_digest() {
        let digest = Digest::of(b"manifest");
        let saved =
            Saved { digest: Some(digest), manifest_size: Some(2022), image_id: Digest::of(b"config") };
        assert_eq!(
            Report::of(&saved, vec!["r.io/app".to_owned(), "r.io/app:2".to_owned()]).to_toml(),
            format!(
                "[image]\ntags = [\"r.io/app\", \"r.io/app:2\"]\ndigest = \"{digest}\"\nmanifest-size = 2022\n"
            )
        );
    }

    #[test]
    fn a_daemon_report_has_the_image_id() {
        let saved = Saved { digest: None, manifest_size: None, image_id: Digest::of(b"config") };
        let text = Report::of(&saved, vec!["app".to_owned()]).to_toml();
        assert_eq!(text, format!("[image]\ntags = [\"app\"]\nimage-id = \"{}\"\n", saved.image_id));
    }

    #[test]
    fn a_legacy_bom_stands_below_build() {
        let entry = toml::from_str("name = \"dep\"\n[metadata]\nv = 1\n").expect("TOML");
        let report = Report { build: Some(BuildReport { bom: vec![entry] }), ..Report::default() };
        let text = report.to_toml();
        let read: Table = toml::from_str(&text).expect("TOML");
        assert_eq!(read["build"]["bom"][0]["metadata"]["v"].as_integer(), Some(1));
    }
}
