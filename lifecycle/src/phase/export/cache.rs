//! The cache's part of an export: what it held, and what it holds for the next build.

use super::Export;
use super::compose::Made;
use super::content::{BuildpackDirs, Item, Part};
use crate::cache::metadata::{CachedBuildpack, CachedLayer, CachedSbom};
use crate::cache::{Cache, CacheError, CacheMetadata};
use crate::files::data;
use crate::layers::blob::CacheOutcome;
use crate::log::{Log, chain};

/// What the cache holds; nothing if it cannot say.
pub fn metadata(cache: Option<&dyn Cache>, log: &Log) -> CacheMetadata {
    if cache.is_some_and(|cache| !cache.exists()) {
        log.info("Layer cache not found");
    }
    let metadata = cache.map_or(Ok(CacheMetadata::default()), Cache::metadata);
    metadata.unwrap_or_else(|error| {
        log.warn(format!("Not reusing layers of the cache: {}", chain(&error)));
        CacheMetadata::default()
    })
}

/// A cache, and what it will hold.
pub struct Next<'a> {
    cache: &'a dyn Cache,
    metadata: CacheMetadata,
}

impl Next<'_> {
    /// Makes what was written for the cache its content.
    pub fn commit(self) -> Result<(), CacheError> {
        self.cache.commit(&self.metadata)
    }
}

/// What the cache will hold, if there is one. A layer that failed is left out.
pub fn describe<'a>(inputs: &Export<'a>, dirs: &BuildpackDirs<'_>, made: &[Made<'_>]) -> Option<Next<'a>> {
    let cache = inputs.cache?;
    let mut metadata = CacheMetadata {
        buildpacks: dirs
            .iter()
            .map(|(buildpack, _)| CachedBuildpack {
                key: buildpack.id.to_string(),
                version: buildpack.version.to_string(),
                ..CachedBuildpack::default()
            })
            .collect(),
        ..CacheMetadata::default()
    };
    for made in made.iter().filter(|made| made.item.in_cache) {
        if made.cache.is_ok() {
            add(&mut metadata, made, dirs);
        }
    }
    Some(Next { cache, metadata })
}

/// Says what became of each layer, and of the cache as a whole, if there is one.
pub fn tell(committed: Option<Result<(), CacheError>>, made: &[Made<'_>], log: &Log) {
    let Some(committed) = committed else { return };
    for made in made.iter().filter(|made| made.item.in_cache) {
        match &made.cache {
            Ok(outcome) => tell_layer(made.item, *outcome, log),
            Err(error) => warn(made.item, error, log),
        }
    }
    if let Err(error) = committed {
        log.warn(format!("Failed to export cache: {}", chain(&error)));
    }
}

/// Platforms look for the first of the two lines that a reused layer gets.
fn tell_layer(item: &Item, outcome: CacheOutcome, log: &Log) {
    match outcome {
        CacheOutcome::NotWanted => return,
        CacheOutcome::Reused => log.info(format!("Reusing cache layer '{}'", item.id)),
        CacheOutcome::Replaced => {
            log.warn(format!("Skipping reuse for layer {}: the cache does not have its contents", item.id));
        }
        CacheOutcome::Added => {}
    }
    log.info(format!("Adding cache layer '{}'", item.id));
}

fn warn(item: &Item, error: &CacheError, log: &Log) {
    log.warn(format!("Failed to cache layer '{}': {}", item.id, chain(error)));
}

fn add(metadata: &mut CacheMetadata, made: &Made<'_>, dirs: &BuildpackDirs<'_>) {
    let sha = made.diff_id.to_string();
    match made.item.part {
        Part::CacheSbom => metadata.sbom = CachedSbom { sha },
        Part::Buildpack(buildpack, place) => {
            let layer = &dirs[buildpack].1.layers[place];
            let types = layer.file.types;
            // What cannot be written as JSON already failed the image, or is null here.
            let data = layer.file.metadata.as_ref().and_then(|value| data::to_json(value).ok());
            let cached = CachedLayer {
                sha,
                data: data.unwrap_or_default(),
                build: types.build,
                launch: types.launch,
                cache: types.cache,
            };
            metadata.buildpacks[buildpack].layers.insert(layer.name.clone(), cached);
        }
        _ => {}
    }
}
