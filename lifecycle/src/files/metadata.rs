//! `metadata.toml`: what the buildpacks of a build contributed to the app image.
//!
//! The builder writes it, the exporter reads it and puts it into the image, the launcher reads it
//! there (`launch/metadata.rs`, without serde).
//!
//! Spec: platform.md "metadata.toml".

mod write;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Table;

use super::component_id::{ComponentId, ComponentVersion};
use super::group::GroupElement;
use super::{SpecFile, SyntaxError, parse_toml};
use crate::api::PlatformApi;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BuildMetadata {
    /// The legacy bill of materials of the image; only before Platform API 0.9.
    pub bom: Vec<BomEntry>,
    /// The buildpacks that ran, in order.
    pub buildpacks: Vec<GroupElement>,
    /// The extensions that took part, in order.
    pub extensions: Vec<GroupElement>,
    /// Labels of the image; of equal keys the last one counts.
    pub labels: Vec<Label>,
    /// One process for each type, sorted by type.
    pub processes: Vec<Process>,
    /// Parts of the application directory that become layers, in order.
    pub slices: Vec<Slice>,
    /// The type of the process that the image starts, if the buildpacks chose one.
    pub buildpack_default_process_type: Option<String>,
}

/// A process that the image can start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Process {
    /// Its name.
    #[serde(rename = "type")]
    pub process_type: String,
    /// The executable, and arguments that it always gets. A text is read as its only element.
    #[serde(deserialize_with = "one_or_more")]
    pub command: Vec<String>,
    /// Further arguments; `None` where the buildpack names none.
    pub args: Option<Vec<String>>,
    /// Whether it is executed without a shell.
    pub direct: bool,
    /// The buildpack that contributed it.
    pub buildpack_id: String,
    /// Where it runs; `None` is the application directory.
    pub working_dir: Option<String>,
    /// The execution environments that it is for; empty is all.
    pub exec_env: Vec<String>,
}

/// A label of the image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Label {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A part of the application directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Slice {
    /// Patterns of paths.
    pub paths: Vec<String>,
}

/// An entry of the deprecated bill of materials.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BomEntry {
    /// The dependency.
    pub name: String,
    /// What the buildpack says about it.
    pub metadata: Option<Table>,
    /// The buildpack that contributed it.
    pub buildpack: BomBuildpack,
}

/// The buildpack of a [`BomEntry`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct BomBuildpack {
    /// Its ID.
    pub id: ComponentId,
    /// Its version.
    pub version: ComponentVersion,
}

impl BuildMetadata {
    /// What messages call the file.
    pub const NAME: &'static str = "build metadata";

    /// The file's text, byte for byte as the reference implementation writes it.
    ///
    /// Up to Platform API 0.9 `command` is one text, and its further elements begin `args`.
    pub fn to_toml(&self, platform_api: PlatformApi) -> String {
        write::to_toml(self, platform_api)
    }
}

impl Process {
    /// The process as Platform API `api` knows it: before 0.10 a command is one word, and what
    /// follows it are arguments.
    #[must_use]
    pub fn for_platform(&self, api: PlatformApi) -> Self {
        let mut process = self.clone();
        if !api.writes_command_as_array() && !process.command.is_empty() {
            let fixed = process.command.drain(1..).collect::<Vec<_>>();
            process.args = Some([fixed, process.args.unwrap_or_default()].concat());
        }
        process
    }
}

impl BomEntry {
    /// The entry as a table: `name`, `metadata` and `buildpack`.
    pub fn to_table(&self) -> Table {
        let buildpack = [("id", self.buildpack.id.as_str()), ("version", self.buildpack.version.as_str())];
        let buildpack = buildpack.map(|(key, value)| (key.to_owned(), toml::Value::from(value)));
        let mut table = Table::new();
        table.insert("name".to_owned(), self.name.clone().into());
        table.extend(self.metadata.clone().map(|metadata| ("metadata".to_owned(), metadata.into())));
        table.insert("buildpack".to_owned(), Table::from_iter(buildpack).into());
        table
    }
}

impl SpecFile for BuildMetadata {
    const NAME: &'static str = Self::NAME;

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut metadata: Self = parse_toml(text)?;
        for process in &mut metadata.processes {
            process.working_dir = process.working_dir.take().filter(|dir| !dir.is_empty());
        }
        Ok(metadata)
    }
}

/// Reads a text as a list with one element.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = items.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }

    deserializer.deserialize_any(OneOrMore)
}

#[cfg(test)]
mod tests;
