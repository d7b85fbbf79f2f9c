//! The image that extensions leave: the base image, its changed config, and the new layers.

use extensions::layer::Compression;
use extensions::state::ConfigState;

use super::{Applied, base, config};
use crate::digest::{DiffId, Digest};
use crate::image::store::document::render;
use crate::image::{Descriptor, Encoding, Image, Layer, Origin};

/// When an extended image was created: never, so that the same steps give the same image. Spec: the
/// time that the reference implementation writes.
const CREATED: &str = "0001-01-01T00:00:00Z";

/// The image after the Dockerfiles that were applied. It has only those of their layers that are
/// captured as blobs.
pub fn extended(from: &Image, state: &ConfigState, applied: &[Applied]) -> Image {
    let mut image = from.clone();
    image.name = None;
    base::name_blobs(&mut image);
    config::write(state, &mut image.config);
    for (applied, step) in applied.iter().flat_map(|one| one.steps.iter().map(move |step| (one, step))) {
        let Some(layer) = step.layer.as_ref().and_then(|file| layer(from, file)) else { continue };
        let (text, extension) = (&step.instruction, &applied.extension);
        image.push_layer(layer, &format!("Layer: '{text}', Created by extension: {extension}"));
    }
    if !applied.is_empty() {
        image.config.set_text("created", CREATED);
    }
    image
}

/// What the next Dockerfile is told of the image's name: its digest.
pub fn name(base: &Image, state: &ConfigState, applied: &[Applied]) -> String {
    let image = extended(base, state, applied);
    let documents = render(&image).expect("every layer has a blob, if only in name");
    format!("base@{}", documents.manifest_descriptor.digest)
}

fn layer(base: &Image, file: &extensions::layer::LayerFile) -> Option<Layer> {
    let digest = |hex: &str| format!("sha256:{hex}").parse::<Digest>().ok();
    let encoding = match file.compression {
        Compression::None => Encoding::Tar,
        Compression::Gzip => Encoding::Gzip,
        Compression::Zstd => Encoding::Zstd,
    };
    let blob = Descriptor::new(base.family.layer(encoding), file.size, digest(&file.digest)?);
    let diff_id = DiffId::new(digest(&file.diff_id)?);
    Some(Layer { diff_id, blob: Some(blob), origin: Origin::File(file.path.clone()) })
}
