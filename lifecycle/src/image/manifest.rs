//! Manifests, indexes and the descriptors in them; which media types they use.
//!
//! Spec: OCI image-spec manifest.md, image-index.md, descriptor.md; Docker image manifest v2 schema 2.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::json::JsonObject;

/// The largest manifest or index that is read, in bytes; registries accept 4 MiB.
pub const MAX_BYTES: u64 = 8 << 20;

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A Docker image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A blob as a manifest or an index names it; unknown keys (`annotations`, `platform`) are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256.
    pub digest: Digest,
    /// Every other key.
    pub extra: JsonObject,
}

/// Which vendor's media types an image's manifest uses. A base image's family is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaFamily {
    /// `application/vnd.oci.image.…`
    #[default]
    Oci,
    /// `application/vnd.docker.…`
    Docker,
}

/// How the bytes of a layer are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As plain tar: what the Docker daemon wants, which compresses nothing itself.
    Tar,
    /// As gzip, the default of layouts and registries.
    Gzip,
    /// As zstd, where the user asks for it.
    Zstd,
}

impl MediaFamily {
    /// The media type of a manifest.
    pub const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => OCI_MANIFEST,
            Self::Docker => DOCKER_MANIFEST,
        }
    }

    /// The media type of a config.
    pub const fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    /// The media type of a layer.
    pub const fn layer(self, encoding: Encoding) -> &'static str {
        match (self, encoding) {
            (Self::Oci, Encoding::Tar) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Encoding::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Docker, Encoding::Tar) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Encoding::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            // Docker has none of its own, and its engine knows this one.
            (_, Encoding::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    fn of(media_type: &str) -> Self {
        if media_type.starts_with("application/vnd.docker.") { Self::Docker } else { Self::Oci }
    }
}

impl Descriptor {
    /// A descriptor with no other keys.
    pub fn new(media_type: &str, size: u64, digest: Digest) -> Self {
        Self { media_type: media_type.to_owned(), size, digest, extra: JsonObject::default() }
    }

    /// Whether it may not be distributed: such a blob is had from its `urls`, and may be missing here.
    ///
    /// Spec: OCI image-spec layer.md "Non-Distributable Layers".
    pub fn is_foreign(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }

    /// The same blob, its layer media type as `family` writes it.
    #[must_use]
    pub fn in_family(mut self, family: MediaFamily) -> Self {
        let other = match family {
            MediaFamily::Oci => MediaFamily::Docker,
            MediaFamily::Docker => MediaFamily::Oci,
        };
        for encoding in [Encoding::Tar, Encoding::Gzip] {
            if self.media_type == other.layer(encoding) {
                family.layer(encoding).clone_into(&mut self.media_type);
            }
        }
        self
    }

    /// Whether it names an index rather than one image.
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_INDEX)
    }

    /// What an image of an index runs on; `None` when the index does not say.
    pub fn platform(&self) -> Option<Platform> {
        self.extra.get("platform").ok().flatten()
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("mediaType", &self.media_type)?;
        map.serialize_entry("size", &self.size)?;
        map.serialize_entry("digest", &self.digest)?;
        for (key, value) in self.extra.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut extra = JsonObject::deserialize(deserializer)?;
        let media_type = extra.get("mediaType").map_err(D::Error::custom)?.unwrap_or_default();
        let size = extra.get("size").map_err(D::Error::custom)?;
        let digest = extra.get("digest").map_err(D::Error::custom)?;
        for key in ["mediaType", "size", "digest"] {
            extra.remove(key);
        }
        Ok(Self {
            media_type,
            size: size.ok_or_else(|| D::Error::missing_field("size"))?,
            digest: digest.ok_or_else(|| D::Error::missing_field("digest"))?,
            extra,
        })
    }
}

/// What an image of an index runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Architecture as Go names it.
    pub architecture: String,
    /// Its variant; empty when the index does not say, or any will do.
    pub variant: String,
}

impl Platform {
    /// Linux on this machine's architecture.
    pub fn host() -> Self {
        let architecture = crate::target::host_arch().to_owned();
        Self { os: "linux".to_owned(), architecture, variant: String::new() }
    }

    fn satisfies(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_empty() || wanted.variant == self.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// What a registry or a layout has under a digest or a tag.
#[derive(Debug, Clone)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several, for different platforms.
    Index(Vec<Descriptor>),
}

/// An image manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Which media types it uses.
    pub family: MediaFamily,
    /// The image's config.
    pub config: Descriptor,
    /// Its layers, base first.
    pub layers: Vec<Descriptor>,
    /// The whole document.
    pub document: JsonObject,
}

/// A text is neither a manifest nor an index.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no JSON object, or a known key is of another type.
    #[error("its manifest is not what it must be: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of Docker's first manifest version, which has no config.
    #[error("its manifest has the outdated Docker schema 1")]
    Schema1,
    /// It names neither a config nor manifests.
    #[error("its manifest names neither a config nor other manifests")]
    Empty,
}

impl Document {
    /// Reads a manifest or an index: whichever `mediaType` says or, without it, its keys.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let document = JsonObject::parse(text)?;
        let media_type: String = document.get("mediaType")?.unwrap_or_default();
        if document.get::<u64>("schemaVersion")? == Some(1) {
            return Err(ManifestError::Schema1);
        }
        let config: Option<Descriptor> = document.get("config")?;
        match (media_type.as_str(), config) {
            (OCI_INDEX | DOCKER_INDEX, _) | (_, None) => {
                let manifests: Option<Vec<Descriptor>> = document.get("manifests")?;
                manifests.map(Self::Index).ok_or(ManifestError::Empty)
            }
            (_, Some(config)) => {
                let family =
                    MediaFamily::of(if media_type.is_empty() { &config.media_type } else { &media_type });
                let layers = document.get("layers")?.unwrap_or_default();
                Ok(Self::Manifest(Manifest { family, config, layers, document }))
            }
        }
    }
}

/// The image for `wanted` among those of an index. One that does not say what it runs on counts as
/// linux/amd64, as in the reference implementation's library, and a single one is taken as it is.
pub fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let unsaid =
        || Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: String::new() };
    let images = || manifests.iter().filter(|manifest| !is_attestation(manifest));
    let mut all = images();
    match (all.next(), all.next()) {
        (Some(only), None) => Some(only),
        _ => images().find(|manifest| manifest.platform().unwrap_or_else(unsaid).satisfies(wanted)),
    }
}

/// BuildKit lists attestations beside the images, for the platform `unknown/unknown`.
fn is_attestation(manifest: &Descriptor) -> bool {
    manifest.platform().is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;
    use crate::json::go_json;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn entry(platform: &str, size: u64) -> String {
        format!(r#"{{"mediaType":"{OCI_MANIFEST}","size":{size},"digest":"{DIGEST}","platform":{platform}}}"#)
    }

    #[track_caller]
    fn check_choice(platforms: &[&str], wanted: &str, expected: Option<u64>) {
        let entries: Vec<_> = (0..).zip(platforms).map(|(size, platform)| entry(platform, size)).collect();
        let text = format!(r#"{{"manifests":[{}]}}"#, entries.join(","));
        let Document::Index(manifests) = Document::parse(&text).expect("an index") else {
            panic!("an index")
        };
        let wanted: Platform = serde_json::from_str(wanted).expect("a platform");
        assert_eq!(choose(&manifests, &wanted).map(|found| found.size), expected);
    }

    const AMD64: &str = r#"{"os":"linux","architecture":"amd64"}"#;
    const ARM64: &str = r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#;
    const ARM64_V9: &str = r#"{"os":"linux","architecture":"arm64","variant":"v9"}"#;
    const UNKNOWN: &str = r#"{"os":"unknown","architecture":"unknown"}"#;

    #[test]
    fn the_first_image_for_the_platform_is_chosen() {
        check_choice(&[AMD64, ARM64], AMD64, Some(0));
        check_choice(&[AMD64, ARM64], r#"{"os":"linux","architecture":"arm64"}"#, Some(1));
        check_choice(&[AMD64, ARM64, ARM64_V9], ARM64_V9, Some(2));
        check_choice(&[ARM64, "null"], AMD64, Some(1));
        check_choice(&[AMD64, ARM64], r#"{"os":"windows","architecture":"amd64"}"#, None);
        check_choice(&[], AMD64, None);
    }

    #[test]
    fn a_single_image_is_taken_whatever_it_runs_on() {
        check_choice(&[ARM64], AMD64, Some(0));
        check_choice(&[UNKNOWN, ARM64, UNKNOWN], AMD64, Some(1));
    }

    #[test]
    fn descriptors_keep_their_other_keys() {
        let text = format!(
            r#"{{"mediaType":"m","size":1,"digest":"{DIGEST}","urls":["u"],"annotations":{{"n":"1.0"}},"x":1.0}}"#
        );
        let descriptor: Descriptor = serde_json::from_str(&text).expect("a descriptor");
        assert_eq!(go_json(&descriptor), text);
        assert!(serde_json::from_str::<Descriptor>(r#"{"size":1}"#).is_err());
        assert!(serde_json::from_str::<Descriptor>(&text.replace(":1,", ":-1,")).is_err());
    }

    #[track_caller]
    fn check_family(media_type: &str, config_type: &str, expected: MediaFamily) {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"{config_type}","size":1,"digest":"{DIGEST}"}},"layers":[]}}"#
        );
        let Document::Manifest(manifest) = Document::parse(&text).expect("a manifest") else {
            panic!("a manifest")
        };
        assert_eq!(manifest.family, expected);
    }

    #[test]
    fn the_family_is_the_manifests_or_else_the_configs() {
        check_family(OCI_MANIFEST, MediaFamily::Docker.config(), MediaFamily::Oci);
        check_family(DOCKER_MANIFEST, MediaFamily::Docker.config(), MediaFamily::Docker);
        check_family("", MediaFamily::Docker.config(), MediaFamily::Docker);
        check_family("", MediaFamily::Oci.config(), MediaFamily::Oci);
    }

    #[test]
    fn layers_take_the_media_types_of_a_family_that_has_them() {
        let of = |media_type: &str| Descriptor::new(media_type, 1, Digest::of(b""));
        for (encoding, is_known) in [(Encoding::Tar, true), (Encoding::Gzip, true), (Encoding::Zstd, false)] {
            let (oci, docker) = (MediaFamily::Oci.layer(encoding), MediaFamily::Docker.layer(encoding));
            assert_eq!(of(oci).in_family(MediaFamily::Docker).media_type, docker);
            assert_eq!(of(docker).in_family(MediaFamily::Oci).media_type, oci);
            assert_eq!(oci != docker, is_known);
        }
        assert_eq!(of("foreign").in_family(MediaFamily::Oci).media_type, "foreign");
    }

    #[test]
    fn other_documents_are_refused() {
        for text in ["", "[]", "{}", r#"{"schemaVersion":1,"fsLayers":[]}"#, r#"{"config":1}"#] {
            assert!(Document::parse(text).is_err(), "{text}");
        }
        assert!(
            Descriptor::new("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 1, Digest::of(b""))
                .is_foreign()
        );
    }

    const MANIFEST: &str = concat!(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"c","size":1,"#,
        r#""digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"layers":[{"size":2,"#,
        r#""digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","platform":{"os":"x"}}],"#,
        r#""manifests":[],"annotations":{"a":"b"}}"#
    );

    proptest::proptest! {
        #[test]
        fn any_text_is_a_document_or_an_error(text in damaged(MANIFEST)) {
            let _ = Document::parse(&text);
        }
    }
}
