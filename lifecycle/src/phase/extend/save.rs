//! Where the exporter finds an extended run image: `<extended>/run/<manifest digest>`, a layout that has
//! the manifest, the config, and the blobs of the new layers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ExtendError, Extended, layer_footprints};
use crate::digest::Digest;
use crate::files::footprints;
use crate::image::store::document::render;
use crate::image::store::layout::{Above, LayoutStore};
use crate::json::go_json;

/// Writes the image in the place of whatever is below `<extended>/run`, and returns its directory.
///
/// The same image is always in the same directory: first and cached builds give the same one.
pub fn save(extended: &Extended, extended_dir: &Path) -> Result<PathBuf, ExtendError> {
    let run = extended_dir.join("run");
    let failed = |error| ExtendError::io("save the extended run image in", &run)(io::Error::other(error));
    let digest = render(&extended.image).map_err(failed)?.manifest_descriptor.digest;
    let path = run.join(digest.to_string());
    remove_others(&run, digest)?;
    LayoutStore::save_above(&extended.image, &path, Above { layers: extended.base_layers })
        .map_err(failed)?;
    let text = go_json(&layer_footprints(&extended.applied));
    let file = path.join(footprints::FILE);
    fs::write(&file, text).map_err(ExtendError::io("write", &file))?;
    Ok(path)
}

/// Removes what earlier builds left: the exporter takes the only image there is.
fn remove_others(run: &Path, digest: Digest) -> Result<(), ExtendError> {
    let entries = match fs::read_dir(run) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(ExtendError::io("list", run))?,
    };
    for entry in entries {
        let entry = entry.map_err(ExtendError::io("list", run))?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && entry.file_name() == digest.to_string().as_str() {
            continue;
        }
        let path = entry.path();
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(ExtendError::io("remove", &path))?;
    }
    Ok(())
}
