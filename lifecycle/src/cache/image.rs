//! A cache kept as an image of a registry: its layers are the cached layers, a label says what they are.
//!
//! Interchangeable with the reference implementation's cache images. What the last cache image has
//! is referenced and neither read nor sent again.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use super::{Cache, CacheError, CacheMetadata, CacheSink};
use crate::digest::{DiffId, Digest, Hashing};
use crate::image::manifest::Platform;
use crate::image::store::{Encoding, ImageStore, LayerSink, StoreError};
use crate::image::{Descriptor, Image, ImageConfig, Layer, MediaFamily, Origin};
use crate::json::go_json;
use crate::layers::EMPTY_TAR;
use crate::layers::decode::decompress;
use crate::layers::gzip::GzipWriter;
use crate::reference::ImageName;

/// The label that holds the metadata.
const LABEL: &str = "io.buildpacks.lifecycle.cache.metadata";
/// The creation time of every cache image, so that the same content gives the same image.
const CREATED: &str = "1980-01-01T00:00:01Z";

/// A cache image: the one of the last build, and what the next one will have.
pub struct ImageCache {
    store: Box<dyn ImageStore>,
    source: Option<Image>,
    target: ImageName,
    threads: NonZeroUsize,
    app: Option<ImageName>,
    next: Mutex<BTreeMap<DiffId, Layer>>,
}

impl ImageCache {
    /// The cache image `name`. One that is not there is an empty cache.
    ///
    /// Fails when the store does not answer.
    pub fn open(
        store: Box<dyn ImageStore>,
        name: &ImageName,
        threads: NonZeroUsize,
    ) -> Result<Self, StoreError> {
        let (source, target) = (store.find(name)?, name.clone());
        Ok(Self { source, store, target, threads, app: None, next: Mutex::default() })
    }

    /// The cache image, its store having the layers of `app`, if there is one, within reach.
    #[must_use]
    pub fn sharing(self, app: Option<ImageName>) -> Self {
        Self { app, ..self }
    }

    fn add(&self, layer: Layer) {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.diff_id, layer);
    }

    fn io(&self, action: &'static str) -> impl Fn(StoreError) -> CacheError {
        let path = self.target.to_string().into();
        move |error| CacheError::Io {
            action,
            path: std::path::PathBuf::clone(&path),
            source: io::Error::other(error),
        }
    }

    /// The next image: layers in the order in which the metadata names them.
    fn compose(&self, metadata: &CacheMetadata) -> Result<Image, CacheError> {
        let mut next = std::mem::take(&mut *self.next.lock().unwrap_or_else(PoisonError::into_inner));
        let platform = Platform::host();
        let mut image = Image::new(ImageConfig::new(&platform.os, &platform.architecture));
        image.family = self.source.as_ref().map_or_else(MediaFamily::default, |source| source.family);
        for diff_id in named(metadata) {
            if let Some(layer) = next.remove(&diff_id) {
                image.push_layer(layer, "");
            }
        }
        if image.layers.is_empty() {
            // An image must have a layer for some registries.
            let diff_id = self.write(&EMPTY_TAR)?;
            let layer = self.next.lock().unwrap_or_else(PoisonError::into_inner).remove(&diff_id);
            image.push_layer(layer.expect("it was just added"), "");
        }
        image.config.set_label(LABEL, &go_json(metadata));
        image.config.stamp(CREATED, crate::image::config::HistoryRule::Blank);
        Ok(image)
    }

    fn write(&self, tar: &[u8]) -> Result<DiffId, CacheError> {
        let diff_id = DiffId::new(Digest::of(tar));
        let mut sink = self.layer_sink()?;
        let written = sink.write_all(tar);
        written.map_err(|error| self.io("upload a layer to")(StoreError::Refused(error.to_string())))?;
        sink.commit(diff_id).map(|()| diff_id)
    }
}

impl Cache for ImageCache {
    fn name(&self) -> String {
        self.target.to_string()
    }

    fn exists(&self) -> bool {
        self.source.is_some()
    }

    fn metadata(&self) -> Result<CacheMetadata, CacheError> {
        let label = self.source.as_ref().and_then(|image| image.config.label(LABEL));
        Ok(label.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }

    fn open_layer(&self, diff_id: DiffId) -> Result<Box<dyn Read + Send + '_>, CacheError> {
        let layer = self
            .source
            .as_ref()
            .and_then(|image| image.layer(diff_id))
            .ok_or(CacheError::NotFound(diff_id))?;
        let blob = self.store.open_layer(layer).map_err(self.io("read a layer of"))?;
        decompress(blob).map_err(|error| CacheError::Damaged(diff_id, error.to_string()))
    }

    /// A registry knows a layer by its digest, and what it gives is verified when it is restored.
    fn compares(&self) -> bool {
        false
    }

    fn adopts(&self) -> bool {
        self.app.is_some()
    }

    fn adopt(&self, layer: &Layer) {
        let origin = match (&layer.origin, &self.app) {
            (Origin::Sent, Some(app)) => Origin::Stored(app.clone()),
            (origin, _) => origin.clone(),
        };
        self.add(Layer { origin, ..layer.clone() });
    }

    fn layer_sink(&self) -> Result<Box<dyn CacheSink + '_>, CacheError> {
        let sink = self.store.layer_sink(&self.target).map_err(self.io("upload a layer to"))?;
        let gzip = GzipWriter::new(Hashing::new(sink), self.threads);
        Ok(Box::new(ImageSink { cache: self, gzip }))
    }

    fn reuse_layer(&self, diff_id: DiffId) -> Result<(), CacheError> {
        let layer = self
            .source
            .as_ref()
            .and_then(|image| image.layer(diff_id))
            .ok_or(CacheError::NotFound(diff_id))?;
        self.add(layer.clone());
        Ok(())
    }

    fn commit(&self, metadata: &CacheMetadata) -> Result<(), CacheError> {
        let image = self.compose(metadata)?;
        self.store
            .save(&image, std::slice::from_ref(&self.target))
            .map(drop)
            .map_err(self.io("save the cache image"))
    }
}

/// A layer on its way into the cache image.
struct ImageSink<'a> {
    cache: &'a ImageCache,
    gzip: GzipWriter<Hashing<Box<dyn LayerSink + 'a>>>,
}

impl Write for ImageSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gzip.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}

impl CacheSink for ImageSink<'_> {
    fn commit(self: Box<Self>, diff_id: DiffId) -> Result<(), CacheError> {
        let cache = self.cache;
        let ended = self.gzip.finish();
        let ended =
            ended.map_err(|error| cache.io("upload a layer to")(StoreError::Refused(error.to_string())))?;
        let (digest, size, sink) = ended.finish();
        let blob = Descriptor::new(MediaFamily::default().layer(Encoding::Gzip), size, digest);
        let origin = sink.commit(&blob).map_err(cache.io("upload a layer to"))?;
        cache.add(Layer { diff_id, blob: Some(blob), origin });
        Ok(())
    }
}

/// The layers that metadata names, each once.
fn named(metadata: &CacheMetadata) -> Vec<DiffId> {
    let layers =
        metadata.buildpacks.iter().flat_map(|buildpack| buildpack.layers.values()).map(|layer| &layer.sha);
    let mut all = Vec::new();
    for sha in layers.chain([&metadata.sbom.sha]) {
        match sha.parse::<DiffId>() {
            Ok(diff_id) if !all.contains(&diff_id) => all.push(diff_id),
            _ => {}
        }
    }
    all
}
