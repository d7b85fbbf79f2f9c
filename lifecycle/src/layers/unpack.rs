//! Puts a layer's tar back into its directory. Nothing outside that directory can be written,
//! whatever the tar holds.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::digest::DiffId;

/// A layer to put back.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The sha256 that its tar must have.
    pub diff_id: DiffId,
    /// The directory it holds, absolute: entries must be named so, or be parents of it. It is replaced
    /// as a whole, and only when every byte was verified.
    pub dir: PathBuf,
}

/// Why a layer was not put back. Nothing of it is left behind, and the directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar cannot be read.
    #[error("read the layer")]
    Read(#[source] io::Error),
    /// Its bytes are others.
    #[error("expected layer contents to have SHA `{expected}`; found `{found}`")]
    Digest {
        /// What was asked for.
        expected: DiffId,
        /// What is there.
        found: DiffId,
    },
    /// It holds what must not be unpacked.
    #[error("entry `{name}` {why}")]
    Entry {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The directory cannot be written.
    #[error("{action} `{path}`", path = .path.display())]
    Write {
        /// The operation, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Puts one layer back: `tar` is read once, to its end, uncompressed.
pub fn restore(layer: &Restore, tar: impl Read) -> Result<(), UnpackError> {
    let _ = (layer, tar);
    todo!()
}

/// Puts several layers back at once, each opened by `open`; results are in the order of `layers`.
pub fn restore_all<'a, E: Send>(
    layers: &[Restore],
    threads: NonZeroUsize,
    open: impl Fn(&Restore) -> Result<Box<dyn Read + Send + 'a>, E> + Sync,
) -> Vec<Result<Result<(), UnpackError>, E>> {
    let _ = (layers, threads, open);
    todo!()
}
