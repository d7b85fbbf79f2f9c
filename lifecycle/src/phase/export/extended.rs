//! The run image as extensions changed it: what they added, as layers of the app image.
//!
//! The extender leaves a sparse OCI layout, `<extended>/run/<image>`, that has the blobs of the new
//! layers only; those of the run image itself stay where they are.
//!
//! Spec: platform.md "extender", "exporter".

use std::fs;
use std::path::{Path, PathBuf};

use super::ExportError;
use super::content::{Content, Item, Part};
use crate::files;
use crate::files::footprints::{self, Footprints};
use crate::files::labels::REBASABLE;
use crate::image::manifest::{Encoding, Platform};
use crate::image::store::ImageStore;
use crate::image::store::layout::LayoutStore;
use crate::image::{Image, Layer};
use crate::layers::tar::LayerSource;
use crate::log::chain;
use crate::reference::ImageName;

/// The run image as extensions changed it.
#[derive(Debug)]
pub struct Extended {
    image: Image,
    path: PathBuf,
    footprints: Option<Footprints>,
}

/// Reads the only image below `<dir>/run`.
pub fn read(dir: &Path) -> Result<Extended, ExportError> {
    let run = dir.join("run");
    let failed = |why: String| ExportError::Extended { path: run.clone(), why };
    let entries = fs::read_dir(&run).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| failed(error.to_string()))?;
    let [entry] = entries.as_slice() else {
        return Err(failed(format!("expected one image, found {}", entries.len())));
    };
    let path = entry.path();
    let store = LayoutStore::new(run.clone(), Platform::host(), Encoding::Gzip);
    let found = store.find(&ImageName::Layout { path: path.clone(), digest: None });
    let image = found.map_err(|error| failed(chain(&error)))?;
    let image = image.ok_or_else(|| failed(format!("no image in `{}`", path.display())))?;
    let footprints = footprints(&path).map_err(failed)?;
    Ok(Extended { image, path, footprints })
}

/// What the extender says about its layers; not all extenders do.
fn footprints(layout: &Path) -> Result<Option<Footprints>, String> {
    match files::read_text(&layout.join(footprints::FILE)) {
        Ok(text) => Footprints::of_layers(&text).map(Some).map_err(|error| error.to_string()),
        Err(cause) if cause.is_not_found() => Ok(None),
        Err(cause) => Err(cause.to_string()),
    }
}

impl Extended {
    /// The layers that extensions added, as layers of the app image.
    pub fn items(&self) -> Vec<Item> {
        let layers = self.image.layers.iter().zip(self.image.config.history()).enumerate();
        let item = |(index, (layer, history)): (usize, (&Layer, _))| {
            let path = self.blob(layer)?;
            let created_by = created_by(history);
            Some(Item {
                id: format!("{}:extended-layer-{index}", extension(&created_by)),
                created_by,
                part: Part::Extension,
                content: Content::Made(LayerSource::Archive(path)),
                in_image: true,
                in_cache: false,
            })
        };
        layers.filter_map(item).collect()
    }

    /// The layer's blob, if the layout has it: one that extensions added.
    fn blob(&self, layer: &Layer) -> Option<PathBuf> {
        let path = self.path.join("blobs/sha256").join(layer.blob.as_ref()?.digest.hex());
        path.is_file().then_some(path)
    }

    /// Gives `image`, the run image, the environment, user and labels that extensions left.
    pub fn configure(&self, image: &mut Image) {
        image.config.take_process(&self.image.config);
    }

    /// What the extensions' layers do to files of the run image, if that is known.
    pub fn footprints(&self) -> Option<&Footprints> {
        self.footprints.as_ref()
    }

    /// The value of the label `io.buildpacks.rebasable`: `true` only where the extender said so.
    pub fn rebasable(&self) -> &'static str {
        if self.image.config.label(REBASABLE) == Some("true") { "true" } else { "false" }
    }
}

fn created_by(history: &crate::json::JsonObject) -> String {
    history.get("created_by").ok().flatten().unwrap_or_default()
}

/// The extension that a history entry names: `Layer: '…', Created by extension: <id>`.
fn extension(created_by: &str) -> &str {
    created_by.rsplit_once("Created by extension: ").map_or("from extensions", |(_, id)| id)
}
