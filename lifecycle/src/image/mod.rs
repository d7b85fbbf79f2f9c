//! An image as a value: its config, its layers (base first) and what its manifest says beside them.
//!
//! Nothing here touches a disk or a network: stores ([`store`]) read and write images, this module
//! and [`rebase`] change values. JSON that is not understood is kept, so that an image which
//! passes through loses nothing.

pub mod config;
pub mod manifest;
pub mod rebase;
pub mod store;

use std::path::PathBuf;

use crate::digest::{DiffId, Digest};
use crate::files::report::ImageReport;
use crate::json::JsonObject;
use crate::reference::ImageName;
pub use config::{HistoryRule, ImageConfig};
pub use manifest::{Descriptor, Encoding, MediaFamily};

/// An image, found in a store or being put together.
#[derive(Debug, Clone)]
pub struct Image {
    /// The config, with every key it came with.
    pub config: ImageConfig,
    /// Layers, base first; as many as the config has diffIDs.
    pub layers: Vec<Layer>,
    /// Which media types its manifest uses: those of the base image are kept.
    pub family: MediaFamily,
    /// The manifest as it came, for its other keys, such as `annotations`, and their order;
    /// `schemaVersion`, `mediaType`, `config` and `layers` are written anew.
    pub manifest: JsonObject,
    /// How the store it was found in names exactly this image: `repo@sha256:…`, an image ID, a layout
    /// path with digest. `None` until saved.
    pub name: Option<ImageName>,
}

impl Image {
    /// An image without layers, as if its base were empty.
    pub fn new(config: ImageConfig) -> Self {
        Self {
            config,
            layers: Vec::new(),
            family: MediaFamily::default(),
            manifest: JsonObject::default(),
            name: None,
        }
    }

    /// Adds a layer on top, with how it was made. Where it comes from an image with other media types, it
    /// gets those of this one: a manifest with both kinds is one that other tools cannot convert.
    pub fn push_layer(&mut self, mut layer: Layer, created_by: &str) {
        layer.blob = layer.blob.map(|blob| blob.in_family(self.family));
        self.config.push_layer(layer.diff_id, created_by);
        self.layers.push(layer);
    }

    /// The layer with that diffID.
    pub fn layer(&self, diff_id: DiffId) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.diff_id == diff_id)
    }
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The sha256 of its uncompressed tar.
    pub diff_id: DiffId,
    /// Its blob as the manifest names it. `None` where a store has no blobs (the Docker daemon).
    pub blob: Option<Descriptor>,
    /// Where its bytes are now.
    pub origin: Origin,
}

/// Where a layer's bytes are. Reuse is data: a layer of another image keeps its origin.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// In a store, as a layer of the image of that name.
    Stored(ImageName),
    /// In the store and under the name the image will be saved as: sent by its layer sink.
    Sent,
    /// In a file that holds the blob exactly as its descriptor says.
    File(PathBuf),
}

/// The identity of a saved image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The manifest's digest; `None` for a Docker daemon.
    pub digest: Option<Digest>,
    /// The manifest's size in bytes; `None` for a Docker daemon.
    pub manifest_size: Option<u64>,
    /// The config's digest, which is Docker's image ID.
    pub image_id: Digest,
    /// The base's layers that were left out of a layout because they may not be read.
    pub unreadable: Vec<DiffId>,
}

impl Saved {
    /// What `report.toml` says of an image that was saved under `tags`: the digest and size of its
    /// manifest where it has one, else its ID.
    pub fn report(&self, tags: Vec<String>) -> ImageReport {
        let image_id = self.digest.is_none().then(|| self.image_id.to_string());
        let digest = self.digest.map(|digest| digest.to_string());
        ImageReport { tags, image_id, digest, manifest_size: self.manifest_size, run_image: None }
    }
}
