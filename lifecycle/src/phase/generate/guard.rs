//! Notices when an extension writes to the application directory.
//!
//! Compares what the file system says of every file before and after. Contents are not read: whoever
//! changes them changes a time that cannot be set back.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::GenerateError;

/// So many changed paths are named.
const MAX_NAMED: usize = 10;

/// What happens when an extension writes to the application directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppDirGuard {
    /// The user is told.
    #[default]
    Warn,
    /// The build fails.
    Enforce,
    /// Nobody looks.
    Off,
}

/// What the file system says of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    /// Type and permissions.
    mode: u32,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The state of a directory and all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, Stamp>);

impl Fingerprint {
    /// Looks at every file below `dir`. Directories that cannot be read are taken by their own stamp.
    pub fn take(dir: &Path) -> Result<Self, GenerateError> {
        let mut stamps = BTreeMap::new();
        for entry in WalkDir::new(dir) {
            let stamp = match &entry {
                Ok(entry) => entry.metadata().map_err(io::Error::from).map(|found| Stamp::from(&found)),
                Err(error) if is_unreadable(error) => continue,
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            match (stamp, entry) {
                (Ok(stamp), Ok(entry)) => {
                    let path = entry.path().strip_prefix(dir).unwrap_or(entry.path());
                    stamps.insert(path.to_owned(), stamp);
                }
                (Err(source), _) => {
                    return Err(GenerateError::io("look at application directory", dir)(source));
                }
                (Ok(_), Err(_)) => {}
            }
        }
        Ok(Self(stamps))
    }

    /// The paths that were added, removed or changed, in order. A directory is named only where
    /// nothing in it is: what changes in it changes the directory too.
    pub fn differences(&self, after: &Self) -> Vec<PathBuf> {
        let paths = self.0.keys().chain(after.0.keys().filter(|path| !self.0.contains_key(*path)));
        let mut changed: Vec<&PathBuf> =
            paths.filter(|path| self.0.get(*path) != after.0.get(*path)).collect();
        changed.sort_unstable();
        let is_parent = |at: usize| changed.get(at + 1).is_some_and(|next| next.starts_with(changed[at]));
        (0..changed.len()).filter(|at| !is_parent(*at)).map(|at| changed[at].clone()).collect()
    }
}

fn is_unreadable(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
    })
}

impl From<&std::fs::Metadata> for Stamp {
    fn from(found: &std::fs::Metadata) -> Self {
        Self {
            inode: found.ino(),
            mode: found.mode(),
            size_bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// The first of `paths`, and how many more there are.
pub fn list(paths: &[PathBuf]) -> String {
    let show = |path: &PathBuf| {
        if path.as_os_str().is_empty() { "`.`".to_owned() } else { format!("`{}`", path.display()) }
    };
    let named: Vec<String> = paths.iter().take(MAX_NAMED).map(show).collect();
    let more = paths.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[track_caller]
    fn check(act: impl FnOnce(&Path), expected: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), "text").unwrap();
        fs::write(dir.path().join("other"), "text").unwrap();
        let before = Fingerprint::take(dir.path()).unwrap();
        act(dir.path());
        let found = before.differences(&Fingerprint::take(dir.path()).unwrap());
        assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn reading_changes_nothing() {
        check(|dir| drop(fs::read(dir.join("sub/file")).unwrap()), &[]);
    }

    #[test]
    fn every_kind_of_change_is_noticed() {
        check(|dir| fs::write(dir.join("sub/new"), "").unwrap(), &["sub/new"]);
        check(|dir| fs::remove_file(dir.join("sub/file")).unwrap(), &["sub/file"]);
        check(|dir| fs::write(dir.join("other"), "text").unwrap(), &["other"]);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        check(|dir| fs::set_permissions(dir.join("other"), mode).unwrap(), &["other"]);
        check(|dir| fs::rename(dir.join("sub"), dir.join("moved")).unwrap(), &["moved/file", "sub/file"]);
    }

    #[test]
    fn times_set_back_do_not_hide_a_change() {
        check(
            |dir| {
                let modified = fs::metadata(dir.join("other")).unwrap().modified().unwrap();
                fs::write(dir.join("other"), "TEXT").unwrap();
                fs::File::options()
                    .write(true)
                    .open(dir.join("other"))
                    .unwrap()
                    .set_modified(modified)
                    .unwrap();
            },
            &["other"],
        );
    }

    #[test]
    fn only_the_first_paths_are_named() {
        let paths: Vec<PathBuf> = (0..12).map(|at| PathBuf::from(at.to_string())).collect();
        assert!(list(&paths).ends_with("`9` and 2 more"));
        assert_eq!(list(&[PathBuf::new()]), "`.`");
    }
}
