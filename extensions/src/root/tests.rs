//! Tests of paths resolved below a root.

use super::*;
use crate::snapshot::IgnoreSet;
use std::os::unix::fs::symlink;

fn tree() -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("temp dir");
    let root = temp.path();
    std::fs::create_dir_all(root.join("usr/lib")).expect("mkdir");
    std::fs::write(root.join("usr/lib/file"), "x").expect("write");
    symlink("/usr/lib", root.join("lib")).expect("symlink");
    symlink("../../../../../..", root.join("usr/up")).expect("symlink");
    symlink("/etc", root.join("outside")).expect("symlink");
    symlink("loop", root.join("loop")).expect("symlink");
    symlink("/not/yet", root.join("dangling")).expect("symlink");
    temp
}

#[track_caller]
fn leads_to(path: &str, expected: Result<&str, Errno>) {
    let temp = tree();
    let root = Root::open(temp.path()).expect("open root");
    let got = root.dir(Path::new(path)).map(|dir| dir.path);
    match (got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, Path::new(expected)),
        (Err(got), Err(expected)) => {
            assert_eq!(got.source.raw_os_error(), Some(expected.raw_os_error()));
        }
        (got, expected) => panic!("{got:?} is not {expected:?}"),
    }
}

#[test]
fn directories_are_resolved_as_after_chroot() {
    leads_to("/", Ok(""));
    leads_to(".", Ok(""));
    leads_to("usr/./lib/", Ok("usr/lib"));
    leads_to("/lib", Ok("usr/lib"));
    leads_to("../../usr", Ok("usr"));
    leads_to("/usr/up/usr/lib", Ok("usr/lib"));
    leads_to("/lib/../..", Ok(""));
    leads_to("/usr/lib/file", Err(Errno::NOTDIR));
    leads_to("/usr/lib/file/x", Err(Errno::NOTDIR));
    leads_to("/loop/x", Err(Errno::LOOP));
    // The link's target exists outside the root, and only there.
    leads_to("/outside", Err(Errno::NOENT));
}

#[test]
fn a_missing_directory_is_made_where_the_link_leads() {
    let temp = tree();
    let root = Root::open(temp.path()).expect("open root");
    let stat = rustix::fs::fstat(&root).expect("stat");
    let new = NewDir { mode: 0o1777, uid: stat.st_uid, gid: stat.st_gid };
    let (dir, made) = root
        .make_dir(Path::new("/dangling/a"), new, Guard::new(&IgnoreSet::default()))
        .expect("make directories");
    assert_eq!(dir.path, Path::new("not/yet/a"));
    assert_eq!(made, ["not", "not/yet", "not/yet/a"].map(PathBuf::from).to_vec());
    let bits = std::fs::symlink_metadata(temp.path().join("not/yet"))
        .map(|meta| std::os::unix::fs::MetadataExt::mode(&meta))
        .expect("stat");
    assert_eq!(bits & 0o7777, 0o1777);
}

#[test]
fn a_place_is_a_name_that_no_link_is_followed_for() {
    let temp = tree();
    let root = Root::open(temp.path()).expect("open root");
    let place = |path: &str| root.place(Path::new(path)).expect("place").map(|place| place.path());
    assert_eq!(place("/lib"), Some("lib".into()));
    assert_eq!(place("/lib/new"), Some("usr/lib/new".into()));
    assert_eq!(place("/lib/.."), Some("usr".into()));
    assert_eq!(place("/"), None);
    let target = |path: &str| root.target(Path::new(path)).map(|place| place.map(|place| place.path()));
    assert_eq!(target("/lib").expect("target"), Some("usr/lib".into()));
    assert_eq!(target("/usr/up").expect("target"), None);
    assert!(target("/dangling").is_err());
    assert!(target("/loop").is_err());
}
