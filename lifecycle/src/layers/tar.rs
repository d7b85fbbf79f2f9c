//! What a layer holds, and its tar as a stream of bytes.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::slices::Slice;

/// A user and a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user ID.
    pub uid: u32,
    /// The group ID.
    pub gid: u32,
}

/// What a layer holds.
#[derive(Debug, Clone)]
pub enum LayerSource {
    /// A directory with all below it: a buildpack's layer, `<layers>/config`, `<layers>/sbom/launch`.
    Dir(Tree),
    /// The application, or what one slice took of it.
    Slice(Arc<Slice>),
    /// The launcher's binary, as `/cnb/lifecycle/launcher`.
    Launcher(PathBuf),
    /// A symbolic link to the launcher for each process type, in the order given.
    ProcessTypes(Vec<String>),
    /// The entries of another layer, plain or gzip, with their times set to the constant: an image
    /// extension's.
    Archive(PathBuf),
}

/// A directory on disk and how its entries are written.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Where it is on disk.
    pub path: PathBuf,
    /// Its absolute name in the layer; the same as `path`, but in tests.
    pub name: PathBuf,
    /// The directories above it, outermost first, without `/`.
    pub parents: Vec<Parent>,
    /// Who owns every entry but the parents.
    pub owner: Owner,
}

/// A directory above a layer's, as it is on disk: layers must not change what is outside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its absolute name.
    pub name: PathBuf,
    /// Permission bits, setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub owner: Owner,
}

/// Why a layer's tar cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// A file system operation failed.
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
    /// A file became shorter, longer or another thing while it was read.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// A process type that cannot name a file.
    #[error("process type `{0}` is empty or contains one of `/><:|&\\`")]
    ProcessType(String),
    /// An archive that is not a tar, or holds what no layer may.
    #[error("`{path}` is damaged: {why}", path = .path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Tree {
    /// The directory at `path` (made absolute, not resolved) with its parents as they are on disk.
    ///
    /// Fails when a parent cannot be read.
    pub fn on_disk(path: &Path, owner: Owner) -> Result<Self, TarError> {
        let _ = (path, owner);
        todo!()
    }
}

impl LayerSource {
    /// The layer of the directory `path`: its parents as they are on disk, itself and all below it
    /// owned by `owner`.
    ///
    /// Fails when a parent cannot be read.
    pub fn dir(path: &Path, owner: Owner) -> Result<Self, TarError> {
        Tree::on_disk(path, owner).map(Self::Dir)
    }

    /// The layer's tar. Reads fail with a [`TarError`] inside the [`io::Error`].
    pub fn open(&self) -> Result<Box<dyn Read + Send + '_>, TarError> {
        todo!()
    }
}
