//! Names of images: references as users write them, and what stores call an image exactly.

use std::fmt;
use std::path::PathBuf;

use crate::digest::Digest;

/// `registry/repository:tag` or `…@digest`, with Docker Hub's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Host and port, for example `index.docker.io`.
    pub registry: String,
    /// Path below the registry, for example `library/ubuntu`.
    pub repository: String,
    /// Tag, `latest` when neither tag nor digest was given.
    pub tag: Option<String>,
    /// Digest, when pinned.
    pub digest: Option<Digest>,
    /// The text as the user wrote it.
    pub written: String,
}

/// What a store is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageName {
    /// An image of a registry or a tag of the Docker daemon; in a layout store, the path follows from it.
    Reference(Reference),
    /// A layout directory by its path, with the manifest's digest where it is pinned.
    Layout {
        /// The directory that holds `index.json`.
        path: PathBuf,
        /// The digest of the one manifest meant.
        digest: Option<Digest>,
    },
    /// A Docker daemon's image ID.
    ImageId(Digest),
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(reference) => f.write_str(&reference.written),
            Self::Layout { path, digest: None } => write!(f, "{}", path.display()),
            Self::Layout { path, digest: Some(digest) } => write!(f, "{}@{digest}", path.display()),
            Self::ImageId(id) => f.write_str(&id.hex()),
        }
    }
}
