//! COPY, ADD and WORKDIR, as BuildKit carries them out.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use sha2::{Digest as _, Sha512};

use super::*;
use crate::context::SelectOptions;
use crate::layer::{EntryKind, TarHeader};
use crate::testing::is_root;

/// A scene with a context of files that are 0644, executable `run.sh`, and directories 0755.
fn scene(name: &str) -> Option<Scene> {
    if !is_root(name) {
        return None;
    }
    let scene = Scene::new();
    for file in ["a.txt", "b.txt", "run.sh", "dir/one", "dir/sub/two.txt", "dir/sub/deep/three"] {
        scene.write(&format!("context/{file}"), file);
    }
    let mode = |path: &str, mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(scene.path("context").join(path), permissions).expect("chmod");
    };
    for file in ["a.txt", "b.txt", "dir/one", "dir/sub/two.txt", "dir/sub/deep/three"] {
        mode(file, 0o644);
    }
    mode("run.sh", 0o755);
    mode("dir/sub", 0o750);
    std::os::unix::fs::chown(scene.path("context/a.txt"), Some(1000), Some(1000)).expect("chown");
    Some(scene)
}

/// Applies lines and compares what is below `/d`.
#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    let caller = std::panic::Location::caller();
    let Some(scene) = scene(&format!("copies.rs:{}", caller.line())) else { return };
    scene.apply(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
    assert_eq!(scene.list("d"), expected, "{lines}");
}

#[track_caller]
fn fails(lines: &str, expected: &str) {
    let caller = std::panic::Location::caller();
    let Some(scene) = scene(&format!("copies.rs:{}", caller.line())) else { return };
    let error = scene.fails(lines);
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_file_goes_to_its_new_name_or_into_a_directory() {
    check("COPY a.txt /d/x", &["d 755 0:0 /", "d/x 644 0:0 a.txt"]);
    check("COPY a.txt /d/", &["d 755 0:0 /", "d/a.txt 644 0:0 a.txt"]);
    check("COPY a.txt /d/.", &["d 755 0:0 /", "d/a.txt 644 0:0 a.txt"]);
    check("WORKDIR /d\nCOPY a.txt .", &["d 755 0:0 /", "d/a.txt 644 0:0 a.txt"]);
    check(
        "COPY run.sh /d/e/f/x",
        &["d 755 0:0 /", "d/e 755 0:0 /", "d/e/f 755 0:0 /", "d/e/f/x 755 0:0 run.sh"],
    );
    check("COPY a.txt b.txt /d/", &["d 755 0:0 /", "d/a.txt 644 0:0 a.txt", "d/b.txt 644 0:0 b.txt"]);
}

#[test]
fn patterns_name_what_they_match_and_may_name_nothing() {
    let both = ["d 755 0:0 /", "d/a.txt 644 0:0 a.txt", "d/b.txt 644 0:0 b.txt"];
    check("COPY *.txt /d/", &both);
    check("COPY [ab].t[x]t /d/", &both);
    check("COPY a.txt optional.t[x]t /d/", &both[..2]);
    check("COPY dir/s*/tw?.txt /d/", &["d 755 0:0 /", "d/two.txt 644 0:0 dir/sub/two.txt"]);
    fails("COPY missing.txt /d/", "`missing.txt` is not in the build context");
    fails("COPY missing/*.txt /d/", "`missing/*.txt` is not in the build context");
}

#[test]
fn a_directory_gives_its_contents() {
    let contents = [
        "d 755 0:0 /",
        "d/one 644 0:0 dir/one",
        "d/sub 750 0:0 /",
        "d/sub/deep 755 0:0 /",
        "d/sub/deep/three 644 0:0 dir/sub/deep/three",
        "d/sub/two.txt 644 0:0 dir/sub/two.txt",
    ];
    for lines in ["COPY dir /d", "COPY dir/ /d/", "COPY /dir/. /d", "COPY di[r] /d"] {
        check(lines, &contents);
    }
    // What is there gets mode and owner of what is copied, but the destination itself does not.
    check(
        "WORKDIR /d\nCOPY --chmod=700 --chown=5 dir/sub/deep sub/\nCOPY dir .",
        &[
            "d 755 0:0 /",
            "d/one 644 0:0 dir/one",
            "d/sub 750 0:0 /",
            "d/sub/deep 755 0:0 /",
            "d/sub/deep/three 644 0:0 dir/sub/deep/three",
            "d/sub/three 700 5:5 dir/sub/deep/three",
            "d/sub/two.txt 644 0:0 dir/sub/two.txt",
        ],
    );
}

#[test]
fn kinds_that_do_not_fit_are_errors() {
    fails("COPY a.txt /d\nCOPY dir /d", "cannot copy a directory onto `/d`");
    fails("COPY a.txt /d/one/\nCOPY dir /d", "cannot replace directory `/d/one` with a file");
    fails("COPY a.txt /d/sub\nCOPY dir /d", "cannot copy a directory onto `/d/sub`");
}

#[test]
fn a_link_at_the_destination_is_followed_in_the_root() {
    let Some(scene) = scene("a_link_at_the_destination_is_followed_in_the_root") else { return };
    fs::create_dir(scene.path("root/real")).expect("mkdir");
    symlink("/real", scene.path("root/d")).expect("symlink");
    symlink("../real/file", scene.path("root/to-file")).expect("symlink");
    scene.apply("COPY a.txt /d\nCOPY dir /d\nCOPY b.txt /to-file").expect("apply");
    assert_eq!(scene.read("real/a.txt"), "a.txt");
    assert_eq!(scene.read("real/one"), "dir/one");
    assert_eq!(scene.read("real/file"), "b.txt");
    assert!(scene.path("root/d").is_symlink() && scene.path("root/to-file").is_symlink());
}

#[test]
fn no_destination_is_outside_the_root() {
    let Some(scene) = scene("no_destination_is_outside_the_root") else { return };
    symlink("../outside", scene.path("root/up")).expect("symlink");
    symlink(scene.path("outside"), scene.path("root/abs")).expect("symlink");
    symlink("../../outside/secret", scene.path("root/file")).expect("symlink");
    fs::write(scene.path("context/plain.tar"), archive()).expect("write");
    let before = crate::testing::state(&scene.path("outside"));
    for lines in [
        "COPY a.txt /up/x\nCOPY a.txt /up/secret\nCOPY dir /up",
        "COPY a.txt /abs/x\nCOPY dir /abs/",
        "COPY a.txt /file\nCOPY a.txt /../../outside/secret",
        "WORKDIR /up/w\nWORKDIR /abs/../../outside/w",
        "ADD plain.tar /up/\nADD plain.tar /abs",
    ] {
        // Whether it is an error does not matter here.
        drop(scene.apply(lines));
        assert_eq!(crate::testing::state(&scene.path("outside")), before, "{lines}");
    }
}

#[test]
fn owner_and_mode_can_be_given() {
    let of = |flags: &str| format!("COPY {flags} run.sh /d/x");
    check(&of("--chown=app"), &["d 755 1000:1001 /", "d/x 755 1000:1001 run.sh"]);
    check(&of("--chown=1000"), &["d 755 1000:1000 /", "d/x 755 1000:1000 run.sh"]);
    check(&of("--chown=app:extra"), &["d 755 1000:77 /", "d/x 755 1000:77 run.sh"]);
    check(&of("--chown=:77"), &["d 755 0:77 /", "d/x 755 0:77 run.sh"]);
    check(&of("--chmod=4711"), &["d 711 0:0 /", "d/x 4711 0:0 run.sh"]);
    check(&of("--chmod=go-x"), &["d 755 0:0 /", "d/x 744 0:0 run.sh"]);
    check(&of("--link --chmod=u=rw,go="), &["d 755 0:0 /", "d/x 600 0:0 run.sh"]);
    check("USER app\nCOPY a.txt /d/x", &["d 755 0:0 /", "d/x 644 0:0 a.txt"]);
    fails(&of("--chown=nobody"), "unable to find user `nobody`");
    fails(&of("--chmod=999"), "`999` is not a mode");
}

#[test]
fn links_are_followed_if_named_and_copied_if_found() {
    let Some(scene) = scene("links_are_followed_if_named_and_copied_if_found") else { return };
    symlink("a.txt", scene.path("context/named")).expect("symlink");
    symlink("../../../outside/secret", scene.path("context/dir/found")).expect("symlink");
    symlink("dir", scene.path("context/dirlink")).expect("symlink");
    scene.apply("COPY named /d/\nCOPY dir /d/dir/\nCOPY dirlink/one /d/two").expect("apply");
    let list = scene.list("d");
    assert!(list.contains(&"d/named 644 0:0 a.txt".to_owned()), "{list:?}");
    assert!(list.contains(&"d/dir/found 777 0:0 -> ../../../outside/secret".to_owned()));
    assert!(list.contains(&"d/two 644 0:0 dir/one".to_owned()));
}

#[test]
fn nothing_outside_the_context_can_be_named() {
    let Some(scene) = scene("nothing_outside_the_context_can_be_named") else { return };
    scene.write("context/etc/hostname", "of the context");
    symlink("/", scene.path("context/root")).expect("symlink");
    symlink("../outside/secret", scene.path("context/up")).expect("symlink");
    symlink(scene.path("outside/secret"), scene.path("context/absolute")).expect("symlink");
    scene.apply("COPY root/etc/hostname /d/x\nCOPY ../../etc/hostname /d/y").expect("apply");
    assert_eq!(scene.read("d/x") + &scene.read("d/y"), "of the contextof the context");
    for source in ["up", "absolute", "../outside/secret", "root/../../outside/secret"] {
        assert!(scene.fails(&format!("COPY {source} /d/z")).contains("is not in the build context"));
    }
}

#[test]
fn what_is_no_file_directory_or_link_is_refused() {
    let Some(scene) = scene("what_is_no_file_directory_or_link_is_refused") else { return };
    let _socket = std::os::unix::net::UnixListener::bind(scene.path("context/dir/socket")).expect("bind");
    let error = scene.fails("COPY dir /d");
    assert!(error.contains("`dir/socket` is a socket"), "{error}");
}

#[test]
fn parents_are_kept_from_the_pivot_on() {
    check(
        "COPY --parents dir/sub/two.txt /d/",
        &[
            "d 755 0:0 /",
            "d/dir 755 0:0 /",
            "d/dir/sub 750 0:0 /",
            "d/dir/sub/two.txt 644 0:0 dir/sub/two.txt",
        ],
    );
    check(
        "COPY --parents dir/./sub/two.txt /d/",
        &["d 755 0:0 /", "d/sub 750 0:0 /", "d/sub/two.txt 644 0:0 dir/sub/two.txt"],
    );
    check(
        "COPY --parents dir/./**/three d*/./on* /d/",
        &[
            "d 755 0:0 /",
            "d/one 644 0:0 dir/one",
            "d/sub 750 0:0 /",
            "d/sub/deep 755 0:0 /",
            "d/sub/deep/three 644 0:0 dir/sub/deep/three",
        ],
    );
    check("COPY --parents dir/./none* /d/", &["d 755 0:0 /"]);
    fails("COPY --parents dir/missing /d/", "`dir/missing` is not in the build context");
}

#[test]
fn excluded_files_are_left_out() {
    check(
        "COPY --exclude=sub/deep --exclude=**/*.txt dir /d",
        &["d 755 0:0 /", "d/one 644 0:0 dir/one", "d/sub 750 0:0 /"],
    );
    check(
        "COPY --exclude=* --exclude=!sub/two.txt dir /d",
        &["d 755 0:0 /", "d/sub 750 0:0 /", "d/sub/two.txt 644 0:0 dir/sub/two.txt"],
    );
    // The manual says so; the peer's open bug is not copied.
    check("COPY --exclude=b.* *.txt /d/", &["d 755 0:0 /", "d/a.txt 644 0:0 a.txt"]);
}

#[test]
fn ignored_files_are_not_in_the_context() {
    let Some(scene) = scene("ignored_files_are_not_in_the_context") else { return };
    scene.write("context/.dockerignore", "# what is not sent\n**/*.txt\ndir\n!dir/sub/deep\n");
    scene.apply("COPY . /d").expect("apply");
    let expected =
        ["d", "d/.dockerignore", "d/dir", "d/dir/sub", "d/dir/sub/deep", "d/dir/sub/deep/three", "d/run.sh"];
    let list = scene.list("d");
    let paths: Vec<_> = list.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(paths, expected);
    assert!(scene.fails("COPY a.txt /e").contains("is not in the build context"));
}

#[test]
fn inline_files_are_written_after_sources() {
    let lines = "ARG who=world\nCOPY a.txt <<one <<'two' /d/\nhello $who\none\nhello $who\ntwo";
    check(
        lines,
        &[
            "d 755 0:0 /",
            "d/a.txt 644 0:0 a.txt",
            "d/one 644 0:0 hello world\n",
            "d/two 644 0:0 hello $who\n",
        ],
    );
    check("COPY --chmod=755 <<EOF /d/x\n#!/bin/sh\nEOF", &["d 755 0:0 /", "d/x 755 0:0 #!/bin/sh\n"]);
}

#[test]
fn names_of_one_file_stay_one_and_capabilities_are_copied() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(scene) = scene("names_of_one_file_stay_one_and_capabilities_are_copied") else { return };
    fs::hard_link(scene.path("context/dir/one"), scene.path("context/dir/uno")).expect("link");
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let flags = rustix::fs::XattrFlags::empty();
    let path = scene.path("context/run.sh");
    rustix::fs::setxattr(path, "security.capability", capability, flags).expect("setxattr");
    let done = scene.apply("COPY dir run.sh /d/").expect("apply");
    let inode = |path: &str| fs::metadata(scene.path(path)).expect("stat").ino();
    assert_eq!(inode("root/d/one"), inode("root/d/uno"));
    let state = crate::testing::state(&scene.path("root/d"));
    assert_eq!(state[Path::new("run.sh")].xattrs[c"security.capability"], capability);
    assert!(done.entries(0).contains(&"d/uno".to_owned()));
}

#[test]
fn what_is_replaced_is_told_with_its_digest() {
    let Some(scene) = scene("what_is_replaced_is_told_with_its_digest") else { return };
    scene.write("root/d/a.txt", "hello\n");
    let done = scene.apply("COPY a.txt b.txt /d/").expect("apply");
    let digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let footprint = &done.steps[0].footprint;
    assert_eq!(footprint.overwrites["d/a.txt"].as_deref(), Some(digest));
    assert_eq!((footprint.added, footprint.overwrites.len()), (1, 1));
    assert_eq!(done.entries(0), ["d/", "d/a.txt", "d/b.txt"]);
}

#[test]
fn destinations_that_are_not_the_images_are_refused() {
    let Some(mut scene) = scene("destinations_that_are_not_the_images_are_refused") else { return };
    scene.ignore = vec!["/layers".into(), "/cnb/lifecycle".into()];
    fs::create_dir_all(scene.path("root/layers")).expect("mkdir");
    symlink("layers", scene.path("root/around")).expect("symlink");
    for destination in
        ["/layers/x", "/layers", "/cnb/lifecycle/x/y", "/around/x", "/proc/x", "/dev/x", "/sys/x"]
    {
        let error = scene.fails(&format!("COPY a.txt {destination}"));
        assert!(error.contains("is not a part of the image"), "{destination}: {error}");
    }
    let error = scene.fails("COPY dir /layers/");
    assert!(error.contains("is not a part of the image"), "{error}");
    assert_eq!(scene.list("layers"), ["layers 755 0:0 /"]);
    assert!(!scene.path("root/cnb/lifecycle").exists() && !scene.path("root/proc").exists());
    // WORKDIR makes directories by the same rule.
    assert!(scene.fails("WORKDIR /layers/x").contains("is not a part of the image"));
}

#[test]
fn a_workdir_belongs_to_its_user_where_it_is_new() {
    check(
        "WORKDIR /d\nUSER app\nWORKDIR e/f",
        &["d 755 0:0 /", "d/e 755 1000:1001 /", "d/e/f 755 1000:1001 /"],
    );
    let Some(scene) = scene("a_workdir_belongs_to_its_user_where_it_is_new") else { return };
    let done = scene.apply("WORKDIR /etc\nWORKDIR /\nWORKDIR /d").expect("apply");
    let layers: Vec<bool> = done.steps.iter().map(|step| step.layer.is_some()).collect();
    assert_eq!(layers, [false, false, true]);
    assert_eq!(done.steps[1].outcome, Outcome::Metadata);
    assert_eq!(done.config.workdir, "/d");
}

fn archive() -> Vec<u8> {
    let mut tar = Vec::new();
    let mut put = |header: TarHeader, content: &[u8]| {
        let header = TarHeader { size: content.len() as u64, ..header };
        header.encode(&mut tar).expect("encode");
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    };
    put(TarHeader::new("./", EntryKind::Directory, 0o700), b"");
    put(TarHeader { uid: 7, gid: 8, ..TarHeader::new("sub/file", EntryKind::File, 0o640) }, b"packed");
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn compressed(tool: &str) -> Option<Vec<u8>> {
    let mut child = std::process::Command::new(tool)
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(&archive()).ok()?;
    child.wait_with_output().ok().map(|output| output.stdout)
}

#[test]
fn local_archives_are_unpacked_by_add_and_not_by_copy() {
    let Some(scene) = scene("local_archives_are_unpacked_by_add_and_not_by_copy") else { return };
    fs::write(scene.path("context/plain.tar"), archive()).expect("write");
    let unpacked = ["d 755 0:0 /", "d/sub 755 0:0 /", "d/sub/file 640 7:8 packed"];
    let owned = ["d 755 5:6 /", "d/sub 755 0:0 /", "d/sub/file 640 5:6 packed"];
    for tool in ["cat", "gzip", "bzip2", "xz", "zstd"] {
        let bytes = if tool == "cat" { Some(archive()) } else { compressed(tool) };
        let Some(bytes) = bytes else {
            crate::testing::skipped("local_archives_are_unpacked_by_add_and_not_by_copy", tool);
            continue;
        };
        fs::write(scene.path("context/packed"), bytes).expect("write");
        for (lines, expected) in [
            ("ADD packed /d", &unpacked[..]),
            ("ADD packed /d/", &unpacked),
            ("ADD --chown=5:6 packed /d", &owned),
        ] {
            drop(fs::remove_dir_all(scene.path("root/d")));
            scene.apply(lines).unwrap_or_else(|error| panic!("{tool}: {error}"));
            assert_eq!(scene.list("d"), expected, "{tool}: {lines}");
        }
        for lines in ["COPY packed /d/", "ADD --unpack=false packed /d/"] {
            drop(fs::remove_dir_all(scene.path("root/d")));
            scene.apply(lines).expect("apply");
            assert!(scene.path("root/d/packed").is_file(), "{tool}: {lines}");
        }
    }
    scene.apply("ADD a.txt dir /e/").expect("apply");
    assert_eq!(scene.read("e/a.txt") + &scene.read("e/one"), "a.txtdir/one");
}

#[test]
fn archives_cannot_write_outside_their_destination() {
    let Some(mut scene) = scene("archives_cannot_write_outside_their_destination") else { return };
    scene.ignore = vec!["/layers".into()];
    let link = |path: &str, kind, target: &str| TarHeader {
        link: target.into(),
        ..TarHeader::new(path, kind, 0o777)
    };
    let file = |path: &str| TarHeader { size: 4, ..TarHeader::new(path, EntryKind::File, 0o644) };
    let before = scene.read("etc/passwd");
    for (entries, refused) in [
        (vec![file("../etc/passwd")], true),
        (vec![file("/etc/passwd")], false),
        (vec![link("l", EntryKind::Symlink, "/etc"), file("l/passwd")], true),
        (vec![link("l", EntryKind::Symlink, "../etc"), file("l/passwd")], true),
        (vec![link("l", EntryKind::Symlink, "../new"), file("l/deep/passwd")], true),
        (vec![link("l", EntryKind::Symlink, "/d/in"), file("l/passwd")], false),
        (vec![link("l", EntryKind::Symlink, "../etc"), link("h", EntryKind::HardLink, "l/passwd")], true),
        (vec![link("h", EntryKind::HardLink, "../etc/passwd"), file("h")], true),
        (vec![link("h", EntryKind::HardLink, "/etc/passwd")], true),
    ] {
        let mut tar = Vec::new();
        for header in &entries {
            header.encode(&mut tar).expect("encode");
            if header.size > 0 {
                tar.extend_from_slice(b"evil");
                tar.resize(tar.len().next_multiple_of(512), 0);
            }
        }
        tar.resize(tar.len() + 1024, 0);
        fs::write(scene.path("context/evil.tar"), tar).expect("write");
        drop(fs::remove_dir_all(scene.path("root/d")));
        assert_eq!(scene.apply("ADD evil.tar /d/").is_err(), refused, "{entries:?}");
        assert_eq!(scene.read("etc/passwd"), before);
        assert!(!scene.path("root/new").exists());
    }
    let mut tar = Vec::new();
    file("layers/x").encode(&mut tar).expect("encode");
    tar.extend_from_slice(b"evil");
    tar.resize(2048, 0);
    fs::write(scene.path("context/evil.tar"), tar).expect("write");
    let error = scene.fails("ADD evil.tar /");
    assert!(error.contains("failed to write `layers`"), "{error}");
    assert!(!scene.path("root/layers").exists());
}

/// Below a directory of the image, its links are its own business.
#[test]
fn archives_follow_the_links_of_the_image() {
    let Some(scene) = scene("archives_follow_the_links_of_the_image") else { return };
    fs::create_dir_all(scene.path("root/real/sub")).expect("mkdir");
    fs::create_dir(scene.path("root/d")).expect("mkdir");
    symlink("/real/sub", scene.path("root/d/sub")).expect("symlink");
    fs::write(scene.path("context/plain.tar"), archive()).expect("write");
    scene.apply("ADD plain.tar /d/").expect("apply");
    assert_eq!(scene.read("real/sub/file"), "packed");
    assert!(scene.path("root/d/sub").is_symlink());
}

#[test]
fn downloads_are_private_files_with_the_servers_time() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(mut scene) = scene("downloads_are_private_files_with_the_servers_time") else { return };
    scene.table.0.insert("https://example.com/a/tool%20x.tar?v=1".to_owned(), archive());
    let url = "https://example.com/a/tool%20x.tar?v=1";
    scene
        .apply(&format!("ADD {url} /d/\nADD {url} /e\nADD --unpack=true --chmod=700 {url} /f"))
        .expect("apply");
    let meta = fs::metadata(scene.path("root/d/tool x.tar")).expect("stat");
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o600, 1_000_000_000));
    assert!(scene.path("root/e").is_file());
    assert_eq!(scene.read("f/sub/file"), "packed");
    let error = scene.fails("ADD https://example.com/none /d/");
    assert!(error.contains("failed to download `https://example.com/none`: status 404"), "{error}");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let error = scene.fails(&format!("ADD --checksum={wrong} {url} /d/"));
    assert!(error.contains("has checksum sha256:") && error.contains(&wrong), "{error}");
    let error = scene.fails("ADD --checksum=md5:1 https://example.com/none /d/");
    assert!(error.contains("is not a checksum"), "{error}");
    let right = crate::cache::hex(&Sha512::digest(archive()));
    scene.apply(&format!("ADD --checksum=sha512:{right} {url} /g/")).expect("apply");
}

#[test]
fn a_context_that_changes_meanwhile_is_an_error() {
    let Some(scene) = scene("a_context_that_changes_meanwhile_is_an_error") else { return };
    let context = Context::of(&scene.path("context"), Path::new("/no/Dockerfile")).expect("open");
    let selected = context.select("a.txt", &SelectOptions::default()).expect("select").remove(0);
    let (_, contents) = context.digest_with_contents(std::slice::from_ref(&selected)).expect("digest");
    let times = fs::metadata(scene.path("context/a.txt")).expect("stat").modified().expect("time");
    scene.write("context/a.txt", "A.TXT");
    let file = fs::File::options().write(true).open(scene.path("context/a.txt")).expect("open");
    file.set_times(fs::FileTimes::new().set_modified(times)).expect("times");
    let root = Root::open(&scene.path("root")).expect("open root");
    let ignore = crate::snapshot::IgnoreSet::default();
    let mut copier = super::super::copy::Copier::new(&root, &ignore, "/d");
    let (files, contents) = (context.files(), contents.as_slice());
    let mut source = super::super::copy::Source::Context { files, selected: &selected, contents };
    let error = copier.copy(&selected.name, &selected.entries, &mut source).expect_err("an error");
    assert!(error.to_string().contains("changed while it was copied"), "{error}");
}

#[test]
fn paths_in_messages_begin_with_one_slash() {
    use crate::root::at;
    let error = || at("write", Path::new("/opt/x"))(rustix::io::Errno::ROFS);
    let texts = [
        CopyError::from(error()).to_string(),
        OperationError::from(error()).to_string(),
        MountError::from(error()).to_string(),
    ];
    assert!(texts.iter().all(|text| text.contains("`/opt/x` is not a part of the image")), "{texts:?}");
}
