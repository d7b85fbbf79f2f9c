//! From changes to a stored layer: the tar is written at once, and compressed on a thread of its own
//! while the next instruction is carried out.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::change::Change;
use super::settings::{Compress, Outcome};
use crate::cache::{Cache, CacheError, Footprint, Key, hex};
use crate::layer::{Compression, LayerError, LayerFile, WrittenLayer, write_layer};
use crate::root::{Root, at};

/// What container engines make in a root that is not the image's.
pub(super) const NEVER_CAPTURED: [&str; 7] =
    [".dockerenv", "run/.containerenv", "etc/mtab", "tmp/apt-key-gpghome*", "dev", "proc", "sys"];

/// A layer as an uncompressed file.
pub(super) struct Captured {
    tar: PathBuf,
    written: WrittenLayer,
    footprint: Footprint,
}

impl Captured {
    pub(super) fn write(root: &Root, change: &Change, tar: PathBuf) -> Result<Self, LayerError> {
        let file = File::create(&tar).map_err(LayerError::Write)?;
        let written = write_layer(root, &change.changes, BufWriter::with_capacity(1 << 20, file))?;
        Ok(Self { tar, written, footprint: change.footprint(root) })
    }
}

/// What finishing layers takes.
#[derive(Clone, Copy)]
pub(super) struct Finishing<'s> {
    pub(super) compress: &'s dyn Compress,
    pub(super) cache: Option<&'s Cache>,
}

/// A finished step.
#[derive(Debug)]
pub(super) struct Finished {
    /// The layer's diffID, also where no blob of it was asked for.
    pub(super) diff_id: Option<String>,
    pub(super) layer: Option<LayerFile>,
    pub(super) footprint: Footprint,
    pub(super) outcome: Outcome,
    /// Why it was not stored, though it should have been.
    pub(super) warning: Option<String>,
}

impl Finished {
    /// A step without a layer.
    pub(super) fn without_layer(outcome: Outcome) -> Self {
        Self { diff_id: None, layer: None, footprint: Footprint::default(), outcome, warning: None }
    }

    /// A step that was found in the cache.
    pub(super) fn cached(layer: LayerFile, footprint: Footprint) -> Self {
        let outcome = Outcome::Cached;
        Self { diff_id: Some(layer.diff_id.clone()), layer: Some(layer), footprint, outcome, warning: None }
    }
}

impl Finishing<'_> {
    /// Stores a step that changed nothing.
    pub(super) fn nothing(&self, key: Option<Key>, text: &str) -> Finished {
        let stored = self.cache.zip(key).map(|(cache, key)| cache.store_nothing(&key, text));
        let warning = stored.and_then(Result::err).map(|error| error.to_string());
        Finished { warning, ..Finished::without_layer(Outcome::Executed) }
    }

    /// Takes the diffID, and leaves the layer.
    pub(super) fn only_diff_id(captured: Captured) -> Finished {
        // The work directory is removed as a whole.
        drop(std::fs::remove_file(&captured.tar));
        let mut finished = Finished::without_layer(Outcome::Executed);
        finished.diff_id = Some(hex(&captured.written.diff_id));
        finished.footprint = captured.footprint;
        finished
    }

    /// Compresses a layer, and stores it under the key, if there is one. What cannot be stored is kept
    /// in the work directory.
    pub(super) fn layer(
        &self,
        captured: Captured,
        key: Option<Key>,
        text: &str,
    ) -> Result<Finished, LayerError> {
        let Captured { tar, written, footprint } = captured;
        let mut warning = None;
        let mut layer = None;
        if let Some((cache, key)) = self.cache.zip(key) {
            match self.store(cache, &key, &tar, &written, text, &footprint) {
                Ok(stored) => layer = Some(stored),
                Err(error) => warning = Some(error.to_string()),
            }
        }
        let layer = match layer {
            Some(layer) => layer,
            None => self.keep_in_work(&tar, &written).map_err(LayerError::Write)?,
        };
        drop(std::fs::remove_file(&tar));
        let outcome = Outcome::Executed;
        Ok(Finished { diff_id: Some(layer.diff_id.clone()), layer: Some(layer), footprint, outcome, warning })
    }

    fn store(
        &self,
        cache: &Cache,
        key: &Key,
        tar: &Path,
        written: &WrittenLayer,
        text: &str,
        footprint: &Footprint,
    ) -> Result<LayerFile, CacheError> {
        let mut blob = cache.new_blob()?;
        let (digest, size) = self.compress(tar, &mut blob.file).map_err(at("compress", tar))?;
        let path = cache.keep(&blob, &digest)?;
        let layer = self.layer_file(written, path, &digest, size);
        cache.store_layer(key, text, &layer, &written.mtimes, footprint.clone())?;
        Ok(layer)
    }

    fn keep_in_work(&self, tar: &Path, written: &WrittenLayer) -> io::Result<LayerFile> {
        let path = tar.with_extension("blob");
        let (digest, size) = self.compress(tar, &mut File::create(&path)?)?;
        Ok(self.layer_file(written, path, &digest, size))
    }

    fn layer_file(&self, written: &WrittenLayer, path: PathBuf, digest: &[u8; 32], size: u64) -> LayerFile {
        LayerFile {
            diff_id: hex(&written.diff_id),
            tar_size: written.size_bytes,
            path,
            digest: hex(digest),
            size,
            compression: self.compress.compression(),
        }
    }

    /// Compresses a file; returns the SHA-256 and the size of the result.
    fn compress(&self, tar: &Path, blob: &mut File) -> io::Result<([u8; 32], u64)> {
        let mut out = Hashing { out: BufWriter::with_capacity(1 << 20, blob), hash: Sha256::new(), size: 0 };
        self.compress.compress(&mut File::open(tar)?, &mut out)?;
        out.out.flush()?;
        Ok((out.hash.finalize().into(), out.size))
    }
}

struct Hashing<W> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns a reader of the layer in a blob.
pub(super) fn decompress(blob: File, compression: Compression) -> io::Result<Box<dyn Read>> {
    let blob = BufReader::with_capacity(256 * 1024, blob);
    Ok(match compression {
        Compression::None => Box::new(blob),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(blob)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(blob)?),
    })
}
