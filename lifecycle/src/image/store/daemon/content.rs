//! The containerd image store of newer engines: it keeps blobs, and an image may be given by a
//! manifest that names some that it has already.
//!
//! An archive in the OCI layout form may lack blobs. The engine does not refuse it when it lacks
//! them too, so an image comes in without a name, is asked after, and gets its names only when the
//! engine says that all of it is there. The decision and its evidence:
//! `spec-notes/decisions.md#containerd-partial-load`. Source: Docker Engine API 1.48, "Inspect an
//! image" (`manifests`), "Import images"; OCI image-spec image-layout.md "Blobs".

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::Deserialize;

use super::engine::Engine;
use super::load::add;
use crate::digest::{DiffId, Digest};
use crate::image::manifest::{Document, MAX_BYTES, Manifest, OCI_INDEX};
use crate::image::store::document::Documents;
use crate::image::store::{StoreError, verify};
use crate::image::{Descriptor, Encoding, Image, MediaFamily, Origin};
use crate::json::{JsonObject, go_json};

/// The answer of `/images/{name}/json?manifests=1`, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    os: String,
    architecture: String,
    #[serde(rename = "RootFS")]
    rootfs: RootFs,
    manifests: Option<Vec<Summary>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RootFs {
    layers: Option<Vec<DiffId>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    #[serde(rename = "ID")]
    id: Digest,
    /// Whether every blob is in the content store, layers included.
    #[serde(default)]
    available: bool,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    image_data: Option<ImageData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageData {
    platform: Platform,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Platform {
    os: String,
    architecture: String,
}

/// The layer blobs of the engine's image `id`, by diffID. `None` where the engine does not say, or not
/// all of them are there.
pub fn blobs(engine: &Engine, id: Digest) -> Result<Option<BTreeMap<DiffId, Descriptor>>, StoreError> {
    let Some(listed) = listed(engine, id)? else { return Ok(None) };
    let Some(digest) = listed.only_image() else { return Ok(None) };
    let Some(manifest) = manifest(engine, id, digest)? else { return Ok(None) };
    let diff_ids = listed.rootfs.layers.unwrap_or_default();
    if diff_ids.len() != manifest.layers.len() {
        return Ok(None);
    }
    Ok(Some(diff_ids.into_iter().zip(manifest.layers).filter(|(_, blob)| !blob.is_foreign()).collect()))
}

/// Whether the engine has every blob of the image with this manifest.
pub fn is_complete(engine: &Engine, manifest: Digest) -> Result<bool, StoreError> {
    let listed = listed(engine, manifest)?.unwrap_or_default();
    let manifests = listed.manifests.unwrap_or_default();
    Ok(manifests.iter().any(|summary| summary.id == manifest && summary.available))
}

fn listed(engine: &Engine, id: Digest) -> Result<Option<Listed>, StoreError> {
    engine.get(&format!("/images/{id}/json?manifests=1"))
}

impl Listed {
    /// The manifest of the image that was inspected, if there can be no doubt which it is.
    fn only_image(&self) -> Option<Digest> {
        let is_it = |summary: &&Summary| {
            let Some(ImageData { platform }) = &summary.image_data else { return false };
            summary.kind == "image"
                && summary.available
                && platform.os == self.os
                && platform.architecture == self.architecture
        };
        let mut images = self.manifests.iter().flatten().filter(is_it);
        images.next().filter(|_| images.next().is_none()).map(|summary| summary.id)
    }
}

/// A manifest out of what `docker save` gives of image `id`: no other call of the engine has it. What
/// lies before it in the stream is passed over and what follows is not asked for.
fn manifest(engine: &Engine, id: Digest, manifest: Digest) -> Result<Option<Manifest>, StoreError> {
    let failed =
        |source| StoreError::Io { action: "read", what: "an image of the Docker engine".to_owned(), source };
    let wanted = format!("blobs/sha256/{}", manifest.hex());
    let mut archive = tar::Archive::new(engine.stream(&format!("/images/get?names={id}"))?);
    for entry in archive.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path_bytes() != wanted.as_bytes() {
            continue;
        }
        let mut text = String::new();
        entry.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
        verify("a manifest of the Docker engine", text.as_bytes(), manifest)?;
        return Ok(match Document::parse(&text) {
            Ok(Document::Manifest(manifest)) => Some(manifest),
            _ => None,
        });
    }
    Ok(None)
}

/// An image of which some blobs are given and the others are in the engine.
#[derive(Debug)]
pub struct Partial {
    documents: Documents,
    /// The blobs that are given, once each.
    given: Vec<(Digest, PathBuf)>,
}

impl Partial {
    /// `image` without the blobs that are `there`; `None` where it needs another one that is no file,
    /// or none is there.
    pub fn of(image: &Image, there: &BTreeMap<DiffId, Descriptor>) -> Result<Option<Self>, StoreError> {
        if there.is_empty() {
            return Ok(None);
        }
        let (mut image, mut given) = (image.clone(), BTreeMap::new());
        image.family = MediaFamily::Docker;
        for layer in &mut image.layers {
            let blob = match (there.get(&layer.diff_id), &layer.origin) {
                (Some(blob), _) => blob.clone().in_family(image.family),
                (None, Origin::File(path)) => {
                    let size = size(path)?;
                    let digest = layer.diff_id.digest();
                    given.insert(digest, path.clone());
                    Descriptor::new(image.family.layer(Encoding::Tar), size, digest)
                }
                _ => return Ok(None),
            };
            layer.blob = Some(blob);
        }
        let documents = super::super::document::render(&image)?;
        Ok(Some(Self { documents, given: given.into_iter().collect() }))
    }

    /// The manifest's digest, which is how the engine names the image.
    pub fn id(&self) -> Digest {
        self.documents.manifest_descriptor.digest
    }

    /// Writes the archive: an OCI layout without the blobs that are there, and without a name.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        let documents = &self.documents;
        let name = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
        let mut text = |name: &str, text: &str| add(&mut tar, name, text.len() as u64, text.as_bytes());
        text("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        text(&name(documents.config_descriptor.digest), &documents.config)?;
        text(&name(documents.manifest_descriptor.digest), &documents.manifest)?;
        for (digest, path) in &self.given {
            let file = File::open(path)?;
            add(&mut tar, &name(*digest), file.metadata()?.len(), file)?;
        }
        let mut index = JsonObject::default();
        index.set("schemaVersion", &2);
        index.set("mediaType", OCI_INDEX);
        index.set("manifests", &[&documents.manifest_descriptor]);
        let index = go_json(&index);
        add(&mut tar, "index.json", index.len() as u64, index.as_bytes())?;
        tar.into_inner()?.flush()
    }
}

fn size(path: &std::path::Path) -> Result<u64, StoreError> {
    let metadata = std::fs::metadata(path);
    let failed = |source| StoreError::Io { action: "read", what: path.display().to_string(), source };
    metadata.map(|metadata| metadata.len()).map_err(failed)
}
