//! The deprecated bill of materials, an array `bom` in `launch.toml` and `build.toml`.
//!
//! Spec: buildpack.md "launch.toml (TOML) `bom` Array" and "build.toml (TOML) `bom` Array".

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Map;
use toml::Table;

use super::component_id::{ComponentId, ComponentVersion};
use super::data::{Json, NotFinite, table_to_json};
use super::metadata::{BomBuildpack, BomEntry};
use crate::json::go_json;

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
    pub fn of(&self, id: &ComponentId, version: &ComponentVersion) -> Vec<BomEntry> {
        let buildpack = BomBuildpack { id: id.clone(), version: version.clone() };
        let entry = |entry: &Written| BomEntry {
            name: entry.name.clone(),
            metadata: entry.metadata.clone(),
            buildpack: buildpack.clone(),
        };
        self.0.iter().map(entry).collect()
    }
}

/// The entries as JSON; `null` when there are none, as the reference implementation has it.
pub fn to_json(entries: &[BomEntry]) -> Result<String, NotFinite> {
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
        metadata: Option<Map<String, Json>>,
        buildpack: &'a BomBuildpack,
    }
    let mut json = Vec::new();
    for BomEntry { name, metadata, buildpack } in entries {
        json.push(Entry { name, metadata: metadata.as_ref().map(table_to_json).transpose()?, buildpack });
    }
    Ok(go_json(&Some(json).filter(|entries| !entries.is_empty())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, NotFinite>) {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            bom: LegacyBom,
        }
        let file: File = toml::from_str(text).expect("valid");
        let entries = file.bom.of(&"a/b".parse().expect("an ID"), &"1".parse().expect("a version"));
        assert_eq!(to_json(&entries), expected.map(str::to_owned));
    }

    #[test]
    fn entries_are_written_as_go_writes_them() {
        check("", Ok("null"));
        let buildpack = r#""buildpack":{"id":"a/b","version":"1"}"#;
        check("[[bom]]\nname = 'x'", Ok(&format!(r#"[{{"name":"x","metadata":null,{buildpack}}}]"#)));
        check(
            "[[bom]]\nname = '<'\n[bom.metadata]\nb = 1\na = [true]",
            Ok(&format!(r#"[{{"name":"\u003c","metadata":{{"a":[true],"b":1}},{buildpack}}}]"#)),
        );
        check("[[bom]]\nname = 'x'\n[bom.metadata]\nb = nan", Err(NotFinite));
    }
}
