//! Puts a layer's tar back into its directory. Nothing outside that directory can be written, whatever
//! the tar holds, and nothing is seen of it before every byte was verified.
//!
//! A tar is read once: one thread makes its files in a new directory beside the layer's, others hash it
//! and write the contents. Then the new directory takes the old one's place.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::chunks::HashedChunks;
use super::extract::{ExtractError, Extracted, extract, not_written};
use super::walk::open_dir;
use crate::digest::DiffId;

/// A layer to put back.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The sha256 that its tar must have.
    pub diff_id: DiffId,
    /// The directory it holds, absolute: entries must be named so, or be parents of it. It is replaced
    /// as a whole, and only when every byte was verified.
    pub dir: PathBuf,
}

/// Why a layer was not put back. Nothing of it is left behind, and the directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar cannot be read.
    #[error("read the layer")]
    Read(#[source] io::Error),
    /// Its bytes are others.
    #[error("expected layer contents to have SHA '{expected}'; found '{found}'")]
    Digest {
        /// What was asked for.
        expected: DiffId,
        /// What is there.
        found: DiffId,
    },
    /// It holds what must not be unpacked.
    #[error("entry `{name}` {why}")]
    Entry {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The directory cannot be written.
    #[error("{action} `{path}`", path = .path.display())]
    Write {
        /// The operation, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Puts one layer back, with as many threads: `tar` is read once, to its end, uncompressed.
pub fn restore(layer: &Restore, tar: impl Read, threads: NonZeroUsize) -> Result<(), UnpackError> {
    let parts: Vec<&[u8]> = layer
        .dir
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .map(|part| part.as_os_str().as_bytes())
        .collect();
    let above = Parents::make(&layer.dir)?;
    let new = NewDir::beside(&layer.dir)?;
    let root = open_dir(CWD, new.0.as_os_str().as_bytes())
        .map_err(|errno| write_error("open", &new.0, errno.into()))?;
    let mut chunks = HashedChunks::new(tar, threads.get() - 1);
    let extracted = extract(&mut chunks, &parts, root);
    let (found, failed) = chunks.finish().map_err(UnpackError::Read)?;
    if found != layer.diff_id {
        return Err(UnpackError::Digest { expected: layer.diff_id, found });
    }
    let extracted = failed.map_or(extracted, |failed| Err(not_written(failed)));
    let extracted = extracted.map_err(|error| extract_error(error, &layer.dir))?;
    above.set_modes(&extracted)?;
    match extracted.root_mode {
        Some(mode) => new.replace(&layer.dir, mode),
        None => Ok(()),
    }
}

const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not 0");

/// Puts several layers back at once, each opened by `open`; results are in the order of `layers`.
pub fn restore_all<'a, E: Send>(
    layers: &[Restore],
    threads: NonZeroUsize,
    open: impl Fn(&Restore) -> Result<Box<dyn Read + Send + 'a>, E> + Sync,
) -> Vec<Result<Result<(), UnpackError>, E>> {
    // A layer that is alone gets all threads; several get one each beside their own.
    let own = if layers.len() > 1 { threads.min(TWO) } else { threads };
    let results = Mutex::new(layers.iter().map(|_| None).collect::<Vec<_>>());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((number, layer)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            layers.get(number).map(|layer| (number, layer))
        } {
            let result = open(layer).map(|tar| restore(layer, tar, own));
            results.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(result);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.get().min(layers.len()) {
            scope.spawn(work);
        }
        work();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|result| result.expect("each layer was taken by one thread")).collect()
}

fn write_error(action: &'static str, path: &Path, source: io::Error) -> UnpackError {
    UnpackError::Write { action, path: path.to_owned(), source }
}

fn extract_error(error: ExtractError, dir: &Path) -> UnpackError {
    let text = |name: Vec<u8>| String::from_utf8_lossy(&name[..name.len().min(500)]).into_owned();
    match error {
        ExtractError::Read(source) => UnpackError::Read(source),
        ExtractError::Entry(name, why) => UnpackError::Entry { name: text(name), why },
        ExtractError::Write(name, source) if name.is_empty() => write_error("write", dir, source),
        ExtractError::Write(name, source) => write_error("write", Path::new(&text(name)), source),
    }
}

/// The directories above a layer's.
struct Parents {
    /// Those that were missing, outermost first, with how many parts their names have.
    made: Vec<(usize, PathBuf)>,
}

impl Parents {
    /// Makes those above `dir` that are missing.
    fn make(dir: &Path) -> Result<Self, UnpackError> {
        let mut missing: Vec<&Path> = dir.ancestors().skip(1).take_while(|above| !above.exists()).collect();
        missing.reverse();
        let mut made = Vec::new();
        for path in missing {
            match fs::create_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                result => result.map_err(|source| write_error("create", path, source))?,
            }
            let normal = |part: &Component<'_>| matches!(part, Component::Normal(_));
            made.push((path.components().filter(normal).count(), path.to_owned()));
        }
        let parents = Self { made };
        parents.set_modes(&Extracted::default())?;
        Ok(parents)
    }

    /// Gives those that were made the modes that the tar has for them, else 0755.
    fn set_modes(&self, extracted: &Extracted) -> Result<(), UnpackError> {
        for (parts, path) in &self.made {
            let known = extracted.parent_modes.iter().find(|(known, _)| known == parts);
            let mode = Permissions::from_mode(known.map_or(0o755, |(_, mode)| *mode));
            fs::set_permissions(path, mode).map_err(|source| write_error("set the mode of", path, source))?;
        }
        Ok(())
    }
}

/// A directory that is removed unless it takes another one's place.
struct NewDir(PathBuf);

impl NewDir {
    /// An empty one, which only its owner may enter.
    fn beside(dir: &Path) -> Result<Self, UnpackError> {
        let above = dir.parent().unwrap_or(dir);
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(dir.file_name().unwrap_or_default());
        prefix.push(".");
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(above);
        let failed = |source| write_error("create a directory in", above, source);
        let made = Self(made.map_err(failed)?.keep());
        // In a directory that hands its group down this one would do so, too.
        fs::set_permissions(&made.0, Permissions::from_mode(0o700)).map_err(failed)?;
        Ok(made)
    }

    /// Takes the place of `dir`.
    fn replace(self, dir: &Path, mode: u32) -> Result<(), UnpackError> {
        let failed = |source| write_error("replace", dir, source);
        fs::set_permissions(&self.0, Permissions::from_mode(mode)).map_err(failed)?;
        match renameat_with(CWD, &self.0, CWD, dir, RenameFlags::EXCHANGE) {
            // The old one has the new one's name now, and is removed under it.
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => {}
            // The file system cannot exchange.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => remove(dir).map_err(failed)?,
            Err(errno) => return Err(failed(errno.into())),
        }
        fs::rename(&self.0, dir).map_err(failed)?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for NewDir {
    fn drop(&mut self) {
        // What cannot be removed is no layer: it has no file that says so.
        let _ = remove(&self.0);
    }
}

/// Removes `path` and all below it, even directories that their owner made unwritable.
fn remove(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    fs::remove_dir_all(path).or_else(|_| {
        let open = |entry: walkdir::Result<walkdir::DirEntry>| {
            if let Ok(entry) = entry
                && entry.file_type().is_dir()
            {
                // If this fails so does the removal.
                let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
            }
        };
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
        walkdir::WalkDir::new(path).into_iter().for_each(open);
        fs::remove_dir_all(path)
    })
}

#[cfg(test)]
mod tests;
