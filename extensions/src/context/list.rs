//! Everything below a selected directory, less what is ignored, excluded, or not included.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::{ContextError, Entry, EntryKind, Ignore, stat_at};
use crate::root::{Dir, at, read_link_at};

/// The most that one instruction can select.
const MAX_ENTRIES: usize = 1_000_000;
/// The deepest directory: each open one takes a handle.
const MAX_DEPTH: usize = 256;

/// What of a directory is listed.
pub(super) struct Filter<'a> {
    /// Of the context.
    pub ignore: &'a Ignore,
    /// Of the instruction, relative to the directory.
    pub exclude: &'a Ignore,
    /// If given, only what it matches, relative to the directory.
    pub include: Option<&'a Ignore>,
}

/// Whether a path is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Listed,
    /// Not by itself: as a directory, if something below it is. Ignored directories are listed so, and
    /// those that are not asked for: only these are parents.
    OnlyBelow {
        is_parent: bool,
    },
    /// Nor anything below it.
    Nothing,
}

impl Filter<'_> {
    fn part(&self, in_context: &Path, below: &Path) -> Part {
        let ignored = self.ignore.ignores(in_context);
        let excluded = self.exclude.ignores(below);
        if (ignored && !self.ignore.may_keep()) || (excluded && !self.exclude.may_keep()) {
            return Part::Nothing;
        }
        let included = self.include.is_none_or(|include| include.ignores(below));
        let is_parent = excluded || !included;
        if ignored || is_parent { Part::OnlyBelow { is_parent } } else { Part::Listed }
    }
}

/// Lists what is below `dir`, which stands at `path` in the context.
pub(super) fn below(dir: &Dir, filter: &Filter<'_>) -> Result<Vec<Entry>, ContextError> {
    let mut list = List { filter, entries: Vec::new(), depth: 0 };
    list.directory(dir, Path::new(""))?;
    Ok(list.entries)
}

/// Tells whether nothing below an ignored directory is kept.
pub(super) fn is_hidden(dir: &Dir, ignore: &Ignore) -> Result<bool, ContextError> {
    let exclude = &Ignore::default();
    Ok(!ignore.may_keep() || below(dir, &Filter { ignore, exclude, include: None })?.is_empty())
}

/// Lists the names in a directory, sorted.
pub(super) fn names(dir: &Dir) -> Result<Vec<OsString>, ContextError> {
    let fail = |error| ContextError::from(at("read directory", &dir.path)(error));
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(dir.readable()?).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsString::from_vec(name.to_vec()));
        }
        if names.len() > MAX_ENTRIES {
            return Err(too_many(&dir.path));
        }
    }
    names.sort();
    Ok(names)
}

/// Makes the entry of something that is no directory.
pub(super) fn leaf(dir: &Dir, name: &OsStr, path: &Path, stat: &Stat) -> Result<Entry, ContextError> {
    let in_context = dir.path.join(name);
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(Entry::of_file(path, stat)),
        FileType::Symlink => {
            let target = read_link_at(dir, name).map_err(at("read link", &in_context))?;
            let target = target.ok_or(ContextError::Changed { path: in_context })?;
            return Ok(Entry::new(path, EntryKind::Symlink { target }, stat));
        }
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::BlockDevice | FileType::CharacterDevice => "device",
        _ => "file of an unknown type",
    };
    Err(ContextError::Special { path: in_context, kind })
}

fn too_many(path: &Path) -> ContextError {
    ContextError::Limit { path: path.to_owned(), limit: format!("more than {MAX_ENTRIES} files") }
}

struct List<'a> {
    filter: &'a Filter<'a>,
    entries: Vec<Entry>,
    depth: usize,
}

impl List<'_> {
    fn directory(&mut self, dir: &Dir, path: &Path) -> Result<(), ContextError> {
        if self.depth >= MAX_DEPTH {
            let limit = format!("directories nest deeper than {MAX_DEPTH}");
            return Err(ContextError::Limit { path: dir.path.clone(), limit });
        }
        self.depth += 1;
        for name in names(dir)? {
            self.name(dir, &name, &path.join(&name))?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn name(&mut self, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), ContextError> {
        let part = self.filter.part(&dir.path.join(name), path);
        if part == Part::Nothing {
            return Ok(());
        }
        let in_context = dir.path.join(name);
        let stat = stat_at(dir, name).map_err(at("stat", &in_context))?;
        if self.entries.len() >= MAX_ENTRIES {
            return Err(too_many(&in_context));
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if part == Part::Listed {
                self.entries.push(leaf(dir, name, path, &stat)?);
            }
            return Ok(());
        }
        let before = self.entries.len();
        let is_parent = part == Part::OnlyBelow { is_parent: true };
        self.entries.push(Entry { is_parent, ..Entry::new(path, EntryKind::Directory, &stat) });
        let child = dir.child(name)?.ok_or_else(|| changed(&in_context))?;
        self.directory(&child, path)?;
        if part != Part::Listed && self.entries.len() == before + 1 {
            self.entries.pop();
        }
        Ok(())
    }
}

fn changed(path: &Path) -> ContextError {
    ContextError::Changed { path: path.to_owned() }
}

/// Splits a clean absolute path into its names.
pub(super) fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

/// Joins names to a path without a leading `/`.
pub(super) fn join(parts: &[&str]) -> PathBuf {
    parts.iter().map(|part| OsStr::from_bytes(part.as_bytes())).collect()
}
