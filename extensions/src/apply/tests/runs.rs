//! RUN in a root directory of its own.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::testing::{is_root, skipped};

/// A scene with a shell; reports the test as skipped where there can be none.
fn scene(name: &str) -> Option<Scene> {
    if !is_root(name) {
        return None;
    }
    let scene = Scene::with_shell();
    if scene.is_none() {
        skipped(name, "there is no busybox");
    }
    scene
}

/// Applies lines and compares what their processes wrote.
#[track_caller]
fn check(lines: &str, expected: &str) {
    let caller = std::panic::Location::caller();
    let Some(scene) = scene(&format!("runs.rs:{}", caller.line())) else { return };
    let done = scene.apply(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
    assert_eq!(done.output, expected, "{lines}");
}

#[test]
fn what_a_process_writes_is_a_layer() {
    let Some(scene) = scene("what_a_process_writes_is_a_layer") else { return };
    let lines =
        "RUN mkdir /new && echo hello > /new/file && rm /etc/group\nRUN true\nRUN echo x >> /new/file";
    let done = scene.apply(lines).expect("apply");
    assert_eq!(done.entries(0), ["etc/", "etc/.wh.group", "new/", "new/file"]);
    assert_eq!(done.steps[1].layer, None);
    assert_eq!(done.entries(2), ["new/", "new/file"]);
    assert_eq!(scene.read("new/file"), "hello\nx\n");
    let footprint = &done.steps[0].footprint;
    assert_eq!((footprint.added, footprint.whiteouts.len()), (2, 1));
    assert!(footprint.whiteouts.contains("etc/group"));
    assert!(done.steps[2].footprint.overwrites.contains_key("new/file"));
}

#[test]
fn what_a_layer_hides_is_its_footprint() {
    let Some(scene) = scene("what_a_layer_hides_is_its_footprint") else { return };
    let lines =
        "RUN echo x >> /etc/group; rm -rf /etc/passwd; mkdir /etc/passwd /bin/d; chmod 700 /etc; rm /bin/awk";
    let done = scene.apply(lines).expect("apply");
    let footprint = &done.steps[0].footprint;
    let paths: Vec<&str> = footprint.overwrites.keys().map(String::as_str).collect();
    assert_eq!(paths, ["etc/group", "etc/passwd"], "a directory in the place of a file, but no changed one");
    assert_eq!(footprint.whiteouts.iter().collect::<Vec<_>>(), ["bin/awk"]);
    assert_eq!((footprint.added, footprint.dirs.len()), (1, 0), "directories above others are understood");
}

#[test]
fn directories_that_a_layer_names_are_in_its_footprint() {
    let Some(scene) = scene("directories_that_a_layer_names_are_in_its_footprint") else { return };
    for dir in ["usr/lib/a", "usr/lib/b", "opt/x", "var/tmp"] {
        fs::create_dir_all(scene.path("root").join(dir)).expect("mkdir");
    }
    let lines = "RUN mkdir -p /usr/lib/a/new/er; chmod 711 /opt; chown 5 /usr/lib/b; touch /top; echo >> /etc/group\n\
        COPY file /opt/x/new/\nWORKDIR /var/tmp/w\nRUN rmdir /var/tmp/w";
    scene.write("context/file", "");
    let done = scene.apply(lines).expect("apply");
    let dirs = |step: usize| done.steps[step].footprint.dirs.iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(dirs(0), ["opt", "usr/lib/a", "usr/lib/b"]);
    assert_eq!((dirs(1), dirs(2), dirs(3)), (vec!["opt/x"], vec!["var/tmp"], vec![]));
}

#[test]
fn a_copy_between_runs_is_in_its_own_layer_only() {
    let Some(scene) = scene("a_copy_between_runs_is_in_its_own_layer_only") else { return };
    scene.write("context/file", "x");
    let done = scene.apply("RUN echo 1 > /one\nCOPY file /two\nRUN echo 3 > /three").expect("apply");
    let entries: Vec<_> = (0..3).map(|step| done.entries(step)).collect();
    assert_eq!(entries, [["one"], ["two"], ["three"]]);
}

#[test]
fn shell_and_exec_forms_are_run_as_written() {
    check("ENV x=1\nRUN echo \"$x\" '$x'", "1 $x\n");
    check("RUN [\"echo\", \"$x\", \"a b\"]", "$x a b\n");
    check("SHELL [\"/bin/sh\", \"-xc\"]\nRUN echo hi", "+ echo hi\nhi\n");
    check("RUN <<EOF\necho one\necho two\nEOF", "one\ntwo\n");
    check("RUN <<EOF\n#!/bin/cat\nthe script\nEOF", "#!/bin/cat\nthe script\n");
    check("RUN cat <<A - <<B\nignored\nA\nread\nB", "read\n");
}

#[test]
fn a_failure_names_the_instruction_and_the_exit_code() {
    let Some(scene) = scene("a_failure_names_the_instruction_and_the_exit_code") else { return };
    let error = scene.fails("ENV a=b\nRUN exit 7");
    assert_eq!(
        error,
        "RUN exit 7 on line 4: process `/bin/sh -c exit 7` did not complete successfully: exit code: 7"
    );
    let error = scene.fails("RUN [\"/no/such\"]");
    assert!(error.contains("failed to start `/no/such`: No such file or directory"), "{error}");
}

#[test]
fn users_have_their_groups_and_their_home() {
    let id = "RUN echo $(id -u):$(id -g) $(id -G) $HOME";
    check(&format!("USER app\n{id}"), "1000:1001 1001 77 /home/app\n");
    check(&format!("USER 1000\n{id}"), "1000:1001 1001 77 /home/app\n");
    check(&format!("USER app:extra\n{id}"), "1000:77 77 /home/app\n");
    check(&format!("USER 4321\n{id}"), "4321:0 0 /\n");
    check(&format!("USER 4321:5\nENV HOME=/x\n{id}"), "4321:5 5 /x\n");
    check(id, "0:0 0 /root\n");
    let Some(scene) = scene("users_have_their_groups_and_their_home") else { return };
    assert!(scene.fails("USER nobody\nRUN true").contains("unable to find user `nobody`"));
    // Names are looked up as earlier steps left them.
    let lines = "RUN echo new:x:5:6::/n: >> /etc/passwd\nUSER new\nRUN id -u";
    assert_eq!(scene.apply(lines).expect("apply").output, "5\n");
}

#[test]
fn the_environment_is_the_images_and_the_arguments() {
    let Some(mut scene) = scene("the_environment_is_the_images_and_the_arguments") else { return };
    scene.config.env = vec![("PATH".to_owned(), "/bin".to_owned()), ("BASE".to_owned(), "b".to_owned())];
    scene.arguments.supplied.insert("given".to_owned(), "g".to_owned());
    scene.arguments.proxies.insert("HTTP_PROXY".to_owned(), "p".to_owned());
    let done = scene.apply("ARG given\nARG own=o\nENV a=b=c\nRUN env | sort").expect("apply");
    let expected =
        "BASE=b\nHOME=/root\nHTTP_PROXY=p\nPATH=/bin\nPWD=/\nSHLVL=1\na=b=c\ngiven=g\nhttp_proxy=p\nown=o\n";
    assert_eq!(done.output, expected);
}

#[test]
fn the_working_directory_is_made_where_it_is_missing() {
    let Some(mut scene) = scene("the_working_directory_is_made_where_it_is_missing") else { return };
    scene.config.workdir = "/work/dir".to_owned();
    let done = scene.apply("RUN pwd").expect("apply");
    assert_eq!(done.output, "/work/dir\n");
    assert_eq!(done.entries(0), ["work/", "work/dir/"]);
    for workdir in ["/proc", "/proc/self/fd", "/dev"] {
        scene.config.workdir = workdir.to_owned();
        let error = scene.fails("RUN pwd");
        assert!(error.contains("is not a part of the image"), "{workdir}: {error}");
    }
    symlink("/proc", scene.path("root/to-proc")).expect("symlink");
    scene.config.workdir = "/to-proc".to_owned();
    assert!(scene.fails("RUN pwd").contains("is not a part of the image"));
}

#[test]
fn a_root_directory_is_furnished_and_none_of_it_is_in_a_layer() {
    let Some(scene) = scene("a_root_directory_is_furnished_and_none_of_it_is_in_a_layer") else { return };
    scene.write("root/etc/hosts", "of the image\n");
    let lines = "RUN echo x > /dev/null && ls /proc/self/stat /dev/fd/0 >/dev/null && head -c 4 /dev/urandom | wc -c && echo 127.0.0.9 extra >> /etc/hosts\n\
        RUN cat /etc/hosts | grep -c 'of the image' || true";
    let done = scene.apply(lines).expect("apply");
    assert_eq!(done.output, "4\n0\n");
    assert!(done.steps.iter().all(|step| step.layer.is_none()));
    assert_eq!(scene.read("etc/hosts"), "of the image\n");
    assert!(done.log.iter().any(|line| line.starts_with("Furnished")), "{:?}", done.log);
}

#[test]
fn nothing_outside_the_root_can_be_reached_by_links() {
    let Some(scene) = scene("nothing_outside_the_root_can_be_reached_by_links") else { return };
    let outside = scene.path("outside");
    symlink(&outside, scene.path("root/out")).expect("symlink");
    symlink("../../../../../../../etc", scene.path("root/up")).expect("symlink");
    let done = scene.apply("RUN ls /out/secret; cat /up/passwd | head -1; echo x > /../x").expect("apply");
    assert!(done.output.contains("ls: /out/secret: No such file"), "{}", done.output);
    assert!(done.output.ends_with("root:x:0:0::/root:/bin/sh\n"));
    assert_eq!(fs::read_dir(outside).expect("list").count(), 1);
    assert!(scene.path("root/x").exists());
}

#[test]
fn daemons_do_not_survive_their_step() {
    let Some(scene) = scene("daemons_do_not_survive_their_step") else { return };
    let lines = "RUN setsid sh -c 'while true; do echo x >> /tick; sleep 0.05; done' & sleep 0.3\nRUN true";
    let done = scene.apply(lines).expect("apply");
    let ticks = fs::read(scene.path("root/tick")).expect("read").len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::read(scene.path("root/tick")).expect("read").len(), ticks);
    assert_eq!(done.entries(0), ["tick"]);
    assert_eq!(done.steps[1].layer, None);
}

#[test]
fn an_image_without_a_shell_runs_what_is_copied_into_it() {
    let Some(shell) = scene("an_image_without_a_shell_runs_what_is_copied_into_it") else { return };
    let scene = Scene::new();
    fs::copy(shell.path("root/bin/busybox"), scene.path("context/busybox")).expect("copy");
    scene.write("context/installer", "#!/tools/busybox sh\n/tools/busybox echo installed > /result\n");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(scene.path("context/installer"), mode).expect("chmod");
    let lines = "COPY busybox installer /tools/\nRUN [\"/tools/installer\"]\nRUN [\"/tools/busybox\", \"rm\", \"-r\", \"/tools\"]";
    let done = scene.apply(lines).expect("apply");
    assert_eq!(done.entries(1), ["result"]);
    assert_eq!(done.entries(2), [".wh.tools"]);
    assert!(scene.fails("RUN true").contains("failed to start `/bin/sh`"));
}

#[test]
fn a_step_without_network_reaches_nothing() {
    let Some(scene) = scene("a_step_without_network_reaches_nothing") else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || listener.incoming().take(1).for_each(drop));
    assert!(scene.apply(&format!("RUN --network=none nc 127.0.0.1 {port}")).is_err());
    scene.apply(&format!("RUN nc 127.0.0.1 {port}")).expect("apply");
}
