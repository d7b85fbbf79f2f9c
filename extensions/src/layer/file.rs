//! A layer as a blob on disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a layer's blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// A layer's blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFile {
    /// SHA-256 of the uncompressed layer, as hexadecimal digits.
    pub diff_id: String,
    /// The number of its bytes.
    pub tar_size: u64,
    /// Where the blob is.
    pub path: PathBuf,
    /// SHA-256 of the blob, as hexadecimal digits.
    pub digest: String,
    /// The number of its bytes.
    pub size: u64,
    /// How it is compressed.
    pub compression: Compression,
}
