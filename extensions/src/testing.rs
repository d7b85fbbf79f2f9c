//! What the tests of this crate share: the state of a tree as a value, and mounts of a test's own.

mod mapped;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

pub(crate) use mapped::write_mapped;

use crate::layer::xattrs;

/// Everything about a path that an image keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub mode: u32,
    pub owner: (u32, u32),
    pub device: u64,
    pub mtime: (i64, i64),
    /// Bytes of a file, target of a link.
    pub content: Vec<u8>,
    pub xattrs: BTreeMap<CString, Vec<u8>>,
    /// The first path of the same inode.
    pub first_name: PathBuf,
}

/// Reads everything below a directory.
pub(crate) fn state(root: &Path) -> BTreeMap<PathBuf, State> {
    let mut states = BTreeMap::new();
    let mut inodes = HashMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        let mut names: Vec<_> = std::fs::read_dir(root.join(&dir))
            .expect("read directory")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        names.sort();
        for name in names {
            let path = dir.join(name);
            let meta = std::fs::symlink_metadata(root.join(&path)).expect("stat");
            if meta.is_dir() {
                open.push(path.clone());
            }
            if meta.file_type().is_socket() {
                continue;
            }
            let mut state = one(&root.join(&path), &meta);
            if !meta.is_dir() {
                inodes.entry(meta.ino()).or_insert_with(Vec::new).push(path.clone());
            }
            state.first_name.clone_from(&path);
            states.insert(path, state);
        }
    }
    for paths in inodes.values() {
        let first = paths.iter().min().expect("a path").clone();
        for path in paths {
            states.get_mut(path).expect("a state").first_name.clone_from(&first);
        }
    }
    states
}

fn one(path: &Path, meta: &std::fs::Metadata) -> State {
    let content = if meta.is_file() {
        std::fs::read(path).expect("read")
    } else if meta.is_symlink() {
        let target = std::fs::read_link(path).expect("read link");
        target.as_os_str().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    let xattrs = if meta.is_file() || meta.is_dir() {
        let file = std::fs::File::open(path).expect("open");
        xattrs::read(file.as_fd()).expect("attributes")
    } else {
        BTreeMap::new()
    };
    State {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        device: meta.rdev(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        content,
        xattrs,
        first_name: PathBuf::new(),
    }
}

/// Asserts that two trees hold the same.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (state(a), state(b));
    for path in a.keys().chain(b.keys()) {
        assert_eq!(a.get(path), b.get(path), "{}", path.display());
    }
}

/// Runs a test on a thread whose mounts nobody else sees; they end with it. Reports the test as
/// skipped, by name, where mounting is not allowed.
pub(crate) fn with_mounts(name: &str, test: impl FnOnce() + Send) {
    let ran = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).ok()?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&CStr>, "/", None::<&CStr>, private, None::<&CStr>).ok()?;
            test();
            Some(())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if ran.is_none() {
        skipped(name, "mounting needs CAP_SYS_ADMIN");
    }
}

/// Tells whether the process is root; if not, reports the test as skipped, by name.
pub(crate) fn is_root(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped(name, "it needs root");
    }
    root
}

/// Reports a test as skipped.
#[expect(clippy::print_stderr, reason = "the harness has no word for a skipped test")]
pub(crate) fn skipped(name: &str, reason: &str) {
    eprintln!("skipped: {name}: {reason}");
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below the limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % limit
    }

    /// Returns one of the items.
    pub(crate) fn one<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len())]
    }
}
