//! Archives made to write outside: nothing there changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::testing::state;

/// A root beside a directory that must stay as it is.
fn scene() -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("temp dir");
    fs::create_dir_all(temp.path().join("root/etc")).expect("mkdir");
    fs::create_dir(temp.path().join("outside")).expect("mkdir");
    fs::write(temp.path().join("outside/secret"), "secret").expect("write");
    fs::write(temp.path().join("root/etc/passwd"), "root").expect("write");
    symlink("../outside", temp.path().join("root/out")).expect("symlink");
    let absolute = temp.path().join("outside");
    symlink(absolute, temp.path().join("root/abs")).expect("symlink");
    symlink("../outside/secret", temp.path().join("root/file")).expect("symlink");
    temp
}

fn unpack_in(scene: &Path, tar: &[u8]) -> Result<Unpacked, UnpackError> {
    let root = Root::open(&scene.join("root")).expect("open root");
    let ignore = IgnoreSet::new(["kept"]);
    let rules = Unpack {
        root: &root,
        below: Path::new(""),
        guard: Guard::new(&ignore),
        owner: None,
        limits: Limits { entries: 100, bytes: 1 << 20 },
    };
    rules.unpack(tar)
}

#[track_caller]
fn check(archive: &[(TarHeader, &[u8])]) -> Result<Unpacked, UnpackError> {
    let scene = scene();
    let before = state(&scene.path().join("outside"));
    let done = unpack_in(scene.path(), &tar_of(archive));
    assert_eq!(state(&scene.path().join("outside")), before);
    done
}

const FILE: EntryKind = EntryKind::File;

#[test]
fn paths_that_go_up_are_refused() {
    for path in ["../outside/secret", "a/../../outside/x", "/../x", "etc/.."] {
        let done = check(&[(header(path, FILE), b"evil")]);
        assert!(matches!(done, Err(UnpackError::Escape(_))), "{path}");
    }
    let done = check(&[(link("x", EntryKind::HardLink, "../outside/secret"), b"")]);
    assert!(matches!(done, Err(UnpackError::Escape(_))));
}

#[test]
fn absolute_paths_start_at_the_root() {
    check(&[(header("/etc/new", FILE), b"x")]).expect("unpack");
    let done = check(&[(header(".", FILE), b"x")]);
    assert!(matches!(done, Err(UnpackError::Root(_))));
    check(&[(header("./", EntryKind::Directory), b"")]).expect("unpack");
}

#[test]
fn links_on_the_way_lead_inside_only() {
    for path in ["out/secret", "abs/secret", "out/new", "abs/new/deep"] {
        check(&[(header(path, FILE), b"evil")]).expect("unpack");
    }
    let made = [(link("l", EntryKind::Symlink, "../outside"), &b""[..]), (header("l/secret", FILE), b"evil")];
    check(&made).expect("unpack");
    let chained = [
        (link("a", EntryKind::Symlink, "b/.."), &b""[..]),
        (link("b", EntryKind::Symlink, ".."), b""),
        (header("a/outside/secret", FILE), b"evil"),
    ];
    check(&chained).expect("unpack");
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced() {
    check(&[(header("file", FILE), b"evil")]).expect("unpack");
    let scene = scene();
    let tar = tar_of(&[(header("file", FILE), b"evil")]);
    unpack_in(scene.path(), &tar).expect("unpack");
    let meta = fs::symlink_metadata(scene.path().join("root/file")).expect("stat");
    assert!(meta.is_file());
}

#[test]
fn a_hard_link_cannot_name_what_is_outside() {
    let direct = check(&[(link("x", EntryKind::HardLink, "out/secret"), b"")]);
    assert!(matches!(direct, Err(UnpackError::Path(_))));
    // A link to the link is one: writing to it replaces it.
    let through = [(link("x", EntryKind::HardLink, "file"), &b""[..]), (header("x", FILE), b"evil")];
    check(&through).expect("unpack");
    let self_link = check(&[(link("x", EntryKind::HardLink, "x"), b"")]);
    assert!(matches!(self_link, Err(UnpackError::Path(_))));
}

#[test]
fn links_in_a_circle_are_an_error() {
    let circle = [
        (link("a", EntryKind::Symlink, "b"), &b""[..]),
        (link("b", EntryKind::Symlink, "a"), b""),
        (header("a/x", FILE), b"evil"),
    ];
    assert!(matches!(check(&circle), Err(UnpackError::Path(_))));
}

#[test]
fn guarded_paths_are_refused_before_anything_is_made() {
    for path in ["kept", "kept/a/b"] {
        let done = check(&[(header(path, FILE), b"evil")]);
        assert!(matches!(done, Err(UnpackError::Path(error)) if error.is_read_only()));
    }
    let around = [(link("l", EntryKind::Symlink, "/kept"), &b""[..]), (header("l/a/b", FILE), b"evil")];
    assert!(matches!(check(&around), Err(UnpackError::Path(error)) if error.is_read_only()));
}

#[test]
fn an_archive_that_grows_without_end_is_cut() {
    let many: Vec<_> = (0..101).map(|number| (header(&format!("f{number}"), FILE), &b""[..])).collect();
    assert!(matches!(check(&many), Err(UnpackError::Limit(_))));
    let mut huge = header("huge", FILE);
    huge.size = u64::MAX / 2;
    let mut tar = Vec::new();
    huge.encode(&mut tar).expect("encode");
    let done = unpack_in(scene().path(), &tar);
    assert!(matches!(done, Err(UnpackError::Limit(_))));
}

fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("out"),
        Just("abs"),
        Just("file"),
        Just(".."),
        Just("."),
        Just("etc"),
        Just("secret"),
        Just("outside"),
        Just(""),
        Just(".wh.a"),
        Just(".wh..wh.opq"),
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn entry() -> impl Strategy<Value = (TarHeader, Vec<u8>)> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        Just(EntryKind::Symlink),
        Just(EntryKind::HardLink),
        Just(EntryKind::Fifo),
    ];
    (name(), kind, name(), any::<bool>()).prop_map(|(path, kind, target, absolute)| {
        let slash = if absolute { "/" } else { "" };
        let mut header = header(&path, kind);
        if matches!(kind, EntryKind::Symlink | EntryKind::HardLink) {
            header.link = format!("{slash}{target}").into_bytes();
        }
        let content = if kind == EntryKind::File { b"evil".to_vec() } else { Vec::new() };
        (header, content)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_archive_changes_what_is_outside(list in proptest::collection::vec(entry(), 1..12)) {
        let archive: Vec<_> = list
            .iter()
            .map(|(header, content)| (header.clone(), &content[..]))
            .collect();
        drop(check(&archive));
        let scene = scene();
        let before = state(&scene.path().join("outside"));
        let root = scene.path().join("root");
        drop(replay_on(&root, &tar_of(&archive), None, &IgnoreSet::default()));
        prop_assert_eq!(state(&scene.path().join("outside")), before);
        let top: Vec<PathBuf> = fs::read_dir(scene.path()).expect("list")
            .map(|entry| entry.expect("entry").path()).collect();
        prop_assert_eq!(top.len(), 2);
    }
}
