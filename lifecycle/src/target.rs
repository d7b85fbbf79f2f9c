//! What an image runs on: operating system, architecture, distribution; and when two match.
//!
//! Spec: platform.md "analyzed.toml", buildpack.md "Targets".

use serde::{Deserialize, Serialize};

/// A Linux distribution, as `/etc/os-release` names it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Distro {
    /// `ID` of os-release, for example `ubuntu`; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `VERSION_ID` of os-release, for example `24.04`; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// The target of an image: empty texts are unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Legacy stack or base image identifier (`io.buildpacks.base.id`), if any.
    pub id: String,
    /// Operating system, for example `linux`.
    pub os: String,
    /// Architecture as Go names it, for example `amd64`.
    pub arch: String,
    /// Architecture variant, for example `v8`.
    pub variant: String,
    /// Distribution, when known.
    pub distro: Option<Distro>,
}

/// The architecture of this process as Go and OCI name it.
pub const fn host_arch() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}
