//! Restoring: layers, metadata and SBOM files of earlier builds come back into the layers directory.
//!
//! [`plan`] decides which layers; here they are brought back. A cache that fails in whatever way costs a
//! rebuild of its layers and never the build: of a layer comes back everything or nothing.
//!
//! Spec: platform.md "restorer", buildpack.md "Layer Types".

pub mod plan;
pub mod run_image;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::PlatformApi;
use crate::cache::{Cache, CacheError, CacheMetadata};
use crate::files::group::GroupElement;
use crate::files::labels::LifecycleMetadata;
use crate::files::layer::LayerFile;
use crate::files::store::StoreFile;
use crate::files::{self, FileError, data};
use crate::layers::unpack::{self, UnpackError};
use crate::log::{Log, chain};
use crate::phase::sbom;
use plan::{Action, Restored, Source, Step};

/// What a restoration is told.
#[derive(Clone, Copy)]
pub struct Restore<'a> {
    /// The Platform API.
    pub api: PlatformApi,
    /// The layers directory.
    pub layers: &'a Path,
    /// The buildpacks of the group, in order.
    pub group: &'a [GroupElement],
    /// What the previous image says about its layers.
    pub previous: &'a LifecycleMetadata,
    /// The cache, if there is one.
    pub cache: Option<&'a dyn Cache>,
    /// How much comes back.
    pub extent: Extent,
    /// How many layers are unpacked at once.
    pub threads: NonZeroUsize,
}

/// How much comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Layers, their metadata, their SBOM files, and each buildpack's store.
    Everything,
    /// Each buildpack's store alone.
    Stores,
}

/// Why nothing can be restored: the layers directory cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A directory cannot be made.
    #[error("create directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Brings back what earlier builds made, for the buildpacks of the group.
///
/// # Errors
/// When the layers directory cannot be written. Whatever is wrong with the cache is a warning.
pub fn restore(inputs: &Restore<'_>, log: &Log) -> Result<(), RestoreError> {
    restore_stores(inputs)?;
    if inputs.extent == Extent::Stores {
        log.info("Skipping buildpack layer analysis");
        return Ok(());
    }
    let cached = cache_metadata(inputs.cache, log);
    let steps = plan::plan(inputs.group, inputs.previous, &cached, inputs.api);
    for step in steps.iter().filter(|step| matches!(step.action, Action::Drop(_))) {
        remove_layer(inputs.layers, step, log);
    }
    let layers: Vec<(&Step, &Restored)> = steps.iter().filter_map(|step| announce(step, log)).collect();
    let restored = restore_contents(inputs, &layers, log)?;
    for (step, layer) in &restored {
        let file = LayerFile { metadata: data::to_toml(&layer.metadata), ..LayerFile::default() };
        let path = layer_path(inputs.layers, step).with_added_extension("toml");
        log.debug(format!("Writing layer metadata for \"{}\"", step.identifier()));
        files::write("layer", &path, &file.restored_toml())?;
    }
    if inputs.api.has_sbom() {
        if let Some(cache) = inputs.cache.filter(|_| !cached.sbom.sha.is_empty()) {
            sbom::restore_from_cache(cache, &cached.sbom.sha, inputs.layers, log);
        }
        sbom::hand_out(inputs.layers, &owners(&restored), log);
    }
    Ok(())
}

/// Writes the `store.toml` of each buildpack that has one.
fn restore_stores(inputs: &Restore<'_>) -> Result<(), RestoreError> {
    for buildpack in inputs.group {
        let store = inputs.previous.buildpack(buildpack.id.as_str()).and_then(|found| found.store.as_ref());
        if let Some(store) = store {
            let metadata = match &store.metadata {
                Value::Object(members) => Some(data::object_to_table(members)),
                _ => None,
            };
            let path = inputs.layers.join(buildpack.id.escaped()).join("store.toml");
            files::write("store", &path, &StoreFile { metadata }.to_toml())?;
        }
    }
    Ok(())
}

/// What the cache holds; nothing if it cannot say.
fn cache_metadata(cache: Option<&dyn Cache>, log: &Log) -> CacheMetadata {
    let Some(cache) = cache else {
        log.debug("Usable cache not provided, using empty cache metadata");
        return CacheMetadata::default();
    };
    if !cache.exists() {
        log.info("Layer cache not found");
    }
    cache.metadata().unwrap_or_else(|error| {
        log.warn(format!("Not using cache `{}`: {}", cache.name(), chain(&error)));
        CacheMetadata::default()
    })
}

/// Tells about a step, and returns what comes back.
fn announce<'a>(step: &'a Step, log: &Log) -> Option<(&'a Step, &'a Restored)> {
    let identifier = step.identifier();
    match &step.action {
        Action::Restore(restored) => {
            let source = match restored.source {
                Source::PreviousImage => "app image",
                Source::Cache => "cache",
            };
            log.info(format!("Restoring metadata for \"{identifier}\" from {source}"));
            Some((step, restored))
        }
        Action::Drop(why) => {
            log.info(format!("Removing \"{identifier}\", {why}"));
            None
        }
        Action::Skip(why) => {
            log.debug(format!("Not restoring metadata for \"{identifier}\", {why}"));
            None
        }
    }
}

/// Unpacks the layers whose contents come back, and returns all but those that could not be.
fn restore_contents<'a>(
    inputs: &Restore<'_>,
    layers: &[(&'a Step, &'a Restored)],
    log: &Log,
) -> Result<Vec<(&'a Step, &'a Restored)>, RestoreError> {
    let mut jobs = Vec::new();
    for (step, restored) in layers {
        let dir = inputs.layers.join(step.buildpack.escaped());
        files::make_dirs(&dir).map_err(|source| RestoreError::Directory { path: dir, source })?;
        if let Some(diff_id) = restored.contents {
            log.info(format!("Restoring data for \"{}\" from cache", step.identifier()));
            jobs.push(unpack::Restore { diff_id, dir: layer_path(inputs.layers, step) });
        }
    }
    let open = |job: &unpack::Restore| -> Result<Box<dyn Read + Send + '_>, CacheError> {
        log.debug(format!("Retrieving data for \"{}\"", job.diff_id));
        inputs.cache.map_or(Err(CacheError::NotFound(job.diff_id)), |cache| cache.open_layer(job.diff_id))
    };
    let mut results = unpack::restore_all(&jobs, inputs.threads, open).into_iter();
    let kept = layers.iter().copied().filter(|(step, restored)| {
        let kept = restored.contents.is_none()
            || results.next().is_some_and(|result| is_unpacked(step, &result, log));
        if !kept {
            remove_layer(inputs.layers, step, log);
        }
        kept
    });
    Ok(kept.collect())
}

fn is_unpacked(step: &Step, result: &Result<Result<(), UnpackError>, CacheError>, log: &Log) -> bool {
    let why = match result {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => chain(error),
        Err(error) => chain(error),
    };
    log.warn(format!("Skipping restore for layer {}: {why}", step.identifier()));
    false
}

/// Removes what an earlier build left of a layer that does not come back: contents without metadata
/// would mislead its buildpack.
fn remove_layer(layers: &Path, step: &Step, log: &Log) {
    if !plan::is_layer_name(&step.layer) {
        return;
    }
    let path = layer_path(layers, step);
    let mut files: Vec<PathBuf> = vec![path.with_added_extension("toml")];
    files.extend(sbom::EXTENSIONS.map(|extension| path.with_added_extension(extension)));
    let removed = files.iter().map(|file| (file, std::fs::remove_file(file)));
    for (path, result) in removed.chain([(&path, std::fs::remove_dir_all(&path))]) {
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log.warn(format!("Failed to remove `{}`: {error}", path.display()));
            }
            _ => {}
        }
    }
}

/// Whose SBOM files come back: those of the layers that do.
fn owners<'a>(restored: &[(&'a Step, &'a Restored)]) -> Vec<sbom::Owner<'a>> {
    let kinds = |source| match source {
        Source::PreviousImage => ["launch", "cache"].as_slice(),
        Source::Cache => ["cache"].as_slice(),
    };
    let owner = |(step, layer): &(&'a Step, &'a Restored)| sbom::Owner {
        buildpack: &step.buildpack,
        layer: &step.layer,
        kinds: kinds(layer.source),
    };
    restored.iter().map(owner).collect()
}

fn layer_path(layers: &Path, step: &Step) -> PathBuf {
    layers.join(step.buildpack.escaped()).join(&step.layer)
}
