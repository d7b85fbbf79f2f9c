//! Between an image and its two documents, manifest and config: for stores that keep blobs.

use super::{StoreError, verify};
use crate::image::manifest::{Descriptor, Manifest};
use crate::image::{Image, ImageConfig, Layer, Origin};
use crate::json::go_json;
use crate::reference::ImageName;

/// The largest config that is read, in bytes: labels of several MB exist.
pub const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// Puts an image together from its manifest and its config's bytes, which are verified. Layers are
/// stored as those of `name`, which is what the store calls exactly this image.
pub fn assemble(manifest: Manifest, config: &[u8], name: ImageName) -> Result<Image, StoreError> {
    let what = name.to_string();
    let damaged = |why: String| StoreError::Damaged { what: what.clone(), why };
    verify(&format!("config of {what}"), config, manifest.config.digest)?;
    let text = std::str::from_utf8(config).map_err(|_| damaged("its config is not UTF-8".to_owned()))?;
    let config = ImageConfig::parse(text).map_err(|error| damaged(error.to_string()))?;
    let (blobs, diff_ids) = (manifest.layers, config.diff_ids());
    if blobs.len() != diff_ids.len() {
        let (blobs, diff_ids) = (blobs.len(), diff_ids.len());
        return Err(damaged(format!("its manifest has {blobs} layers, its config {diff_ids}")));
    }
    let layers = blobs.into_iter().zip(diff_ids).map(|(blob, diff_id)| Layer {
        diff_id: *diff_id,
        blob: Some(blob),
        origin: Origin::Stored(name.clone()),
    });
    Ok(Image {
        layers: layers.collect(),
        family: manifest.family,
        manifest: manifest.document,
        name: Some(name),
        config,
    })
}

/// The documents of an image, as they are stored.
#[derive(Debug, Clone)]
pub struct Documents {
    /// The config.
    pub config: String,
    /// The config's descriptor.
    pub config_descriptor: Descriptor,
    /// The manifest.
    pub manifest: String,
    /// The manifest's descriptor.
    pub manifest_descriptor: Descriptor,
}

/// Writes an image's documents; the same image gives the same bytes. Fails when a layer has no blob.
pub fn render(image: &Image) -> Result<Documents, StoreError> {
    let config = image.config.to_json();
    let mut config_descriptor = describe(image.family.config(), &config);
    if let Some(old) = image.manifest.get::<Descriptor>("config").ok().flatten() {
        config_descriptor.extra = old.extra;
        config_descriptor.extra.remove("data"); // the old config's bytes
    }
    let blobs: Option<Vec<&Descriptor>> = image.layers.iter().map(|layer| layer.blob.as_ref()).collect();
    let blobs =
        blobs.ok_or_else(|| StoreError::Refused("a layer of the Docker daemon has no blob".to_owned()))?;
    let mut document = image.manifest.clone();
    document.set("schemaVersion", &2);
    document.set("mediaType", image.family.manifest());
    document.set("config", &config_descriptor);
    document.set("layers", &blobs);
    let manifest = go_json(&document);
    let manifest_descriptor = describe(image.family.manifest(), &manifest);
    Ok(Documents { config, config_descriptor, manifest, manifest_descriptor })
}

fn describe(media_type: &str, text: &str) -> Descriptor {
    Descriptor::new(media_type, text.len() as u64, crate::digest::Digest::of(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{DiffId, Digest};
    use crate::image::manifest::{Document, Encoding, MediaFamily};
    use crate::json::JsonObject;
    use crate::reference::StoreKind;

    fn layer(text: &str) -> Layer {
        let digest = Digest::of(text.as_bytes());
        let blob = Descriptor::new(MediaFamily::Oci.layer(Encoding::Gzip), text.len() as u64, digest);
        Layer { diff_id: DiffId::new(digest), blob: Some(blob), origin: Origin::Sent }
    }

    fn name() -> ImageName {
        ImageName::recorded(StoreKind::Layout, "/layout").expect("a name")
    }

    fn read(documents: &Documents) -> Image {
        let Document::Manifest(manifest) = Document::parse(&documents.manifest).expect("a manifest") else {
            panic!("a manifest")
        };
        assemble(manifest, documents.config.as_bytes(), name()).expect("an image")
    }

    #[test]
    fn an_image_is_read_back_from_its_documents() {
        let mut image = Image::new(ImageConfig::new("linux", "amd64"));
        image.push_layer(layer("one"), "one");
        let documents = render(&image).expect("documents");
        let found = read(&documents);
        assert_eq!((&found.config, &found.layers[0].blob), (&image.config, &image.layers[0].blob));
        assert_eq!(found.layers[0].origin, Origin::Stored(name()));
        let again = render(&found).expect("documents");
        assert_eq!((again.config, again.manifest), (documents.config, documents.manifest));
    }

    #[test]
    fn other_manifest_keys_stay_where_they_were() {
        let mut image = Image::new(ImageConfig::new("linux", "amd64"));
        image.family = MediaFamily::Docker;
        let digest = Digest::of(b"old");
        image.manifest = JsonObject::parse(&format!(
            r#"{{"x":1.0,"layers":[],"config":{{"mediaType":"c","size":1,"digest":"{digest}","data":"eA==","annotations":{{"a":"b"}}}},"annotations":{{"k":"v"}},"schemaVersion":2}}"#
        ))
        .expect("an object");
        let documents = render(&image).expect("documents");
        let (size, digest) = (documents.config_descriptor.size, documents.config_descriptor.digest);
        assert_eq!(
            documents.manifest,
            format!(
                r#"{{"x":1.0,"layers":[],"config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{size},"digest":"{digest}","annotations":{{"a":"b"}}}},"annotations":{{"k":"v"}},"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}}"#
            )
        );
    }

    #[test]
    fn images_whose_layers_do_not_add_up_are_refused() {
        let mut image = Image::new(ImageConfig::new("linux", "amd64"));
        image.layers.push(layer("one"));
        let documents = render(&image).expect("documents");
        let Document::Manifest(manifest) = Document::parse(&documents.manifest).expect("a manifest") else {
            panic!("a manifest")
        };
        let error = assemble(manifest, documents.config.as_bytes(), name()).expect_err("refused");
        assert_eq!(error.to_string(), "`/layout` is damaged: its manifest has 1 layers, its config 0");
        image.layers[0].blob = None;
        assert!(matches!(render(&image), Err(StoreError::Refused(_))));
    }
}
