//! From a source as written to what it selects.
//!
//! A source is cleaned first, `..` stopping at the context. Its names up to the first wildcard are
//! resolved with their links; wildcards match names, and no link is followed between them; what is
//! matched is then followed itself. So a link to a directory is copied as what is in the directory,
//! and a link inside a copied directory as a link.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::list::{self, Filter};
use super::{Context, ContextError, Entry, EntryKind, Glob, Ignore, Selected, has_wildcard, stat_at};
use crate::root::{Dir, Place, at, read_link_at};
use crate::state::clean_path;

/// How sources are selected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectOptions {
    /// What `--exclude` leaves out, relative to each source.
    pub exclude: Ignore,
    /// Whether `--parents` was given.
    pub parents: Parents,
}

/// Whether the directories above a source are copied too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parents {
    /// No: a source stands for itself.
    #[default]
    Drop,
    /// Yes, from `/./` on if the source holds it: the source is then a pattern below that, in which
    /// `**` stands for any number of directories.
    Keep,
}

impl Context {
    /// Selects what a source of COPY or ADD names.
    ///
    /// A source with a wildcard may select nothing. With [`Parents::Keep`] each [`Selected`] is the
    /// directory that the pattern is relative to.
    ///
    /// # Errors
    /// Nothing is named by a source without wildcards; a pattern is malformed; something selected is
    /// no file, directory or link.
    pub fn select(&self, source: &str, options: &SelectOptions) -> Result<Vec<Selected>, ContextError> {
        match options.parents {
            Parents::Drop => self.select_plain(source, &options.exclude, None),
            Parents::Keep => self.select_with_parents(source, &options.exclude),
        }
    }

    fn select_with_parents(&self, source: &str, exclude: &Ignore) -> Result<Vec<Selected>, ContextError> {
        let (base, pattern) = source.split_once("/./").unwrap_or(("/", source));
        let pattern = clean_path(pattern);
        let pattern = pattern.trim_start_matches('/');
        let include = Ignore::of([pattern.to_owned()])
            .map_err(|error| ContextError::Pattern { pattern: pattern.to_owned(), error })?;
        if !has_wildcard(base) && !has_wildcard(pattern) {
            self.resolve(&format!("{base}/{pattern}"), source)?;
        }
        self.select_plain(base, exclude, Some(&include))
    }

    fn select_plain(
        &self,
        source: &str,
        exclude: &Ignore,
        include: Option<&Ignore>,
    ) -> Result<Vec<Selected>, ContextError> {
        let cleaned = clean_path(source);
        let filter = Filter { ignore: &self.ignore, exclude, include };
        let mut selected = Vec::new();
        if !has_wildcard(&cleaned) {
            selected.extend(self.selected(&cleaned, source, &filter)?);
            return Ok(selected);
        }
        for path in self.expand(&cleaned, source)? {
            let left_out = self.ignore.ignores(&path);
            match self.selected_at(&path, &path.to_string_lossy(), &filter) {
                // What is ignored is not there to be matched; a link to it is, and leads nowhere.
                Err(ContextError::Ignored { .. }) if left_out => {}
                found => selected.extend(found?),
            }
        }
        Ok(selected)
    }

    fn selected(
        &self,
        path: &str,
        source: &str,
        filter: &Filter<'_>,
    ) -> Result<Option<Selected>, ContextError> {
        self.selected_at(&list::join(&list::parts(path)), source, filter)
    }

    /// Selects what a path leads to; `None` if `--exclude` leaves it out.
    fn selected_at(
        &self,
        path: &Path,
        source: &str,
        filter: &Filter<'_>,
    ) -> Result<Option<Selected>, ContextError> {
        let name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
        let Some(place) = self.resolve_path(path, source)? else {
            let root = self.root.dir(Path::new(""))?;
            return Ok(Some(directory(name, &root, filter)?));
        };
        let resolved = place.path();
        let stat = stat_at(&place.dir, &place.name).map_err(at("stat", &resolved))?;
        let ignored = || ContextError::Ignored { source_path: source.to_owned() };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let dir = place.dir.child(&place.name)?.ok_or(ContextError::Changed { path: resolved })?;
            let selected = directory(name, &dir, filter)?;
            let hidden = self.ignore.ignores(&dir.path) && list::is_hidden(&dir, filter.ignore)?;
            return if hidden { Err(ignored()) } else { Ok(Some(selected)) };
        }
        if self.ignore.ignores(&resolved) {
            return Err(ignored());
        }
        if filter.exclude.ignores(Path::new(&name)) || filter.include.is_some() {
            return Ok(None);
        }
        let entry = list::leaf(&place.dir, &place.name, Path::new(""), &stat)?;
        Ok(Some(Selected { name, path: resolved, entries: vec![entry] }))
    }

    fn resolve(&self, path: &str, source: &str) -> Result<Option<Place>, ContextError> {
        self.resolve_path(&list::join(&list::parts(&clean_path(path))), source)
    }

    /// Follows a path to its end; `None` for the context itself.
    fn resolve_path(&self, path: &Path, source: &str) -> Result<Option<Place>, ContextError> {
        let missing = || ContextError::NotFound { source_path: source.to_owned() };
        let found = match self.root.target(path) {
            Err(error) if is_missing(error.source.raw_os_error()) => return Err(missing()),
            found => found?,
        };
        if !self.ignore.is_empty() {
            self.check_links(path, source)?;
        }
        let Some(place) = found else { return Ok(None) };
        match stat_at(&place.dir, &place.name) {
            Err(Errno::NOENT) => Err(missing()),
            _ => Ok(Some(place)),
        }
    }

    /// Fails if a link on the way of a path that was resolved is ignored: it is not there to follow.
    fn check_links(&self, path: &Path, source: &str) -> Result<(), ContextError> {
        let mut ahead = path.to_owned();
        // There are no more links than the resolution allows.
        while let Some((link, target, rest)) = self.first_link(&ahead)? {
            if self.ignore.ignores(&link) {
                return Err(ContextError::Ignored { source_path: source.to_owned() });
            }
            let from = link.parent().unwrap_or(Path::new(""));
            ahead = from.join(target).join(rest);
        }
        Ok(())
    }

    /// Finds the first link of a path: its own path without links, where it points, and what follows it.
    fn first_link(&self, path: &Path) -> Result<Option<(PathBuf, OsString, PathBuf)>, ContextError> {
        let parts: Vec<_> = path.components().collect();
        for end in 1..=parts.len() {
            let (before, rest) = parts.split_at(end);
            let Some(place) = self.root.place(&before.iter().collect::<PathBuf>())? else {
                continue;
            };
            let link = place.path();
            match read_link_at(&place.dir, &place.name) {
                Ok(Some(target)) => return Ok(Some((link, target, rest.iter().collect()))),
                Ok(None) => {}
                // What does not exist is no link.
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(at("read link", &link)(error).into()),
            }
        }
        Ok(None)
    }

    /// Finds the paths that a pattern matches, sorted.
    fn expand(&self, pattern: &str, source: &str) -> Result<Vec<PathBuf>, ContextError> {
        let parts = list::parts(pattern);
        let first = parts.iter().position(|part| has_wildcard(part)).unwrap_or(parts.len());
        let (base, wild) = parts.split_at(first);
        let globs: Result<Vec<Glob>, _> = wild.iter().map(|part| Glob::parse(part)).collect();
        let globs = globs.map_err(|error| ContextError::Pattern { pattern: source.to_owned(), error })?;
        let base = match self.root.dir(&list::join(base)) {
            Err(error) if is_missing(error.source.raw_os_error()) => {
                return Err(ContextError::NotFound { source_path: source.to_owned() });
            }
            base => base?,
        };
        let mut found = Vec::new();
        matches(&base, &globs, &mut found)?;
        Ok(found)
    }
}

/// Selects a directory.
fn directory(name: OsString, dir: &Dir, filter: &Filter<'_>) -> Result<Selected, ContextError> {
    let stat = rustix::fs::fstat(dir).map_err(at("stat", &dir.path))?;
    let mut entries = vec![Entry::new(Path::new(""), EntryKind::Directory, &stat)];
    entries.extend(list::below(dir, filter)?);
    Ok(Selected { name, path: dir.path.clone(), entries })
}

fn is_missing(code: Option<i32>) -> bool {
    [Errno::NOENT, Errno::NOTDIR].map(|errno| Some(errno.raw_os_error())).contains(&code)
}

/// Collects what the globs match below `dir`, one directory per glob.
fn matches(dir: &Dir, globs: &[Glob], found: &mut Vec<PathBuf>) -> Result<(), ContextError> {
    let Some((glob, rest)) = globs.split_first() else {
        found.push(dir.path.clone());
        return Ok(());
    };
    for name in list::names(dir)? {
        if !glob.matches(Path::new(&name)) {
            continue;
        }
        if rest.is_empty() {
            found.push(dir.path.join(&name));
        } else if let Some(child) = dir.child(&name)? {
            matches(&child, rest, found)?;
        }
    }
    Ok(())
}
