//! The labels of images: their names, and what a build records about itself in them.
//!
//! Spec: platform.md "Labels".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Table;

use super::data::{NotFinite, object_to_table, table_to_json};
use super::null_is_empty;
use super::stack::Stack;
use crate::digest::DiffId;
use crate::json::{JsonError, go_json};

/// The build's processes, buildpacks and launcher.
pub const BUILD_METADATA: &str = "io.buildpacks.build.metadata";
/// The execution environment of the build, as the reference implementation writes it.
pub const EXEC_ENV: &str = "io.buildpacks.exec-env";
/// The layers, by what they hold: see [`LifecycleMetadata`].
pub const LIFECYCLE_METADATA: &str = "io.buildpacks.lifecycle.metadata";
/// Where the source came from.
pub const PROJECT_METADATA: &str = "io.buildpacks.project.metadata";
/// `false` when the image cannot be put on another base safely.
pub const REBASABLE: &str = "io.buildpacks.rebasable";
/// The layers of a cache image.
pub const CACHE_METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";
/// The stack of a base image, before Platform API 0.12.
pub const STACK_ID: &str = "io.buildpacks.stack.id";
/// The mixins of a base image, before Platform API 0.12.
pub const STACK_MIXINS: &str = "io.buildpacks.stack.mixins";
/// The target ID of a base image.
pub const BASE_ID: &str = "io.buildpacks.base.id";
/// The distribution's name of a base image.
pub const DISTRO_NAME: &str = "io.buildpacks.base.distro.name";
/// The distribution's version of a base image.
pub const DISTRO_VERSION: &str = "io.buildpacks.base.distro.version";
/// What labels of base images begin with.
pub const BASE_PREFIX: &str = "io.buildpacks.base.";
/// What labels of base images began with before Platform API 0.12.
pub const STACK_PREFIX: &str = "io.buildpacks.stack.";

/// The label `io.buildpacks.lifecycle.metadata`: the image's layers by what they hold, and its base.
/// Keys it does not know are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LifecycleMetadata {
    /// The layers of the application directory.
    #[serde(deserialize_with = "null_is_empty")]
    pub app: Vec<LayerSha>,
    /// The layer of SBOM files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<LayerSha>,
    /// The launch layers of each buildpack, in group order.
    #[serde(deserialize_with = "null_is_empty")]
    pub buildpacks: Vec<BuildpackLayers>,
    /// The layer with `metadata.toml`.
    #[serde(deserialize_with = "null_is_empty")]
    pub config: LayerSha,
    /// The layer with the launcher.
    #[serde(deserialize_with = "null_is_empty")]
    pub launcher: LayerSha,
    /// The layer with one link per process type.
    #[serde(rename = "process-types", deserialize_with = "null_is_empty")]
    pub process_types: LayerSha,
    /// The base.
    #[serde(rename = "runImage", deserialize_with = "null_is_empty")]
    pub run_image: RunImageMetadata,
    /// The base's names once more, for platforms before Platform API 0.12; always written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Stack>,
    /// The execution environment of the build, from Platform API 0.15.
    #[serde(rename = "exec-env", skip_serializing_if = "Option::is_none")]
    pub exec_env: Option<String>,
    /// Every other key.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A layer, by its diffID as text; empty when there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerSha {
    /// The diffID.
    pub sha: String,
}

impl LayerSha {
    /// The layer with that diffID.
    pub fn new(diff_id: DiffId) -> Self {
        Self { sha: diff_id.to_string() }
    }

    /// The diffID; `None` when there is none or it is not one.
    pub fn diff_id(&self) -> Option<DiffId> {
        self.sha.parse().ok()
    }
}

/// The launch layers of one buildpack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildpackLayers {
    /// The buildpack's ID.
    pub key: String,
    /// Its version.
    pub version: String,
    /// Its layers by name.
    #[serde(deserialize_with = "null_is_empty")]
    pub layers: BTreeMap<String, LayerMetadata>,
    /// Its `store.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreMetadata>,
    /// Every other key.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A launch layer of a buildpack: its diffID and its `<layer>.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerMetadata {
    /// Its diffID as text.
    pub sha: String,
    /// The `metadata` table; null when there is none.
    pub data: Value,
    /// Whether later buildpacks see it.
    pub build: bool,
    /// Whether it is in the image.
    pub launch: bool,
    /// Whether it is cached.
    pub cache: bool,
    /// Every other key.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The `store.toml` of a buildpack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreMetadata {
    /// The `metadata` table; null when there is none.
    pub metadata: Value,
}

/// The base of an app image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunImageMetadata {
    /// The diffID of its last layer, as text.
    #[serde(rename = "topLayer")]
    pub top_layer: String,
    /// What names exactly it: a digest reference, an image ID, a layout path with digest.
    pub reference: String,
    /// Its name, from Platform API 0.12; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Names of the same image elsewhere, from Platform API 0.12.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub mirrors: Vec<String>,
    /// Every other key.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl LifecycleMetadata {
    /// Reads the label's value.
    pub fn from_label(value: &str) -> Result<Self, JsonError> {
        serde_json::from_str(value)
    }

    /// The label's value.
    pub fn to_label(&self) -> String {
        go_json(self)
    }

    /// The layers of the buildpack `id`.
    pub fn buildpack(&self, id: &str) -> Option<&BuildpackLayers> {
        self.buildpacks.iter().find(|buildpack| buildpack.key == id)
    }

    /// As it stands in `analyzed.toml`: a few keys have other names there.
    pub fn to_table(&self) -> Table {
        let json = serde_json::to_value(self).expect("every map has text keys");
        let Value::Object(mut members) = json else { unreachable!("a struct is an object") };
        rename_all(&mut members, Spelling::Toml);
        object_to_table(&members)
    }

    /// Reads what [`Self::to_table`], or the reference implementation, wrote.
    pub fn from_table(table: &Table) -> Result<Self, TableError> {
        let mut members = table_to_json(table)?;
        rename_all(&mut members, Spelling::Json);
        Ok(serde_json::from_value(Value::Object(members))?)
    }
}

/// A table is not lifecycle metadata.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It holds what JSON cannot.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// A key has another type.
    #[error(transparent)]
    Type(#[from] JsonError),
}

/// How a key is spelled: `runImage` in the label, `run-image` in `analyzed.toml`.
#[derive(Debug, Clone, Copy)]
enum Spelling {
    Json,
    Toml,
}

fn rename_all(metadata: &mut Map<String, Value>, spelling: Spelling) {
    rename(metadata, "runImage", "run-image", spelling);
    for key in ["runImage", "run-image"] {
        if let Some(Value::Object(run_image)) = metadata.get_mut(key) {
            rename(run_image, "topLayer", "top-layer", spelling);
        }
    }
    if let Some(Value::Object(stack)) = metadata.get_mut("stack") {
        rename(stack, "runImage", "run-image", spelling);
    }
    let Some(Value::Array(buildpacks)) = metadata.get_mut("buildpacks") else { return };
    for buildpack in buildpacks {
        let Some(Value::Object(layers)) = buildpack.get_mut("layers") else { continue };
        for layer in layers.values_mut().filter_map(Value::as_object_mut) {
            rename(layer, "data", "metadata", spelling);
        }
    }
}

fn rename(members: &mut Map<String, Value>, json: &str, toml: &str, spelling: Spelling) {
    let (from, to) = match spelling {
        Spelling::Json => (toml, json),
        Spelling::Toml => (json, toml),
    };
    if let Some(value) = members.remove(from) {
        members.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
