//! What stands in a layer.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat};

use super::*;
use crate::testing::{is_root, skipped};

fn base() -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("temp dir");
    let top = temp.path();
    fs::create_dir_all(top.join("a/b/c")).expect("mkdir");
    fs::create_dir(top.join("tmp")).expect("mkdir");
    fs::set_permissions(top.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
    fs::set_permissions(top.join("a"), fs::Permissions::from_mode(0o700)).expect("chmod");
    for file in ["a/b/c/file", "a/b/other", "a/passwd", "a.b"] {
        fs::write(top.join(file), file).expect("write");
    }
    temp
}

#[track_caller]
fn check(change: impl FnOnce(&Path), expected: &[(&str, EntryKind, &str)]) {
    let temp = base();
    let (tar, written) = layer_of(temp.path(), change);
    let read: Vec<_> = entries(&tar).into_iter().map(|entry| (entry.path, entry.kind, entry.link)).collect();
    let expected: Vec<_> =
        expected.iter().map(|(path, kind, link)| (PathBuf::from(path), *kind, PathBuf::from(link))).collect();
    assert_eq!(read, expected);
    assert_eq!(written.mtimes.len(), read.len());
    assert_eq!(written.size_bytes, tar.len() as u64);
}

const DIR: EntryKind = EntryKind::Directory;
const FILE: EntryKind = EntryKind::File;

#[test]
fn directories_above_a_change_are_written_once_with_their_modes() {
    let change = |top: &Path| {
        fs::write(top.join("a/b/c/file"), "new").expect("write");
        fs::write(top.join("a/b/other"), "new").expect("write");
        fs::write(top.join("tmp/foo"), "new").expect("write");
    };
    check(
        change,
        &[
            ("a/", DIR, ""),
            ("a/b/", DIR, ""),
            ("a/b/c/", DIR, ""),
            ("a/b/c/file", FILE, ""),
            ("a/b/other", FILE, ""),
            ("tmp/", DIR, ""),
            ("tmp/foo", FILE, ""),
        ],
    );
    let (tar, _) = layer_of(base().path(), change);
    let modes: Vec<u32> = entries(&tar).iter().map(|entry| entry.mode).collect();
    assert_eq!((modes[0], modes[5]), (0o700, 0o1777));
}

#[test]
fn a_deleted_directory_is_one_whiteout() {
    check(
        |top| fs::remove_dir_all(top.join("a/b")).expect("remove"),
        &[("a/", DIR, ""), ("a/.wh.b", FILE, "")],
    );
}

#[test]
fn a_changed_type_is_one_entry() {
    check(
        |top| {
            fs::remove_dir_all(top.join("a/b")).expect("remove");
            symlink("/tmp", top.join("a/b")).expect("symlink");
            fs::remove_file(top.join("a.b")).expect("remove");
            fs::create_dir(top.join("a.b")).expect("mkdir");
        },
        &[("a/", DIR, ""), ("a/b", EntryKind::Symlink, "/tmp"), ("a.b/", DIR, "")],
    );
}

#[test]
fn a_new_link_does_not_bring_its_target() {
    check(
        |top| symlink("../a/passwd", top.join("tmp/link")).expect("symlink"),
        &[("tmp/", DIR, ""), ("tmp/link", EntryKind::Symlink, "../a/passwd")],
    );
}

#[test]
fn names_of_one_inode_are_links_to_the_first() {
    check(
        |top| {
            fs::hard_link(top.join("a/passwd"), top.join("tmp/one")).expect("link");
            fs::hard_link(top.join("a/passwd"), top.join("tmp/two")).expect("link");
        },
        &[
            ("a/", DIR, ""),
            ("a/passwd", FILE, ""),
            ("tmp/", DIR, ""),
            ("tmp/one", EntryKind::HardLink, "a/passwd"),
            ("tmp/two", EntryKind::HardLink, "a/passwd"),
        ],
    );
}

#[test]
fn pipes_and_devices_are_entries_and_sockets_are_not() {
    if !is_root("pipes_and_devices_are_entries_and_sockets_are_not") {
        return;
    }
    check(
        |top| {
            let node = |name: &str, kind, device| {
                mknodat(CWD, top.join(name), kind, Mode::RUSR, device).expect("mknod");
            };
            node("fifo", FileType::Fifo, 0);
            node("null", FileType::CharacterDevice, makedev(1, 3));
            node("socket", FileType::Socket, 0);
        },
        &[("fifo", EntryKind::Fifo, ""), ("null", EntryKind::CharDevice, "")],
    );
}

#[test]
fn attributes_are_kept_but_for_those_of_the_machine() {
    let temp = base();
    let path = temp.path().join("a.b");
    let set =
        |name: &str, value: &[u8]| rustix::fs::setxattr(&path, name, value, XattrFlags::empty()).is_ok();
    let mut supported = true;
    let (tar, _) = layer_of(temp.path(), |_| {
        supported = set("user.note", b"1\n\0");
        set("user.overlay.origin", b"x");
        set("trusted.note", b"x");
        set("security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    });
    if !supported {
        return skipped("attributes_are_kept", "the file system has none");
    }
    let found = entries(&tar)[0].xattrs.clone();
    assert_eq!(found.get(c"user.note"), Some(&b"1\n\0".to_vec()));
    let capable = usize::from(rustix::process::geteuid().is_root());
    assert_eq!(found.len(), 1 + capable);
}

#[test]
fn two_builds_of_the_same_files_are_the_same_bytes() {
    let change = |top: &Path| {
        fs::create_dir_all(top.join("new/dir")).expect("mkdir");
        fs::write(top.join("new/dir/file"), "content").expect("write");
        fs::remove_file(top.join("a.b")).expect("remove");
    };
    let (first, a) = layer_of(base().path(), change);
    wait_for_tick();
    let (second, b) = layer_of(base().path(), change);
    assert!(first == second);
    assert_eq!(a.diff_id, b.diff_id);
    assert_ne!(a.mtimes, b.mtimes);
    assert!(
        entries(&first).iter().all(|entry| entry.mtime == (EPOCH_SECONDS, 0) && entry.path != Path::new(""))
    );
}

#[test]
fn a_file_that_would_mean_a_deletion_is_an_error() {
    let temp = base();
    let changes = changes_by(temp.path(), |top| {
        fs::write(top.join("tmp/.wh.passwd"), "").expect("write");
    });
    let root = Root::open(temp.path()).expect("open root");
    let written = write_layer(&root, &changes, Vec::new());
    assert!(matches!(written, Err(LayerError::WhiteoutName(_))));
}
