//! The cache: layers kept from one build to the next, with the metadata that names them.
//!
//! Content-addressed by diffID. Whatever is found in it is only believed when its bytes hash to its
//! name; an entry that is damaged, missing or not ours costs a rebuild and never more.

pub mod image;
pub mod launch;
pub mod metadata;
mod staging;
pub mod volume;

use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::digest::DiffId;
use crate::image::Layer;
pub use image::ImageCache;
pub use launch::LaunchCache;
pub use metadata::CacheMetadata;
pub use volume::VolumeCache;

/// A failure of a cache: worth a warning, never a failed build.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The layer is not there.
    #[error("failed to find cache layer with SHA '{0}'")]
    NotFound(DiffId),
    /// The layer is there and may not be read.
    #[error("failed to read cache layer with SHA '{0}' due to insufficient permissions")]
    Forbidden(DiffId),
    /// The entry named so is no file with those bytes.
    #[error("cache layer with SHA '{0}' is damaged: {1}")]
    Damaged(DiffId, String),
    /// What says what is in the cache cannot be understood.
    #[error("`{path}` is damaged: {why}", path = .path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Reading or writing the cache failed.
    #[error("{action} `{path}`", path = .path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A cache that is read, filled anew beside what it holds, and committed as a whole.
pub trait Cache: Sync {
    /// How the user named it.
    fn name(&self) -> String;

    /// Whether there is one yet. A directory that was given is a cache.
    fn exists(&self) -> bool {
        true
    }

    /// What it holds; empty when there is nothing, or nothing that can be read.
    fn metadata(&self) -> Result<CacheMetadata, CacheError>;

    /// The uncompressed tar of a layer it holds. The bytes are not verified yet.
    fn open_layer(&self, diff_id: DiffId) -> Result<Box<dyn Read + Send + '_>, CacheError>;

    /// Whether a layer is compared with the entry of its diffID before that is kept. Not where entries
    /// cannot be damaged unnoticed.
    fn compares(&self) -> bool {
        true
    }

    /// Whether it takes over layers that the app image was just given, so that none is made twice.
    fn adopts(&self) -> bool {
        false
    }

    /// Takes over a layer that the app image was just given; only where [`Cache::adopts`].
    fn adopt(&self, _layer: &Layer) {}

    /// A place for a new layer's uncompressed tar. Dropped without commit, it leaves nothing behind.
    fn layer_sink(&self) -> Result<Box<dyn CacheSink + '_>, CacheError>;

    /// Keeps a layer that it holds. Whether its bytes are still right is the caller's matter.
    fn reuse_layer(&self, diff_id: DiffId) -> Result<(), CacheError>;

    /// Replaces what it holds by what was added and reused, all or nothing.
    fn commit(&self, metadata: &CacheMetadata) -> Result<(), CacheError>;
}

/// Takes the uncompressed tar of one layer.
pub trait CacheSink: Write + Send {
    /// All bytes are written and hash to `diff_id`: makes them part of the cache.
    fn commit(self: Box<Self>, diff_id: DiffId) -> Result<(), CacheError>;
}
