//! Names of images: references as users write them, and what stores call an image exactly.
//!
//! A [`Reference`] is parsed as leniently as the reference implementation's library does (weak
//! validation), except that no part of it can be a path that leads elsewhere: `.` and `..`, empty
//! parts and tags that begin with a dot or a dash are refused (spec-notes/decisions.md#references).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::digest::Digest;

/// The longest text that is read as a reference, in bytes.
const MAX_BYTES: usize = 1024;
/// The longest repository, in characters, as in the reference implementation's library.
const MAX_REPOSITORY: usize = 255;
/// The longest tag, in characters. Spec: OCI distribution-spec "Pulling manifests".
const MAX_TAG: usize = 128;
/// Where names without a registry are.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// `registry/repository:tag` or `…@digest`, with Docker Hub's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Host and port, for example `index.docker.io`.
    pub registry: String,
    /// Path below the registry, for example `library/ubuntu`.
    pub repository: String,
    /// Tag, `latest` when neither tag nor digest was given.
    pub tag: Option<String>,
    /// Digest, when pinned.
    pub digest: Option<Digest>,
    /// The text as the user wrote it.
    pub written: String,
}

/// A text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not parse reference `{text}`: {why}")]
pub struct ReferenceError {
    /// The text, cut at 200 characters.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Reference {
    /// Reads a reference: `[registry/]repository[:tag][@sha256:…]`.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|why| ReferenceError { text: text.chars().take(200).collect(), why })
    }

    /// The same repository, pinned to the manifest of `digest`: `registry/repository@sha256:…`.
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), written: format!("{}@{digest}", self.name()), ..self.clone() }
    }

    /// `registry/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn identifier(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Whether both mean the same image when digests are ignored. A reference with a digest alone
    /// means every tag of its repository.
    pub fn is_same_image(&self, other: &Self) -> bool {
        let tags_agree = match (&self.tag, &other.tag) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.registry == other.registry && self.repository == other.repository && tags_agree
    }

    /// Where the image is below the directory of a layout store:
    /// `<dir>/<registry>/<repository>/<tag>` or `…/<algorithm>/<digest>`.
    ///
    /// Spec: platform.md "Map an image reference to a path in the layout directory".
    pub fn layout_path(&self, layout_dir: &Path) -> PathBuf {
        let repository = layout_dir.join(&self.registry).join(&self.repository);
        match self.digest {
            Some(digest) => repository.join("sha256").join(digest.hex()),
            None => repository.join(self.identifier()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.len() > MAX_BYTES {
        return Err("it is too long");
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => {
            (rest, Some(digest.parse().map_err(|_| "its digest is not `sha256:` and 64 digits")?))
        }
    };
    let (name, tag) = split_tag(rest)?;
    let (registry, repository) = split_registry(name)?;
    let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
    Ok(Reference { registry, repository, tag, digest, written: text.to_owned() })
}

/// A colon after the last slash begins a tag; any other belongs to a port.
fn split_tag(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    let Some((name, tag)) = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else {
        return Ok((text, None));
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    match tag.len() {
        0 => Err("nothing stands after the colon"),
        1..=MAX_TAG if valid => Ok((name, Some(tag))),
        1..=MAX_TAG => Err("its tag has other characters than `A-Za-z0-9_.-` or begins with `.` or `-`"),
        _ => Err("its tag is longer than 128 characters"),
    }
}

/// The first part is a registry when it is `localhost` or has a dot or a colon.
fn split_registry(name: &str) -> Result<(String, String), &'static str> {
    let is_host = |part: &str| part == "localhost" || part.contains(['.', ':']);
    let (registry, repository) = match name.split_once('/') {
        Some((host, repository)) if is_host(host) => (check_host(host)?, repository),
        _ => (DEFAULT_REGISTRY, name),
    };
    check_repository(repository)?;
    let registry = if registry == "docker.io" { DEFAULT_REGISTRY } else { registry };
    if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        return Ok((registry.to_owned(), format!("library/{repository}")));
    }
    Ok((registry.to_owned(), repository.to_owned()))
}

fn check_host(text: &str) -> Result<&str, &'static str> {
    let port = match text.strip_prefix('[') {
        Some(rest) => after_ipv6(rest)?,
        None => after_host_name(text)?,
    };
    let valid = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    };
    if valid { Ok(text) } else { Err("its registry has no valid port") }
}

fn after_ipv6(text: &str) -> Result<&str, &'static str> {
    let (address, after) = text.split_once(']').ok_or("its registry has a `[` without `]`")?;
    let valid = address.parse::<std::net::Ipv6Addr>().is_ok();
    if valid { Ok(after) } else { Err("its registry is not an IPv6 address") }
}

fn after_host_name(text: &str) -> Result<&str, &'static str> {
    let (host, after) = text.split_at(text.find(':').unwrap_or(text.len()));
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let labels = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().all(valid) && !labels.split('.').any(str::is_empty) {
        Ok(after)
    } else {
        Err("its registry is not a host name")
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-./".contains(&b);
    if repository.is_empty() {
        Err("it names no repository")
    } else if repository.len() > MAX_REPOSITORY {
        Err("its repository is longer than 255 characters")
    } else if !repository.bytes().all(valid) {
        Err("its repository has other characters than `a-z0-9_-./`")
    } else if repository.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Err("its repository has an empty part, `.` or `..`")
    } else {
        Ok(())
    }
}

/// What a store is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageName {
    /// An image of a registry or a tag of the Docker daemon; in a layout store, the path follows from it.
    Reference(Reference),
    /// A layout directory by its path, with the manifest's digest where it is pinned.
    Layout {
        /// The directory that holds `index.json`.
        path: PathBuf,
        /// The digest of the one manifest meant.
        digest: Option<Digest>,
    },
    /// A Docker daemon's image ID.
    ImageId(Digest),
}

/// Which kind of store a name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Registries.
    Registry,
    /// OCI layout directories.
    Layout,
    /// The Docker daemon.
    Daemon,
}

impl ImageName {
    /// Reads a name as phases record it in `analyzed.toml` and labels: `repo@sha256:…` of a registry, the
    /// daemon's image ID with or without `sha256:`, the layout's `<path>@sha256:…`. A path is never read
    /// as a reference.
    pub fn recorded(kind: StoreKind, text: &str) -> Result<Self, ReferenceError> {
        match kind {
            StoreKind::Registry => Reference::parse(text).map(Self::Reference),
            StoreKind::Layout => Self::layout(text),
            StoreKind::Daemon => match image_id(text) {
                Some(id) => Ok(Self::ImageId(id)),
                None => Reference::parse(text).map(Self::Reference),
            },
        }
    }

    /// Reads a name as users give it: a reference; for a layout store also the absolute path of a layout
    /// directory, for the daemon also an image ID.
    pub fn given(kind: StoreKind, text: &str) -> Result<Self, ReferenceError> {
        match kind {
            StoreKind::Layout if text.starts_with('/') => Self::layout(text),
            StoreKind::Daemon => Self::recorded(kind, text),
            StoreKind::Layout | StoreKind::Registry => Reference::parse(text).map(Self::Reference),
        }
    }

    fn layout(text: &str) -> Result<Self, ReferenceError> {
        let pinned = text.rsplit_once('@').and_then(|(path, digest)| Some((path, digest.parse().ok()?)));
        let (path, digest) = pinned.map_or((text, None), |(path, digest)| (path, Some(digest)));
        if path.is_empty() || path.contains('\0') {
            let text = text.chars().take(200).collect();
            return Err(ReferenceError { text, why: "it is not a path" });
        }
        Ok(Self::Layout { path: PathBuf::from(path), digest })
    }
}

fn image_id(text: &str) -> Option<Digest> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    format!("sha256:{hex}").parse().ok()
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(reference) => f.write_str(&reference.written),
            Self::Layout { path, digest: None } => write!(f, "{}", path.display()),
            Self::Layout { path, digest: Some(digest) } => write!(f, "{}@{digest}", path.display()),
            Self::ImageId(id) => f.write_str(&id.hex()),
        }
    }
}

#[cfg(test)]
mod tests;
