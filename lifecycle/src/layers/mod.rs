//! Layers: what a phase puts into an image or a cache, as reproducible tars.
//!
//! A [`tar::LayerSource`] says what a layer holds, [`blob::write_layers`] reads each source once and
//! makes the image's blobs and the cache's tars from that one pass, [`unpack`] puts a tar back into a
//! directory. The bytes are those of the reference implementation: the same files have the same
//! diffID, whichever lifecycle exported them.

mod archive;
pub mod blob;
mod chunks;
pub mod compressors;
mod content;
mod crew;
pub mod decode;
pub mod deflate;
pub mod dir;
mod disk;
mod entries;
mod extract;
pub mod find;
pub mod gzip;
mod header;
mod pack;
mod pass;
mod path;
mod pattern;
mod read;
pub mod sbom;
mod schedule;
pub mod slices;
pub mod stream;
pub mod tar;
pub mod unpack;
mod walk;

/// A tar without files, of which the layers are made that hold nothing.
pub const EMPTY_TAR: [u8; 1024] = [0; 1024];

#[cfg(test)]
mod tests;
