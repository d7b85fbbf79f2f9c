//! Slices: the application directory, divided into layers by path patterns.
//!
//! Patterns are those of `pattern`, relative to the application or absolute inside it. A directory
//! that matches is taken with all below it; what one slice took is gone for those after it; the last
//! layer holds what is left. Directories above something taken are written into that slice too, and
//! count as taken when all they hold is.
//!
//! Spec: buildpack.md, "Slices". Absolute patterns: spec-notes/decisions.md#absolute-slice-paths.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType};
use rustix::io::Errno;

use super::path;
use super::pattern::Pattern;
use super::tar::{Owner, TarError, Tree};
use super::walk::{Order, Step, Walk, open_dir};

/// One part of the application directory; several share what was scanned.
#[derive(Debug)]
pub struct Slice {
    pub(super) tree: Arc<Tree>,
    /// `None` for the whole directory.
    pub(super) chosen: Option<Chosen>,
}

/// Chosen entries of a directory.
#[derive(Debug)]
pub struct Chosen {
    pub(super) scan: Arc<Scan>,
    /// Which, in the order of their paths.
    pub(super) nodes: Vec<u32>,
}

/// Why an application cannot be sliced.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// A pattern with a syntax error.
    #[error("slice path `{0}` is not a valid pattern")]
    Pattern(String),
    /// Scanning the directory failed.
    #[error(transparent)]
    Scan(#[from] TarError),
}

/// Divides the directory `app` into one part for each of `slices` (each a list of patterns), in that
/// order, and a last one with the rest; without slices that is the whole application.
/// Parts may be empty.
pub fn slice(app: &Path, slices: &[Vec<String>], owner: Owner) -> Result<Vec<Slice>, SliceError> {
    let tree = Arc::new(Tree::on_disk(app, owner)?);
    divide(&tree, slices)
}

/// [`slice()`] for a directory whose names and parents are given.
pub fn divide(tree: &Arc<Tree>, slices: &[Vec<String>]) -> Result<Vec<Slice>, SliceError> {
    if slices.is_empty() {
        return Ok(vec![Slice { tree: tree.clone(), chosen: None }]);
    }
    let parse =
        |glob: &String| Glob::parse(glob, &tree.name).ok_or_else(|| SliceError::Pattern(glob.clone()));
    let slices: Vec<Vec<Glob>> =
        slices.iter().map(|globs| globs.iter().map(parse).collect()).collect::<Result<_, _>>()?;
    let scan = Arc::new(Scan::read(tree)?);
    let mut division = Division::new(&scan);
    let mut parts: Vec<Vec<u32>> = slices.iter().map(|globs| division.take(globs)).collect();
    parts.push(division.rest());
    let slice = |nodes| Slice { tree: tree.clone(), chosen: Some(Chosen { scan: scan.clone(), nodes }) };
    Ok(parts.into_iter().map(slice).collect())
}

/// A pattern, made ready for a tree of names.
#[derive(Debug)]
enum Glob {
    /// One pattern for each part of a path.
    Parts(Vec<Pattern>),
    /// A pattern for the whole path, relative to the application.
    Whole(Pattern),
    /// A pattern for the whole path with the application's name in front of it.
    Absolute(Pattern, Vec<u8>),
}

impl Glob {
    fn parse(text: &str, app: &Path) -> Option<Self> {
        let clean = String::from_utf8(path::clean(text.as_bytes())).ok()?;
        let app = app.as_os_str().as_bytes();
        let inside = clean.as_bytes().strip_prefix(app).and_then(|rest| rest.strip_prefix(b"/"));
        let relative = inside.map_or(clean.as_str(), |inside| &clean[clean.len() - inside.len()..]);
        let pattern = Pattern::parse(relative)?;
        if relative.starts_with('/') {
            return Some(Self::Absolute(pattern, [app, b"/"].concat()));
        }
        Some(pattern.parts().map_or(Self::Whole(pattern), Self::Parts))
    }

    /// All entries that match, but never the application directory itself.
    fn matches(&self, scan: &Scan) -> Vec<u32> {
        let filter = |matches: &dyn Fn(Vec<u8>) -> bool| {
            (1..scan.len()).filter(|&node| matches(scan.path(node))).collect()
        };
        match self {
            Self::Parts(parts) => parts.iter().fold(vec![0], |dirs, part| {
                dirs.iter().flat_map(|&dir| scan.matching_children(dir, part)).collect()
            }),
            Self::Whole(pattern) => filter(&|path| pattern.matches(&path)),
            Self::Absolute(pattern, app) => {
                filter(&|path| pattern.matches(&[app.as_slice(), &path].concat()))
            }
        }
    }
}

/// All names of a directory tree. Entries are numbered in the order of their paths; 0 is the root.
#[derive(Debug)]
pub struct Scan {
    nodes: Vec<Node>,
    names: Vec<u8>,
    /// The entries of each directory, sorted, one directory after the other.
    children: Vec<u32>,
    /// Where in `children` the entries of each node begin; one more than there are nodes.
    first_child: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    parent: u32,
    /// Where in `names` its name ends; it begins where that of the node before ends.
    name_end: u32,
    kind: FileType,
}

impl Scan {
    fn read(tree: &Tree) -> Result<Self, TarError> {
        let failed = |path: &[u8], errno: Errno| {
            TarError::io("list", &tree.path.join(OsStr::from_bytes(path)), errno.into())
        };
        let mut scan = Self::empty();
        match open_dir(CWD, tree.path.as_os_str().as_bytes()) {
            Ok(root) => {
                let mut walk = Walk::new(root, Order::Paths).map_err(|errno| failed(b"", errno))?;
                scan.fill(&mut walk).map_err(|errno| failed(walk.path(), errno))?;
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(failed(b"", errno)),
        }
        scan.link_children();
        Ok(scan)
    }

    fn empty() -> Self {
        let root = Node { parent: 0, name_end: 0, kind: FileType::Unknown };
        Self { nodes: vec![root], names: Vec::new(), children: Vec::new(), first_child: Vec::new() }
    }

    fn fill(&mut self, walk: &mut Walk) -> Result<(), Errno> {
        let mut dirs: HashMap<Vec<u8>, u32> = HashMap::from([(Vec::new(), 0)]);
        while let Step::Entry(kind) = walk.step()? {
            let (path, name) = (walk.path(), walk.name());
            let dir = &path[..(path.len() - name.len()).saturating_sub(1)];
            let parent = dirs[dir];
            self.names.extend_from_slice(name);
            let name_end = u32::try_from(self.names.len()).map_err(|_| Errno::FBIG)?;
            if kind == FileType::Directory {
                dirs.insert(path.to_vec(), self.len());
            }
            self.nodes.push(Node { parent, name_end, kind });
        }
        Ok(())
    }

    fn link_children(&mut self) {
        let mut counts = vec![0_u32; self.nodes.len() + 1];
        for node in &self.nodes[1..] {
            counts[node.parent as usize + 1] += 1;
        }
        for index in 1..counts.len() {
            counts[index] += counts[index - 1];
        }
        self.first_child.clone_from(&counts);
        self.children = vec![0; self.nodes.len() - 1];
        for node in 1..self.len() {
            let next = &mut counts[self.parent(node) as usize];
            self.children[*next as usize] = node;
            *next += 1;
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).expect("each node has a name, and all names together fit")
    }

    pub(super) fn parent(&self, node: u32) -> u32 {
        self.nodes[node as usize].parent
    }

    pub(super) fn kind(&self, node: u32) -> FileType {
        self.nodes[node as usize].kind
    }

    pub(super) fn name(&self, node: u32) -> &[u8] {
        let begin = node.checked_sub(1).map_or(0, |before| self.nodes[before as usize].name_end);
        &self.names[begin as usize..self.nodes[node as usize].name_end as usize]
    }

    /// The path of a node, relative to the root.
    pub(super) fn path(&self, node: u32) -> Vec<u8> {
        let parts: Vec<&[u8]> = self.way_up(node).map(|node| self.name(node)).collect();
        parts.into_iter().rev().collect::<Vec<_>>().join(&b'/')
    }

    /// A node and the directories above it, without the root.
    pub(super) fn way_up(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(Some(node), |&node| Some(self.parent(node))).take_while(|&node| node != 0)
    }

    fn children(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.children[self.first_child[node] as usize..self.first_child[node + 1] as usize]
    }

    fn matching_children(&self, dir: u32, part: &Pattern) -> Vec<u32> {
        let children = self.children(dir);
        match part.literal() {
            Some(name) => {
                let at = children.binary_search_by(|&child| self.name(child).cmp(&name));
                at.map(|at| vec![children[at]]).unwrap_or_default()
            }
            None => children.iter().copied().filter(|&child| part.matches(self.name(child))).collect(),
        }
    }
}

/// What of a scan is taken so far.
struct Division<'a> {
    scan: &'a Scan,
    taken: Vec<bool>,
    /// How many entries of each directory are not taken.
    left: Vec<u32>,
    /// The last round in which each node was seen; one round for each slice.
    seen: Vec<u32>,
    round: u32,
}

impl<'a> Division<'a> {
    fn new(scan: &'a Scan) -> Self {
        let left = (0..scan.len()).map(|node| scan.children(node).len());
        let left = left.map(|count| u32::try_from(count).expect("there are fewer than nodes")).collect();
        Self { scan, taken: vec![false; scan.nodes.len()], left, seen: vec![0; scan.nodes.len()], round: 0 }
    }

    /// Takes all that matches and is not taken; gives it with the directories above it, sorted.
    fn take(&mut self, globs: &[Glob]) -> Vec<u32> {
        let mut nodes = Vec::new();
        for node in globs.iter().flat_map(|glob| glob.matches(self.scan)) {
            self.take_tree(node, &mut nodes);
        }
        let parents = self.missing_parents(&nodes);
        self.take_emptied(&parents);
        nodes.extend(parents);
        nodes.sort_unstable();
        nodes
    }

    fn take_tree(&mut self, root: u32, nodes: &mut Vec<u32>) {
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            if !self.taken[node as usize] {
                self.mark(node);
                nodes.push(node);
                stack.extend_from_slice(self.scan.children(node));
            }
        }
    }

    fn mark(&mut self, node: u32) {
        self.taken[node as usize] = true;
        if node != 0 {
            self.left[self.scan.parent(node) as usize] -= 1;
        }
    }

    /// The directories above `nodes` that are not among them, each once, the root too.
    fn missing_parents(&mut self, nodes: &[u32]) -> Vec<u32> {
        self.round += 1;
        for &node in nodes {
            self.seen[node as usize] = self.round;
        }
        let mut parents = Vec::new();
        for &node in nodes {
            let mut node = node;
            while node != 0 {
                node = self.scan.parent(node);
                if std::mem::replace(&mut self.seen[node as usize], self.round) == self.round {
                    break;
                }
                parents.push(node);
            }
        }
        parents
    }

    /// Takes those of `dirs` of which nothing is left, deepest first.
    fn take_emptied(&mut self, dirs: &[u32]) {
        let mut dirs: Vec<(usize, u32)> =
            dirs.iter().map(|&dir| (self.scan.way_up(dir).count(), dir)).collect();
        dirs.sort_unstable_by(|a, b| b.cmp(a));
        for (_, dir) in dirs {
            if self.left[dir as usize] == 0 && !self.taken[dir as usize] {
                self.mark(dir);
            }
        }
    }

    fn rest(&self) -> Vec<u32> {
        (0..self.scan.len()).filter(|&node| !self.taken[node as usize]).collect()
    }
}

#[cfg(test)]
mod tests;
