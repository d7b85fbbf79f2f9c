//! Tests of scan and comparison: each kind of change is found, and nothing else is.

mod fuzz;
mod operations;

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, XattrFlags};

use super::*;
use crate::root::Root;
use crate::testing::{skipped, with_mounts, write_mapped};
use ChangeKind::{Added, Deleted, Modified};

/// Scans, lets a test change something, scans again.
fn changes_by(method: Method, ignore: &IgnoreSet, change: impl FnOnce(&Path)) -> Changes {
    let temp = tempfile::tempdir().expect("temp dir");
    let top = temp.path();
    fs::create_dir_all(top.join("etc/deep/er")).expect("mkdir");
    fs::create_dir(top.join("tmp")).expect("mkdir");
    for file in ["etc/passwd", "etc/deep/er/file", "etc/hosts", "a.b", "a"] {
        fs::write(top.join(file), file).expect("write");
    }
    fs::hard_link(top.join("a"), top.join("tmp/a2")).expect("link");
    symlink("etc/passwd", top.join("link")).expect("symlink");
    changes_in(top, method, ignore, change)
}

fn changes_in(top: &Path, method: Method, ignore: &IgnoreSet, change: impl FnOnce(&Path)) -> Changes {
    let root = Root::open(top).expect("open root");
    let before = scan(&root, ignore, method).expect("scan");
    wait_for_tick();
    change(top);
    let after = scan(&root, ignore, method).expect("scan");
    diff(&before, &after)
}

/// The changes but for directories that only were written to.
fn paths(changes: &Changes, touched: &[&str]) -> Vec<(PathBuf, ChangeKind)> {
    changes
        .iter()
        .filter(|change| change.kind != Modified || !touched.iter().any(|dir| change.path == Path::new(dir)))
        .map(|change| (change.path.clone(), change.kind))
        .collect()
}

#[track_caller]
fn check(change: impl Fn(&Path), touched: &[&str], expected: &[(&str, ChangeKind)]) {
    let expected: Vec<_> = expected.iter().map(|(path, kind)| (PathBuf::from(path), *kind)).collect();
    for method in [Method::Stat, Method::Hash] {
        let changes = changes_by(method, &IgnoreSet::default(), &change);
        assert_eq!(paths(&changes, touched), expected, "{method:?}");
    }
}

fn keep_times(path: &Path, change: impl FnOnce()) {
    let meta = fs::symlink_metadata(path).expect("stat");
    change();
    let times = FileTimes::new().set_modified(meta.modified().expect("mtime"));
    let file = File::options().write(true).open(path).expect("open");
    file.set_times(times).expect("set times");
}

#[test]
fn nothing_changed_is_no_change() {
    check(|_| {}, &[], &[]);
    check(|top| drop(fs::read(top.join("etc/passwd")).expect("read")), &[], &[]);
}

#[test]
fn a_new_directory_is_listed_with_all_that_is_in_it() {
    check(
        |top| {
            fs::create_dir_all(top.join("new/dir")).expect("mkdir");
            fs::write(top.join("new/dir/file"), "").expect("write");
            fs::write(top.join("new-file"), "").expect("write");
        },
        &[],
        &[("new", Added), ("new/dir", Added), ("new/dir/file", Added), ("new-file", Added)],
    );
}

#[test]
fn a_rewrite_of_the_same_size_and_time_is_found() {
    check(
        |top| {
            let path = top.join("etc/passwd");
            keep_times(&path, || fs::write(&path, "ETC/PASSWD").expect("write"));
        },
        &[],
        &[("etc/passwd", Modified)],
    );
}

#[test]
fn a_write_through_memory_is_found() {
    check(
        |top| {
            let path = top.join("etc/passwd");
            let file = File::options().read(true).write(true).open(path);
            write_mapped(&file.expect("open"), b'X').expect("map");
        },
        &[],
        &[("etc/passwd", Modified)],
    );
}

#[test]
fn an_unnamed_file_that_gets_a_name_is_found() {
    check(
        |top| {
            let flags = OFlags::TMPFILE | OFlags::WRONLY;
            let made = rustix::fs::openat(CWD, top, flags, Mode::RUSR);
            let Ok(fd) = made else {
                fs::write(top.join("named"), "").expect("write");
                return skipped("unnamed file", "the file system has none");
            };
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            let to = top.join("named");
            rustix::fs::linkat(CWD, path, CWD, to, AtFlags::SYMLINK_FOLLOW).expect("link");
        },
        &[],
        &[("named", Added)],
    );
}

#[test]
fn two_files_exchanged_are_two_changes() {
    check(
        |top| {
            let (a, b) = (top.join("etc/passwd"), top.join("a.b"));
            rustix::fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).expect("exchange");
        },
        &["etc"],
        &[("a.b", Modified), ("etc/passwd", Modified)],
    );
}

#[test]
fn mode_and_attribute_alone_are_changes() {
    check(
        |top| {
            let path = top.join("a.b");
            fs::set_permissions(path, fs::Permissions::from_mode(0o4711)).expect("chmod");
        },
        &[],
        &[("a.b", Modified)],
    );
    check(
        |top| {
            let path = top.join("etc/deep");
            let set = rustix::fs::setxattr(&path, "user.test", b"1", XattrFlags::empty());
            if set.is_err() {
                skipped("extended attribute", "the file system has none");
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("chmod");
            }
        },
        &[],
        &[("etc/deep", Modified)],
    );
}

#[test]
fn every_name_of_a_changed_inode_is_a_change() {
    let all = [("a", Modified), ("tmp/a2", Modified)];
    check(|top| fs::write(top.join("tmp/a2"), "x").expect("write"), &[], &all);
    check(
        |top| fs::hard_link(top.join("a"), top.join("tmp/a3")).expect("link"),
        &["tmp"],
        &[all[0], all[1], ("tmp/a3", Added)],
    );
    check(|top| fs::remove_file(top.join("a")).expect("remove"), &[], &[("a", Deleted), all[1]]);
}

#[test]
fn a_deleted_directory_is_one_change() {
    check(|top| fs::remove_dir_all(top.join("etc")).expect("remove"), &[], &[("etc", Deleted)]);
}

#[test]
fn a_directory_deleted_and_made_again_lacks_its_old_entries() {
    check(
        |top| {
            fs::remove_dir_all(top.join("etc")).expect("remove");
            fs::create_dir(top.join("etc")).expect("mkdir");
            fs::write(top.join("etc/passwd"), "new").expect("write");
        },
        &["etc"],
        &[("etc/deep", Deleted), ("etc/hosts", Deleted), ("etc/passwd", Modified)],
    );
}

#[test]
fn a_path_of_another_type_is_one_change() {
    check(
        |top| {
            fs::remove_dir_all(top.join("etc/deep")).expect("remove");
            symlink("../tmp", top.join("etc/deep")).expect("symlink");
        },
        &["etc"],
        &[("etc/deep", Modified)],
    );
    check(
        |top| {
            fs::remove_file(top.join("link")).expect("remove");
            fs::create_dir(top.join("link")).expect("mkdir");
            fs::write(top.join("link/file"), "").expect("write");
        },
        &[],
        &[("link", Modified), ("link/file", Added)],
    );
    check(
        |top| {
            fs::remove_file(top.join("link")).expect("remove");
            symlink("etc/hosts.", top.join("link")).expect("symlink");
        },
        &[],
        &[("link", Modified)],
    );
}

#[test]
fn names_are_bytes_and_special_files_are_entries() {
    check(
        |top| {
            let fifo = top.join("fifo");
            rustix::fs::mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR, 0).expect("mkfifo");
        },
        &[],
        &[("fifo", Added)],
    );
    let odd = OsStr::from_bytes(b"new\nline \xff");
    let changes = changes_by(Method::Stat, &IgnoreSet::default(), |top| {
        fs::write(top.join(odd), "").expect("write");
    });
    assert_eq!(paths(&changes, &[]), [(PathBuf::from(odd), Added)]);
}

#[test]
fn ignored_paths_never_change() {
    let ignore = IgnoreSet::new(["/etc/hosts", "tmp", "/gone*"]);
    let changes = changes_by(Method::Stat, &ignore, |top| {
        fs::write(top.join("etc/hosts"), "changed").expect("write");
        fs::write(top.join("tmp/new"), "").expect("write");
        fs::create_dir(top.join("gone-and-back")).expect("mkdir");
    });
    assert_eq!(paths(&changes, &[]), []);
    let changes = changes_by(Method::Stat, &ignore, |top| {
        fs::remove_file(top.join("etc/hosts")).expect("remove");
    });
    assert_eq!(paths(&changes, &["etc"]), []);
}

#[test]
fn what_is_mounted_by_a_step_is_not_a_change() {
    with_mounts("what_is_mounted_by_a_step_is_not_a_change", || {
        let none = None::<&str>;
        let flags = nix::mount::MsFlags::empty();
        let changes = changes_by(Method::Stat, &IgnoreSet::default(), |top| {
            for dir in ["tmp", "mnt"] {
                fs::create_dir_all(top.join(dir)).expect("mkdir");
                let dir = top.join(dir);
                nix::mount::mount(Some("tmpfs"), &dir, Some("tmpfs"), flags, none).expect("mount");
                fs::write(dir.join("file"), "").expect("write");
            }
            let root = Root::open(top).expect("open root");
            let points = mount_points(&root).expect("mounts");
            assert_eq!(points, [PathBuf::from("mnt"), PathBuf::from("tmp")]);
        });
        assert_eq!(paths(&changes, &[]), []);
    });
}

#[test]
fn a_large_tree_is_scanned_completely() {
    let temp = tempfile::tempdir().expect("temp dir");
    let mut count = 0;
    for outer in 0..30 {
        for inner in 0..30 {
            let dir = temp.path().join(format!("{outer}/{inner}"));
            fs::create_dir_all(&dir).expect("mkdir");
            fs::write(dir.join("file"), "").expect("write");
            count += 2;
        }
        count += 1;
    }
    let root = Root::open(temp.path()).expect("open root");
    let tree = scan(&root, &IgnoreSet::default(), Method::Stat).expect("scan");
    assert_eq!(tree.len(), count);
}
