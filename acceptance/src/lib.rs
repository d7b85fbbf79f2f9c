//! Black-box tests of the phase binaries: nothing here links the `lifecycle` crate.
//!
//! [`binaries`] builds and finds the phases, [`sandbox`] gives each test directories and runs
//! phases in them, [`run_image`] writes base images, [`oci`] reads what phases wrote with code of
//! its own, and [`judges`] asks skopeo and umoci for their opinion.

pub mod bench;
pub mod binaries;
pub mod buildkit;
pub mod data;
pub mod docker;
pub mod greeter;
pub mod judges;
pub mod oci;
pub mod package;
pub mod places;
pub mod platforms;
pub mod run_image;
pub mod sandbox;
pub mod servers;
pub mod tree;

use std::path::{Path, PathBuf};

/// The repository's `fixtures/`.
pub fn fixtures() -> PathBuf {
    repository().join("fixtures")
}

/// The repository's top directory.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("acceptance lies in the repository").to_owned()
}
