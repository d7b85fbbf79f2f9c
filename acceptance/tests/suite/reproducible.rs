//! The same input gives the same image, whoever builds it, on however many processors, under any umask.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use acceptance::greeter::{APP, Greeter};
use acceptance::oci::LayoutImage;
use acceptance::sandbox::{Outcome, as_cnb_user, finish, is_root};

/// Exports what is already built under another name, by a shell that first runs `setup`; gives the digest.
#[track_caller]
fn exported(greeter: &Greeter, name: &str, setup: &str, user: User) -> String {
    let reference = format!("registry.example/{name}/app");
    let script = format!("{setup}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(greeter.sandbox.phase_path("exporter"));
    command.args(["-layout", "-layout-dir"]).arg(greeter.sandbox.path("layouts"));
    command.arg("-launcher").arg(greeter.sandbox.phase_path("launcher")).args([
        "-process-type",
        "web",
        &reference,
    ]);
    command.env_clear().envs(greeter.sandbox.environment());
    if user == User::Unprivileged {
        as_cnb_user(&mut command);
    }
    let _: Outcome = finish(name, command).ok();
    LayoutImage::judged(&greeter.layout(&reference)).digest
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Unprivileged,
    Whoever,
}

#[test]
fn an_export_does_not_depend_on_user_processors_or_umask() {
    let greeter = Greeter::new();
    greeter.build().into_iter().for_each(|outcome| drop(outcome.ok()));
    let first = LayoutImage::judged(&greeter.layout(APP)).digest;
    let cases = [
        ("umask22", "umask 022", User::Unprivileged),
        ("umask77", "umask 077", User::Unprivileged),
        ("onecpu", "taskset -cp 0 $$ >/dev/null", User::Unprivileged),
        ("root", "umask 077", User::Whoever),
    ];
    for (name, setup, user) in cases {
        assert_eq!(exported(&greeter, name, setup, user), first, "{name}");
    }
}

#[test]
fn two_builds_from_nothing_give_the_same_image() {
    let greeter = Greeter::new();
    let digests: Vec<String> = (0..2)
        .map(|_| {
            for directory in ["layers", "cache"] {
                greeter.sandbox.clear(directory);
            }
            let _ = std::fs::remove_dir_all(greeter.layout(APP));
            greeter.build().into_iter().for_each(|outcome| drop(outcome.ok()));
            greeter.image().digest
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn the_creator_makes_what_the_phases_make() {
    let greeter = Greeter::new();
    greeter.build().into_iter().for_each(|outcome| drop(outcome.ok()));
    let by_phases = greeter.image().digest;
    greeter.sandbox.clear("layers");
    let _ = std::fs::remove_dir_all(greeter.layout(APP));
    let arguments =
        ["-run-image", acceptance::greeter::RUN, "-launcher", "LAUNCHER", "-process-type", "web", APP];
    greeter.phase("creator", &arguments).ok();
    assert_eq!(greeter.image().digest, by_phases);
}

fn as_root(command: &mut Command) {
    command.uid(0).gid(0);
}

#[test]
fn root_builds_as_the_unprivileged_user() {
    if !is_root() {
        return; // nobody to be
    }
    let greeter = Greeter::new();
    let layouts: PathBuf = greeter.sandbox.path("layouts");
    let launcher = greeter.sandbox.phase_path("launcher");
    let mut arguments: Vec<PathBuf> =
        vec!["-layout".into(), "-layout-dir".into(), layouts, "-launcher".into(), launcher];
    arguments
        .extend(["-run-image", acceptance::greeter::RUN, "-process-type", "web", APP].map(PathBuf::from));
    greeter.sandbox.run_with("creator", arguments, as_root).ok();
    let image = greeter.image();
    let run = greeter.launch("web", &[]).ok();
    assert!(run.stdout.starts_with("Hello"), "{} {}", image.digest, run.stdout);
    for phase in ["detector", "builder"] {
        let refused = greeter.sandbox.run_with(phase, [""; 0], as_root);
        refused.expect_code(1).says("refusing to run as root");
    }
}
