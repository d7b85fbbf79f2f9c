//! A layer applied is the tree that it was taken from.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::*;
use crate::testing::{assert_same, is_root, state};

fn base(top: &Path) {
    fs::create_dir_all(top.join("a/b")).expect("mkdir");
    for file in ["a/b/file", "a/one", "a/two", "gone", "type"] {
        fs::write(top.join(file), file).expect("write");
    }
    fs::hard_link(top.join("a/one"), top.join("linked")).expect("link");
}

fn change(top: &Path) {
    fs::remove_file(top.join("gone")).expect("remove");
    fs::write(top.join("a/one"), "changed").expect("write");
    fs::remove_file(top.join("type")).expect("remove");
    fs::create_dir(top.join("type")).expect("mkdir");
    symlink("a", top.join("type/link")).expect("symlink");
    fs::write(top.join("a/b/script"), "#!").expect("write");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(top.join("type/link"), Some(7), Some(8)).expect("chown");
        std::os::unix::fs::chown(top.join("a/b"), Some(1000), Some(1001)).expect("chown");
        let node = |name: &str, kind, device| {
            mknodat(CWD, top.join(name), kind, Mode::RUSR, device).expect("mknod");
        };
        node("a/fifo", FileType::Fifo, 0);
        node("a/null", FileType::CharacterDevice, makedev(1, 3));
    }
}

#[test]
fn a_replayed_tree_is_the_built_one_times_included() {
    let (built, cached) = (tempfile::tempdir(), tempfile::tempdir());
    let (built, cached) = (built.expect("temp dir"), cached.expect("temp dir"));
    base(built.path());
    let copied = std::process::Command::new("cp").arg("-aT").args([built.path(), cached.path()]).status();
    assert!(copied.expect("cp").success());
    let (tar, layer) = layer_of(built.path(), change);
    for _ in 0..2 {
        let ignore = IgnoreSet::default();
        replay_on(cached.path(), &tar, Some(&layer.mtimes), &ignore).expect("replay");
        assert_same(built.path(), cached.path());
    }
    let names = state(cached.path());
    let marked = |path: &PathBuf| path.to_string_lossy().contains(".wh.");
    assert!(!names.keys().any(marked));
}

#[track_caller]
fn check(layer: &[(TarHeader, &[u8])], ignore: &[&str], expected: &[&str]) {
    let temp = tempfile::tempdir().expect("temp dir");
    base(temp.path());
    let ignore = IgnoreSet::new(ignore);
    replay_on(temp.path(), &tar_of(layer), None, &ignore).expect("replay");
    let found: Vec<_> = state(temp.path()).into_keys().collect();
    let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_opaque_directory_keeps_only_what_its_layer_holds() {
    let mark = |path: &str| header(path, EntryKind::File);
    let new = (header("a/b/new", EntryKind::File), &b"new"[..]);
    let dirs = [header("a/", EntryKind::Directory), header("a/b/", EntryKind::Directory)];
    for layer in [
        vec![(mark("a/.wh..wh.opq"), &b""[..]), (dirs[1].clone(), b""), new.clone()],
        vec![(dirs[0].clone(), b""), (dirs[1].clone(), b""), new, (mark("a/.wh..wh.opq"), b"")],
    ] {
        check(&layer, &[], &["a", "a/b", "a/b/new", "gone", "linked", "type"]);
    }
}

#[test]
fn a_whiteout_spares_what_its_own_layer_holds() {
    let layer = [
        (header("a/", EntryKind::Directory), &b""[..]),
        (header("a/b/", EntryKind::Directory), b""),
        (header("a/.wh.b", EntryKind::File), b""),
        (header("a/.wh.one", EntryKind::File), b""),
        (header("a/.wh.never", EntryKind::File), b""),
        (header("no/.wh.such", EntryKind::File), b""),
        (header("gone/.wh.file", EntryKind::File), b""),
        (header(".wh..wh.plnk", EntryKind::File), b""),
    ];
    check(&layer, &[], &["a", "a/b", "a/two", "gone", "linked", "type"]);
}

#[test]
fn ignored_paths_are_neither_written_nor_deleted() {
    let layer = [
        (header("a/b/file", EntryKind::File), &b"changed"[..]),
        (header("a/b/new", EntryKind::File), b""),
        (header("made/for/nothing", EntryKind::File), b""),
        (header(".wh.a", EntryKind::File), b""),
        (header(".wh.gone", EntryKind::File), b""),
        (header("a", EntryKind::File), b""),
    ];
    let expected = ["a", "a/b", "a/b/file", "gone", "linked", "type"];
    check(&layer, &["a/b", "gone", "made"], &expected);
}

#[test]
fn a_link_among_the_directories_is_followed_inside_the_root() {
    let layer = [
        (link("in", EntryKind::Symlink, "/a/b"), &b""[..]),
        (header("in/new", EntryKind::File), b"x"),
        (link("out", EntryKind::Symlink, "../../../../made"), b""),
        (header("out/new", EntryKind::File), b"x"),
    ];
    let expected = [
        "a", "a/b", "a/b/file", "a/b/new", "a/one", "a/two", "gone", "in", "linked", "made", "made/new",
        "out", "type",
    ];
    check(&layer, &[], &expected);
}

#[test]
fn owners_survive_with_the_bits_that_a_new_owner_clears() {
    if !is_root("owners_survive_with_the_bits_that_a_new_owner_clears") {
        return;
    }
    let temp = tempfile::tempdir().expect("temp dir");
    let mut file = TarHeader::new("sudo", EntryKind::File, 0o4755);
    (file.uid, file.gid) = (12, 3_000_000);
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    file.xattrs.insert(c"security.capability".to_owned(), capability);
    let mut tar = Vec::new();
    file.encode(&mut tar).expect("encode");
    tar.extend([0; 1024]);
    replay_on(temp.path(), &tar, None, &IgnoreSet::default()).expect("replay");
    let found = state(temp.path());
    let found = &found[Path::new("sudo")];
    assert_eq!((found.mode & 0o7777, found.owner), (0o4755, (12, 3_000_000)));
    assert_eq!(found.xattrs, file.xattrs);
}
