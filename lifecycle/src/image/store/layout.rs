//! OCI layout directories as an image store: one directory per image, at a path that follows from
//! its reference.
//!
//! Any valid layout can be read: several manifests, nested indexes, Docker media types, blobs that
//! are missing because a platform left out what it does not need. Nothing read is believed before
//! its digest is right, and links are not followed. What is written appears with the last step, the
//! renaming of `index.json`; blobs are never removed, so that whoever reads the old image can finish
//! (spec-notes/decisions.md#layouts).
//!
//! Spec: OCI image-spec image-layout.md; platform.md "Map an image reference to a path in the layout
//! directory".

mod dir;
mod save;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::document::{Documents, MAX_CONFIG_BYTES, assemble};
use super::verified::Verified;
use super::{Encoding, ImageStore, LayerSink, StoreError, verify};
use crate::digest::Digest;
use crate::image::manifest::{self, Document, Manifest, Platform, choose};
use crate::image::{Descriptor, Image, Layer, Origin, Saved};
use crate::json::JsonObject;
use crate::reference::ImageName;
use dir::{LayoutDir, NewFile, read_all};
pub use save::{Above, OpenBlob, save_documents};

/// How deep indexes may be nested.
const MAX_DEPTH: usize = 8;

/// Images below a directory, each an OCI layout of its own.
#[derive(Debug)]
pub struct LayoutStore {
    dir: PathBuf,
    platform: Platform,
    encoding: Encoding,
}

impl LayoutStore {
    /// The store below `dir`. Of a layout with images for several platforms, that for `platform` is
    /// taken. New layers are written as `encoding`.
    pub const fn new(dir: PathBuf, platform: Platform, encoding: Encoding) -> Self {
        Self { dir, platform, encoding }
    }

    /// Where the image of that name is. Fails for a Docker daemon's image ID.
    pub fn path(&self, name: &ImageName) -> Result<PathBuf, StoreError> {
        match name {
            ImageName::Reference(reference) => Ok(reference.layout_path(&self.dir)),
            ImageName::Layout { path, .. } => Ok(path.clone()),
            ImageName::ImageId(_) => {
                Err(StoreError::Refused(format!("`{name}` is an image ID, which a layout does not have")))
            }
        }
    }

    /// Writes `image` to the directory `path`, and of its layers only those above its base: what an
    /// extended run image is handed on as.
    pub fn save_above(image: &Image, path: &Path, above: Above) -> Result<Saved, StoreError> {
        let store = Self::new(path.to_owned(), Platform::host(), Encoding::Gzip);
        save::save_above(&store, image, path, above)
    }

    /// How many layers of the only image in the directory `path` are its base's, where the index says it.
    pub fn base_layers(path: &Path) -> Result<Option<usize>, StoreError> {
        let dir = LayoutDir::open(path).map_err(|source| failed("open", &shown(path), source))?;
        let Some(dir) = dir else { return Ok(None) };
        let what = shown(&path.join("index.json"));
        let bytes = dir.read("index.json", manifest::MAX_BYTES);
        let Some(bytes) = bytes.map_err(|source| failed("read", &what, source))? else { return Ok(None) };
        let Document::Index(entries) = parse(&what, &bytes)? else { return Ok(None) };
        let [entry] = entries.as_slice() else { return Ok(None) };
        let annotations = entry.extra.get::<JsonObject>("annotations").ok().flatten().unwrap_or_default();
        let text = annotations.get::<String>(save::BASE_LAYERS).ok().flatten();
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// A blob's text, verified.
    fn text(dir: &LayoutDir, blob: &Descriptor, limit: u64) -> Result<String, StoreError> {
        let what = blob_path(dir, blob.digest);
        let file = open_blob(dir, blob.digest)?.ok_or_else(|| StoreError::NotFound(what.clone()))?;
        let bytes = read_all(&file, limit).map_err(|source| failed("read", &what, source))?;
        verify(&what, &bytes, blob.digest)?;
        String::from_utf8(bytes).map_err(|_| damaged(&what, "it is not UTF-8"))
    }

    fn open(&self, name: &ImageName) -> Result<Option<LayoutDir>, StoreError> {
        let path = self.path(name)?;
        LayoutDir::open(&path).map_err(|source| failed("open", &shown(&path), source))
    }

    /// The manifest to read: the one that `name` pins, else the index's for our platform.
    fn manifest_of(
        &self,
        dir: &LayoutDir,
        name: &ImageName,
    ) -> Result<Option<(Digest, Manifest)>, StoreError> {
        if let ImageName::Layout { digest: Some(digest), .. } = name {
            return self.resolve(dir, *digest, MAX_DEPTH);
        }
        let what = dir.path().join("index.json");
        let bytes = dir.read("index.json", manifest::MAX_BYTES);
        let Some(bytes) = bytes.map_err(|source| failed("read", &shown(&what), source))? else {
            return Ok(None);
        };
        check_version(dir)?;
        match parse(&shown(&what), &bytes)? {
            Document::Index(manifests) if manifests.is_empty() => Ok(None),
            Document::Index(manifests) => self.resolve_any(dir, &manifests, MAX_DEPTH),
            Document::Manifest(_) => Err(damaged(&shown(&what), "it is a manifest, not an index")),
        }
    }

    /// The manifest of that digest or, where it is an index, the one for our platform; `None` when the
    /// blob is not there.
    fn resolve(
        &self,
        dir: &LayoutDir,
        digest: Digest,
        depth: usize,
    ) -> Result<Option<(Digest, Manifest)>, StoreError> {
        let what = blob_path(dir, digest);
        let Some(file) = open_blob(dir, digest)? else { return Ok(None) };
        let bytes = read_all(&file, manifest::MAX_BYTES).map_err(|source| failed("read", &what, source))?;
        verify(&what, &bytes, digest)?;
        match parse(&what, &bytes)? {
            Document::Manifest(manifest) => Ok(Some((digest, manifest))),
            Document::Index(_) if depth == 0 => Err(damaged(&what, "indexes are nested too deeply")),
            Document::Index(manifests) => self.resolve_any(dir, &manifests, depth - 1),
        }
    }

    fn resolve_any(
        &self,
        dir: &LayoutDir,
        manifests: &[Descriptor],
        depth: usize,
    ) -> Result<Option<(Digest, Manifest)>, StoreError> {
        let Some(chosen) = choose(manifests, &self.platform) else {
            return Err(StoreError::NotFound(format!("{} in {}", self.platform, dir.path().display())));
        };
        let found = self.resolve(dir, chosen.digest, depth)?;
        found.map(Some).ok_or_else(|| StoreError::NotFound(blob_path(dir, chosen.digest)))
    }

    /// Opens a layer's blob where it is now; `None` where the layout it should be in does not have it.
    fn source(&self, layer: &Layer, blob: &Descriptor) -> Result<Option<Source>, StoreError> {
        match &layer.origin {
            Origin::Sent => Ok(None),
            Origin::File(path) => {
                let what = path.display().to_string();
                let file = File::open(path).map_err(|source| failed("open", &what, source))?;
                Ok(Some(Source { file, what, layout: None }))
            }
            Origin::Stored(name) => {
                let layout = self.open(name)?.ok_or_else(|| StoreError::NotFound(name.to_string()))?;
                let file = open_blob(&layout, blob.digest)?;
                let what = blob_path(&layout, blob.digest);
                Ok(file.map(|file| Source { file, what, layout: Some(layout) }))
            }
        }
    }
}

/// An open blob, not verified yet.
struct Source {
    file: File,
    what: String,
    /// The layout that it is in, if any.
    layout: Option<LayoutDir>,
}

impl ImageStore for LayoutStore {
    fn find(&self, name: &ImageName) -> Result<Option<Image>, StoreError> {
        let Some(dir) = self.open(name)? else { return Ok(None) };
        let Some((digest, manifest)) = self.manifest_of(&dir, name)? else { return Ok(None) };
        let config = manifest.config.digest;
        let what = blob_path(&dir, config);
        let file = open_blob(&dir, config)?.ok_or_else(|| StoreError::NotFound(what.clone()))?;
        let bytes = read_all(&file, MAX_CONFIG_BYTES).map_err(|source| failed("read", &what, source))?;
        let exact = ImageName::Layout { path: dir.path().to_owned(), digest: Some(digest) };
        assemble(manifest, &bytes, exact).map(Some)
    }

    fn documents(&self, name: &ImageName) -> Result<Option<Documents>, StoreError> {
        let Some(dir) = self.open(name)? else { return Ok(None) };
        let Some((digest, manifest)) = self.manifest_of(&dir, name)? else { return Ok(None) };
        let mut descriptor = Descriptor::new(manifest.family.manifest(), 0, digest);
        let text = Self::text(&dir, &descriptor, manifest::MAX_BYTES)?;
        descriptor.size = text.len() as u64;
        let config = Self::text(&dir, &manifest.config, MAX_CONFIG_BYTES)?;
        Ok(Some(Documents {
            config,
            config_descriptor: manifest.config,
            manifest: text,
            manifest_descriptor: descriptor,
        }))
    }

    fn open_layer(&self, layer: &Layer) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let blob = blob(layer)?;
        let missing = || StoreError::NotFound(format!("layer {} ({})", layer.diff_id, blob.digest));
        let source = self.source(layer, blob)?.ok_or_else(missing)?;
        Ok(Box::new(Verified::new(source.file, blob, source.what)))
    }

    fn shown(&self, name: &ImageName) -> String {
        self.path(name).map_or_else(|_| name.to_string(), |path| shown(&path))
    }

    fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn layer_sink(&self, target: &ImageName) -> Result<Box<dyn LayerSink + '_>, StoreError> {
        let path = self.path(target)?;
        let dir = LayoutDir::create(&path).map_err(|source| failed("create", &shown(&path), source))?;
        let file = dir.new_blob().map_err(|source| failed("create a file in", &shown(&path), source))?;
        Ok(Box::new(LayoutSink { dir, file }))
    }

    fn save(&self, image: &Image, names: &[ImageName]) -> Result<Saved, StoreError> {
        save::save(self, image, names)
    }
}

/// A new blob of a layout.
struct LayoutSink {
    dir: LayoutDir,
    file: NewFile,
}

impl Write for LayoutSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl LayerSink for LayoutSink {
    fn commit(self: Box<Self>, blob: &Descriptor) -> Result<Origin, StoreError> {
        let what = blob_path(&self.dir, blob.digest);
        let size = self.file.size().map_err(|source| failed("read", &what, source))?;
        if size != blob.size {
            return Err(damaged(&what, &format!("{size} bytes were written, expected {}", blob.size)));
        }
        self.file.rename(&blob.digest.hex()).map_err(|source| failed("write", &what, source))?;
        Ok(Origin::Stored(ImageName::Layout { path: self.dir.path().to_owned(), digest: None }))
    }
}

/// A layout without `oci-layout` is read all the same, as other tools do; one of another version is not.
fn check_version(dir: &LayoutDir) -> Result<(), StoreError> {
    let what = dir.path().join("oci-layout");
    let bytes = dir.read("oci-layout", 4096).map_err(|source| failed("read", &shown(&what), source))?;
    let Some(bytes) = bytes else { return Ok(()) };
    let version = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let version = version.as_ref().and_then(|value| value.get("imageLayoutVersion")?.as_str());
    match version {
        Some(version) if version.starts_with("1.") => Ok(()),
        _ => Err(damaged(&shown(&what), "its `imageLayoutVersion` is not 1.x")),
    }
}

fn parse(what: &str, bytes: &[u8]) -> Result<Document, StoreError> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged(what, "it is not UTF-8"))?;
    Document::parse(text).map_err(|error| damaged(what, &error.to_string()))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn open_blob(dir: &LayoutDir, digest: Digest) -> Result<Option<File>, StoreError> {
    dir.blob(digest).map_err(|source| failed("open", &blob_path(dir, digest), source))
}

fn blob_path(dir: &LayoutDir, digest: Digest) -> String {
    dir.path().join("blobs/sha256").join(digest.hex()).display().to_string()
}

fn blob(layer: &Layer) -> Result<&Descriptor, StoreError> {
    let missing = || StoreError::Refused(format!("layer `{}` has no blob", layer.diff_id));
    layer.blob.as_ref().ok_or_else(missing)
}

fn failed(action: &'static str, what: &str, source: io::Error) -> StoreError {
    StoreError::Io { action, what: what.to_owned(), source }
}

fn damaged(what: &str, why: &str) -> StoreError {
    StoreError::Damaged { what: what.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests;
