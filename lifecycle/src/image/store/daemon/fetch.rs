//! Layers out of the engine: it gives them only as part of a whole image, as `docker save` does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::digest::{DiffId, Hashing};
use crate::image::store::StoreError;

/// Reads a `docker save` stream and keeps those of its layers that are `wanted`, uncompressed, as
/// files in `directory`. Reads the stream to its end: a connection that is left with something unread
/// is lost, and the user that this process has become may not be able to open another.
///
/// Names in the stream are not believed: a layer is what hashes to its diffID.
pub fn keep_layers(
    mut stream: impl Read,
    wanted: &[DiffId],
    directory: &Path,
) -> Result<BTreeMap<DiffId, PathBuf>, StoreError> {
    let failed =
        |source| StoreError::Io { action: "read", what: "layers of the Docker engine".to_owned(), source };
    let mut kept = BTreeMap::new();
    let mut archive = tar::Archive::new(&mut stream);
    for entry in archive.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !may_be_layer(&entry) {
            continue;
        }
        let (diff_id, path) = spool(entry, directory).map_err(failed)?;
        if wanted.contains(&diff_id) {
            kept.insert(diff_id, path.keep().map_err(|error| failed(error.error))?);
        }
        if wanted.iter().all(|diff_id| kept.contains_key(diff_id)) {
            break;
        }
    }
    // What cannot be read is not wanted; the connection is lost then, as it would have been.
    let _ = io::copy(&mut stream, &mut io::sink());
    match wanted.iter().find(|diff_id| !kept.contains_key(diff_id)) {
        None => Ok(kept),
        Some(missing) => Err(StoreError::NotFound(format!("layer {missing} in the Docker engine"))),
    }
}

/// `<id>/layer.tar` of older engines, `blobs/sha256/<digest>` of newer ones; an empty tar has 1024 bytes.
fn may_be_layer(entry: &tar::Entry<'_, impl Read>) -> bool {
    let name = entry.path_bytes();
    let named = name.ends_with(b"/layer.tar") || name.starts_with(b"blobs/sha256/");
    named && entry.header().entry_type().is_file() && entry.size() > 20
}

/// Writes the uncompressed bytes to a new file while they are hashed.
fn spool(mut entry: impl Read, directory: &Path) -> io::Result<(DiffId, tempfile::TempPath)> {
    let mut head = Vec::new();
    entry.by_ref().take(2).read_to_end(&mut head)?;
    let gzip = head == [0x1f, 0x8b];
    let whole = io::Cursor::new(head).chain(entry);
    let mut plain: Box<dyn Read + '_> =
        if gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    let file = tempfile::NamedTempFile::new_in(directory)?;
    let mut writer = Hashing::new(file);
    io::copy(&mut plain, &mut writer)?;
    writer.flush()?;
    let (digest, _, file) = writer.finish();
    Ok((DiffId::new(digest), file.into_temp_path()))
}

/// A layer's file from its start.
pub fn open(path: &Path) -> Result<File, StoreError> {
    let opened = File::open(path).and_then(|mut file| file.rewind().map(|()| file));
    opened.map_err(|source| StoreError::Io { action: "read", what: path.display().to_string(), source })
}
