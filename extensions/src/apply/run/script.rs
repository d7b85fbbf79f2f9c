//! The file of a heredoc that is a script, for the time of its step.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{AtFlags, unlinkat};

use crate::root::{Attributes, Guard, NewDir, PathError, Place, Root, at};
use crate::snapshot::IgnoreSet;

/// Where it is: BuildKit's place for it. `/dev` is never a part of an image.
const DIR: &str = "dev/pipes";

/// A script to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::apply) struct Script {
    name: String,
    body: String,
}

/// A script's file, removed when this is dropped.
#[derive(Debug)]
pub(super) struct Written(Place);

impl Script {
    pub(in crate::apply) fn new(name: &str, body: &str) -> Self {
        Self { name: name.replace('/', "_"), body: body.to_owned() }
    }

    /// Returns its absolute path.
    pub(in crate::apply) fn path(&self) -> String {
        format!("/{DIR}/{}", self.name)
    }

    /// Writes it, executable by all.
    pub(super) fn write(&self, root: &Root) -> Result<Written, PathError> {
        let ignore = IgnoreSet::default();
        let NewDir { mode, uid, gid } = NewDir::of_process(0o755);
        let (dir, _) = root.make_dir(Path::new(DIR), NewDir { mode, uid, gid }, Guard::new(&ignore))?;
        let place = Place { dir, name: OsString::from(&self.name) };
        let _ = unlinkat(&place.dir, &place.name, AtFlags::empty());
        let xattrs = BTreeMap::new();
        let attributes = Attributes { owner: (uid, gid), mode, mtime: (0, 0), xattrs: &xattrs };
        place.make_file::<PathError>(&attributes, |file| {
            file.write_all(self.body.as_bytes()).map_err(at("write", Path::new(DIR)))
        })?;
        Ok(Written(place))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // That it stays harms nobody: no layer holds it.
        let _ = unlinkat(&self.0.dir, &self.0.name, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_there_while_it_is_held() {
        let temp = tempfile::tempdir().expect("temp dir");
        let root = Root::open(temp.path()).expect("open root");
        let script = Script::new("EOF", "#!/bin/sh\n");
        assert_eq!(script.path(), "/dev/pipes/EOF");
        let written = script.write(&root).expect("write");
        assert!(temp.path().join("dev/pipes/EOF").is_file());
        drop(written);
        assert!(!temp.path().join("dev/pipes/EOF").exists());
    }
}
