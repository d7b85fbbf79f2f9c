//! The lifecycle image: the lifecycle's layer on a base of a few files, for platforms that run phases from it or cut
//! its last layer out.

use lifecycle::cli::VERSION;
use lifecycle::digest::Digest;
use lifecycle::time;
use serde_json::{Value, json};

use crate::archive::{Body, Entry, gzip, tar};
use crate::descriptor;

/// The name that `docker load` gives it, the version behind.
const NAME: &str = "lifecycle";

/// The files of an OCI layout that holds the image of `layers` alone, base first: names and contents.
pub fn layout(layers: &[Vec<Entry>]) -> Vec<(String, Vec<u8>)> {
    let tars: Vec<Vec<u8>> = layers.iter().map(|layer| tar(layer)).collect();
    let diff_ids: Vec<String> = tars.iter().map(|tar| digest(tar)).collect();
    let layer = |tar: &Vec<u8>| Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", gzip(tar));
    let layers: Vec<Blob> = tars.iter().map(layer).collect();
    let config = Blob::json("application/vnd.oci.image.config.v1+json", &config(&diff_ids));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor(),
        "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
    });
    let manifest = Blob::json("application/vnd.oci.image.manifest.v1+json", &manifest);
    let mut entry = manifest.descriptor();
    entry["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": VERSION });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    let docker = json!([{
        "Config": config.path(),
        "RepoTags": [format!("{NAME}:{VERSION}")],
        "Layers": layers.iter().map(Blob::path).collect::<Vec<_>>(),
    }]);
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), bytes(&index)),
        // Not part of a layout and in nobody's way: `docker load` of older engines reads it.
        ("manifest.json".to_owned(), bytes(&docker)),
    ];
    files.extend([config, manifest].into_iter().chain(layers).map(|blob| (blob.path(), blob.bytes)));
    files
}

/// The files of a layout as one archive, which skopeo, podman and `docker load` read.
pub fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let dirs = ["blobs", "blobs/sha256"].map(|name| Entry { name: name.to_owned(), body: Body::Dir(0o755) });
    let files =
        files.iter().map(|(name, body)| Entry { name: name.clone(), body: Body::File(0o644, body.clone()) });
    tar(&dirs.into_iter().chain(files).collect::<Vec<_>>())
}

fn config(diff_ids: &[String]) -> Value {
    let created = time::rfc3339(time::CONSTANT).expect("the constant is in 1980");
    let history = json!({ "created": created, "created_by": "cargo package-lifecycle" });
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": created,
        "config": { "Labels": descriptor::labels(), "WorkingDir": "/layers" },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": diff_ids.iter().map(|_| &history).collect::<Vec<_>>(),
    })
}

/// This machine's architecture as OCI names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A blob of the layout.
struct Blob {
    media_type: &'static str,
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, digest: digest(&bytes), bytes }
    }

    fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, bytes(value))
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Digest::of(bytes).hex())
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
