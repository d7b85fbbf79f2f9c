//! Reads the layouts that phases wrote, with nothing of the lifecycle's own code, and unpacks them.
//!
//! Every document is also parsed by `oci-spec`, a second opinion on its shape.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::run_image::digest;

/// One image of a layout, every blob checked against its digest and size.
#[derive(Debug)]
pub struct LayoutImage {
    /// The manifest's digest.
    pub digest: String,
    /// The manifest.
    pub manifest: Value,
    /// The config.
    pub config: Value,
    /// Uncompressed layers, base first, checked against the config's diffIDs.
    pub layers: Vec<Layer>,
}

/// One layer.
#[derive(Debug)]
pub struct Layer {
    /// The blob's digest.
    pub digest: String,
    /// The blob's size in bytes.
    pub size: u64,
    /// The sha256 of `tar`.
    pub diff_id: String,
    /// The uncompressed tar.
    pub tar: Vec<u8>,
}

impl LayoutImage {
    /// Reads the only image of the layout at `directory`.
    ///
    /// # Panics
    ///
    /// When anything in it is not as the OCI image specification has it.
    #[track_caller]
    pub fn read(directory: &Path) -> Self {
        let index =
            fs::read(directory.join("index.json")).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        oci_spec::image::ImageIndex::from_reader(index.as_slice()).expect("index.json is an image index");
        let index: Value = serde_json::from_slice(&index).expect("index.json is JSON");
        let entries = index["manifests"].as_array().expect("an index lists manifests");
        assert_eq!(entries.len(), 1, "one image in {}", directory.display());
        let manifest_bytes = blob(directory, &entries[0]);
        oci_spec::image::ImageManifest::from_reader(manifest_bytes.as_slice()).expect("a manifest");
        let manifest: Value = serde_json::from_slice(&manifest_bytes).expect("a manifest is JSON");
        let config_bytes = blob(directory, &manifest["config"]);
        oci_spec::image::ImageConfiguration::from_reader(config_bytes.as_slice()).expect("a config");
        let config: Value = serde_json::from_slice(&config_bytes).expect("a config is JSON");
        let layers = layers(directory, &manifest, &config);
        Self { digest: text(&entries[0]["digest"]), manifest, config, layers }
    }

    /// Reads the only image of a layout that a phase wrote, once skopeo and umoci have read and unpacked it.
    #[track_caller]
    pub fn judged(directory: &Path) -> Self {
        crate::judges::accept_layout(directory);
        Self::read(directory)
    }

    /// A label's text.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.config["config"]["Labels"][key].as_str()
    }

    /// A label's JSON.
    #[track_caller]
    pub fn json_label(&self, key: &str) -> Value {
        serde_json::from_str(self.label(key).unwrap_or_else(|| panic!("label {key} exists")))
            .expect("a label of JSON")
    }

    /// The value of a variable in the config.
    pub fn env(&self, name: &str) -> Option<String> {
        let all = self.config["config"]["Env"].as_array()?;
        all.iter()
            .filter_map(Value::as_str)
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }

    /// The diffIDs, base first.
    pub fn diff_ids(&self) -> Vec<&str> {
        self.layers.iter().map(|layer| layer.diff_id.as_str()).collect()
    }

    /// Writes the files of all layers below `root`, absolute names taken relative to it. For images
    /// that tests made themselves: no whiteouts, no owners, no defence.
    ///
    /// # Panics
    ///
    /// When a file cannot be written.
    pub fn unpack(&self, root: &Path) {
        for layer in &self.layers {
            let mut archive = tar::Archive::new(layer.tar.as_slice());
            archive.set_preserve_mtime(false);
            for entry in archive.entries().expect("a layer is a tar") {
                let mut entry = entry.expect("an entry can be read");
                let name = entry.path().expect("an entry has a name").into_owned();
                let target = root.join(name.strip_prefix("/").unwrap_or(&name));
                if let Some(parent) = target.parent() {
                    fs::create_dir_all(parent).expect("a directory can be made");
                }
                entry.unpack(&target).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
            }
        }
    }

    /// The regular files of all layers, upper layers winning: name to content.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for layer in &self.layers {
            for entry in tar::Archive::new(layer.tar.as_slice()).entries().expect("a layer is a tar") {
                let mut entry = entry.expect("an entry can be read");
                let name = entry.path().expect("an entry has a name").into_owned();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("an entry can be read");
                if entry.header().entry_type().is_file() {
                    files.insert(Path::new("/").join(name), content);
                }
            }
        }
        files
    }
}

fn layers(directory: &Path, manifest: &Value, config: &Value) -> Vec<Layer> {
    let descriptors = manifest["layers"].as_array().expect("a manifest lists layers");
    let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("a config lists diffIDs");
    assert_eq!(descriptors.len(), diff_ids.len(), "as many layers as diffIDs");
    let history =
        config["history"].as_array().map_or(0, |all| all.iter().filter(|h| h["empty_layer"] != true).count());
    assert_eq!(history, diff_ids.len(), "as many history entries as layers");
    descriptors
        .iter()
        .zip(diff_ids)
        .map(|(descriptor, diff_id)| layer(directory, descriptor, diff_id))
        .collect()
}

fn layer(directory: &Path, descriptor: &Value, diff_id: &Value) -> Layer {
    let bytes = blob(directory, descriptor);
    let media_type = text(&descriptor["mediaType"]);
    let tar = if media_type.ends_with("gzip") {
        let mut tar = Vec::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut tar).expect("a layer is gzip");
        tar
    } else {
        bytes
    };
    assert_eq!(digest(&tar), text(diff_id), "a layer has its diffID");
    Layer {
        digest: text(&descriptor["digest"]),
        size: descriptor["size"].as_u64().unwrap_or(0),
        diff_id: text(diff_id),
        tar,
    }
}

fn blob(directory: &Path, descriptor: &Value) -> Vec<u8> {
    let name = text(&descriptor["digest"]);
    let path = directory.join("blobs/sha256").join(name.strip_prefix("sha256:").expect("a sha256 digest"));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(digest(&bytes), name, "a blob has its digest");
    assert_eq!(Some(bytes.len() as u64), descriptor["size"].as_u64(), "a blob has its size");
    bytes
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
