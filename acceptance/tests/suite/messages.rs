//! The words, streams, colours and exit codes that platforms and their tests quote.

use acceptance::greeter::{APP, Greeter, RUN};
use acceptance::sandbox::{Outcome, Sandbox};

/// Runs a phase with other variables than a sandbox has: a value of `None` takes one away.
fn run(phase: &str, arguments: &[&str], variables: &[(&str, Option<&str>)]) -> Outcome {
    let sandbox = Sandbox::new();
    sandbox.run_with(phase, arguments, |command| {
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    })
}

#[track_caller]
fn check(phase: &str, arguments: &[&str], api: Option<&str>, code: i32, text: &str) {
    let outcome = run(phase, arguments, &[("CNB_PLATFORM_API", api)]).expect_code(code);
    assert!(outcome.stderr.contains(text), "{text:?} is not in {:?}", outcome.stderr);
    assert_eq!(outcome.stdout, "", "{}", outcome.command);
}

const NEWEST: Option<&str> = Some("0.15");

#[test]
fn a_phase_begins_with_the_platform_api() {
    let unset = "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired \
                 platform API version";
    check("detector", &["-nonsense"], None, 11, unset);
    check("detector", &["-nonsense"], Some(" "), 11, unset);
    let unknown =
        "failed to set platform API: platform API version '0.99' is incompatible with the lifecycle";
    check("analyzer", &[], Some("0.99"), 11, unknown);
}

#[test]
fn then_come_flags_and_arguments() {
    check("restorer", &["-nonsense"], NEWEST, 2, "flag provided but not defined: -nonsense");
    check("restorer", &["-daemon=maybe"], NEWEST, 2, "invalid value \"maybe\" for flag -daemon");
    check("detector", &["-system", "/s"], Some("0.14"), 2, "flag provided but not defined: -system");
    check("analyzer", &["-log-level", "loud", "app"], NEWEST, 1, "failed to parse log level: invalid level");
    for (phase, arguments, text) in [
        ("analyzer", &[][..], "received 0 arguments, but expected 1"),
        ("creator", &["one", "two"], "received 2 arguments, but expected 1"),
        ("exporter", &[], "at least one image argument is required"),
        ("rebaser", &[], "at least one image argument is required"),
        ("detector", &["one"], "received unexpected arguments"),
        ("builder", &["one"], "received unexpected arguments"),
    ] {
        check(phase, arguments, NEWEST, 3, &format!("failed to parse arguments: {text}"));
    }
    let late = "unconsumed flag-like positional arg: \n\t-daemon\n\t This will not be interpreted as a flag.\
                \n\t Did you mean to put this before the first positional argument?";
    check("analyzer", &["app", "-daemon"], NEWEST, 3, late);
}

#[test]
fn versions_and_help_are_answered_on_stdout() {
    let version = run("detector", &["-version"], &[("CNB_PLATFORM_API", None)]).ok().stdout;
    assert!(version.starts_with(|first: char| first.is_ascii_digit()) && !version.contains('+'), "{version}");
    for phase in ["analyzer", "restorer", "extender", "builder", "exporter", "creator", "rebaser"] {
        assert_eq!(run(phase, &["-version"], &[]).ok().stdout, version, "{phase}");
        assert!(run(phase, &["-h"], &[]).ok().stdout.contains("-log-level"), "{phase}");
    }
}

#[test]
fn files_that_are_missing_or_broken_are_named_in_known_words() {
    let sandbox = Sandbox::new();
    let group = sandbox.path("layers/group.toml").display().to_string();
    let missing = format!("failed to read group file: open {group}: no such file or directory");
    sandbox.run("restorer", [""; 0]).expect_code(42).says(&missing);
    sandbox.write("layers/group.toml", "a a\n");
    let broken = "failed to read group file: toml: line 1: expected '.' or '=', but got 'a' instead";
    sandbox.run("restorer", [""; 0]).expect_code(42).says(broken);
    sandbox.write("layers/group.toml", "[[group]]\nid = 'hello_world'\nversion = '0.0.1'\n");
    let unknown = "parse buildpack API '<nil>' for buildpack 'hello_world@0.0.1'";
    for phase in ["restorer", "builder"] {
        sandbox.run(phase, [""; 0]).expect_code(12).says(unknown);
    }
}

#[test]
fn an_unreachable_registry_is_named_by_its_url() {
    let outcome = run("analyzer", &["-run-image", "host.invalid/run", "host.invalid/app"], &[]);
    let outcome = outcome.expect_code(32).says("https://host.invalid/");
    outcome.says("ensure registry read/write access to host.invalid/app");
}

#[test]
fn colours_are_always_on_unless_switched_off() {
    let red = "\u{1b}[31;1mERROR: \u{1b}[0mfailed to restore: ";
    let yellow = "\u{1b}[33;1mWarning: \u{1b}[0mNo cached data will be used, no cache specified.";
    let coloured = |arguments: &[&str], value| run("restorer", arguments, &[("CNB_NO_COLOR", value)]);
    coloured(&[], None).expect_code(42).says(red).says(yellow);
    coloured(&[], Some("false")).expect_code(42).says(red);
    for outcome in [coloured(&["-no-color"], None), coloured(&[], Some("1")), coloured(&[], Some("true"))] {
        assert!(!outcome.text().contains('\u{1b}'), "{:?}", outcome.text());
        outcome
            .expect_code(42)
            .says("ERROR: failed to restore: ")
            .says("Warning: No cached data will be used");
    }
    // What is wrong before flags are known does not hear of them.
    let early = run("restorer", &["-no-color"], &[("CNB_NO_COLOR", None), ("CNB_PLATFORM_API", None)]);
    early.says("\u{1b}[31;1mERROR: \u{1b}[0mfailed to get platform API version");
}

#[test]
fn the_creator_heads_its_parts_in_colour() {
    let greeter = Greeter::new();
    let arguments = ["-layout", "-layout-dir", "LAYOUTS", "-run-image", RUN, "-launcher", "LAUNCHER", APP];
    let layouts = greeter.sandbox.path("layouts").display().to_string();
    let launcher = greeter.sandbox.phase_path("launcher").display().to_string();
    let arguments = arguments.map(|word| match word {
        "LAYOUTS" => layouts.clone(),
        "LAUNCHER" => launcher.clone(),
        word => word.to_owned(),
    });
    let outcome = greeter.sandbox.run_with("creator", arguments, |command| {
        command.env_remove("CNB_NO_COLOR");
    });
    let outcome = outcome.ok();
    for part in ["ANALYZING", "DETECTING", "RESTORING", "BUILDING", "EXPORTING"] {
        assert!(outcome.stdout.contains(&format!("\u{1b}[36m===> {part}\u{1b}[0m\n")), "{}", outcome.stdout);
    }
}

#[test]
fn debug_lines_tell_how_far_a_phase_came_and_what_was_saved() {
    let greeter = Greeter::new();
    let outcome = greeter.phase("analyzer", &["-log-level", "debug", "-run-image", RUN, APP]).ok();
    for line in [
        "Starting analyzer...",
        "Parsing inputs...",
        "Ensuring privileges...",
        "Executing command...",
        "Timer: Analyzer started at ",
        "Timer: Analyzer ran for ",
    ] {
        assert!(outcome.stdout.contains(line), "{line}: {}", outcome.stdout);
    }
    for phase in ["detector", "restorer", "builder"] {
        greeter.phase(phase, &[]).ok();
    }
    let export = greeter.phase("exporter", &["-log-level", "debug", "-launcher", "LAUNCHER", APP]).ok();
    export
        .says("Saving ")
        .says("*** Images (")
        .says("*** Digest: sha256:")
        .says("*** Manifest Size: ")
        .says("Added 2/2 app layer(s)");
}
