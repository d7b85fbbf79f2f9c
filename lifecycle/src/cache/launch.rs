//! The launch cache: the layers of app images in a Docker daemon, kept beside it as plain tars, because
//! the daemon gives a single layer only as part of its whole image.
//!
//! A store around the daemon's. Whatever is wrong with the cache costs that longer way and nothing else.

use std::io::{self, Read};

use super::{Cache, CacheError, CacheMetadata, VolumeCache};
use crate::digest::{DiffId, Hashing};
use crate::image::store::{Encoding, ImageStore, LayerSink, Need, StoreError};
use crate::image::{Descriptor, Image, Layer, MediaFamily, Origin, Saved};
use crate::log::{Log, chain};
use crate::reference::ImageName;

/// The images of a daemon, with a cache of their layers.
pub struct LaunchCache {
    store: Box<dyn ImageStore>,
    cache: VolumeCache,
    log: Log,
}

impl LaunchCache {
    /// The images of `store`, their layers also in `cache`.
    pub fn new(store: Box<dyn ImageStore>, cache: VolumeCache, log: Log) -> Self {
        Self { store, cache, log }
    }

    /// The layer out of the cache, as one that is new to the store; `None` where the cache does not have
    /// exactly its bytes.
    fn cached(&self, layer: &Layer, target: &ImageName) -> Option<Layer> {
        let mut tar = self.cache.open_layer(layer.diff_id).ok()?;
        let mut sink = Hashing::new(self.store.layer_sink(target).ok()?);
        io::copy(&mut tar, &mut sink).ok()?;
        let (digest, size, sink) = sink.finish();
        if DiffId::new(digest) != layer.diff_id {
            return None;
        }
        let blob = Descriptor::new(MediaFamily::Docker.layer(Encoding::Tar), size, digest);
        let origin = sink.commit(&blob).ok()?;
        Some(Layer { diff_id: layer.diff_id, blob: Some(blob), origin })
    }

    /// The image with layers out of the cache in the place of those that the store would have to be
    /// asked for and given again.
    fn resolve(&self, image: &Image, target: &ImageName) -> Image {
        let needs = self.store.needs(image).unwrap_or_else(|_| vec![true; image.layers.len()]);
        let mut image = image.clone();
        for (layer, needed) in image.layers.iter_mut().zip(needs) {
            if needed
                && matches!(layer.origin, Origin::Stored(_))
                && let Some(cached) = self.cached(layer, target)
            {
                *layer = cached;
            }
        }
        image
    }

    /// Makes the image's own layers the cache's content: all but those of its base.
    fn keep(&self, image: &Image) -> Result<(), CacheError> {
        let failed = |source| CacheError::Io { action: "write", path: self.cache.name().into(), source };
        let other = |error: StoreError| failed(io::Error::other(error));
        let missing: Vec<&Layer> =
            own(image).filter(|layer| self.cache.reuse_layer(layer.diff_id).is_err()).collect();
        self.store.prefetch(&missing).map_err(other)?;
        for layer in missing {
            let mut opened = self.store.open_layer(layer).map_err(other)?;
            let mut sink = self.cache.layer_sink()?;
            io::copy(&mut opened, &mut sink).map_err(failed)?;
            sink.commit(layer.diff_id)?;
        }
        self.cache.commit(&CacheMetadata::default())
    }
}

/// The layers that are not of the image that the lowest one is of.
fn own(image: &Image) -> impl Iterator<Item = &Layer> {
    let base = image.layers.first().map(|layer| &layer.origin).filter(|o| matches!(o, Origin::Stored(_)));
    image.layers.iter().filter(move |layer| Some(&layer.origin) != base)
}

impl ImageStore for LaunchCache {
    fn find(&self, name: &ImageName) -> Result<Option<Image>, StoreError> {
        self.store.find(name)
    }

    fn open_layer(&self, layer: &Layer) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let name = match &layer.origin {
            Origin::Stored(name) => name.clone(),
            Origin::Sent | Origin::File(_) => return self.store.open_layer(layer),
        };
        self.store.open_layer(self.cached(layer, &name).as_ref().unwrap_or(layer))
    }

    fn shown(&self, name: &ImageName) -> String {
        self.store.shown(name)
    }

    fn ensure_access(&self, name: &ImageName, need: Need) -> Result<(), StoreError> {
        self.store.ensure_access(name, need)
    }

    fn keep_alive(&self) {
        self.store.keep_alive();
    }

    fn encoding(&self) -> Encoding {
        self.store.encoding()
    }

    fn layer_sink(&self, target: &ImageName) -> Result<Box<dyn LayerSink + '_>, StoreError> {
        self.store.layer_sink(target)
    }

    fn needs(&self, image: &Image) -> Result<Vec<bool>, StoreError> {
        self.store.needs(image)
    }

    fn prefetch(&self, layers: &[&Layer]) -> Result<(), StoreError> {
        self.store.prefetch(layers)
    }

    fn save(&self, image: &Image, names: &[ImageName]) -> Result<Saved, StoreError> {
        let Some(target) = names.first() else { return self.store.save(image, names) };
        let image = self.resolve(image, target);
        let saved = self.store.save(&image, names)?;
        if let Err(error) = self.keep(&image) {
            self.log.warn(format!("Failed to fill the launch cache: {}", chain(&error)));
        }
        Ok(saved)
    }
}
