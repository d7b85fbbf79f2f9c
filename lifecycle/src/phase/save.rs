//! Saving an image under its names, and saying so.

use crate::files::labels::{self, LifecycleMetadata};
use crate::files::report::{ImageReport, RunImageReport};
use crate::image::store::{ImageStore, StoreError};
use crate::image::{Image, Saved};
use crate::log::Log;
use crate::reference::ImageName;

/// Saves `image` under each of `names`, and says what `report.toml` should. The lines of the log are
/// those that platforms know.
pub fn save(
    store: &dyn ImageStore,
    image: &Image,
    names: &[ImageName],
    log: &Log,
) -> Result<ImageReport, StoreError> {
    let shown: Vec<String> = names.iter().map(|name| store.shown(name)).collect();
    log.info(format!("Saving {}...", shown.first().map_or("", String::as_str)));
    let saved = store.save(image, names)?;
    if !saved.unreadable.is_empty() {
        let count = saved.unreadable.len();
        log.warn(format!("Left out {count} layer(s) of the run image that may not be read"));
    }
    log.info(format!("*** Images ({}):", short_id(&saved)));
    for name in &shown {
        log.info(format!("      {name}"));
    }
    match saved.digest {
        Some(digest) => log.debug(format!("\n*** Digest: {digest}")),
        None => log.debug(format!("\n*** Image ID: {}", saved.image_id.hex())),
    }
    if let Some(size) = saved.manifest_size {
        log.debug(format!("\n*** Manifest Size: {size}"));
    }
    Ok(ImageReport { run_image: run_image(image), ..saved.report(shown) })
}

/// The run image as `image` says itself; before Platform API 0.12 its names stand with the stack.
fn run_image(image: &Image) -> Option<RunImageReport> {
    let metadata = LifecycleMetadata::from_label(image.config.label(labels::LIFECYCLE_METADATA)?).ok()?;
    let of_stack = metadata.stack.unwrap_or_default().run_image;
    let base = metadata.run_image;
    let (image, mirrors) = match base.image.as_str() {
        "" => (of_stack.image, of_stack.mirrors),
        _ => (base.image, base.mirrors),
    };
    Some(RunImageReport { image, reference: base.reference, top_layer: base.top_layer, mirrors })
}

/// The digest where there is one, else the first 12 digits of the image's ID.
fn short_id(saved: &Saved) -> String {
    saved.digest.map_or_else(|| saved.image_id.hex()[..12].to_owned(), |digest| digest.to_string())
}
