//! Ten thousand random operations on an overlay: what the kernel put in its upper directory is what
//! changed, and the scans must have found all of it. The layer of the changes, unpacked on a copy
//! of the lower directory, must then be the same tree.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::operations::{grow, operate};
use crate::layer::{Limits, Unpack, replay, write_layer};
use crate::root::{Guard, Root};
use crate::snapshot::{ChangeKind, Changes, IgnoreSet, Method, diff, scan, wait_for_tick};
use crate::testing::{Dice, assert_same, is_root, skipped, state, with_mounts};

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];
const ROUNDS: usize = 20;
const OPERATIONS: usize = 100;

#[test]
fn no_change_that_overlay_sees_is_missed() {
    let name = "no_change_that_overlay_sees_is_missed";
    if !is_root(name) {
        return;
    }
    with_mounts(name, || {
        let found: Vec<usize> = SEEDS.iter().map(|seed| one_seed(name, *seed)).collect();
        // A test that changes nothing proves nothing.
        assert!(found.iter().all(|found| *found == 0 || *found > 1000), "{found:?}");
    });
}

/// Plays all rounds of a seed; each starts from what the one before it left. Counts the changes.
fn one_seed(name: &str, seed: u64) -> usize {
    let dice = &mut Dice::new(seed);
    let temp = tempfile::tempdir().expect("temp dir");
    let lower = temp.path().join("lower");
    fs::create_dir(&lower).expect("mkdir");
    grow(&lower, dice).expect("grow");
    let mut found = 0;
    for round in 0..ROUNDS {
        let at = |what: &str| temp.path().join(format!("{what}{round}"));
        let (upper, work, merged) = (at("upper"), at("work"), at("merged"));
        for dir in [&upper, &work, &merged] {
            fs::create_dir(dir).expect("mkdir");
        }
        if !mount_overlay(&lower, &upper, &work, &merged) {
            skipped(name, "overlay cannot be mounted");
            return 0;
        }
        let changes = changes_of(&merged, dice);
        assert_nothing_missed(&changes, &lower, &upper, &format!("seed {seed} round {round}"));
        found += changes.len();
        apply(&changes, &merged, &lower);
    }
    found
}

fn mount_overlay(lower: &Path, upper: &Path, work: &Path, merged: &Path) -> bool {
    let (lower, upper, work) = (lower.display(), upper.display(), work.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let flags = MsFlags::empty();
    mount(Some("overlay"), merged, Some("overlay"), flags, Some(&*options)).is_ok()
}

fn changes_of(merged: &Path, dice: &mut Dice) -> Changes {
    let root = Root::open(merged).expect("open root");
    let scan = || scan(&root, &IgnoreSet::default(), Method::Stat).expect("scan");
    let before = scan();
    wait_for_tick();
    for _ in 0..OPERATIONS {
        operate(merged, dice);
    }
    diff(&before, &scan())
}

/// Compares with the upper directory, which holds what was copied up, made, or whited out.
fn assert_nothing_missed(changes: &Changes, lower: &Path, upper: &Path, when: &str) {
    let found = |kinds: &[ChangeKind]| -> BTreeSet<PathBuf> {
        let of_kind = changes.iter().filter(|change| kinds.contains(&change.kind));
        of_kind.map(|change| change.path.clone()).collect()
    };
    let present = found(&[ChangeKind::Added, ChangeKind::Modified]);
    let gone = found(&[ChangeKind::Deleted]);
    let is_gone = |path: &Path| path.ancestors().any(|path| gone.contains(path));
    let (old, new) = (state(lower), state(upper));
    for (path, state) in &new {
        let meta = fs::symlink_metadata(upper.join(path)).expect("stat");
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            // A directory in the place of which there is something else has no whiteouts below it.
            let covered = is_gone(path) || path.ancestors().skip(1).any(|dir| present.contains(dir));
            assert!(is_gone(path) || covered && !old.contains_key(path), "{when}: deleted {path:?}");
        } else if !is_copy(old.get(path), state) {
            assert!(present.contains(path), "{when}: changed {path:?}");
        }
        if meta.is_dir() && is_opaque(&upper.join(path)) {
            for hidden in old.keys().filter(|old| old.starts_with(path) && *old != path) {
                let listed = new.contains_key(hidden) || is_gone(hidden);
                let was_dir = old.get(path).is_some_and(|old| old.mode & 0o170_000 == 0o040_000);
                assert!(listed || !was_dir, "{when}: hidden {hidden:?}");
            }
        }
    }
}

/// Tells whether the upper entry is the lower one, only copied up. Directories are copied up with
/// whatever is below them.
fn is_copy(old: Option<&crate::testing::State>, new: &crate::testing::State) -> bool {
    old.is_some_and(|old| crate::testing::State { first_name: old.first_name.clone(), ..new.clone() } == *old)
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 1];
    let opaque = rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value[..]);
    opaque.is_ok_and(|len| len == 1 && value == *b"y")
}

/// Writes the layer of the changes, unmounts, and unpacks the layer on the lower directory.
fn apply(changes: &Changes, merged: &Path, lower: &Path) {
    let mut tar = Vec::new();
    let root = Root::open(merged).expect("open root");
    let layer = write_layer(&root, changes, &mut tar).expect("write layer");
    let ignore = IgnoreSet::default();
    let rules = Unpack {
        root: &Root::open(lower).expect("open root"),
        below: Path::new(""),
        guard: Guard::new(&ignore),
        owner: None,
        limits: Limits::default(),
    };
    let expected = tempfile::tempdir().expect("temp dir");
    let copy = expected.path().join("copy");
    let status = std::process::Command::new("cp").arg("-a").args([merged, &copy]).status();
    assert!(status.expect("cp").success());
    // The lower directory of a mounted overlay must not change.
    umount2(merged, MntFlags::MNT_DETACH).expect("unmount");
    replay(&rules, &tar[..], Some(&layer.mtimes)).expect("replay");
    assert_same(lower, &copy);
}
