//! Paths that no layer holds: mounts, the platform's directories, what the container engine made.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

/// A set of paths below a root, each with everything below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreSet {
    top: Node,
}

/// One directory that has ignored paths below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    children: BTreeMap<OsString, Node>,
    prefixes: Vec<OsString>,
    ignored: bool,
}

impl IgnoreSet {
    /// Creates the set of the given paths, with or without a leading `/`. A last component that ends
    /// in `*` stands for every name that starts so. The root itself cannot be ignored.
    pub fn new<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path.as_ref());
        }
        set
    }

    /// Adds a path, as [`new`](Self::new) does.
    pub fn insert(&mut self, path: &Path) {
        let mut names: Vec<&OsStr> = names(path).collect();
        let Some(last) = names.pop() else {
            return;
        };
        let mut node = &mut self.top;
        for name in names {
            node = node.children.entry(name.to_owned()).or_default();
        }
        match last.as_bytes().strip_suffix(b"*") {
            Some(prefix) => node.prefixes.push(OsStr::from_bytes(prefix).to_owned()),
            None => node.children.entry(last.to_owned()).or_default().ignored = true,
        }
    }

    /// Tells whether the path is in the set or below a path of the set. The path must be resolved.
    pub fn contains(&self, path: &Path) -> bool {
        let mut node = &self.top;
        for name in names(path) {
            match node.look(name.as_bytes()) {
                Look::Ignored => return true,
                Look::Below(next) => node = next,
                Look::Outside => return false,
            }
        }
        false
    }

    /// Tells whether the path is in the set, below a path of the set, or above one.
    pub fn touches(&self, path: &Path) -> bool {
        let mut node = &self.top;
        for name in names(path) {
            match node.look(name.as_bytes()) {
                Look::Ignored => return true,
                Look::Below(next) => node = next,
                Look::Outside => return false,
            }
        }
        true
    }

    pub(super) fn top(&self) -> &Node {
        &self.top
    }
}

/// What the set says of a name in a directory.
pub(super) enum Look<'s> {
    /// It is ignored.
    Ignored,
    /// Something below it is.
    Below(&'s Node),
    /// Neither.
    Outside,
}

impl Node {
    pub(super) fn look(&self, name: &[u8]) -> Look<'_> {
        let prefixed = |prefix: &OsString| name.starts_with(prefix.as_bytes());
        if self.prefixes.iter().any(prefixed) {
            return Look::Ignored;
        }
        match self.children.get(OsStr::from_bytes(name)) {
            Some(node) if node.ignored => Look::Ignored,
            Some(node) => Look::Below(node),
            None => Look::Outside,
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, contains: bool, touches: bool) {
        let set = IgnoreSet::new(["/proc", "etc/hosts", "/tmp/apt-key-gpghome*", "/"]);
        assert_eq!(set.contains(Path::new(path)), contains);
        assert_eq!(set.touches(Path::new(path)), touches);
    }

    #[test]
    fn a_path_is_ignored_with_everything_below_it() {
        for path in ["/proc", "proc/1/fd", "/etc/hosts"] {
            check(path, true, true);
        }
        for path in ["/process", "/etc/hosts.deny", "/etc/passwd"] {
            check(path, false, false);
        }
        check("/etc", false, true);
    }

    #[test]
    fn a_star_stands_for_the_rest_of_a_name() {
        check("/tmp/apt-key-gpghome.x1/keys", true, true);
        for path in ["/tmp/apt-key", "/tmp/other"] {
            check(path, false, false);
        }
        check("/tmp", false, true);
    }

    #[test]
    fn the_root_itself_is_never_ignored() {
        check("/", false, true);
    }
}
