//! Base images as the restorer leaves them for the extender: `<kaniko>/cache/base/<digest>`, layouts that
//! have the manifest and the config. No layer's bytes are needed, so none are fetched.
//!
//! ```text
//! restorer: store ─► put ─► <kaniko>/cache/base/<digest> ─► get ─► extender
//! ```
//!
//! Spec: platform.md "restorer", Outputs. Differs from the peer, which fetches every layer:
//! spec-notes/decisions.md, "Base images of extensions".

use std::path::{Path, PathBuf};

use super::ExtendError;
use crate::digest::Digest;
use crate::image::manifest::{Encoding, Platform};
use crate::image::store::document::{Documents, render};
use crate::image::store::layout::{LayoutStore, save_documents};
use crate::image::store::{ImageStore, StoreError};
use crate::image::{Descriptor, Image};
use crate::reference::ImageName;

/// Where base images are below the directory `kaniko`.
pub fn dir(kaniko: &Path) -> PathBuf {
    kaniko.join("cache/base")
}

/// Writes manifest and config of `image`, which was found in `store`.
pub fn put(store: &dyn ImageStore, image: &Image, kaniko: &Path) -> Result<(), StoreError> {
    let name = image.name.as_ref();
    let digest = name.and_then(digest_of).ok_or_else(|| {
        let name = name.map(ToString::to_string).unwrap_or_default();
        StoreError::Refused(format!("`{name}` does not name exactly one image"))
    })?;
    let stored = name.map(|name| store.documents(name)).transpose()?.flatten();
    let documents = stored.map_or_else(|| made(image), Ok)?;
    save_documents(&documents, &dir(kaniko).join(digest.to_string())).map(drop)
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
