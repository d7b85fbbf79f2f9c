//! Layers: changed paths to the bytes of a tar, and a tar back to files below a root.
//!
//! A layer is the image specification's changeset: entries sorted by path, a deleted path as a
//! whiteout, and in front of every entry the directories above it, because an unpacker that does not
//! find them makes them up with other modes. The bytes depend on nothing but the files: no access
//! or change times, no user names, and one modification time for all; the true ones stand in a
//! sidecar ([`Mtimes`]) for replaying the layer.
//!
//! Spec: OCI image-spec, layer.md.

mod file;
mod header;
mod mtimes;
mod parse;
mod reader;
mod remove;
mod replay;
mod sparse;
mod unpack;
mod write;
pub mod xattrs;

pub use file::{Compression, LayerFile};
pub use header::{EntryKind, HeaderError, TarHeader};
pub use mtimes::Mtimes;
pub use reader::{ReadError, TarEntry, TarReader};
pub(crate) use remove::{Remover, names};
pub use replay::replay;
pub use unpack::{Limits, Unpack, UnpackError, Unpacked};
pub use write::{EPOCH_SECONDS, LayerError, WrittenLayer, write_layer};

#[cfg(test)]
mod tests;
