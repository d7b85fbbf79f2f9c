//! The layers directory of one buildpack, as the buildpack left it.
//!
//! Spec: buildpack.md "Layer Types", "Data Format".

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::component_id::ComponentId;
use crate::files::layer::LayerFile;
use crate::files::store::StoreFile;
use crate::files::{self, FileError};

/// Files of a buildpack that are named as a layer's, and are none
/// (spec-notes/decisions.md, "Names of layers").
pub const NOT_LAYERS: [&str; 3] = ["build", "launch", "store"];

/// What a buildpack left.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildpackDir {
    /// The directory.
    pub path: PathBuf,
    /// Its layers, sorted by name: those that have a `<layer>.toml`.
    pub layers: Vec<FoundLayer>,
    /// Its `store.toml`.
    pub store: Option<StoreFile>,
}

/// A layer of a buildpack.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLayer {
    /// Its name.
    pub name: String,
    /// Its `<layer>.toml`.
    pub file: LayerFile,
    /// Where its contents are; `None` when there are none.
    pub contents: Option<PathBuf>,
}

/// Why a buildpack's layers cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The directory cannot be listed.
    #[error("read `{}`", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer's name is not text, or leads out of the directory.
    #[error("`{}` does not name a layer", .0.display())]
    Name(PathBuf),
    /// A file of the buildpack is broken.
    #[error("failed to parse metadata for layers '[{layer}]'")]
    Layer {
        /// `<buildpack>:<layer>`.
        layer: String,
        /// What is wrong.
        #[source]
        source: Box<FileError>,
    },
    /// Its `store.toml` is broken.
    #[error(transparent)]
    Store(#[from] FileError),
    /// Something that is no file lies where one should be: a pipe would be read for ever.
    #[error("`{}` is not a file", .0.display())]
    NotFile(PathBuf),
}

impl BuildpackDir {
    /// Reads the directory of the buildpack `id` below `layers`; empty when there is none.
    ///
    /// Fails when it cannot be listed, and when a `<layer>.toml` or `store.toml` is broken.
    pub fn read(layers: &Path, id: &ComponentId) -> Result<Self, DirError> {
        let path = layers.join(id.escaped());
        let mut found = Vec::new();
        for name in layer_names(&path)? {
            let file = path.join(format!("{name}.toml"));
            check_file(&file)?;
            let broken = |source| DirError::Layer { layer: format!("{id}:{name}"), source: Box::new(source) };
            let file = files::read(&file).map_err(broken)?;
            let contents = Some(path.join(&name)).filter(|contents| contents.exists());
            found.push(FoundLayer { name, file, contents });
        }
        let store = path.join("store.toml");
        check_file(&store)?;
        let store = files::read_if_present(&store)?;
        Ok(Self { path, layers: found, store })
    }
}

/// Refuses what a buildpack left at `path` if it is there and not a file.
pub fn check_file(path: &Path) -> Result<(), DirError> {
    let is_other = fs::metadata(path).is_ok_and(|found| !found.is_file());
    if is_other { Err(DirError::NotFile(path.to_owned())) } else { Ok(()) }
}

/// The names of the layers that have a `<layer>.toml`, sorted.
fn layer_names(dir: &Path) -> Result<Vec<String>, DirError> {
    let failed = |source| DirError::Io { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "toml") || path.is_dir() {
            continue;
        }
        match path.file_stem().and_then(|stem| stem.to_str()) {
            None | Some("." | "..") => return Err(DirError::Name(path)),
            Some(name) if NOT_LAYERS.contains(&name) => {}
            Some(name) => names.push(name.to_owned()),
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn read(files: &[(&str, &str)]) -> Result<BuildpackDir, DirError> {
        let layers = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            let path = layers.path().join("a_b").join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
            fs::write(path, text).expect("writable");
        }
        BuildpackDir::read(layers.path(), &"a/b".parse().expect("an ID"))
    }

    #[test]
    fn layers_are_those_with_a_file() {
        let files = [
            ("b.toml", "[types]\nlaunch = true"),
            ("b/file", ""),
            ("a.toml", ""),
            ("c/file", ""),
            ("store.toml", "[metadata]\nx = 1"),
            ("launch.toml", "[[processes]]"),
            ("build.toml", ""),
            ("d.sbom.cdx.json", "{}"),
            ("e.toml/file", ""),
            (".toml", "a hidden file"),
        ];
        let dir = read(&files).expect("readable");
        let found: Vec<_> =
            dir.layers.iter().map(|layer| (layer.name.as_str(), layer.contents.is_some())).collect();
        assert_eq!(found, [("a", false), ("b", true)]);
        assert!(dir.layers[1].file.types.launch && dir.store.is_some());
    }

    #[test]
    fn missing_directory_is_empty() {
        let dir = read(&[]).expect("readable");
        assert!(dir.layers.is_empty() && dir.store.is_none());
    }

    #[test]
    fn broken_files_are_named() {
        let layer = read(&[("x.toml", "launch = true")]).expect_err("broken");
        assert_eq!(layer.to_string(), "failed to parse metadata for layers '[a/b:x]'");
        let store = read(&[("store.toml", "metadata = 1")]).expect_err("broken").to_string();
        assert!(store.contains("store.toml"), "{store}");
    }

    #[test]
    fn pipes_are_not_read() {
        for name in ["x.toml", "store.toml"] {
            let layers = tempfile::tempdir().expect("a temporary directory");
            fs::create_dir(layers.path().join("x")).expect("made");
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&layers.path().join("x").join(name), mode).expect("made");
            let error = BuildpackDir::read(layers.path(), &"x".parse().expect("an ID")).expect_err("refused");
            assert!(matches!(error, DirError::NotFile(_)), "{error}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["..toml", "...toml"] {
            let error = read(&[(name, "[types]\nlaunch = true")]).expect_err("refused");
            assert!(matches!(error, DirError::Name(_)), "{name}: {error}");
        }
        let layers = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(layers.path().join("x")).expect("made");
        fs::write(layers.path().join("x").join(OsStr::from_bytes(b"\xff.toml")), "").expect("written");
        let error = BuildpackDir::read(layers.path(), &"x".parse().expect("an ID")).expect_err("refused");
        assert!(matches!(error, DirError::Name(_)), "{error}");
    }
}
