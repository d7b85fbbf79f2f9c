//! `lifecycle.toml`: what platforms and builder authors' tools ask of a lifecycle.
//!
//! Versions stand in ascending order, because pack merges its own list with this one.

use lifecycle::api::{BuildpackApi, PlatformApi};
use lifecycle::cli::VERSION;
use serde::Serialize;
use serde_json::{Value, json};

/// The formats of the bills of materials that buildpacks may write.
const SBOM_FORMATS: [&str; 3] =
    ["application/vnd.cyclonedx+json", "application/spdx+json", "application/vnd.syft+json"];

/// The file.
#[derive(Debug, Serialize)]
struct Descriptor {
    api: Oldest,
    apis: Apis,
    lifecycle: Lifecycle,
}

/// What tools of before several versions read.
#[derive(Debug, Serialize)]
struct Oldest {
    buildpack: &'static str,
    platform: &'static str,
}

/// The supported versions.
#[derive(Debug, Serialize)]
pub struct Apis {
    buildpack: Versions,
    platform: Versions,
}

#[derive(Debug, Serialize)]
struct Versions {
    deprecated: Vec<&'static str>,
    supported: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Lifecycle {
    version: &'static str,
    #[serde(rename = "sbom-formats")]
    sbom_formats: [&'static str; 3],
}

/// The supported versions, none of which is deprecated.
pub fn apis() -> Apis {
    let versions = |supported| Versions { deprecated: Vec::new(), supported };
    Apis {
        buildpack: versions(BuildpackApi::ALL.iter().map(|api| api.as_str()).collect()),
        platform: versions(PlatformApi::ALL.iter().map(|api| api.as_str()).collect()),
    }
}

/// The text of `lifecycle.toml`.
pub fn toml() -> String {
    let lifecycle = Lifecycle { version: VERSION, sbom_formats: SBOM_FORMATS };
    toml::to_string(&Descriptor { api: oldest(), apis: apis(), lifecycle }).expect("texts are TOML")
}

/// The labels of the image.
pub fn labels() -> Value {
    let text = |value: Value| value.to_string();
    let Oldest { buildpack, platform } = oldest();
    let metadata = json!({ "lifecycle": { "version": VERSION }, "api": { "buildpack": buildpack, "platform": platform } });
    json!({
        "io.buildpacks.builder.metadata": text(metadata),
        "io.buildpacks.lifecycle.apis": text(json!(apis())),
        "io.buildpacks.lifecycle.version": VERSION,
    })
}

fn oldest() -> Oldest {
    Oldest { buildpack: BuildpackApi::ALL[0].as_str(), platform: PlatformApi::ALL[0].as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_reads_as_platforms_expect() {
        let file: toml::Table = toml::from_str(&toml()).expect("TOML");
        assert_eq!(file["api"]["platform"].as_str(), Some("0.7"));
        assert_eq!(file["apis"]["platform"]["deprecated"].as_array().map(Vec::len), Some(0));
        let supported = file["apis"]["buildpack"]["supported"].as_array().expect("a list");
        assert_eq!(supported.first().and_then(toml::Value::as_str), Some("0.7"));
        assert_eq!(supported.last().and_then(toml::Value::as_str), Some("0.12"));
        assert_eq!(file["lifecycle"]["version"].as_str(), Some(VERSION));
    }

    #[test]
    fn version_can_be_an_image_tag() {
        assert!(!VERSION.contains('+'), "{VERSION}");
    }

    #[test]
    fn labels_are_compact_json() {
        let labels = labels();
        let apis = labels["io.buildpacks.lifecycle.apis"].as_str().expect("a text");
        assert!(apis.starts_with(r#"{"buildpack":{"deprecated":[],"supported":["0.7","#), "{apis}");
    }
}
