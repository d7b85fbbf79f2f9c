//! The launch layers on disk: their environment, their exec.d executables, their profile scripts.
//!
//! In an app image every directory below a buildpack's directory is a launch layer. Buildpacks come
//! in the order of the build, layers and files in byte order of their names; in each layer what is
//! for one process follows what is for all (spec-notes/decisions.md, "Order of exec.d and profile.d").

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("list files in dir `{}`", path.display())]
pub struct ListError {
    /// The directory.
    path: PathBuf,
    /// What the system says.
    source: io::Error,
}

/// The layers of the buildpack `id`. A buildpack without a directory has none.
pub fn layers(layers_dir: &Path, id: &str) -> Result<Vec<PathBuf>, ListError> {
    list(&layers_dir.join(id.replace('/', "_")), |entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// The files of `directory` (`exec.d` or `profile.d`) in `layer`, then those of its subdirectory
/// for `process`.
pub fn files(layer: &Path, directory: &str, process: Option<&str>) -> Result<Vec<PathBuf>, ListError> {
    let directory = layer.join(directory);
    let mut files = list(&directory, is_file)?;
    if let Some(process) = process {
        files.extend(list(&directory.join(process), is_file)?);
    }
    Ok(files)
}

/// Everything but directories, also behind symlinks: what cannot be run must fail, not vanish.
fn is_file(entry: &fs::DirEntry) -> bool {
    !entry.path().is_dir()
}

fn list(dir: &Path, wanted: fn(&fs::DirEntry) -> bool) -> Result<Vec<PathBuf>, ListError> {
    let names = || -> io::Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if wanted(&entry) {
                names.insert(entry.file_name());
            }
        }
        Ok(names)
    };
    match names() {
        Ok(names) => Ok(names.into_iter().map(|name| dir.join(name)).collect()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(source) => Err(ListError { path: dir.to_owned(), source }),
    }
}
