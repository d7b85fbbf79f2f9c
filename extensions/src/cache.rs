//! The step cache: what a step did, by a key of everything that it depends on.
//!
//! ```text
//!  <directory>/            owned by us, 0700; a lock: shared while used, exclusive while collected
//!    steps/<k>/<key>.json  a record: when, by what, which layer, what it shadows
//!    blobs/<digest>        layers, and their true modification times
//!    mounts/<id>/          directories of RUN --mount=type=cache
//!    tmp/                  what is not finished
//! ```
//!
//! The directory above may belong to someone who would like to have files of theirs in an image. So
//! nothing here is believed: the directory must be ours alone, a record must hold its own digest and
//! the key that it is found under, and a blob is hashed before it is used. Whatever is not right is a
//! miss.

mod collect;
mod key;
mod mount;
mod record;
mod store;

pub use collect::Collected;
pub use key::{Key, KeyBuilder};
pub use mount::CacheMount;
pub(crate) use record::hex;
pub use record::{Footprint, LayerRecord, Record};
pub use store::{Cache, CacheError, CachedLayer, Hit, NewBlob};

#[cfg(test)]
mod tests;
