//! `project-metadata.toml`: where the application's source came from.
//!
//! Spec: platform.md "project-metadata.toml", "io.buildpacks.project.metadata".

use serde_json::{Map, Value};
use toml::Table;

use super::data::{NotFinite, table_to_json};
use super::{SpecFile, SyntaxError, parse_toml};
use crate::json::{JsonObject, go_json};

/// Where the application's source came from, as the platform gave it; every key is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectMetadata {
    json: Map<String, Value>,
}

impl SpecFile for ProjectMetadata {
    const NAME: &'static str = "project metadata";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        let table: Table = parse_toml(text)?;
        if let Some(source) = table.get("source") {
            check_source(source)?;
        }
        let json = table_to_json(&table).map_err(|NotFinite| SyntaxError::rule(NotFinite.to_string()))?;
        Ok(Self { json })
    }
}

fn check_source(source: &toml::Value) -> Result<(), SyntaxError> {
    let source = source.as_table().ok_or_else(|| SyntaxError::rule("`source` is not a table"))?;
    if source.get("type").is_some_and(|kind| !kind.is_str()) {
        return Err(SyntaxError::rule("`source.type` is not a text"));
    }
    match ["version", "metadata"].iter().find(|key| source.get(**key).is_some_and(|v| !v.is_table())) {
        Some(key) => Err(SyntaxError::rule(format!("`source.{key}` is not a table"))),
        None => Ok(()),
    }
}

impl ProjectMetadata {
    /// The value of the label: `{}` when there is nothing; `type`, `version`, `metadata` in this order,
    /// because platforms compare it as text.
    pub fn to_label(&self) -> String {
        let mut label = JsonObject::default();
        for (key, value) in &self.json {
            match value {
                Value::Object(source) if key == "source" => label.set(key, &ordered(source)),
                other => label.set(key, other),
            }
        }
        go_json(&label)
    }
}

fn ordered(source: &Map<String, Value>) -> JsonObject {
    let known = ["type", "version", "metadata"];
    let others = source.keys().map(String::as_str).filter(|key| !known.contains(key));
    let mut object = JsonObject::default();
    for key in known.into_iter().chain(others) {
        if let Some(value) = source.get(key).filter(|value| !is_empty(value)) {
            object.set(key, value);
        }
    }
    object
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[track_caller]
    fn check(text: &str, label: &str) {
        assert_eq!(ProjectMetadata::parse(text).expect("valid").to_label(), label);
    }

    #[track_caller]
    fn check_refused(text: &str, message: &str) {
        assert_eq!(ProjectMetadata::parse(text).expect_err("refused").to_string(), message);
    }

    #[test]
    fn the_label_is_the_file_as_json() {
        check("", "{}");
        assert_eq!(ProjectMetadata::default().to_label(), "{}");
        check(
            "[source.metadata]\nurl = \"https://x/?a&b\"\n[source.version]\ndeclared = \"1.0.2\"\n[source]\ntype = \"project\"\n",
            r#"{"source":{"type":"project","version":{"declared":"1.0.2"},"metadata":{"url":"https://x/?a\u0026b"}}}"#,
        );
    }

    #[test]
    fn numbers_keep_their_type_and_dates_become_text() {
        check(
            "[source.version]\nn = 1\nf = 1.0\nd = 2020-01-02\n",
            r#"{"source":{"version":{"d":"2020-01-02","f":1.0,"n":1}}}"#,
        );
    }

    #[test]
    fn wrong_types_are_refused() {
        check_refused("source = 1", "toml: `source` is not a table");
        check_refused("[source]\ntype = 1", "toml: `source.type` is not a text");
        check_refused("[source]\nversion = 1", "toml: `source.version` is not a table");
        check_refused("x = nan", "toml: a number that is not finite cannot be written as JSON");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            text in damaged("[source]\ntype = \"git\"\n[source.version]\nn = 1.5\n[source.metadata]\nd = 2020-01-02\n")
        ) {
            if let Ok(project) = ProjectMetadata::parse(&text) {
                let _ = project.to_label();
            }
        }
    }
}
