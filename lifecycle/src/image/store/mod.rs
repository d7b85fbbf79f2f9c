//! Where images live: an OCI layout directory, a registry, the Docker daemon.
//!
//! A store finds images, opens layers, takes new layers as streams while they are still being
//! compressed, and saves. Tags (or the index of a layout) change last, so that a build which ends
//! early leaves the old image in place.

pub mod daemon;
pub mod document;
pub mod layout;
pub mod registry;
pub mod verified;

use std::io::{Read, Write};

use document::Documents;

pub use super::manifest::Encoding;
use super::{Descriptor, Image, Layer, Origin, Saved};
use crate::digest::Digest;
use crate::reference::ImageName;

/// A failure of a store: which operation, on what, why. Exit codes are the caller's matter.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing `what` failed.
    #[error("failed to {action} `{what}`")]
    Io {
        /// The operation, as a verb: `read`, `write`, `rename`.
        action: &'static str,
        /// The path, URL or reference.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was read is not what it must be: broken JSON, a wrong digest, a limit exceeded.
    #[error("`{what}` is damaged: {why}")]
    Damaged {
        /// The path, URL or reference.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The image or its blob is not there.
    #[error("`{0}` was not found")]
    NotFound(String),
    /// The store refused: no access, not supported.
    #[error("{0}")]
    Refused(String),
}

/// Where images live.
pub trait ImageStore: Sync {
    /// The image of that name, or `None` when there is none.
    fn find(&self, name: &ImageName) -> Result<Option<Image>, StoreError>;

    /// The documents of the image of that name exactly as they are stored; `None` when there is no such
    /// image, and from a store that has none of its own (the Docker daemon).
    fn documents(&self, _name: &ImageName) -> Result<Option<Documents>, StoreError> {
        Ok(None)
    }

    /// The blob of `layer` as stored, compressed or not; verified against its digest when read to
    /// its end (the last read fails on a mismatch).
    fn open_layer(&self, layer: &Layer) -> Result<Box<dyn Read + Send + '_>, StoreError>;

    /// Tells which layers will be opened, for stores that give several at the price of one.
    fn fetch_ahead(&self, _layers: &[Layer]) -> Result<(), StoreError> {
        Ok(())
    }

    /// A name as users find the image under it: in the log and in `report.toml`.
    fn shown(&self, name: &ImageName) -> String {
        name.to_string()
    }

    /// Fails unless the image may be read or written. A missing image may be both: whether it must be
    /// there is another question. Leaves nothing behind.
    fn ensure_access(&self, name: &ImageName, need: Need) -> Result<(), StoreError> {
        match need {
            Need::Read => self.find(name).map(drop),
            Need::Write => Ok(()),
        }
    }

    /// Keeps connections open that could not be opened again. Called now and then while nothing is
    /// asked of the store.
    fn keep_alive(&self) {}

    /// How this store wants new layers.
    fn encoding(&self) -> Encoding;

    /// A place to write one new layer of the image that will be saved as `target`. Several may be
    /// open at once. Dropped without commit, it leaves nothing behind.
    fn layer_sink(&self, target: &ImageName) -> Result<Box<dyn LayerSink + '_>, StoreError>;

    /// For each layer of `image`, whether its bytes are needed to save it: a store may have it in place.
    fn needs(&self, image: &Image) -> Result<Vec<bool>, StoreError> {
        Ok(vec![true; image.layers.len()])
    }

    /// Gets ready to open several layers, where getting them one by one would take longer.
    fn prefetch(&self, _layers: &[&Layer]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Saves `image` under each of `names`: what is missing of its layers first, tags last.
    fn save(&self, image: &Image, names: &[ImageName]) -> Result<Saved, StoreError>;
}

/// What a phase is going to do with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Read it.
    Read,
    /// Write it.
    Write,
}

/// Takes the bytes of one new layer.
pub trait LayerSink: Write + Send {
    /// All bytes are written and are `blob`: makes the layer part of the store.
    fn commit(self: Box<Self>, blob: &Descriptor) -> Result<Origin, StoreError>;
}

/// Fails unless `bytes` hash to `expected`.
pub fn verify(what: &str, bytes: &[u8], expected: Digest) -> Result<(), StoreError> {
    let found = Digest::of(bytes);
    if found == expected {
        return Ok(());
    }
    Err(StoreError::Damaged {
        what: what.to_owned(),
        why: format!("its digest is {found}, expected {expected}"),
    })
}
