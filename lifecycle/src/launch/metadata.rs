//! What the launcher reads of `metadata.toml`: processes, and the APIs of their buildpacks.
//!
//! The same file as [`crate::files::metadata`], read without serde, which would make the launcher
//! a tenth larger. Unknown keys are ignored.
//!
//! Spec: platform.md "metadata.toml".

use toml::de::{DeArray, DeTable, DeValue};

use crate::api::{ApiError, BuildpackApi};
use crate::files::metadata::Process;

/// The launcher's view of a build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaunchMetadata {
    /// Every process that buildpacks contributed.
    pub processes: Vec<Process>,
    /// The buildpacks, in the order of the build.
    pub buildpacks: Vec<LaunchBuildpack>,
}

/// A buildpack as the launcher needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchBuildpack {
    /// Its ID.
    pub id: String,
    /// The Buildpack API it was built with.
    pub api: BuildpackApi,
}

/// Why a text is not a `metadata.toml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not TOML.
    #[error("toml: {0}")]
    Toml(String),
    /// A key has a value of another type than it must have.
    #[error("`{key}` must be {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What its value must be.
        expected: &'static str,
    },
    /// A buildpack speaks a Buildpack API that this launcher does not.
    #[error("set API for buildpack '{id}': {source}")]
    Api {
        /// The buildpack.
        id: String,
        /// What is wrong with its API.
        source: ApiError,
    },
}

impl LaunchMetadata {
    /// Reads the text of a `metadata.toml`. Fails on broken TOML, on values of other types and on
    /// Buildpack APIs that are not supported.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        let table = DeTable::parse(text).map_err(|error| MetadataError::Toml(error.message().to_owned()))?;
        let mut metadata = Self::default();
        for table in tables(table.get_ref(), "processes")? {
            metadata.processes.push(process(table)?);
        }
        for table in tables(table.get_ref(), "buildpacks")? {
            metadata.buildpacks.push(buildpack(table)?);
        }
        Ok(metadata)
    }
}

fn process(table: &DeTable<'_>) -> Result<Process, MetadataError> {
    Ok(Process {
        process_type: text(table, "type")?.unwrap_or_default(),
        command: command(table)?,
        args: texts(table, "args")?,
        direct: flag(table, "direct")?,
        buildpack_id: text(table, "buildpack-id")?.unwrap_or_default(),
        working_dir: text(table, "working-dir")?.filter(|dir| !dir.is_empty()),
        exec_env: texts(table, "exec-env")?.unwrap_or_default(),
    })
}

fn buildpack(table: &DeTable<'_>) -> Result<LaunchBuildpack, MetadataError> {
    let id = text(table, "id")?.unwrap_or_default();
    match text(table, "api")?.unwrap_or_default().parse() {
        Ok(api) => Ok(LaunchBuildpack { id, api }),
        Err(source) => Err(MetadataError::Api { id, source }),
    }
}

/// A text up to Platform API 0.9, a list from 0.10 on; both are read at every version.
fn command(table: &DeTable<'_>) -> Result<Vec<String>, MetadataError> {
    if let Some(DeValue::String(word)) = get(table, "command") {
        return Ok(vec![word.to_string()]);
    }
    texts(table, "command").map(Option::unwrap_or_default)
}

fn tables<'t>(table: &'t DeTable<'_>, key: &'static str) -> Result<Vec<&'t DeTable<'t>>, MetadataError> {
    let mut tables = Vec::new();
    for item in list(table, key, "a list of tables")?.into_iter().flatten() {
        let wrong = MetadataError::Type { key, expected: "a list of tables" };
        tables.push(item.get_ref().as_table().ok_or(wrong)?);
    }
    Ok(tables)
}

fn texts(table: &DeTable<'_>, key: &'static str) -> Result<Option<Vec<String>>, MetadataError> {
    let Some(items) = list(table, key, "a list of texts")? else { return Ok(None) };
    let mut texts = Vec::new();
    for item in items {
        let wrong = MetadataError::Type { key, expected: "a list of texts" };
        texts.push(item.get_ref().as_str().ok_or(wrong)?.to_owned());
    }
    Ok(Some(texts))
}

fn list<'t>(
    table: &'t DeTable<'_>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<&'t DeArray<'t>>, MetadataError> {
    let Some(value) = get(table, key) else { return Ok(None) };
    value.as_array().ok_or(MetadataError::Type { key, expected }).map(Some)
}

fn text(table: &DeTable<'_>, key: &'static str) -> Result<Option<String>, MetadataError> {
    let Some(value) = get(table, key) else { return Ok(None) };
    let text = value.as_str().ok_or(MetadataError::Type { key, expected: "a text" })?;
    Ok(Some(text.to_owned()))
}

fn flag(table: &DeTable<'_>, key: &'static str) -> Result<bool, MetadataError> {
    let wrong = MetadataError::Type { key, expected: "true or false" };
    get(table, key).map_or(Ok(false), |value| value.as_bool().ok_or(wrong))
}

fn get<'t>(table: &'t DeTable<'_>, key: &str) -> Option<&'t DeValue<'t>> {
    table.get(key).map(toml::Spanned::get_ref)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        assert_eq!(LaunchMetadata::parse(text).expect_err("refused").to_string(), expected);
    }

    #[test]
    fn processes_are_read_in_both_forms() {
        let text = r#"
            [[processes]]
            type = "web"
            command = ["run", "fixed"]
            args = []
            direct = true
            buildpack-id = "a/b"
            working-dir = "/w"
            exec-env = ["test"]
            [[processes]]
            type = "old"
            command = "run it"
            unknown = { key = 1 }
            working-dir = ""
            [[buildpacks]]
            id = "a/b"
            api = "0.9"
        "#;
        let found = LaunchMetadata::parse(text).expect("valid");
        let web = Process {
            process_type: "web".into(),
            command: vec!["run".into(), "fixed".into()],
            args: Some(vec![]),
            direct: true,
            buildpack_id: "a/b".into(),
            working_dir: Some("/w".into()),
            exec_env: vec!["test".into()],
        };
        let old =
            Process { process_type: "old".into(), command: vec!["run it".into()], ..Process::default() };
        assert_eq!(found.processes, [web, old]);
        assert_eq!(found.buildpacks, [LaunchBuildpack { id: "a/b".into(), api: BuildpackApi::V0_9 }]);
        assert_eq!(LaunchMetadata::parse("").expect("valid"), LaunchMetadata::default());
    }

    #[test]
    fn wrong_types_are_named_by_their_key() {
        check_error("processes = 1", "`processes` must be a list of tables");
        check_error("processes = [1]", "`processes` must be a list of tables");
        check_error("[[processes]]\ncommand = 1", "`command` must be a list of texts");
        check_error("[[processes]]\nargs = [1]", "`args` must be a list of texts");
        check_error("[[processes]]\ntype = []", "`type` must be a text");
        check_error("[[processes]]\ndirect = 'yes'", "`direct` must be true or false");
        check_error("a = ", "toml: string values must be quoted, expected literal string");
    }

    #[test]
    fn buildpacks_of_other_apis_are_refused() {
        let found = LaunchMetadata::parse("[[buildpacks]]\nid = 'x'\napi = '0.6'").expect_err("refused");
        assert!(matches!(&found, MetadataError::Api { id, .. } if id == "x"), "{found}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[\\[(processes|buildpacks)\\]\\]\n)?(command|args|api) = .{0,40}") {
            let _ = LaunchMetadata::parse(&text);
        }
    }
}
