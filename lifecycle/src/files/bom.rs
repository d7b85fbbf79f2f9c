//! The deprecated bill of materials, an array `bom` in `launch.toml` and `build.toml`.
//!
//! Spec: buildpack.md "launch.toml (TOML) `bom` Array" and "build.toml (TOML) `bom` Array".

use serde::{Deserialize, Deserializer};
use toml::Table;

use super::group::GroupElement;
use super::metadata::{BomBuildpack, BomEntry};

/// The entries of one file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LegacyBom(Vec<Written>);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
struct Written {
    name: String,
    version: String,
    metadata: Option<Table>,
}

impl LegacyBom {
    /// The names of the entries.
    pub fn entries(&self) -> Vec<&str> {
        self.0.iter().map(|entry| entry.name.as_str()).collect()
    }

    /// The entries, each with the buildpack that they come from.
    pub fn of(&self, buildpack: &GroupElement) -> Vec<BomEntry> {
        let buildpack = BomBuildpack { id: buildpack.id.clone(), version: buildpack.version.clone() };
        let entry = |entry: &Written| BomEntry {
            name: entry.name.clone(),
            metadata: entry.metadata.clone(),
            buildpack: buildpack.clone(),
        };
        self.0.iter().map(entry).collect()
    }
}

/// Refuses entries with a version outside their metadata.
impl<'de> Deserialize<'de> for LegacyBom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<Written>::deserialize(deserializer)?;
        match entries.iter().find(|entry| !entry.version.is_empty()) {
            None => Ok(Self(entries)),
            Some(entry) => Err(serde::de::Error::custom(format!(
                "bom entry '{}' has a top level version which is not allowed. The buildpack should instead set \
                 metadata.version",
                entry.name
            ))),
        }
    }
}
