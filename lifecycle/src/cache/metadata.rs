//! What a cache says about the layers it holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The metadata of a cache, as JSON: in the file `io.buildpacks.lifecycle.cache.metadata` of a volume,
/// in the label of that name of a cache image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheMetadata {
    /// The layer of SBOM files.
    pub sbom: CachedSbom,
    /// The layers of each buildpack, in group order.
    #[serde(deserialize_with = "null_is_empty")]
    pub buildpacks: Vec<CachedBuildpack>,
}

/// The layer that holds the SBOM files of cached layers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CachedSbom {
    /// Its diffID as text; empty when there is none.
    pub sha: String,
}

/// The cached layers of one buildpack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CachedBuildpack {
    /// The buildpack's ID.
    pub key: String,
    /// Its version.
    pub version: String,
    /// Its layers by name.
    #[serde(deserialize_with = "null_is_empty")]
    pub layers: BTreeMap<String, CachedLayer>,
}

/// A cached layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CachedLayer {
    /// Its diffID as text.
    pub sha: String,
    /// The `metadata` table of its `<layer>.toml`.
    pub data: serde_json::Value,
    /// Whether later buildpacks see it.
    pub build: bool,
    /// Whether it is in the image.
    pub launch: bool,
    /// Whether it is cached.
    pub cache: bool,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Option::deserialize(d).map(Option::unwrap_or_default)
}
