//! The directories that hold variables, one file each: `<platform>/env`, `<build-config>/env` and
//! a layer's `env`, `env.build`, `env.launch` and `env.launch/<process>`.
//!
//! This file only reads them; what they mean stands in `env.rs`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The most bytes that the values of one directory may have together: Linux hands a process no
/// more than 6 MiB of arguments and variables.
const MAX_BYTES: u64 = 8 << 20;

/// The directories of a layer that path variables list.
const PATH_DIRECTORIES: [&str; 4] = ["bin", "lib", "include", "pkgconfig"];

/// Why a directory of variables could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvDirError {
    /// The directory, or a file in it, could not be read.
    #[error("read environment variables at `{}`", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The values are more than any process can be given.
    #[error("the environment variables in `{}` are larger than {} MiB together", .0.display(), MAX_BYTES >> 20)]
    TooLarge(PathBuf),
}

/// The files of one directory, names and contents, in byte order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvDir {
    files: BTreeMap<OsString, OsString>,
}

impl EnvDir {
    /// Reads the files of `dir`, also through symlinks. What is not a file is left out, and what
    /// is not a directory, or not there, holds no files.
    pub fn read(dir: &Path) -> Result<Self, EnvDirError> {
        let names = match list(dir) {
            Ok(names) => names,
            Err(error) if is_absent(&error) => return Ok(Self::default()),
            Err(source) => return Err(EnvDirError::Io { path: dir.to_owned(), source }),
        };
        let mut left = MAX_BYTES;
        let mut files = BTreeMap::new();
        for name in names {
            let path = dir.join(&name);
            let value = read_value(&path, left).map_err(|source| EnvDirError::Io { path, source })?;
            let Some(value) = value else { continue };
            let size = value.len() as u64;
            left = left.checked_sub(size).ok_or_else(|| EnvDirError::TooLarge(dir.to_owned()))?;
            files.insert(name, OsString::from_vec(value));
        }
        Ok(Self { files })
    }

    /// Every file with its content.
    pub fn files(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.files.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The content of `<name>.delim`, if there is such a file.
    pub(super) fn delimiter(&self, name: &OsStr) -> Option<&[u8]> {
        let mut file = name.to_owned();
        file.push(".delim");
        self.files.get(&file).map(|content| content.as_bytes())
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for EnvDir {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(files: I) -> Self {
        Self { files: files.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// What one layer does to the environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerEnv {
    /// The layer's absolute path.
    pub path: PathBuf,
    /// Its directories that path variables list: those of `bin`, `lib`, `include`, `pkgconfig`
    /// that exist.
    pub directories: Vec<&'static str>,
    /// `env`: for build and launch.
    pub env: EnvDir,
    /// `env.build`: for later buildpacks.
    pub env_build: EnvDir,
    /// `env.launch`: for every process.
    pub env_launch: EnvDir,
    /// `env.launch/<process>`: for one process.
    pub env_process: EnvDir,
}

impl LayerEnv {
    /// Reads what the layer at `path` gives to later buildpacks.
    pub fn read_for_build(path: &Path) -> Result<Self, EnvDirError> {
        Ok(Self { env_build: EnvDir::read(&path.join("env.build"))?, ..Self::read(path)? })
    }

    /// Reads what the layer at `path` gives to `process`, or to a command of the user's.
    pub fn read_for_launch(path: &Path, process: Option<&str>) -> Result<Self, EnvDirError> {
        let env_launch = path.join("env.launch");
        let env_process = process.map(|process| EnvDir::read(&env_launch.join(process))).transpose()?;
        Ok(Self {
            env_launch: EnvDir::read(&env_launch)?,
            env_process: env_process.unwrap_or_default(),
            ..Self::read(path)?
        })
    }

    fn read(path: &Path) -> Result<Self, EnvDirError> {
        let exists = |name: &&str| path.join(name).is_dir();
        Ok(Self {
            path: path.to_owned(),
            directories: PATH_DIRECTORIES.into_iter().filter(exists).collect(),
            env: EnvDir::read(&path.join("env"))?,
            ..Self::default()
        })
    }

    pub(super) fn has_directory(&self, name: &str) -> bool {
        self.directories.contains(&name)
    }
}

fn list(dir: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The content of a file, at most one byte more than `limit`; `None` for what is not a file.
/// A pipe or device is never opened, since that could block.
fn read_value(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut value = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut value)?;
    Ok(Some(value))
}
