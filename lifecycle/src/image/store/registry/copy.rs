//! Makes the layers of an image present in a repository: by nothing, a mount, or a copy.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::PoisonError;

use super::blob::BlobReader;
use super::client::Repository;
use super::store::{FirstError, locate};
use super::upload::{UploadSink, Uploads};
use crate::image::store::{LayerSink, StoreError};
use crate::image::{Descriptor, Image, Layer, Origin};

/// Requests for layers that are under way at once.
const AT_ONCE: usize = 6;

/// Makes every layer of `image` present where `uploads` go. Layers with origin [`Origin::Sent`] are in
/// `sent_to` already. Several at once; memory does not grow with sizes.
pub fn copy_layers(image: &Image, sent_to: &Repository, uploads: &Uploads) -> Result<(), StoreError> {
    let missing: Vec<(&Layer, &Descriptor)> = image
        .layers
        .iter()
        .filter_map(|layer| Some((layer, layer.blob.as_ref()?)))
        .filter(|(layer, blob)| !blob.is_foreign() && !is_there(layer, sent_to, &uploads.repository))
        .collect();
    let queue = Mutex::new(missing.iter());
    let error = FirstError::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(missing.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    match next {
                        Some((layer, blob)) if !error.is_set() => {
                            error.note(copy(layer, blob, sent_to, uploads));
                        }
                        _ => return,
                    }
                }
            });
        }
    });
    error.into_result()
}

/// Whether a layer is in `target` by its origin alone.
fn is_there(layer: &Layer, sent_to: &Repository, target: &Repository) -> bool {
    match &layer.origin {
        Origin::Stored(name) => locate(name).is_ok_and(|(repository, _)| repository == *target),
        Origin::Sent => sent_to == target,
        Origin::File(_) => false,
    }
}

fn copy(layer: &Layer, blob: &Descriptor, sent_to: &Repository, uploads: &Uploads) -> Result<(), StoreError> {
    let source = match &layer.origin {
        Origin::Sent => sent_to.clone(),
        Origin::Stored(name) => locate(name)?.0,
        Origin::File(path) => {
            if uploads.exists(blob.digest)? {
                return Ok(());
            }
            let failed = |source| StoreError::Io { action: "read", what: path.display().to_string(), source };
            return send(File::open(path).map_err(failed)?, &path.display().to_string(), blob, uploads);
        }
    };
    if source.registry == uploads.repository.registry && uploads.mount(blob.digest, &source.name)? {
        return Ok(());
    }
    if uploads.exists(blob.digest)? {
        return Ok(());
    }
    send(BlobReader::open(&uploads.client, &source, blob)?, &source.to_string(), blob, uploads)
}

fn send(mut from: impl Read, what: &str, blob: &Descriptor, uploads: &Uploads) -> Result<(), StoreError> {
    let mut sink = Box::new(UploadSink::new(uploads.clone()));
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(StoreError::Io { action: "read", what: what.to_owned(), source }),
        };
        let written = sink.write_all(&buffer[..read]);
        written.map_err(|source| StoreError::Io {
            action: "upload to",
            what: uploads.repository.to_string(),
            source,
        })?;
    }
    sink.commit(blob).map(drop)
}
