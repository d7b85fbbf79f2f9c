//! Slices: the application directory, divided into layers by path patterns.
//!
//! Spec: buildpack.md, "Slices"; platform.md, "launch.toml". Patterns are Go's `filepath.Match`.

use std::path::Path;

use super::tar::{Owner, TarError};

/// One part of the application directory; several share what was scanned.
#[derive(Debug)]
pub struct Slice {}

/// Why an application cannot be sliced.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// A pattern with a syntax error.
    #[error("slice path `{0}` is not a valid pattern")]
    Pattern(String),
    /// Scanning the directory failed.
    #[error(transparent)]
    Scan(#[from] TarError),
}

/// Divides the directory `app` into one part for each of `slices` (each a list of patterns), in that
/// order, and a last one with the rest; without slices that is the whole application.
/// Parts may be empty.
pub fn slice(app: &Path, slices: &[Vec<String>], owner: Owner) -> Result<Vec<Slice>, SliceError> {
    let _ = (app, slices, owner);
    todo!()
}
