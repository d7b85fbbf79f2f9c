//! The run image as extensions changed it: what they added, as layers of the app image.
//!
//! The extender leaves a sparse OCI layout, `<extended>/run/<image>`, that has the blobs of the new
//! layers only; those of the run image itself stay where they are.
//!
//! Spec: platform.md "extender", "exporter".

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::ExportError;
use super::content::{Content, Item, Part};
use crate::digest::Hashing;
use crate::files;
use crate::files::footprints::{self, Footprints};
use crate::files::labels::REBASABLE;
use crate::image::manifest::{Encoding, MediaFamily, Platform};
use crate::image::store::layout::LayoutStore;
use crate::image::store::{ImageStore, StoreError};
use crate::image::{Descriptor, Image, Layer, Origin};
use crate::layers::decode::decompress;
use crate::layers::tar::LayerSource;
use crate::log::chain;
use crate::reference::ImageName;

/// The run image as extensions changed it.
#[derive(Debug)]
pub struct Extended {
    image: Image,
    path: PathBuf,
    footprints: Option<Footprints>,
    /// How many layers, from the bottom, are those of the run image, where the extender says it.
    base_layers: Option<usize>,
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
    let base_layers = LayoutStore::base_layers(&path).map_err(|error| failed(chain(&error)))?;
    Ok(Extended { image, path, footprints, base_layers })
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
    /// The layers that extensions added, as layers of the app image, which is based on `base` and will be
    /// saved in `store` as `target`.
    ///
    /// Fails when the image is not one of `base` with layers on top.
    pub fn items(
        &self,
        base: &Image,
        store: &dyn ImageStore,
        target: &ImageName,
    ) -> Result<Vec<Item>, ExportError> {
        let failed = |why: String| ExportError::Extended { path: self.path.clone(), why };
        let is_based = |below: usize| {
            let diff_ids = |layers: &[Layer]| layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>();
            below == base.layers.len()
                && self.image.layers.get(..below).is_some_and(|own| diff_ids(own) == diff_ids(&base.layers))
        };
        let below = match self.base_layers {
            Some(below) if !is_based(below) => {
                return Err(failed("it is not an extension of the run image in analyzed.toml".to_owned()));
            }
            Some(below) => below,
            // That one of the run image's blobs is there does not make it an extension's.
            None if is_based(base.layers.len()) => base.layers.len(),
            None => 0,
        };
        let layers = self.image.layers.iter().zip(self.image.config.history()).enumerate().skip(below);
        let item = |(index, (layer, history)): (usize, (&Layer, _))| {
            let content = match (self.base_layers, self.blob(layer)) {
                // The extender's layers are as the image's will be.
                (Some(_), Some(path)) => ready(layer, path, store, target)
                    .map(|layer| Content::Ready(Box::new(layer)))
                    .map_err(|error| failed(chain(&error))),
                (Some(_), None) => Err(failed(format!("it lacks layer {}", layer.diff_id))),
                (None, path) => Ok(Content::Made(LayerSource::Archive(path?))),
            };
            let created_by = created_by(history);
            let id = format!("{}:extended-layer-{index}", extension(&created_by));
            Some(content.map(|content| Item {
                id,
                created_by,
                part: Part::Extension,
                content,
                in_image: true,
                in_cache: false,
            }))
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

/// A layer with its blob in the file `path`, as `store` takes it: as it is, or as plain tar.
fn ready(
    layer: &Layer,
    path: PathBuf,
    store: &dyn ImageStore,
    target: &ImageName,
) -> Result<Layer, StoreError> {
    if store.encoding() != Encoding::Tar {
        return Ok(Layer { origin: Origin::File(path), ..layer.clone() });
    }
    let what = path.display().to_string();
    let failed = |source| StoreError::Io { action: "read", what: what.clone(), source };
    let file = File::open(&path).map_err(failed)?;
    let mut tar = Hashing::new(decompress(file).map_err(failed)?);
    let mut sink = store.layer_sink(target)?;
    io::copy(&mut tar, &mut sink).map_err(failed)?;
    let (digest, size, _) = tar.finish();
    if digest != layer.diff_id.digest() {
        let why = format!("its tar has the digest {digest}, expected {}", layer.diff_id);
        return Err(StoreError::Damaged { what, why });
    }
    let blob = Descriptor::new(MediaFamily::Oci.layer(Encoding::Tar), size, digest);
    let origin = sink.commit(&blob)?;
    Ok(Layer { diff_id: layer.diff_id, blob: Some(blob), origin })
}

fn created_by(history: &crate::json::JsonObject) -> String {
    history.get("created_by").ok().flatten().unwrap_or_default()
}

/// The extension that a history entry names: `Layer: '…', Created by extension: <id>`.
fn extension(created_by: &str) -> &str {
    created_by.rsplit_once("Created by extension: ").map_or("from extensions", |(_, id)| id)
}
