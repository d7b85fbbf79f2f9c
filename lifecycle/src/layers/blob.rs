//! From sources to blobs: each layer is walked, tarred, hashed, compressed and hashed again in one pass.

use std::num::NonZeroUsize;

use super::schedule;
use super::tar::{LayerSource, TarError};
use crate::cache::{Cache, CacheError};
use crate::digest::DiffId;
use crate::image::store::{ImageStore, StoreError};
use crate::image::{Layer, MediaFamily};
use crate::reference::ImageName;

/// A layer to make, and for whom.
#[derive(Debug, Clone)]
pub struct Job {
    /// What it holds.
    pub source: LayerSource,
    /// Whether the image needs it.
    pub image: Want,
    /// Whether the cache needs it.
    pub cache: Want,
}

/// Whether a layer's bytes are needed somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Not there.
    No,
    /// There, and nothing like it is there yet.
    Yes,
    /// There, unless the layer still has this diffID: the previous image, or the cache, has it.
    UnlessStill(DiffId),
}

/// Where layers go.
#[derive(Clone, Copy)]
pub struct Outputs<'a> {
    /// The store, and the name under which the image will be saved.
    pub image: Option<(&'a dyn ImageStore, &'a ImageName)>,
    /// Whose media types the image's layers have.
    pub family: MediaFamily,
    /// The cache; it is not committed here.
    pub cache: Option<&'a dyn Cache>,
    /// How many threads work; the bytes do not depend on it.
    pub threads: NonZeroUsize,
}

/// What became of a [`Job`].
#[derive(Debug)]
pub struct Written {
    /// The sha256 of its tar.
    pub diff_id: DiffId,
    /// The size of its tar in bytes.
    pub tar_bytes: u64,
    /// What became of it in the image.
    pub image: Outcome,
    /// What became of it in the cache. A cache that fails fails no export.
    pub cache: Result<CacheOutcome, CacheError>,
}

/// What became of a layer in the image.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was not wanted.
    NotWanted,
    /// It still has the diffID of [`Want::UnlessStill`], and nothing was written.
    Same,
    /// It was written to the store.
    New(Box<Layer>),
}

/// What became of a layer in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It was not wanted.
    NotWanted,
    /// The cache's entry has the same bytes and is kept.
    Reused,
    /// It was added.
    Added,
    /// It was added because the entry that should hold it does not, or is gone: worth a warning.
    Replaced,
}

/// Why a layer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Its files cannot be read.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes all layers, several at once, and returns what became of them in the order of `jobs`.
///
/// Memory is bounded whatever their number and sizes. After a first failure no more are begun; the
/// error is that of the first job in order that failed.
pub fn write_layers(jobs: &[Job], outputs: &Outputs<'_>) -> Result<Vec<Written>, LayerError> {
    schedule::run(jobs, outputs)
}

#[cfg(test)]
mod tests;
