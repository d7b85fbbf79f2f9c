//! `RUN --mount`, by mounts and in place.

use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;
use crate::testing::{is_root, skipped, state};

/// Two scenes with a shell, one for each way; reports what cannot be tested as skipped.
fn scenes(name: &str) -> Vec<Scene> {
    if !is_root(name) {
        return Vec::new();
    }
    let (Some(mut placed), Some(real)) = (Scene::with_shell(), Scene::with_shell()) else {
        skipped(name, "there is no busybox");
        return Vec::new();
    };
    placed.mounting = Mounting::Never;
    if run::may_mount(&real.path("work")) {
        return vec![placed, real];
    }
    skipped(name, "mounting needs CAP_SYS_ADMIN");
    vec![placed]
}

/// Whether the last step's mounts were put in place, as the log says.
fn in_place(done: &Done) -> bool {
    let told = |way: &str| done.log.iter().any(|line| line == &format!("Mounted {{ in_place: {way} }}"));
    assert_ne!(told("true"), told("false"), "{:?}", done.log);
    told("true")
}

impl Scene {
    /// Lists the root but for devices, which have no end.
    fn tree(&self) -> Vec<String> {
        ["a-file", "b", "c", "copy", "d", "etc", "opt", "out", "t", "tmp", "w", "y", "z"]
            .iter()
            .flat_map(|below| self.list(below))
            .collect()
    }
}

fn layers(done: &Done) -> Vec<&str> {
    done.steps.iter().filter_map(|step| step.layer.as_ref()).map(|layer| layer.diff_id.as_str()).collect()
}

/// Applies the lines in both ways, after the scene was set, and compares all there is.
#[track_caller]
fn same(name: &str, set: impl Fn(&Scene), lines: &str) {
    let mut seen: Vec<(Vec<String>, String, Vec<String>)> = Vec::new();
    for scene in scenes(name) {
        set(&scene);
        let done = scene.apply(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
        assert_eq!(in_place(&done), scene.mounting == Mounting::Never);
        seen.push((layers(&done).into_iter().map(str::to_owned).collect(), done.output, scene.tree()));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{lines}: {seen:#?}");
}

#[test]
fn both_ways_give_the_same_layers_and_leave_the_same_root() {
    let name = "both_ways_give_the_same_layers_and_leave_the_same_root";
    let set = |scene: &Scene| {
        scene.write("context/conf/file", "bound");
        scene.write("context/conf/deep/er", "deeper");
        scene.write("context/.dockerignore", "conf/left-out\n");
        scene.write("context/conf/left-out", "x");
        std::os::unix::fs::chown(scene.path("context/conf/file"), Some(7), Some(8)).expect("chown");
        scene.write("root/opt/old", "old");
        scene.write("root/a-file", "old");
        symlink("/opt", scene.path("root/to-opt")).expect("symlink");
    };
    let copy = "cp -a /b /copy; find /copy | sort | xargs stat -c '%n %a %u:%g'";
    for lines in [
        format!("RUN --mount=target=/b,source=conf {copy}"),
        "RUN --mount=target=/b/f,source=conf/file cat /b/f > /out; stat -c %a.%u.%g /b /b/f".to_owned(),
        "RUN --mount=target=/a-file,source=conf/file cat /a-file; cp /a-file /out".to_owned(),
        "RUN --mount=type=tmpfs,target=/opt ls -A /opt; stat -c %a.%u.%g /opt; touch /opt/x /y".to_owned(),
        "RUN --mount=type=tmpfs,target=/to-opt/in/deep ls /opt; touch /to-opt/in/deep/x /opt/in/kept".to_owned(),
        "RUN --mount=type=cache,target=/c,uid=5,gid=6,mode=0711 stat -c %a.%u.%g /c; echo 1 > /c/x; cp -a /c /d"
            .to_owned(),
        "RUN --mount=type=cache,target=/c,id=n --mount=type=cache,id=n,target=/e echo 1 > /c/x; cat /e/x".to_owned(),
        "RUN --mount=type=tmpfs,target=/t --mount=type=cache,target=/t/c --mount=target=/t/c/b,source=conf \
            find /t | sort; touch /t/x /t/c/y /z"
            .to_owned(),
        "WORKDIR /w/d\nRUN --mount=type=tmpfs,target=/w/d pwd; touch x; ls; echo 1 > /w/y".to_owned(),
        "ENV X=1\nRUN --mount=type=tmpfs,target=/w mkdir -p /w/sub && cd /w/sub && pwd > /out".to_owned(),
    ] {
        same(name, set, &lines);
    }
}

#[test]
fn a_target_of_another_type_is_replaced_in_place() {
    for scene in scenes("a_target_of_another_type_is_replaced_in_place") {
        scene.write("root/a-file", "old");
        let done = scene.apply("RUN --mount=type=tmpfs,target=/a-file touch /a-file/x /out").expect("apply");
        assert!(in_place(&done));
        assert_eq!((done.entries(0), scene.read("a-file")), (vec!["out".to_owned()], "old".to_owned()));
    }
}

/// Looks once a step has made `/ready`, and then makes `/go`, which it waits for.
fn meanwhile<T>(root: &Path, look: impl FnOnce() -> T) -> T {
    let end = std::time::Instant::now() + Duration::from_mins(1);
    while !root.join("ready").exists() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let seen = look();
    fs::write(root.join("go"), "").expect("write");
    seen
}

#[test]
fn nobody_else_sees_real_mounts() {
    for scene in scenes("nobody_else_sees_real_mounts") {
        scene.write("root/t/old", "");
        let lines =
            "RUN --mount=type=tmpfs,target=/t touch /t/x /ready; until [ -e /go ]; do sleep 0.01; done";
        let root = scene.path("root");
        let look = || (root.join("t/old").exists(), root.join("t/x").exists());
        let (old, new) = std::thread::scope(|scope| {
            let seen = scope.spawn(|| meanwhile(&root, look));
            scene.apply(lines).expect("apply");
            seen.join().expect("no panic")
        });
        let is_real = scene.mounting == Mounting::Try;
        assert_eq!((old, new), (is_real, !is_real));
    }
}

#[test]
fn files_of_the_machine_are_seen_and_those_of_the_image_stay() {
    for scene in scenes("files_of_the_machine_are_seen_and_those_of_the_image_stay") {
        scene.write("root/etc/hosts", "of the image\n");
        symlink("../run/resolve/stub.conf", scene.path("root/etc/resolv.conf")).expect("symlink");
        let lines = "RUN --mount=type=tmpfs,target=/t cat /etc/hosts; echo mine >> /etc/hosts; cat /etc/resolv.conf; \
            touch /ready; until [ -e /go ]; do sleep 0.01; done\nRUN tail -n1 /etc/hosts";
        let machines = fs::read_to_string("/etc/hosts").expect("read");
        let root = scene.path("root");
        let look = || fs::read_to_string(root.join("etc/hosts")).expect("read");
        let seen = std::thread::scope(|scope| {
            let seen = scope.spawn(|| meanwhile(&root, look));
            let done = scene.apply(lines).expect("apply");
            assert!(done.output.starts_with(&machines) && done.output.ends_with("mine\n"), "{}", done.output);
            assert_eq!(done.entries(0), ["go", "ready"]);
            seen.join().expect("no panic")
        });
        assert_eq!(seen == "of the image\n", scene.mounting == Mounting::Try, "{seen}");
        assert_eq!(scene.read("etc/hosts"), "of the image\n");
        assert_eq!(fs::read_to_string("/etc/hosts").expect("read"), machines);
        assert!(!scene.path("root/run/resolve/stub.conf").exists());
    }
}

#[test]
fn a_caches_own_directory_is_mounted_and_not_a_copy() {
    for mut scene in scenes("a_caches_own_directory_is_mounted_and_not_a_copy") {
        scene.ttl = Some(Duration::from_secs(1000));
        let done =
            scene.apply("RUN --mount=type=cache,target=/c echo x > /c/x; stat -c %i /c/x").expect("apply");
        let mounts = fs::read_dir(scene.path("cache/steps/mounts")).expect("list");
        let kept = mounts.flatten().next().expect("a cache").path().join("content/x");
        let inode = fs::metadata(kept).expect("kept").ino();
        assert_eq!(done.output == format!("{inode}\n"), scene.mounting == Mounting::Try);
    }
}

#[test]
fn read_only_mounts_cannot_be_written_where_they_are_real() {
    for scene in scenes("read_only_mounts_cannot_be_written_where_they_are_real") {
        scene.write("context/conf/file", "bound");
        let lines = "RUN --mount=target=/b,source=conf touch /b/mine || echo refused\n\
            RUN --mount=target=/b,source=conf,rw touch /b/mine && ls /b";
        let done = scene.apply(lines).expect("apply");
        let is_real = scene.mounting == Mounting::Try;
        assert_eq!(done.output.contains("refused"), is_real, "{}", done.output);
        assert!(done.output.ends_with("file\nmine\n"), "{}", done.output);
        assert!(done.steps.iter().all(|step| step.layer.is_none()));
        assert!(!scene.path("context/conf/mine").exists());
    }
}

#[test]
fn a_limit_of_a_scratch_directory_holds_where_it_is_real() {
    for scene in scenes("a_limit_of_a_scratch_directory_holds_where_it_is_real") {
        let lines = "RUN --mount=type=tmpfs,target=/t,size=64k head -c 1000000 /dev/zero > /t/x || echo full";
        let done = scene.apply(lines).expect("apply");
        assert_eq!(done.output.ends_with("full\n"), scene.mounting == Mounting::Try, "{}", done.output);
    }
}

#[test]
fn a_source_that_links_lead_out_of_a_mount_is_refused() {
    for scene in scenes("a_source_that_links_lead_out_of_a_mount_is_refused") {
        fs::create_dir(scene.path("context/conf")).expect("mkdir");
        symlink("/etc", scene.path("context/conf/link")).expect("symlink");
        let before = state(&scene.path("root/etc"));
        let lines = "RUN --mount=target=/b,source=conf --mount=type=tmpfs,target=/b/link/new true";
        if scene.mounting == Mounting::Try {
            let error = scene.fails(lines);
            assert!(error.contains("is not a part of the image"), "{error}");
        }
        assert_eq!(state(&scene.path("root/etc")).len(), before.len());
        assert!(!scene.path("root/b").exists());
    }
}

#[test]
fn mounts_are_there_for_their_step_only() {
    for scene in scenes("mounts_are_there_for_their_step_only") {
        scene.write("context/conf/file", "bound");
        scene.write("root/var/cache/old", "old");
        let before = crate::testing::state(&scene.path("root/var"));
        let lines = "WORKDIR /w\n\
            RUN --mount=target=/bound,source=conf --mount=type=tmpfs,target=/tmp/x/y \
            --mount=type=cache,target=/var/cache \
            cat /bound/file && ls /var/cache && stat -c %a /tmp/x/y && touch /tmp/x/y/z /out";
        let done = scene.apply(lines).expect("apply");
        assert_eq!(done.output, "bound1777\n");
        assert_eq!(done.entries(1), ["out"]);
        assert_eq!(crate::testing::state(&scene.path("root/var")), before);
        for path in ["root/bound", "root/tmp", "context/conf/mine"] {
            assert!(!scene.path(path).exists(), "{path}");
        }
    }
}

#[test]
fn a_failed_step_puts_back_what_its_mounts_hid() {
    for scene in scenes("a_failed_step_puts_back_what_its_mounts_hid") {
        scene.write("root/opt/tool", "old");
        scene.fails("RUN --mount=type=tmpfs,target=/opt --mount=type=tmpfs,target=/opt/in exit 1");
        assert_eq!(scene.read("opt/tool"), "old");
        assert!(!scene.path("root/opt/in").exists());
    }
}

#[test]
fn cache_mounts_keep_their_content_between_builds() {
    for mut scene in scenes("cache_mounts_keep_their_content_between_builds") {
        scene.ttl = Some(Duration::from_secs(1000));
        let first =
            "RUN --mount=type=cache,id=a,target=/c,uid=5,gid=6,mode=0750 stat -c %a.%u.%g /c; echo 1 > /c/x";
        assert_eq!(scene.apply(first).expect("apply").output, "750.5.6\n");
        let second =
            "RUN --mount=type=cache,id=a,target=/elsewhere cat /elsewhere/x; ls -a /elsewhere | wc -l";
        assert_eq!(scene.apply(second).expect("apply").output, "1\n3\n");
        let other = "RUN --mount=type=cache,id=b,target=/c ls /c | wc -l";
        assert_eq!(scene.apply(other).expect("apply").output, "0\n");
    }
}

#[test]
fn secrets_that_are_not_required_are_absent() {
    for scene in scenes("secrets_that_are_not_required_are_absent") {
        let done = scene.apply("RUN --mount=type=secret,id=s ls /run/secrets 2>&1 | wc -l").expect("apply");
        assert_eq!(done.output, "1\n");
    }
}

#[test]
fn mount_targets_stay_in_the_root_and_off_the_platforms_directories() {
    for mut scene in scenes("mount_targets_stay_in_the_root_and_off_the_platforms_directories") {
        scene.ignore = vec!["/layers".into(), "/cnb/lifecycle".into()];
        symlink(scene.path("outside"), scene.path("root/out")).expect("symlink");
        scene.apply("RUN --mount=type=tmpfs,target=/out/x touch /out/x/y").expect("apply");
        assert_eq!(fs::read_dir(scene.path("outside")).expect("list").count(), 1);
        for target in ["/layers", "/layers/x", "/cnb", "/proc", "/dev/shm"] {
            let error = scene.fails(&format!("RUN --mount=type=tmpfs,target={target} true"));
            assert!(error.contains("is not a part of the image"), "{target}: {error}");
        }
    }
}
