//! What the engine says about an image, as an [`Image`].
//!
//! The engine does not give the config as it stores it. What it gives has every key with a default
//! value written out; those are left out again, so that the config is the one a registry has.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::digest::{DiffId, Digest};
use crate::image::manifest::MediaFamily;
use crate::image::store::StoreError;
use crate::image::{Image, ImageConfig, Layer, Origin};
use crate::json::JsonObject;
use crate::reference::ImageName;

/// The answer of `/images/{name}/json`, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    /// `sha256:…` of the config, or of the manifest with the containerd image store.
    pub id: Digest,
    #[serde(default)]
    os: String,
    #[serde(default)]
    os_version: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    author: String,
    #[serde(default)]
    created: String,
    #[serde(default)]
    config: Option<Map<String, Value>>,
    #[serde(rename = "RootFS", default)]
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(default)]
    layers: Option<Vec<DiffId>>,
}

/// An entry of `/images/{name}/history`, the newest first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Step {
    #[serde(default)]
    created: i64,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
}

impl Inspected {
    /// The diffIDs of its layers, base first.
    pub fn diff_ids(&self) -> &[DiffId] {
        self.rootfs.layers.as_deref().unwrap_or_default()
    }

    /// The image. A history of another length than the layers says nothing about them and is left out.
    pub fn into_image(self, history: &[Step]) -> Result<Image, StoreError> {
        let name = ImageName::ImageId(self.id);
        let mut document = Map::new();
        let texts = [
            ("architecture", &self.architecture),
            ("os", &self.os),
            ("os.version", &self.os_version),
            ("variant", &self.variant),
            ("author", &self.author),
            ("created", &self.created),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            document.insert(key.to_owned(), Value::from(text.as_str()));
        }
        let config =
            self.config.clone().unwrap_or_default().into_iter().filter(|(_, value)| !is_default(value));
        document.insert("config".to_owned(), Value::Object(config.collect()));
        document.insert(
            "rootfs".to_owned(),
            serde_json::json!({ "type": "layers", "diff_ids": self.diff_ids() }),
        );
        if history.len() == self.diff_ids().len() {
            document.insert("history".to_owned(), history.iter().rev().map(Step::entry).collect());
        }
        let text = Value::Object(document).to_string();
        let damaged = |error: crate::image::config::ConfigError| StoreError::Damaged {
            what: name.to_string(),
            why: error.to_string(),
        };
        let config = ImageConfig::parse(&text).map_err(damaged)?;
        let layer =
            |diff_id: &DiffId| Layer { diff_id: *diff_id, blob: None, origin: Origin::Stored(name.clone()) };
        Ok(Image {
            layers: self.diff_ids().iter().map(layer).collect(),
            family: MediaFamily::Docker,
            manifest: JsonObject::default(),
            name: Some(name.clone()),
            config,
        })
    }
}

impl Step {
    fn entry(&self) -> Value {
        let mut entry = Map::from_iter([(
            "created".to_owned(),
            Value::from(crate::time::rfc3339(self.created).unwrap_or_default()),
        )]);
        for (key, text) in [("created_by", &self.created_by), ("comment", &self.comment)] {
            if !text.is_empty() {
                entry.insert(key.to_owned(), Value::from(text.as_str()));
            }
        }
        Value::Object(entry)
    }
}

/// Whether a value is what its key would be without it.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
    }
}

/// Whether the engine keeps images in containerd, which knows no layers but those it is given.
pub fn has_containerd_store(info: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "DriverStatus", default)]
        status: Option<Vec<Vec<String>>>,
    }
    let status =
        serde_json::from_str::<Info>(info.get()).ok().and_then(|info| info.status).unwrap_or_default();
    status
        .iter()
        .any(|pair| pair.iter().map(String::as_str).eq(["driver-type", "io.containerd.snapshotter.v1"]))
}
