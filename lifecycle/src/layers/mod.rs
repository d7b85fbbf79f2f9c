//! Layers: what a phase puts into an image or a cache, as reproducible tars.
//!
//! A [`tar::LayerSource`] says what a layer holds, [`blob::write_layers`] reads each source once and
//! makes the image's blobs and the cache's tars from that one pass, [`unpack`] puts a tar back into a
//! directory. The bytes are those of the reference implementation: the same files have the same
//! diffID, whichever lifecycle exported them.

pub mod blob;
pub mod slices;
pub mod tar;
pub mod unpack;
