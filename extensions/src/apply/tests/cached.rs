//! Sessions with a step cache.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::testing::{assert_same, is_root, skipped};

const TTL: Duration = Duration::from_secs(1000);

/// A scene with a cache, a shell, and a file in the context.
fn scene(name: &str) -> Option<Scene> {
    if !is_root(name) {
        return None;
    }
    let Some(mut scene) = Scene::with_shell() else {
        skipped(name, "there is no busybox");
        return None;
    };
    scene.ttl = Some(TTL);
    scene.write("context/file", "content");
    Some(scene)
}

fn outcomes(done: &Done) -> Vec<Outcome> {
    done.steps.iter().map(|step| step.outcome).filter(|outcome| *outcome != Outcome::Metadata).collect()
}

use Outcome::{Cached as C, Executed as E};

/// Applies the first lines, changes the scene, applies the second, and compares their outcomes.
#[track_caller]
fn check(first: &str, change: impl FnOnce(&mut Scene), second: &str, expected: &[Outcome]) {
    let caller = std::panic::Location::caller();
    let Some(mut scene) = scene(&format!("cached.rs:{}", caller.line())) else { return };
    scene.apply(first).expect("first");
    change(&mut scene);
    let done = scene.apply(second).expect("second");
    assert_eq!(outcomes(&done), expected, "{second}");
}

const LINES: &str = "WORKDIR /w\nCOPY file /f\nRUN date +%N > /d\nRUN true";

#[test]
fn a_second_build_executes_nothing_and_gives_the_same_layers() {
    let Some(scene) = scene("a_second_build_executes_nothing_and_gives_the_same_layers") else { return };
    let first = scene.apply(LINES).expect("first");
    assert_eq!(outcomes(&first), [E, E, E, E]);
    let fresh = Scene::with_shell().expect("a scene");
    fs::rename(scene.path("cache"), scene.path("old")).expect("rename");
    fs::remove_dir_all(fresh.path("cache")).expect("remove");
    fs::rename(scene.path("old"), fresh.path("cache")).expect("rename");
    let second = Scene { ttl: Some(TTL), ..fresh };
    second.write("context/file", "content");
    let before = crate::testing::state(&second.path("root"));
    let done = second.apply(LINES).expect("second");
    assert_eq!(outcomes(&done), [C, C, C, C]);
    let layers = |done: &Done| -> Vec<_> {
        let layers = done.steps.iter().filter_map(|step| step.layer.as_ref());
        layers.map(|layer| (layer.diff_id.clone(), layer.digest.clone(), layer.size)).collect()
    };
    assert_eq!(layers(&done), layers(&first));
    assert_eq!(layers(&done).len(), 3);
    // Nothing had to be done, so nothing was.
    assert_eq!(crate::testing::state(&second.path("root")), before);
    assert!(!done.log.iter().any(|line| line.starts_with("Scanned")), "{:?}", done.log);
    // A root that is wanted gets it all, times included.
    let rooted = Scene { purpose: Purpose::Root, ..second };
    rooted.apply(LINES).expect("third");
    assert_eq!(rooted.read("d"), scene.read("d"));
    for path in ["w", "f", "d"] {
        let of = |scene: &Scene| crate::testing::state(&scene.path("root"))[Path::new(path)].clone();
        assert_eq!(of(&rooted), of(&scene), "{path}");
    }
}

#[test]
fn a_root_is_made_ready_only_for_what_is_not_in_the_cache() {
    let Some(mut scene) = scene("a_root_is_made_ready_only_for_what_is_not_in_the_cache") else { return };
    scene.is_closed = true;
    let before = crate::testing::state(&scene.path("root"));
    assert_eq!(scene.fails(LINES), "WORKDIR /w on line 3 has to be carried out: closed");
    assert_eq!(crate::testing::state(&scene.path("root")), before);
    scene.is_closed = false;
    scene.apply(LINES).expect("first");
    scene.is_closed = true;
    assert_eq!(outcomes(&scene.apply(LINES).expect("second")), [C, C, C, C]);
    scene.purpose = Purpose::Root;
    assert_eq!(scene.fails(LINES), "WORKDIR /w on line 3 has to be carried out: closed");
}

#[test]
fn a_replayed_root_is_the_built_one() {
    let Some(scene) = scene("a_replayed_root_is_the_built_one") else { return };
    let lines = "RUN mkfifo /p && ln -s p /l && chown -h 7:8 /l && mkdir /e && touch -d 1999-01-01 /e && rm /etc/group";
    let copy = scene.path("copy");
    let status = std::process::Command::new("cp").arg("-a").args([&scene.path("root"), &copy]).status();
    assert!(status.expect("cp").success());
    scene.apply(lines).expect("first");
    fs::rename(scene.path("root"), scene.path("built")).expect("rename");
    fs::rename(&copy, scene.path("root")).expect("rename");
    let scene = Scene { purpose: Purpose::Root, ..scene };
    assert_eq!(outcomes(&scene.apply(lines).expect("second")), [C]);
    for root in ["built", "root"] {
        // What furnishing made is in no layer.
        for dir in ["dev", "proc", "sys"] {
            drop(fs::remove_dir(scene.path(root).join(dir)));
        }
        let etc = fs::File::open(scene.path(root).join("etc")).expect("open");
        etc.set_times(fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH)).expect("times");
    }
    assert_same(&scene.path("built"), &scene.path("root"));
}

#[test]
fn labels_change_nothing_and_variables_all_below_them() {
    let run = "RUN echo hi > /x";
    check(&format!("LABEL a=1\n{run}"), |_| {}, &format!("LABEL a=2\n{run}"), &[C]);
    check(&format!("ENV a=1\n{run}"), |_| {}, &format!("ENV a=2\n{run}"), &[E]);
    check(&format!("ARG a=1\n{run}"), |_| {}, &format!("ARG a=2\n{run}"), &[E]);
    check("USER 5\nRUN true", |_| {}, "USER 6\nRUN true", &[E]);
    check(&format!("{run}\nRUN true"), |_| {}, &format!("{run}\nRUN echo\nRUN true"), &[C, E, E]);
    let proxy = |scene: &mut Scene| {
        scene.arguments.proxies.insert("HTTP_PROXY".to_owned(), "http://proxy".to_owned());
    };
    check(run, proxy, run, &[C]);
}

#[test]
fn contents_and_modes_of_the_context_count_and_times_do_not() {
    let lines = "COPY file /f\nRUN true";
    let touch = |scene: &mut Scene| {
        let file = fs::File::open(scene.path("context/file")).expect("open");
        file.set_times(fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH)).expect("times");
    };
    check(lines, touch, lines, &[C, C]);
    check(lines, |scene| scene.write("context/other", "x"), lines, &[C, C]);
    check(lines, |scene| scene.write("context/file", "CONTENT"), lines, &[E, E]);
    let chmod = |scene: &mut Scene| {
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(scene.path("context/file"), mode).expect("chmod");
    };
    check(lines, chmod, lines, &[E, E]);
    check(lines, |_| {}, "COPY --chown=5 file /f\nRUN true", &[E, E]);
    let bound = "RUN --mount=target=/b cat /b/file";
    check(bound, |scene| scene.write("context/other", "x"), bound, &[E]);
    check(bound, |_| {}, bound, &[C]);
}

#[test]
fn a_download_counts_by_its_content_unless_its_checksum_is_given() {
    let url = "http://example.com/x";
    let put = |content: &'static str| {
        move |scene: &mut Scene| drop(scene.table.0.insert(url.to_owned(), content.as_bytes().to_vec()))
    };
    let Some(mut scene) = scene("a_download_counts_by_its_content") else { return };
    put("one")(&mut scene);
    let lines = format!("ADD {url} /x");
    assert_eq!(outcomes(&scene.apply(&lines).expect("first")), [E]);
    assert_eq!(outcomes(&scene.apply(&lines).expect("second")), [C]);
    put("two")(&mut scene);
    assert_eq!(outcomes(&scene.apply(&lines).expect("third")), [E]);
    let digest = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
    let lines = format!("ADD --checksum=sha256:{digest} {url} /x");
    assert_eq!(outcomes(&scene.apply(&lines).expect("fourth")), [E]);
    scene.table.0.clear();
    assert_eq!(outcomes(&scene.apply(&lines).expect("fifth")), [C]);
}

#[test]
fn the_build_id_counts_where_it_is_mentioned() {
    let Some(mut scene) = scene("the_build_id_counts_where_it_is_mentioned") else { return };
    let mut build = |number: &str, lines: &[&str]| {
        scene.arguments.supplied.insert("build_id".to_owned(), number.to_owned());
        let done = scene.apply_all(lines).expect("apply");
        (outcomes(&done), done.output)
    };
    let declared = ["ARG build_id=0\nRUN echo hi > /x"];
    assert_eq!(build("1", &declared).0, [E]);
    assert_eq!(build("2", &declared).0, [C]);
    let used = ["ARG build_id=0\nRUN echo first > /y\nRUN echo $build_id\nRUN true"];
    assert_eq!(build("3", &used), (vec![E, E, E], "3\n".to_owned()));
    assert_eq!(build("4", &used), (vec![C, E, E], "4\n".to_owned()));
    let through_env = ["ARG build_id=0\nENV id=$build_id\nRUN echo $id"];
    assert_eq!(build("5", &through_env).0, [E]);
    assert_eq!(build("6", &through_env), (vec![E], "6\n".to_owned()));
    // Another Dockerfile after it finds its steps, as long as the files are the same.
    let two = ["ARG build_id=0\nRUN echo $build_id", "RUN echo other > /z"];
    assert_eq!(build("7", &two).0, [E, E]);
    assert_eq!(build("8", &two).0, [E, C]);
}

#[test]
fn steps_are_found_again_after_a_miss_in_another_dockerfile_only_if_the_files_are_the_same() {
    let Some(scene) = scene("steps_are_found_again_after_a_miss") else { return };
    let second = "RUN echo z > /z";
    scene.apply_all(&["RUN echo 1 > /x", second]).expect("first");
    let same = scene.apply_all(&["RUN printf '1\\n' > /x", second]).expect("second");
    assert_eq!(outcomes(&same), [E, C]);
    let other = scene.apply_all(&["RUN echo 2 > /x", second]).expect("third");
    assert_eq!(outcomes(&other), [E, E]);
}

#[test]
fn what_is_too_old_is_not_found() {
    let none = |scene: &mut Scene| scene.ttl = Some(Duration::ZERO);
    check(LINES, none, LINES, &[E, E, E, E]);
    let one = |scene: &mut Scene| {
        std::thread::sleep(Duration::from_millis(2100));
        scene.ttl = Some(Duration::from_secs(1));
    };
    check("RUN true", one, "RUN true", &[E]);
}

#[test]
fn a_cache_that_is_not_ours_is_not_used() {
    let Some(scene) = scene("a_cache_that_is_not_ours_is_not_used") else { return };
    fs::create_dir(scene.path("cache/steps")).expect("mkdir");
    std::os::unix::fs::chown(scene.path("cache/steps"), Some(1000), None).expect("chown");
    let opened = Cache::open(&scene.path("cache/steps"), TTL);
    assert!(matches!(opened, Err(crate::cache::CacheError::NotOurs(_))));
}
