//! Base images as the restorer leaves them for the extender: `<kaniko>/cache/base/<digest>`, layouts that
//! have the manifest and the config. Our extender needs no layer's bytes. The reference implementation's gives
//! a layer without contents the blob that the base has of one, so those of empty layers are there as well.
//!
//! ```text
//! restorer: store ─► put ─► <kaniko>/cache/base/<digest> ─► get ─► extender
//! ```
//!
//! Spec: platform.md "restorer", Outputs. Differs from the peer, which fetches every layer:
//! spec-notes/decisions.md, "Base images of extensions".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ExtendError;
use crate::digest::{DiffId, Digest};
use crate::image::manifest::{Encoding, Platform};
use crate::image::store::document::{Documents, render};
use crate::image::store::layout::{LayoutStore, OpenBlob, save_documents};
use crate::image::store::{ImageStore, StoreError};
use crate::image::{Descriptor, Image};
use crate::layers::EMPTY_TAR;
use crate::reference::ImageName;

/// How large the blob of a layer without contents may be, however it was compressed.
const MAX_EMPTY_BLOB_BYTES: u64 = 4 << 10;

/// Where base images are below the directory `kaniko`.
pub fn dir(kaniko: &Path) -> PathBuf {
    kaniko.join("cache/base")
}

/// Writes manifest, config and empty layers of `image`, which was found in `store`.
pub fn put(store: &dyn ImageStore, image: &Image, kaniko: &Path) -> Result<(), StoreError> {
    let name = image.name.as_ref();
    let digest = name.and_then(digest_of).ok_or_else(|| {
        let name = name.map(ToString::to_string).unwrap_or_default();
        StoreError::Refused(format!("`{name}` does not name exactly one image"))
    })?;
    let stored = name.map(|name| store.documents(name)).transpose()?.flatten();
    let documents = stored.map_or_else(|| made(image), Ok)?;
    let blobs = empty_layers(store, image)?;
    save_documents(&documents, blobs, &dir(kaniko).join(digest.to_string())).map(drop)
}

/// The blobs of layers without contents; each once, though an image may have many.
fn empty_layers<'a>(store: &'a dyn ImageStore, image: &'a Image) -> Result<Vec<OpenBlob<'a>>, StoreError> {
    let empty = DiffId::new(Digest::of(&EMPTY_TAR));
    let layers = image.layers.iter().filter(|layer| layer.diff_id == empty);
    let blobs: BTreeMap<_, _> = layers
        .filter_map(|layer| Some((layer.blob.as_ref()?, layer)))
        .filter(|(blob, _)| blob.size <= MAX_EMPTY_BLOB_BYTES)
        .map(|(blob, layer)| (blob.digest, (blob, layer)))
        .collect();
    blobs.into_values().map(|(blob, layer)| Ok((blob, store.open_layer(layer)?))).collect()
}

/// The digest by which a name names exactly one image.
fn digest_of(name: &ImageName) -> Option<Digest> {
    match name {
        ImageName::Reference(reference) => reference.digest,
        ImageName::Layout { digest, .. } => *digest,
        ImageName::ImageId(id) => Some(*id),
    }
}

/// Documents for an image of a store that has none.
fn made(image: &Image) -> Result<Documents, StoreError> {
    let mut image = image.clone();
    name_blobs(&mut image);
    render(&image)
}

/// Gives layers of a store without blobs one in name: the layer itself, of unknown size.
pub fn name_blobs(image: &mut Image) {
    let media_type = image.family.layer(Encoding::Tar);
    for layer in &mut image.layers {
        layer.blob.get_or_insert_with(|| Descriptor::new(media_type, 0, layer.diff_id.digest()));
    }
}

/// Reads the base image that `analyzed.toml` names `reference`.
pub fn get(reference: &str, kaniko: &Path) -> Result<Image, ExtendError> {
    let pinned = reference.rsplit_once('@').map(|(_, digest)| digest);
    // A daemon's image is known by its ID, which is no manifest's digest.
    let known = pinned.map_or_else(|| format!("sha256:{reference}").parse(), str::parse);
    let digest: Digest = known.map_err(|_| ExtendError::NotExact(reference.to_owned()))?;
    let path = dir(kaniko).join(digest.to_string());
    let store = LayoutStore::new(path.clone(), Platform::host(), Encoding::Gzip);
    let found = store.find(&ImageName::Layout { path: path.clone(), digest: pinned.map(|_| digest) });
    let image = found.and_then(|image| image.ok_or_else(|| StoreError::NotFound(path.display().to_string())));
    image.map_err(|source| ExtendError::Base { reference: reference.to_owned(), path: path.clone(), source })
}
