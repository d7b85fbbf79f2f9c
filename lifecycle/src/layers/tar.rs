//! What a layer holds, and its tar as a stream of bytes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::archive::ArchiveEntries;
use super::content::FileContent;
use super::entries::{ChosenEntries, Content, Entries, TreeEntries};
use super::header::{Header, Kind};
use super::slices::Slice;
use super::stream::Stream;
use super::walk::Order;

/// Where the launcher is in an image.
pub const LAUNCHER: &str = "/cnb/lifecycle/launcher";

/// A user and a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user ID.
    pub uid: u32,
    /// The group ID.
    pub gid: u32,
}

/// What a layer holds.
#[derive(Debug, Clone)]
pub enum LayerSource {
    /// A directory with all below it: a buildpack's layer, `<layers>/config`, `<layers>/sbom/launch`.
    Dir(Tree),
    /// The application, or what one slice took of it.
    Slice(Arc<Slice>),
    /// The launcher's binary, as `/cnb/lifecycle/launcher`.
    Launcher(PathBuf),
    /// A symbolic link to the launcher for each process type, in the order given.
    ProcessTypes(Vec<String>),
    /// The entries of another layer, plain or gzip, with their times set to the constant: an image
    /// extension's.
    Archive(PathBuf),
}

/// A directory on disk and how its entries are written.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Where it is on disk.
    pub path: PathBuf,
    /// Its absolute name in the layer; the same as `path`, but in tests.
    pub name: PathBuf,
    /// The directories above it, outermost first, without `/`.
    pub parents: Vec<Parent>,
    /// Who owns every entry but the parents.
    pub owner: Owner,
}

/// A directory above a layer's, as it is on disk: layers must not change what is outside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its absolute name.
    pub name: PathBuf,
    /// Permission bits, setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub owner: Owner,
}

/// Why a layer's tar cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// A file system operation failed.
    #[error("{action} `{path}`", path = .path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file became shorter, longer or another thing while it was read.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// A process type that cannot name a file.
    #[error("process type `{0}` is empty or contains one of `/><:|&\\`")]
    ProcessType(String),
    /// An archive that is not a tar, or holds what no layer may.
    #[error("`{path}` is damaged: {why}", path = .path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl TarError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

impl Tree {
    /// The directory at `path` (made absolute, not resolved) with its parents as they are on disk.
    ///
    /// Fails when a parent cannot be read.
    pub fn on_disk(path: &Path, owner: Owner) -> Result<Self, TarError> {
        let path = absolute(path)?;
        let above = path.ancestors().skip(1).filter(|above| above.parent().is_some());
        let mut parents = above.map(Parent::on_disk).collect::<Result<Vec<_>, _>>()?;
        parents.reverse();
        Ok(Self { name: path.clone(), path, parents, owner })
    }
}

impl Parent {
    fn on_disk(path: &Path) -> Result<Self, TarError> {
        let stat = fs::metadata(path).map_err(|source| TarError::io("read", path, source))?;
        let owner = Owner { uid: stat.uid(), gid: stat.gid() };
        Ok(Self { name: path.to_owned(), mode: stat.mode() & 0o7777, owner })
    }
}

/// `path` from the root on, without `.`, `..` or a final slash.
fn absolute(path: &Path) -> Result<PathBuf, TarError> {
    let absolute = std::path::absolute(path).map_err(|source| TarError::io("find", path, source))?;
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    Ok(clean)
}

impl LayerSource {
    /// The layer of the directory `path`: its parents as they are on disk, itself and all below it
    /// owned by `owner`.
    ///
    /// Fails when a parent cannot be read.
    pub fn dir(path: &Path, owner: Owner) -> Result<Self, TarError> {
        Tree::on_disk(path, owner).map(Self::Dir)
    }

    /// The layer's tar.
    ///
    /// Fails, now or when it is read, when files cannot be read or change while they are read.
    pub fn open(&self) -> Result<Stream<'_>, TarError> {
        let entries = match self {
            Self::Dir(tree) => Entries::Tree(TreeEntries::new(tree, Order::Walk)),
            Self::Slice(slice) => match &slice.chosen {
                None => Entries::Tree(TreeEntries::new(&slice.tree, Order::Paths)),
                Some(chosen) => Entries::Chosen(ChosenEntries::new(&slice.tree, chosen)),
            },
            Self::Launcher(path) => launcher(path)?,
            Self::ProcessTypes(types) => process_types(types)?,
            Self::Archive(path) => Entries::Archive(ArchiveEntries::open(path)?),
        };
        Ok(Stream::new(entries))
    }
}

/// Directories that belong to root, whatever they are in the run image.
fn root_dirs(names: [&str; 2]) -> Vec<u8> {
    let mut headers = Vec::new();
    for name in names {
        Header::new(Kind::Dir, name.as_bytes(), 0o755).encode(&mut headers);
    }
    headers
}

fn launcher(path: &Path) -> Result<Entries<'static>, TarError> {
    let failed = |source| TarError::io("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let stat = file.metadata().map_err(failed)?;
    if !stat.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut headers = root_dirs(["/cnb", "/cnb/lifecycle"]);
    let header = Header::new(Kind::File, LAUNCHER.as_bytes(), 0o755);
    Header { size: stat.len(), ..header }.encode(&mut headers);
    let content = FileContent::new(file, path.to_owned(), stat.len(), false);
    Ok(Entries::Ready(Some((headers, Content::File(content), stat.len()))))
}

fn process_types(types: &[String]) -> Result<Entries<'static>, TarError> {
    let mut headers = root_dirs(["/cnb", "/cnb/process"]);
    for name in types {
        if name.is_empty() || name.contains(['/', '>', '<', ':', '|', '&', '\\', '\0']) {
            return Err(TarError::ProcessType(name.clone()));
        }
        let path = format!("/cnb/process/{name}");
        let header = Header::new(Kind::Symlink, path.as_bytes(), 0o755);
        Header { link: LAUNCHER.as_bytes(), ..header }.encode(&mut headers);
    }
    Ok(Entries::Ready(Some((headers, Content::Nothing, 0))))
}
