//! The entries of a layer, one after the other, from each kind of source.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType};
use rustix::io::Errno;

use super::content::FileContent;
use super::disk::{self, Found};
use super::header::{Header, Kind};
use super::slices::{Chosen, Scan};
use super::tar::{Owner, Parent, TarError, Tree};
use super::walk::{Order, Place, Step, Walk, open_dir};

/// What follows a header.
#[derive(Debug)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// The bytes of a file.
    File(FileContent),
    /// Bytes that the source itself has next: see [`Entries::read_archived`].
    Archived,
}

/// A source's entries.
pub enum Entries<'a> {
    /// Headers that are ready, and what follows the last of them.
    Ready(Option<(Vec<u8>, Content, u64)>),
    /// A directory and all below it.
    Tree(TreeEntries<'a>),
    /// Chosen files of a directory.
    Chosen(ChosenEntries<'a>),
    /// Another tar.
    Archive(super::archive::ArchiveEntries),
}

impl Entries<'_> {
    /// Appends the next entry's header to `out`, and gives its content and how many bytes that has.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<(Content, u64)>, TarError> {
        match self {
            Self::Ready(ready) => Ok(ready.take().map(|(headers, content, size)| {
                out.extend_from_slice(&headers);
                (content, size)
            })),
            Self::Tree(entries) => entries.next(out),
            Self::Chosen(entries) => entries.next(out),
            Self::Archive(entries) => entries.next(out),
        }
    }

    /// Reads [`Content::Archived`] of which `left` bytes are missing; tells whether it was the end, too.
    pub fn read_archived(&mut self, left: u64, buffer: &mut [u8]) -> Result<(usize, bool), TarError> {
        match self {
            Self::Archive(entries) => entries.read_content(left, buffer),
            _ => Ok((0, true)),
        }
    }
}

/// The parents of a directory, the directory, and all below it.
#[derive(Debug)]
pub struct TreeEntries<'a> {
    tree: &'a Tree,
    order: Order,
    parents: std::slice::Iter<'a, Parent>,
    state: TreeState,
    name: Vec<u8>,
}

/// How far the entries of a directory have come.
#[derive(Debug)]
enum TreeState {
    /// The directory itself is next.
    Root,
    Below(Walk),
    /// There is nothing below what is no directory.
    End,
}

impl<'a> TreeEntries<'a> {
    /// The entries of `tree`.
    pub fn new(tree: &'a Tree, order: Order) -> Self {
        let name = tree.name.as_os_str().as_bytes().to_vec();
        Self { tree, order, parents: tree.parents.iter(), state: TreeState::Root, name }
    }

    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<(Content, u64)>, TarError> {
        if let Some(parent) = self.parents.next() {
            return Ok(Some(encode_parent(parent, out)));
        }
        let walk = match &mut self.state {
            TreeState::Root => return self.root(out).map(Some),
            TreeState::Below(walk) => walk,
            TreeState::End => return Ok(None),
        };
        loop {
            let step = walk.step().map_err(|errno| failed("list", self.tree, walk.path(), errno))?;
            let Step::Entry(kind) = step else { return Ok(None) };
            let path = walk.path();
            let found = disk::look(walk.dir(), walk.name(), kind)
                .map_err(|errno| failed("read", self.tree, path, errno))?;
            if let Some(found) = found {
                set_name(&mut self.name, self.tree, path);
                return Ok(Some(encode_found(
                    found,
                    &self.name,
                    self.tree.owner,
                    on_disk(self.tree, path),
                    out,
                )));
            }
        }
    }

    /// The directory itself, which may be anything else as well.
    fn root(&mut self, out: &mut Vec<u8>) -> Result<(Content, u64), TarError> {
        let (found, dir) = look_at_root(self.tree)?;
        let walk = dir.map(|dir| Walk::new(dir, self.order)).transpose();
        let walk = walk.map_err(|errno| failed("list", self.tree, b"", errno))?;
        self.state = walk.map_or(TreeState::End, TreeState::Below);
        Ok(encode_found(found, &self.name, self.tree.owner, self.tree.path.clone(), out))
    }
}

/// The parents of a directory, then chosen entries of it.
#[derive(Debug)]
pub struct ChosenEntries<'a> {
    tree: &'a Tree,
    scan: &'a Scan,
    parents: std::slice::Iter<'a, Parent>,
    nodes: std::slice::Iter<'a, u32>,
    /// Where in the directory one is, and the nodes of the directories on the way there; `None` until
    /// the directory is needed.
    place: Option<(Place, Vec<u32>)>,
    name: Vec<u8>,
}

impl<'a> ChosenEntries<'a> {
    /// The entries of a directory that were chosen; none at all if none were.
    pub fn new(tree: &'a Tree, chosen: &'a Chosen) -> Self {
        let parents: &[Parent] = if chosen.nodes.is_empty() { &[] } else { &tree.parents };
        let (scan, nodes) = (&*chosen.scan, chosen.nodes.iter());
        Self { tree, scan, parents: parents.iter(), nodes, place: None, name: Vec::new() }
    }

    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<(Content, u64)>, TarError> {
        if let Some(parent) = self.parents.next() {
            return Ok(Some(encode_parent(parent, out)));
        }
        while let Some(&node) = self.nodes.next() {
            let path = self.scan.path(node);
            let found = if node == 0 {
                Some(look_at_root(self.tree)?.0)
            } else {
                self.look(node).map_err(|errno| failed("read", self.tree, &path, errno))?
            };
            if let Some(found) = found {
                set_name(&mut self.name, self.tree, &path);
                let on_disk = on_disk(self.tree, &path);
                return Ok(Some(encode_found(found, &self.name, self.tree.owner, on_disk, out)));
            }
        }
        Ok(None)
    }

    fn look(&mut self, node: u32) -> Result<Option<Found>, Errno> {
        let (scan, parent) = (self.scan, self.scan.parent(node));
        let (place, way) = match &mut self.place {
            Some(place) => place,
            place => {
                let root = open_dir(CWD, self.tree.path.as_os_str().as_bytes())?;
                place.insert((Place::at(root)?, vec![0]))
            }
        };
        if way.last() != Some(&parent) {
            let mut down: Vec<u32> = scan.way_up(parent).take_while(|dir| !way.contains(dir)).collect();
            let meets = down.last().map_or(parent, |&dir| scan.parent(dir));
            while way.last() != Some(&meets) {
                way.pop();
                place.leave()?;
            }
            while let Some(dir) = down.pop() {
                place.enter(scan.name(dir))?;
                way.push(dir);
            }
        }
        disk::look(place.dir(), scan.name(node), scan.kind(node))
    }
}

/// Looks at a tree's root: not through a link, as the reference implementation does not.
fn look_at_root(tree: &Tree) -> Result<(Found, Option<std::os::fd::OwnedFd>), TarError> {
    let path = tree.path.as_os_str().as_bytes();
    let failed = |errno| failed("read", tree, b"", errno);
    if let Some((found, dir)) = disk::open_if_dir(CWD, path).map_err(failed)? {
        return Ok((found, Some(dir)));
    }
    match disk::look(CWD, path, FileType::Unknown).map_err(failed)? {
        Some(found) => Ok((found, None)),
        None => Err(failed(Errno::INVAL)),
    }
}

/// Sets `name` to that of the entry at `path` in the layer.
fn set_name(name: &mut Vec<u8>, tree: &Tree, path: &[u8]) {
    let root = tree.name.as_os_str().as_bytes();
    name.clear();
    name.extend_from_slice(root);
    if !root.ends_with(b"/") && !path.is_empty() {
        name.push(b'/');
    }
    name.extend_from_slice(path);
}

fn on_disk(tree: &Tree, path: &[u8]) -> PathBuf {
    tree.path.join(OsStr::from_bytes(path))
}

fn failed(action: &'static str, tree: &Tree, path: &[u8], errno: Errno) -> TarError {
    let path = if path.is_empty() { tree.path.clone() } else { on_disk(tree, path) };
    match errno {
        Errno::STALE => TarError::Changed(path),
        errno => TarError::Io { action, path, source: errno.into() },
    }
}

fn encode_parent(parent: &Parent, out: &mut Vec<u8>) -> (Content, u64) {
    let mut header = Header::new(Kind::Dir, parent.name.as_os_str().as_bytes(), parent.mode);
    (header.uid, header.gid) = (parent.owner.uid.into(), parent.owner.gid.into());
    header.encode(out);
    (Content::Nothing, 0)
}

fn encode_found(found: Found, name: &[u8], owner: Owner, path: PathBuf, out: &mut Vec<u8>) -> (Content, u64) {
    let mut header = Header::new(found.kind, name, found.mode);
    (header.uid, header.gid) = (owner.uid.into(), owner.gid.into());
    header.link = &found.link;
    header.size = found.size;
    header.device = found.device;
    header.encode(out);
    let content = found.file.map_or(Content::Nothing, |file| {
        Content::File(FileContent::new(file, path, found.size, found.has_holes))
    });
    (content, found.size)
}
