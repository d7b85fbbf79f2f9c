//! File systems as values: a base and its layers put together in memory, and what two of them differ in.
//!
//! ```text
//! /d/ 755 0:0                      a directory
//! /d/x 644 0:0 "text"              a file
//! /d/y 644 0:0 is /d/x             another name of it
//! /d/l 0:0 -> x                    a symbolic link
//! /d/p 644 0:0 fifo                and devices: char 1:3
//! - /old                           what is there no more
//! ```
//!
//! Extended attributes stand at the end. Times are left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

use tar::EntryType;

use crate::run_image::digest;

/// Longer contents are shown by their digests.
const MAX_SHOWN_BYTES: usize = 300;

/// A file system.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
    inodes: usize,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    mode: u32,
    owner: (u64, u64),
    xattrs: BTreeMap<String, String>,
    /// The same for all names of a file.
    inode: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Directory,
    /// With its content as it is shown.
    File(String),
    Symlink(String),
    Fifo,
    Device(char, u32, u32),
}

/// An entry of a layer.
struct Change {
    path: PathBuf,
    link: String,
    hard: bool,
    entry: Entry,
}

impl Tree {
    /// Puts a layer on top: whiteouts, then entries.
    ///
    /// # Panics
    ///
    /// When the bytes are no layer.
    pub fn apply(&mut self, layer: impl Read) {
        let mut archive = tar::Archive::new(layer);
        let changes: Vec<Change> =
            archive.entries().expect("a layer is a tar").filter_map(|entry| self.read(entry)).collect();
        for change in &changes {
            self.white_out(&change.path);
        }
        for change in changes {
            self.put(change);
        }
    }

    fn read(&mut self, entry: std::io::Result<tar::Entry<'_, impl Read>>) -> Option<Change> {
        let mut entry = entry.expect("an entry can be read");
        let path = clean(&entry.path().expect("an entry has a path"));
        let header = entry.header().clone();
        let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
        let xattrs = xattrs(&mut entry);
        let number = |value: std::io::Result<Option<u32>>| value.ok().flatten().unwrap_or(0);
        let device = (number(header.device_major()), number(header.device_minor()));
        let kind = match header.entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(link.clone().unwrap_or_default()),
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => Kind::Device('c', device.0, device.1),
            EntryType::Block => Kind::Device('b', device.0, device.1),
            EntryType::Regular | EntryType::Continuous | EntryType::Link | EntryType::GNUSparse => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("an entry can be read");
                Kind::File(shown(&content))
            }
            EntryType::XGlobalHeader => return None,
            other => panic!("a layer holds a {other:?}"),
        };
        self.inodes += 1;
        let owner = (header.uid().unwrap_or(0), header.gid().unwrap_or(0));
        let mode = header.mode().unwrap_or(0) & 0o7777;
        let hard = header.entry_type() == EntryType::Link;
        let entry = Entry { kind, mode, owner, xattrs, inode: self.inodes };
        Some(Change { path, link: link.unwrap_or_default(), hard, entry })
    }

    fn white_out(&mut self, path: &Path) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let dir = path.parent().unwrap_or(Path::new(""));
        if name == ".wh..wh..opq" {
            self.entries.retain(|path, _| path == dir || !path.starts_with(dir));
        } else if let Some(hidden) = name.strip_prefix(".wh.") {
            let hidden = dir.join(hidden);
            self.entries.retain(|path, _| !path.starts_with(&hidden));
        }
    }

    fn put(&mut self, change: Change) {
        let Change { path, link, hard, mut entry } = change;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.as_os_str().is_empty() || name.starts_with(".wh.") {
            return;
        }
        if hard {
            let target = clean(Path::new(&link));
            entry = self
                .entries
                .get(&target)
                .unwrap_or_else(|| panic!("{} links to {link}", path.display()))
                .clone();
        }
        let next = self.entries.range((Bound::Excluded(path.clone()), Bound::Unbounded)).next();
        let holds_something = next.is_some_and(|(next, _)| next.starts_with(&path));
        if holds_something && entry.kind != Kind::Directory {
            self.entries.retain(|below, _| !below.starts_with(&path));
        }
        self.entries.insert(path, entry);
    }

    /// Forgets everything at and below a path.
    pub fn without(mut self, path: &str) -> Self {
        self.entries.retain(|entry, _| !entry.starts_with(path));
        self
    }

    /// What is in this tree and not, or otherwise, in `base`, one line each; then what is only there.
    pub fn changes_since(&self, base: &Self) -> Vec<String> {
        let (mine, theirs) = (self.lines(), base.lines());
        let mut changes: Vec<String> = mine
            .iter()
            .filter(|(path, line)| theirs.get(*path) != Some(*line))
            .map(|(_, line)| line.clone())
            .collect();
        // Of a directory that is gone the top is enough.
        let is_below_another = |path: &Path| {
            let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
            above.into_iter().any(|above| theirs.contains_key(above) && !mine.contains_key(above))
        };
        let gone = theirs.keys().filter(|path| !mine.contains_key(*path));
        let top = gone.filter(|path| !is_below_another(path));
        changes.extend(top.map(|path| format!("- /{}", path.display())));
        changes
    }

    fn lines(&self) -> BTreeMap<&Path, String> {
        let mut first: BTreeMap<usize, &Path> = BTreeMap::new();
        let mut lines = BTreeMap::new();
        for (path, entry) in &self.entries {
            let name = *first.entry(entry.inode).or_insert(path);
            lines.insert(path.as_path(), line(path, entry, Some(name).filter(|name| *name != path)));
        }
        lines
    }
}

fn line(path: &Path, entry: &Entry, first: Option<&Path>) -> String {
    let slash = if entry.kind == Kind::Directory { "/" } else { "" };
    let mut line = format!("/{}{slash}", path.to_string_lossy().escape_debug());
    if !matches!(entry.kind, Kind::Symlink(_)) {
        let _ = write!(line, " {:o}", entry.mode);
    }
    let _ = write!(line, " {}:{}", entry.owner.0, entry.owner.1);
    let rest = match (&entry.kind, first) {
        (_, Some(first)) => format!(" is /{}", first.display()),
        (Kind::Directory, _) => String::new(),
        (Kind::File(content), _) => format!(" {content}"),
        (Kind::Symlink(target), _) => format!(" -> {target}"),
        (Kind::Fifo, _) => " fifo".to_owned(),
        (Kind::Device('c', major, minor), _) => format!(" char {major}:{minor}"),
        (Kind::Device(_, major, minor), _) => format!(" block {major}:{minor}"),
    };
    line.push_str(&rest);
    for (name, value) in &entry.xattrs {
        let _ = write!(line, " {name}={value}");
    }
    line
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_SHOWN_BYTES => format!("\"{}\"", text.escape_debug()),
        Err(_) if bytes.len() <= 32 => {
            bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
        }
        _ => format!("{} bytes {}", bytes.len(), &digest(bytes)[..15]),
    }
}

fn xattrs(entry: &mut tar::Entry<'_, impl Read>) -> BTreeMap<String, String> {
    let records = entry.pax_extensions().ok().flatten();
    let records = records.into_iter().flatten().filter_map(Result::ok);
    records
        .filter_map(|record| {
            let name = record.key().ok()?.strip_prefix("SCHILY.xattr.")?.to_owned();
            Some((name, shown(record.value_bytes())))
        })
        .collect()
}

fn clean(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            if *kind == EntryType::Regular {
                header.set_size(text.len() as u64);
                tar.append_data(&mut header, path, text.as_bytes()).expect("a Vec takes any bytes");
            } else {
                header.set_size(0);
                tar.append_link(&mut header, path, text).expect("a Vec takes any bytes");
            }
        }
        tar.into_inner().expect("a Vec takes any bytes")
    }

    #[test]
    fn layers_are_put_on_top_of_each_other() {
        const FILE: EntryType = EntryType::Regular;
        let mut base = Tree::default();
        base.apply(&*layer(&[("a/x", FILE, "1"), ("a/y", FILE, "2"), ("b/z", FILE, "3")]));
        let mut tree = base.clone();
        tree.apply(&*layer(&[
            ("a/.wh.x", FILE, ""),
            ("./a/y", FILE, "new"),
            ("a/z", EntryType::Link, "a/y"),
            ("b", EntryType::Symlink, "a"),
        ]));
        let changes = ["/a/y 644 0:0 \"new\"", "/a/z 644 0:0 is /a/y", "/b 0:0 -> a", "- /a/x", "- /b/z"];
        assert_eq!(tree.changes_since(&base), changes);
        tree.apply(&*layer(&[("a/.wh..wh..opq", FILE, ""), ("a/n", FILE, "n")]));
        assert_eq!(tree.lines().into_values().collect::<Vec<_>>(), ["/a/n 644 0:0 \"n\"", "/b 0:0 -> a"]);
    }
}
