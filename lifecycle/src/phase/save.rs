//! Saving an image under its names, and saying so.

use crate::files::report::ImageReport;
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
    Ok(saved.report(shown))
}

/// The digest where there is one, else the first 12 digits of the image's ID.
fn short_id(saved: &Saved) -> String {
    saved.digest.map_or_else(|| saved.image_id.hex()[..12].to_owned(), |digest| digest.to_string())
}
