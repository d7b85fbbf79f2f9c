//! Descriptors and media types: the few that a lifecycle reads and writes.
//!
//! Spec: OCI image-spec descriptor.md, manifest.md; Docker image manifest v2 schema 2.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A blob as a manifest or an index names it; unknown keys (`annotations`, `platform`) are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the blob is.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256.
    pub digest: Digest,
    /// Every other key.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// Which vendor's media types an image's manifest uses. A base image's family is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaFamily {
    /// `application/vnd.oci.image.…`
    #[default]
    Oci,
    /// `application/vnd.docker.…`
    Docker,
}
