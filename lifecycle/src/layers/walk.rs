//! Walks a directory by its handle: a directory that is moved or replaced by a link meanwhile leads
//! nowhere else.
//!
//! Two orders are known, because the reference implementation has two: layers are walked, each
//! directory's names sorted; the application's files are sorted by their whole paths, in which `a-b`
//! comes between `a` and `a/b`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

/// How many directories are held open at once; deeper ones are found again by `..`.
const OPEN_DIRS: usize = 32;

/// How the names of a tree are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each directory's names sorted, its contents right after it.
    Walk,
    /// Whole paths sorted as bytes.
    Paths,
}

/// The directories from a root to where one is, opened one from the other.
#[derive(Debug)]
pub struct Place {
    /// Handles, root first. The root and the last [`OPEN_DIRS`] are open.
    dirs: Vec<(Option<OwnedFd>, Id)>,
}

/// What tells two directories apart.
type Id = (u64, u64);

impl Place {
    /// At `root`, an open directory.
    pub fn at(root: OwnedFd) -> Result<Self, Errno> {
        let id = id_of(root.as_fd())?;
        Ok(Self { dirs: vec![(Some(root), id)] })
    }

    /// How many directories below the root one is.
    pub fn depth(&self) -> usize {
        self.dirs.len() - 1
    }

    /// The directory one is in.
    pub fn dir(&self) -> BorrowedFd<'_> {
        let (dir, _) = self.dirs.last().expect("the root is never left");
        dir.as_ref().expect("the last directory is open").as_fd()
    }

    /// The root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.dirs[0].0.as_ref().expect("the root is never closed").as_fd()
    }

    /// Goes down into the directory `name`; fails if it is anything else, a link too.
    pub fn enter(&mut self, name: &[u8]) -> Result<(), Errno> {
        let dir = open_dir(self.dir(), name)?;
        let id = id_of(dir.as_fd())?;
        self.dirs.push((Some(dir), id));
        let depth = self.dirs.len();
        if depth > OPEN_DIRS + 1 {
            self.dirs[depth - OPEN_DIRS - 1].0 = None;
        }
        Ok(())
    }

    /// Goes up again. Fails with `ESTALE` if the directory was moved elsewhere meanwhile.
    pub fn leave(&mut self) -> Result<(), Errno> {
        let (left, _) = self.dirs.pop().expect("one goes up only from where one went down");
        let (dir, id) = self.dirs.last_mut().expect("the root is never left");
        if dir.is_none() {
            let left = left.expect("the last directory is open");
            let up = open_dir(left.as_fd(), b"..")?;
            if id_of(up.as_fd())? != *id {
                return Err(Errno::STALE);
            }
            *dir = Some(up);
        }
        Ok(())
    }
}

fn id_of(dir: BorrowedFd<'_>) -> Result<Id, Errno> {
    fstat(dir).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Opens the directory `name` in `dir` for listing, never through a link.
pub fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// A step of a [`Walk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An entry of the directory one is in, with its type as the directory gives it.
    Entry(FileType),
    /// Nothing is left.
    End,
}

/// A walk through a directory and all below it; the root itself is no step.
#[derive(Debug)]
pub struct Walk {
    place: Place,
    order: Order,
    listings: Vec<Listing>,
    /// The path of the last step, relative to the root.
    path: Vec<u8>,
}

/// What is still to visit in one directory.
#[derive(Debug)]
struct Listing {
    visits: std::vec::IntoIter<Visit>,
    /// How long the path of the directory is, with a slash behind it.
    path_len: usize,
}

/// One name to visit, or one directory to go down into.
#[derive(Debug)]
struct Visit {
    name: CString,
    kind: FileType,
    descend: bool,
}

impl Walk {
    /// Begins in `root`, an open directory.
    pub fn new(root: OwnedFd, order: Order) -> Result<Self, Errno> {
        let place = Place::at(root)?;
        let listing = Listing { visits: list(place.dir(), order)?.into_iter(), path_len: 0 };
        Ok(Self { place, order, listings: vec![listing], path: Vec::new() })
    }

    /// The directory that the last step's entry is in.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.place.dir()
    }

    /// The path of the last step's entry, relative to the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The last step's entry's name.
    pub fn name(&self) -> &[u8] {
        &self.path[self.listings.last().map_or(0, |listing| listing.path_len)..]
    }

    /// Goes on to the next entry. After an error, [`Walk::path`] names the directory at fault.
    pub fn step(&mut self) -> Result<Step, Errno> {
        loop {
            let Some(listing) = self.listings.last_mut() else { return Ok(Step::End) };
            self.path.truncate(listing.path_len);
            if let Some(visit) = listing.visits.next() {
                self.path.extend_from_slice(visit.name.as_bytes());
                if !visit.descend {
                    return Ok(Step::Entry(visit.kind));
                }
                self.descend()?;
            } else {
                self.listings.pop();
                if self.place.depth() > 0 {
                    self.place.leave()?;
                }
            }
        }
    }

    fn descend(&mut self) -> Result<(), Errno> {
        let from = self.listings.last().map_or(0, |listing| listing.path_len);
        self.place.enter(&self.path[from..])?;
        let visits = list(self.place.dir(), self.order)?.into_iter();
        self.path.push(b'/');
        self.listings.push(Listing { visits, path_len: self.path.len() });
        Ok(())
    }
}

/// What to visit in `dir`, in order. A directory is visited and then gone down into.
fn list(dir: BorrowedFd<'_>, order: Order) -> Result<Vec<Visit>, Errno> {
    let mut visits = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            kind => kind,
        };
        visits.push(Visit { name: name.to_owned(), kind, descend: false });
        if kind == FileType::Directory {
            visits.push(Visit { name: name.to_owned(), kind, descend: true });
        }
    }
    visits.sort_unstable_by(|a, b| match order {
        Order::Walk => (a.name.as_bytes(), a.descend).cmp(&(b.name.as_bytes(), b.descend)),
        Order::Paths => path_key(a).cmp(path_key(b)),
    });
    Ok(visits)
}

/// What decides in the order of whole paths: all below a directory begins with its name and a slash.
fn path_key(visit: &Visit) -> impl Iterator<Item = &u8> {
    visit.name.as_bytes().iter().chain(visit.descend.then_some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::CWD;
    use std::fs;
    use std::path::Path;

    fn walked(root: &Path, order: Order) -> Vec<String> {
        use std::os::unix::ffi::OsStrExt as _;
        let root = open_dir(CWD, root.as_os_str().as_bytes()).expect("open");
        let mut walk = Walk::new(root, order).expect("list");
        let mut paths = Vec::new();
        while let Step::Entry(_) = walk.step().expect("walk") {
            statat(walk.dir(), walk.name(), AtFlags::SYMLINK_NOFOLLOW).expect("one is in its directory");
            paths.push(String::from_utf8(walk.path().to_vec()).expect("text"));
        }
        paths
    }

    #[test]
    fn a_deep_tree_needs_few_open_directories() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let mut dir = temp.path().to_owned();
        let mut expected = Vec::new();
        for level in 0..300 {
            for name in ["a", "z"] {
                fs::write(dir.join(name), "").expect("write");
            }
            dir.push("m");
            fs::create_dir(&dir).expect("create");
            expected.push(format!("{}a", "m/".repeat(level)));
            expected.push(format!("{}m", "m/".repeat(level)));
        }
        expected.extend((0..300).rev().map(|level| format!("{}z", "m/".repeat(level))));
        assert_eq!(walked(temp.path(), Order::Walk), expected);
        let root = open_dir(CWD, temp.path().to_str().expect("text").as_bytes()).expect("open");
        let mut place = Place::at(root).expect("stat");
        for _ in 0..300 {
            place.enter(b"m").expect("enter");
            assert!(place.dirs.iter().filter(|(dir, _)| dir.is_some()).count() <= OPEN_DIRS + 1);
        }
    }

    #[test]
    fn a_directory_that_was_moved_leads_nowhere_else() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let deep = "d/".repeat(OPEN_DIRS + 3);
        fs::create_dir_all(temp.path().join(&deep)).expect("create");
        let root = open_dir(CWD, temp.path().to_str().expect("text").as_bytes()).expect("open");
        let mut place = Place::at(root).expect("stat");
        for _ in 0..OPEN_DIRS + 3 {
            place.enter(b"d").expect("enter");
        }
        fs::rename(temp.path().join("d/d/d"), temp.path().join("moved")).expect("rename");
        for _ in 0..OPEN_DIRS {
            place.leave().expect("leave");
        }
        assert_eq!(place.leave(), Err(Errno::STALE));
    }

    proptest! {
        #[test]
        fn both_orders_are_those_of_go(
            files in proptest::collection::vec("[a.0-]{1,2}(/[a.0-]{1,2}){0,3}", 0..20),
        ) {
            let temp = tempfile::tempdir().expect("a temporary directory");
            for file in files.iter().filter(|file| file.split('/').all(|part| part != "." && part != "..")) {
                let path = temp.path().join(file);
                if fs::create_dir_all(path.parent().expect("a parent")).is_ok() && !path.exists() {
                    fs::write(&path, "").expect("write");
                }
            }
            let entries = walkdir::WalkDir::new(temp.path()).min_depth(1).sort_by_file_name();
            let expected: Vec<String> = entries
                .into_iter()
                .map(|entry| entry.expect("an entry").into_path())
                .map(|path| path.strip_prefix(temp.path()).expect("below").display().to_string())
                .collect();
            prop_assert_eq!(walked(temp.path(), Order::Walk), expected.clone());
            let mut sorted = expected;
            sorted.sort();
            prop_assert_eq!(walked(temp.path(), Order::Paths), sorted);
        }
    }
}
