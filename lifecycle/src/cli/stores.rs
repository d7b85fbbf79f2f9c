//! Which store a phase's images are in: chosen here and nowhere else.

use super::exit::{Exit, Failure};
use super::experimental::{self, Feature};
use super::inputs;
use super::values::{InputError, Inputs};
use crate::image::manifest::{Encoding, Platform};
use crate::image::store::ImageStore;
use crate::image::store::layout::LayoutStore;
use crate::log::Log;
use crate::reference::StoreKind;

/// Which kind of store the platform asks for: a registry, unless told otherwise.
///
/// # Errors
/// When it asks for two at once.
pub fn kind(inputs: &Inputs) -> Result<StoreKind, Failure> {
    match (inputs.switch(inputs::LAYOUT), inputs.switch(inputs::DAEMON)) {
        (false, false) => Ok(StoreKind::Registry),
        (true, false) => Ok(StoreKind::Layout),
        (false, true) => Ok(StoreKind::Daemon),
        (true, true) => {
            let error = InputError::Unsupported(inputs::DAEMON.name(), " together with -layout");
            Err(Failure::new(Exit::Arguments, "resolve inputs", error))
        }
    }
}

/// Opens the store of that kind.
///
/// # Errors
/// When a layout is asked for without a directory, or where experimental features are off.
pub fn open(inputs: &Inputs, kind: StoreKind, log: &Log) -> Result<Box<dyn ImageStore>, Failure> {
    match kind {
        StoreKind::Layout => {
            let dir = inputs.path(inputs::LAYOUT_DIR).ok_or_else(|| {
                let error = InputError::Missing(inputs::LAYOUT_DIR.name(), " with -layout");
                Failure::new(Exit::Arguments, "resolve inputs", error)
            })?;
            experimental::guard(inputs, Feature::Layout, log)?;
            Ok(Box::new(LayoutStore::new(dir, Platform::host(), encoding(inputs)?)))
        }
        StoreKind::Registry => Err(not_yet(inputs, "images in a registry")),
        StoreKind::Daemon => Err(not_yet(inputs, "images in the Docker daemon")),
    }
}

/// How new layers are compressed.
fn encoding(inputs: &Inputs) -> Result<Encoding, Failure> {
    let text = inputs.text(inputs::LAYER_COMPRESSION).unwrap_or_default();
    match text.as_str() {
        "" | "gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstd),
        _ => {
            let name = inputs::LAYER_COMPRESSION.name();
            let error = InputError::Value { name, value: text, wanted: "gzip or zstd" };
            Err(Failure::new(Exit::Arguments, "resolve inputs", error))
        }
    }
}

fn not_yet(inputs: &Inputs, what: &str) -> Failure {
    let error = format!("{what} are not supported yet");
    Failure::new(inputs.phase.into(), inputs.phase.verb(), error)
        .hint("Use -layout with -layout-dir to read and write OCI layout directories.")
}
