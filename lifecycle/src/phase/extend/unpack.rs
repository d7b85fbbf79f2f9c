//! An image unpacked into a directory of its own, where it can be extended apart from the container
//! that we are in.

use extensions::layer::{Limits, Unpack, replay};
use extensions::root::{Guard, Root};
use extensions::snapshot::IgnoreSet;

use crate::image::Image;
use crate::image::store::{ImageStore, StoreError};
use crate::layers::decode::decompress;
use crate::log::Log;

/// An image cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackImageError {
    /// A layer cannot be read.
    #[error("read layer {diff_id}")]
    Read {
        /// The layer.
        diff_id: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A layer cannot be unpacked.
    #[error("unpack layer {diff_id}")]
    Unpack {
        /// The layer.
        diff_id: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Unpacks every layer of `image`, base first, from `store` into `root`.
pub fn unpack(store: &dyn ImageStore, image: &Image, root: &Root, log: &Log) -> Result<(), UnpackImageError> {
    let nothing = IgnoreSet::default();
    let rules = Unpack {
        root,
        below: std::path::Path::new(""),
        guard: Guard::new(&nothing),
        owner: None,
        limits: Limits::default(),
    };
    for layer in &image.layers {
        let diff_id = layer.diff_id.to_string();
        log.debug(format!("Unpacking layer {diff_id}"));
        let blob = store
            .open_layer(layer)
            .map_err(|source| UnpackImageError::Read { diff_id: diff_id.clone(), source })?;
        let failed = |source| UnpackImageError::Unpack { diff_id: diff_id.clone(), source };
        let mut tar = decompress(blob).map_err(|error| failed(error.into()))?;
        let done = replay(&rules, &mut tar, None).map_err(|error| failed(error.into()))?;
        // A blob is verified when it is read to its end.
        std::io::copy(&mut tar, &mut std::io::sink()).map_err(|error| failed(error.into()))?;
        for path in done.skipped {
            log.debug(format!(
                "Device `{}` of the image is left out: it may not be made here",
                path.display()
            ));
        }
    }
    Ok(())
}
