//! The record of a step, as it stands in the cache.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::layer::Compression;

/// The layout of a record. One of another is a miss.
pub(super) const VERSION: u32 = 2;

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub(super) version: u32,
    pub(super) key: String,
    /// When it was done: seconds since 1970.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// The layer; `None` if the step changed nothing.
    pub layer: Option<LayerRecord>,
    /// What the layer does to files that were there before.
    pub footprint: Footprint,
    /// The digest of the record with this field empty.
    pub(super) checksum: String,
}

/// The layer of a step. Digests are SHA-256, as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The digest of the uncompressed layer.
    pub diff_id: String,
    /// The number of its bytes.
    pub tar_size: u64,
    /// The digest of the blob.
    pub blob: String,
    /// The number of its bytes.
    pub blob_size: u64,
    /// How the blob is compressed.
    pub compression: Compression,
    /// The digest of the true modification times.
    pub mtimes: String,
}

/// What a layer does to files that lower layers have. After a rebase it does so to other ones.
///
/// Paths are relative to the root; bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// The number of paths that were not there before.
    pub added: u64,
    /// The files that it overwrites, with the SHA-256 of what was there, where that is known.
    pub overwrites: BTreeMap<String, Option<String>>,
    /// The paths that it deletes.
    pub whiteouts: BTreeSet<String>,
    /// The directories that were there before and whose modes and owners it has, besides those above a
    /// path of these three sets: a layer names every directory on the way to its entries.
    pub dirs: BTreeSet<String>,
}

impl Record {
    /// Writes the record with its digest.
    pub(super) fn encode(mut self) -> serde_json::Result<Vec<u8>> {
        self.checksum = String::new();
        self.checksum = hex(&Sha256::digest(serde_json::to_vec(&self)?));
        serde_json::to_vec(&self)
    }

    /// Reads a record found under that key. `None` if it is not one.
    pub(super) fn decode(bytes: &[u8], key: &str) -> Option<Self> {
        let mut record: Self = serde_json::from_slice(bytes).ok()?;
        let checksum = std::mem::take(&mut record.checksum);
        let actual = hex(&Sha256::digest(serde_json::to_vec(&record).ok()?));
        record.checksum = checksum;
        let is_named = |layer: &LayerRecord| {
            [&layer.diff_id, &layer.blob, &layer.mtimes].map(|text| is_digest(text)) == [true; 3]
        };
        let named = record.layer.as_ref().is_none_or(is_named);
        let sound = record.version == VERSION && record.key == key && record.checksum == actual;
        (sound && named).then_some(record)
    }
}

/// Tells whether a text is a SHA-256: it becomes a file's name.
pub(super) fn is_digest(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(digit)
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |byte: u8| char::from(DIGITS[usize::from(byte)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
