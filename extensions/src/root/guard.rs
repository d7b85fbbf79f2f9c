//! Guards: where nothing may be written, and how far links are trusted.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{PathError, at};
use crate::snapshot::IgnoreSet;

/// Where nothing may be written: ignored paths and what is below them.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'i> {
    /// The ignored paths.
    pub ignore: &'i IgnoreSet,
    /// Links that may lead to some places only.
    pub confined: Option<Confined<'i>>,
}

/// Links that are not trusted: what is reached through one of them must be below a directory.
#[derive(Debug, Clone, Copy)]
pub struct Confined<'i> {
    /// Where they are.
    pub links: &'i HashSet<PathBuf>,
    /// The directory.
    pub below: &'i Path,
}

impl<'i> Guard<'i> {
    /// Creates a guard of ignored paths.
    pub fn new(ignore: &'i IgnoreSet) -> Self {
        Self { ignore, confined: None }
    }

    /// Tells whether the resolved path may be written.
    pub fn allows(&self, path: &Path) -> bool {
        !self.ignore.contains(path)
    }

    /// Fails if the resolved path may not be written, as a read-only file system does.
    pub fn check(&self, path: &Path) -> Result<(), PathError> {
        if self.allows(path) { Ok(()) } else { Err(at("write", path)(Errno::ROFS)) }
    }
}
