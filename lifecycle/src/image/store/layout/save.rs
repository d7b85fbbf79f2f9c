//! Writes an image into layout directories: blobs first, `index.json` last.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::StoreError;
use super::super::document::{Documents, render};
use super::super::verified::Verified;
use super::dir::LayoutDir;
use super::{LayoutStore, Source, blob, blob_path, damaged, failed, open_blob, shown};
use crate::digest::DiffId;
use crate::image::manifest::OCI_INDEX;
use crate::image::{Descriptor, Image, Layer, Origin, Saved};
use crate::json::{JsonObject, go_json};
use crate::reference::ImageName;

/// The annotation that names an image within an index. Spec: OCI image-spec annotations.md.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The annotation of an index entry that says how many layers of the image, from the bottom, are its
/// base's, which the layout does not have.
pub const BASE_LAYERS: &str = "io.buildpacks.lifecycle.base-layers";

/// Which layers of an image are written: those above so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Above {
    /// The number of layers that are the base's.
    pub layers: usize,
}

/// Writes the documents of an image to the directory `path`, and of its layers only those `above` its
/// base. The index says how many the base has.
pub fn save_above(
    store: &LayoutStore,
    image: &Image,
    path: &Path,
    above: Above,
) -> Result<Saved, StoreError> {
    let documents = render(image)?;
    let dir = create(path)?;
    for layer in image.layers.iter().skip(above.layers) {
        let blob = blob(layer)?;
        if !has_blob(&dir, blob)? && !copy_layer(store, layer, blob, &dir)? {
            return Err(StoreError::NotFound(format!("layer {} ({})", layer.diff_id, origin(layer))));
        }
    }
    let mut annotations = JsonObject::default();
    annotations.set(BASE_LAYERS, &above.layers.to_string());
    finish(&dir, &documents, &annotations)
}

/// A layer's blob as a manifest names it, and its bytes.
pub type OpenBlob<'a> = (&'a Descriptor, Box<dyn Read + Send + 'a>);

/// Writes the documents of an image, and of its layers only `blobs`, to the directory `path`.
pub fn save_documents(
    documents: &Documents,
    blobs: Vec<OpenBlob<'_>>,
    path: &Path,
) -> Result<Saved, StoreError> {
    let dir = create(path)?;
    for (blob, bytes) in blobs {
        copy(bytes, &dir, blob).map_err(|source| failed("write", &blob_path(&dir, blob.digest), source))?;
    }
    finish(&dir, documents, &JsonObject::default())
}

fn create(path: &Path) -> Result<LayoutDir, StoreError> {
    let dir = LayoutDir::create(path).map_err(|source| failed("create", &shown(path), source))?;
    dir.remove_abandoned();
    Ok(dir)
}

/// Writes the documents and then the index, which makes the image appear.
fn finish(dir: &LayoutDir, documents: &Documents, annotations: &JsonObject) -> Result<Saved, StoreError> {
    write_blob(dir, &documents.config_descriptor, &documents.config)?;
    write_blob(dir, &documents.manifest_descriptor, &documents.manifest)?;
    write_index(dir, &index_of(annotations, documents))?;
    Ok(saved(documents))
}

fn write_index(dir: &LayoutDir, index: &str) -> Result<(), StoreError> {
    for (file, bytes) in [("oci-layout", OCI_LAYOUT), ("index.json", index.as_bytes())] {
        dir.replace(file, bytes).map_err(|source| failed("write", &shown(&dir.path().join(file)), source))?;
    }
    Ok(())
}

fn saved(documents: &Documents) -> Saved {
    Saved {
        digest: Some(documents.manifest_descriptor.digest),
        manifest_size: Some(documents.manifest_descriptor.size),
        image_id: documents.config_descriptor.digest,
        unreadable: Vec::new(),
    }
}

/// Writes `image` to each of `names`. Blobs that are there already are not written again; the old
/// image can be read until the new one is complete.
pub fn save(store: &LayoutStore, image: &Image, names: &[ImageName]) -> Result<Saved, StoreError> {
    let documents = render(image)?;
    let mut dirs = Vec::with_capacity(names.len());
    let mut unreadable = Vec::new();
    for name in names {
        let path = store.path(name)?;
        let dir = create(&path)?;
        unreadable = copy_layers(store, image, &dir)?;
        write_blob(&dir, &documents.config_descriptor, &documents.config)?;
        write_blob(&dir, &documents.manifest_descriptor, &documents.manifest)?;
        dirs.push(dir);
    }
    for (dir, name) in dirs.iter().zip(names) {
        write_index(dir, &index_of(&annotations(image, name), &documents))?;
    }
    Ok(Saved { unreadable, ..saved(&documents) })
}

/// What the index says of an image: its name after its tag, so that tools which want one find it.
fn annotations(image: &Image, name: &ImageName) -> JsonObject {
    let annotations = image.manifest.get::<JsonObject>("annotations").ok().flatten();
    let annotated = annotations.and_then(|all| all.get::<String>(REF_NAME).ok().flatten());
    let tag = match name {
        ImageName::Reference(reference) => reference.tag.clone(),
        _ => None,
    };
    let mut annotations = JsonObject::default();
    annotations.set(REF_NAME, &annotated.or(tag).unwrap_or_else(|| "latest".to_owned()));
    annotations
}

/// The index: one image.
fn index_of(annotations: &JsonObject, documents: &Documents) -> String {
    let mut entry = documents.manifest_descriptor.clone();
    if !annotations.is_empty() {
        entry.extra.set("annotations", annotations);
    }
    let mut index = JsonObject::default();
    index.set("schemaVersion", &2);
    index.set("mediaType", OCI_INDEX);
    index.set("manifests", &[entry]);
    go_json(&index)
}

/// Brings the layers that are not there yet; gives those that may not be read. A platform may have left out
/// the bytes of base layers, which are known to be where the app will run, or have written them for itself
/// alone: layers at the bottom may be missing, but none above one that is there.
///
/// The peer does the same without a word: spec-notes/decisions.md#layouts.
fn copy_layers(store: &LayoutStore, image: &Image, dir: &LayoutDir) -> Result<Vec<DiffId>, StoreError> {
    let (mut is_base, mut unreadable) = (true, Vec::new());
    for layer in &image.layers {
        let blob = blob(layer)?;
        let is_here = has_blob(dir, blob)?
            || match copy_layer(store, layer, blob, dir) {
                Err(error) if is_base && is_forbidden(&error) => {
                    unreadable.push(layer.diff_id);
                    false
                }
                copied => copied?,
            };
        if is_here {
            is_base = false;
        } else if !is_base && !blob.is_foreign() {
            return Err(StoreError::NotFound(format!("layer {} ({})", layer.diff_id, origin(layer))));
        }
    }
    Ok(unreadable)
}

fn is_forbidden(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { action: "open", source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

fn has_blob(dir: &LayoutDir, blob: &Descriptor) -> Result<bool, StoreError> {
    let Some(file) = open_blob(dir, blob.digest)? else { return Ok(false) };
    let metadata = file.metadata().map_err(|source| failed("read", &blob_path(dir, blob.digest), source))?;
    Ok(metadata.size() == blob.size)
}

/// Links or copies one blob. `false` when the layout it should be in does not have its bytes.
fn copy_layer(
    store: &LayoutStore,
    layer: &Layer,
    blob: &Descriptor,
    dir: &LayoutDir,
) -> Result<bool, StoreError> {
    let Some(Source { file, what, layout }) = store.source(layer, blob)? else { return Ok(false) };
    let metadata = file.metadata().map_err(|source| failed("read", &what, source))?;
    if metadata.size() != blob.size {
        return Err(damaged(&what, &format!("it has {} bytes, expected {}", metadata.size(), blob.size)));
    }
    let is_for_all = metadata.mode() & 0o444 == 0o444;
    let is_linked = layout.is_some_and(|from| is_for_all && dir.link_blob(&from, blob.digest).is_ok());
    if !is_linked {
        let copied = copy(Verified::new(file, blob, what), dir, blob);
        copied.map_err(|source| failed("write", &blob_path(dir, blob.digest), source))?;
    }
    Ok(true)
}

fn copy(mut from: impl Read, dir: &LayoutDir, blob: &Descriptor) -> io::Result<()> {
    let mut new = dir.new_blob()?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return new.rename(&blob.digest.hex()),
            read => new.write_all(&buffer[..read])?,
        }
    }
}

fn write_blob(dir: &LayoutDir, descriptor: &Descriptor, text: &str) -> Result<(), StoreError> {
    copy(text.as_bytes(), dir, descriptor)
        .map_err(|source| failed("write", &blob_path(dir, descriptor.digest), source))
}

fn origin(layer: &Layer) -> String {
    match &layer.origin {
        Origin::Stored(name) => name.to_string(),
        Origin::File(path) => path.display().to_string(),
        Origin::Sent => "sent, but not to this layout".to_owned(),
    }
}
