//! Detection of shell-script components in a temporary place.

pub(crate) mod golden;
pub(crate) mod place;

use std::fs;
use std::path::Path;

use super::*;
use crate::exec_env::ExecEnv;
use place::{Place, ids, plan, provides, requires};

const PASS: &str = "exit 0";
const FAIL: &str = "exit 100";

#[track_caller]
fn check(place: &Place, order: &str, expected: &[&str]) -> String {
    let (result, log) = place.detect(order);
    let detected = result.unwrap_or_else(|error| panic!("{error}\n{log}"));
    assert_eq!(ids(&detected.group.group), expected, "{log}");
    log
}

#[track_caller]
fn check_fails(place: &Place, order: &str, with_errors: bool) -> String {
    let (result, log) = place.detect(order);
    match (result, with_errors) {
        (Err(DetectError::NoGroup), false) | (Err(DetectError::NoGroupWithErrors), true) => log,
        (result, _) => panic!("{result:?}\n{log}"),
    }
}

#[test]
fn first_group_whose_required_components_pass_is_taken() {
    let place = Place::new();
    place.buildpack("a", PASS);
    place.buildpack("b", FAIL);
    place.buildpack("c", PASS);
    let log = check(&place, "a b | a b? c", &["a", "c"]);
    assert_eq!(log, "2 of 3 buildpacks participating\na 1\nc 1\n");
    assert_eq!(check(&place, "a c", &["a", "c"]), "a 1\nc 1\n");
}

#[test]
fn detects_receive_what_the_interface_promises() {
    let place = Place::new();
    let dump = "echo \"$0 $1 $2\" > out; pwd >> out; \
        env | sort | grep -v -e ^_= -e ^PWD= -e ^SHLVL= -e ^OLDPWD= >> out";
    place.buildpack("new", dump);
    place.write("platform/env/USER_VAR", "user", 0o644);
    place.write("config/env/OPERATOR", "op", 0o644);
    check(&place, "new", &["new"]);
    let out = fs::read_to_string(place.path("app/out")).unwrap();
    let (program, rest) = out.split_once(' ').unwrap();
    assert_eq!(Path::new(program), place.path("buildpacks/new/1/bin/detect"));
    let plan = rest.split([' ', '\n']).nth(1).unwrap();
    let dir = |name: &str| place.path(name).display().to_string();
    let expected = format!(
        "{platform} {plan}\n{app}\nCNB_BUILDPACK_DIR={root}\nCNB_BUILD_PLAN_PATH={plan}\nCNB_EXEC_ENV=production\n\
         CNB_PLATFORM_DIR={platform}\nCNB_TARGET_ARCH=amd64\nCNB_TARGET_OS=linux\nOPERATOR=op\nPATH=/usr/bin:/bin\nUSER_VAR=user\n",
        platform = dir("platform"),
        app = dir("app"),
        root = dir("buildpacks/new/1"),
    );
    assert_eq!(rest, expected);
    assert!(!Path::new(plan).exists(), "the plan's directory is removed");
}

#[test]
fn cleared_environment_lacks_the_users_variables_only() {
    let place = Place::new();
    place.buildpack_with("a", "[buildpack]\nclear-env = true\n", "env > out");
    place.write("platform/env/USER_VAR", "user", 0o644);
    place.write("config/env/OPERATOR", "op", 0o644);
    check(&place, "a", &["a"]);
    let out = fs::read_to_string(place.path("app/out")).unwrap();
    assert!(out.contains("OPERATOR=op") && !out.contains("USER_VAR") && !out.contains("SECRET"), "{out}");
}

#[test]
fn statuses_tell_fail_from_error() {
    let place = Place::new();
    place.buildpack("pass", PASS);
    place.buildpack("fail", FAIL);
    place.buildpack("odd", "echo why; exit 3");
    check_fails(&place, "fail", false);
    check_fails(&place, "fail | fail pass", false);
    let log = check_fails(&place, "odd pass | fail", true);
    assert!(
        log.contains("======== Output: odd@1 ========\nwhy\n") && log.contains("err:  odd@1 (3)\n"),
        "{log}"
    );
    check_fails(&place, "odd? fail", true);
    check_fails(&place, "odd?", true);
    assert!(check(&place, "odd? pass", &["pass"]).contains("err:  odd@1 (3)\n"));
    check(&place, "odd | pass", &["pass"]);
}

#[test]
fn what_hinders_a_detect_is_told() {
    let place = Place::new();
    place.buildpack("killed", "kill -KILL $$");
    place.buildpack("missing", PASS);
    fs::remove_file(place.path("buildpacks/missing/1/bin/detect")).unwrap();
    place.buildpack("plain", PASS);
    place.write("buildpacks/plain/1/bin/detect", "#!/bin/sh\n", 0o644);
    place.buildpack("broken", &plan("[[requires]]\nnme = 'x'"));
    place.buildpack("versioned", &plan("[[requires]]\nname = 'x'\nversion = '1'"));
    place.buildpack("binary", "printf '\\377' > \"$CNB_BUILD_PLAN_PATH\"");
    for (id, text) in [
        ("killed", "`bin/detect` was killed by SIGKILL"),
        ("missing", "bin/detect` does not exist"),
        ("plain", "is not executable"),
        ("broken", "buildpack broken: build plan: toml: line 1: missing field `name`"),
        ("versioned", "\"version\" key which is not supported"),
        ("binary", "the build plan is not UTF-8 text"),
    ] {
        let log = check_fails(&place, id, true);
        assert!(log.contains(&format!("======== Error: {id}@1 ========\n")), "{log}");
        assert!(log.contains(text), "{log}");
    }
}

#[test]
fn everything_is_told_when_no_group_passes() {
    let place = Place::new();
    place.buildpack("a", "echo out; echo err >&2");
    place.buildpack("b", "echo b; exit 100");
    let expected = "======== Output: a@1 ========\nout\nerr\n======== Output: b@1 ========\nb\n\
        ======== Results ========\npass: a@1\nfail: b@1\n\
        ======== Results ========\nskip: b@1\nfail: no viable buildpacks in group\n\
        Error: No buildpack groups passed detection.\nError: Please check that you are running against the correct path.\n";
    assert_eq!(check_fails(&place, "a b | b?", false), expected.replace("Error: ", "ERROR: "));
    place.buildpack("c", PASS);
    assert_eq!(check(&place, "a b | c", &["c"]), "c 1\n");
}

#[test]
fn debug_level_tells_everything_of_success_too() {
    let mut place = Place::new();
    place.level = Level::Debug;
    place.buildpack("a", &format!("echo said\n{}", plan("[[or]]\n[[or.requires]]\nname = 'x'")));
    place.buildpack("b", FAIL);
    let expected = "======== Output: a@1 ========\nsaid\n======== Results ========\npass: a@1\nskip: b@1\n\
        Resolving plan... (try #1)\n1 of 2 buildpacks participating\na 1\n";
    assert_eq!(check(&place, "a b?", &["a"]), expected);
}

#[test]
fn plan_failures_name_who_could_have_helped() {
    let place = Place::new();
    place.buildpack("needs", &requires("node"));
    place.buildpack("gives", &provides("node"));
    place.buildpack("absent", FAIL);
    place.buildpack("other", PASS);
    let log = check_fails(&place, "absent? needs gives | gives other", false);
    let first = "Group absent@1, needs@1, gives@1: needs@1 requires \"node\", which nothing before it provides \
        (absent@1 did not pass, and might provide it, gives@1 provides it, but comes later); \
        gives@1 provides \"node\", which nothing after it requires\n";
    assert!(log.contains(first), "{log}");
    let second = "Group gives@1, other@1: gives@1 provides \"node\", which nothing after it requires\n";
    assert!(log.contains(second), "{log}");
    let alone = check_fails(&place, "needs", false);
    assert!(
        alone.contains("which nothing before it provides; nothing in the order provides it\n"),
        "{alone}"
    );
    assert!(alone.contains("Resolving plan... (try #1)\nfail: needs@1 requires node\n"), "{alone}");
}

#[test]
fn plan_of_the_group_is_that_of_those_left() {
    let place = Place::new();
    place.buildpack("gives", &provides("x"));
    place.buildpack(
        "needs",
        &plan("[[requires]]\nname = 'x'\n[requires.metadata]\nversion = '2.x'\ncount = 3"),
    );
    place.buildpack("more", &requires("zz"));
    let (result, log) = place.detect("gives more? needs");
    let detected = result.unwrap();
    assert_eq!(ids(&detected.group.group), ["gives", "needs"]);
    let text = "[[entries]]\n\n[[entries.providers]]\nid = \"gives\"\nversion = \"1\"\n\n[[entries.requires]]\n\
        name = \"x\"\n\n[entries.requires.metadata]\ncount = 3\nversion = \"2.x\"\n";
    assert_eq!(detected.plan.to_toml(), text);
    assert_eq!(log, "2 of 3 buildpacks participating\ngives 1\nneeds 1\n");
}

#[test]
fn log_and_files_do_not_depend_on_who_answers_first() {
    let mut place = Place::new();
    place.level = Level::Debug;
    let slow = |at: usize| format!("sleep 0.{}; echo {at}; {}", 6 - at, provides("x").replace("exit", ""));
    (0..6).for_each(|at| place.buildpack(&format!("b{at}"), &slow(at)));
    place.buildpack("last", &requires("x"));
    let order = "b0 b1 b2 b3 b4 b5 last";
    let (first, second) = (place.detect(order), place.detect(order));
    assert_eq!((first.0.unwrap(), &first.1), (second.0.unwrap(), &second.1));
    assert!(first.1.starts_with("======== Output: b0@1 ========\n0\n======== Output: b1@1 ========\n1\n"));
}

#[test]
fn components_are_asked_once_however_many_groups_they_are_in() {
    let place = Place::new();
    place.buildpack("a", "echo x >> count; exit 0");
    place.buildpack("b", FAIL);
    place.buildpack("c", PASS);
    check(&place, "a b | a b c | a? c", &["a", "c"]);
    assert_eq!(fs::read_to_string(place.path("app/count")).unwrap(), "x\n");
}

#[test]
fn composites_reach_only_what_they_need_and_refuse_old_apis() {
    let place = Place::new();
    let composite = |members: &[&str]| {
        members.iter().fold(String::new(), |text, id| {
            format!("{text}[[order]]\n[[order.group]]\nid = '{id}'\nversion = '1'\n")
        })
    };
    place.buildpack("a", PASS);
    place.buildpack_with("old", "api = '0.6'\n", "touch ran");
    place.buildpack_with("meta", &composite(&["a", "gone"]), PASS);
    place.buildpack_with("bad", &composite(&["old"]), PASS);
    check(&place, "meta", &["a"]);
    for order in ["bad", "old", "a? bad"] {
        let (result, _) = place.detect(order);
        let error = result.unwrap_err();
        assert!(error.is_api_mismatch() && error.to_string().contains("'0.6' is incompatible"), "{error}");
    }
    assert!(!place.path("app/ran").exists());
    let (result, _) = place.detect("a | gone");
    assert!(matches!(result, Err(DetectError::Component(CatalogError::Missing { .. }))));
    place.buildpack_with("loop", &composite(&["loop"]), PASS);
    let (result, _) = place.detect("loop");
    assert!(result.unwrap_err().to_string().contains("loop@1 -> loop@1"));
}

#[test]
fn other_targets_are_not_asked() {
    let mut place = Place::new();
    place.buildpack_with("windows", "[[targets]]\nos = 'windows'\n", "touch ran");
    place.buildpack("a", PASS);
    let log = check_fails(&place, "windows a", true);
    let text = "unable to satisfy target os/arch constraints; run image: {\"os\":\"linux\",\"arch\":\"amd64\"}, \
        buildpack: [{\"os\":\"windows\",\"arch\":\"\"}]\n";
    assert!(log.contains(text) && log.contains("err:  windows@1\n"), "{log}");
    let log = check(&place, "windows? a", &["a"]);
    assert!(log.starts_with("skip: windows@1: unable to satisfy target"), "{log}");
    assert!(!place.path("app/ran").exists());
    place.api = "0.11".parse().unwrap();
    check(&place, "windows a", &["windows", "a"]);
}

#[test]
fn execution_environment_limits_components() {
    let mut place = Place::new();
    place.level = Level::Debug;
    place.buildpack_with("tests", "[[buildpack.exec-env]]\nname = 'test'\n", PASS);
    place.buildpack("a", PASS);
    let log = check(&place, "tests | tests a", &["a"]);
    let skipped = "Skipping tests@1 due to execution environment mismatch; current: production, buildpack supports: [test]\n";
    assert!(log.starts_with(skipped), "{log}");
    check_fails(&place, "tests", false);
    place.exec_env = ExecEnv::new("test").unwrap();
    check(&place, "tests a", &["tests", "a"]);
    place.exec_env = ExecEnv::default();
    place.api = "0.14".parse().unwrap();
    check(&place, "tests a", &["tests", "a"]);
}

#[test]
fn extensions_take_part_as_optional_providers() {
    let place = Place::new();
    place.extension("ran", Some(&provides("x")));
    place.extension("fixed", None);
    place.write("extensions/fixed/1/detect/plan.toml", "[[provides]]\nname = 'y'\n", 0o644);
    place.extension("unused", Some(&provides("z")));
    place.extension("silent", None);
    place.extension("failing", Some("exit 1"));
    place.extension("demanding", Some(&requires("x")));
    place.buildpack("b", &plan("[[requires]]\nname = 'x'\n[[requires]]\nname = 'y'"));
    let (result, log) = place.detect("ran fixed unused silent failing demanding : b");
    let detected = result.unwrap_or_else(|error| panic!("{error}\n{log}"));
    assert_eq!(ids(&detected.group.group_extensions), ["ran", "fixed", "silent"]);
    assert_eq!(ids(&detected.group.group), ["b"]);
    assert!(detected.plan.entries.iter().all(|entry| entry.providers[0].extension));
    assert!(log.contains("extension demanding outputs \"requires\" which is not allowed"), "{log}");
    assert!(log.contains("4 of 7 buildpacks participating\n"), "{log}");
}

#[test]
fn extensions_alone_are_no_group_and_old_platforms_have_none() {
    let mut place = Place::new();
    place.extension("e", None);
    place.buildpack("b", FAIL);
    check_fails(&place, "e : b?", false);
    place.buildpack("c", PASS);
    place.api = "0.9".parse().unwrap();
    let log = check(&place, "e : c", &["c"]);
    assert!(log.starts_with("Warning: Ignoring order-extensions"), "{log}");
}

#[test]
fn group_without_extensions_is_tried_after_theirs() {
    let place = Place::new();
    place.extension("e", Some(&provides("x")));
    place.buildpack("b", &provides("x"));
    place.buildpack("c", &requires("x"));
    let (result, _) = place.detect("e : b c");
    assert_eq!(ids(&result.unwrap().group.group_extensions), ["e"]);
}

#[test]
fn system_buildpacks_count_from_their_platform_api_on() {
    let mut place = Place::new();
    place.system = "[[system.pre.buildpacks]]\nid='p'\nversion='1'\n[[system.post.buildpacks]]\nid='q'\nversion='1'\noptional=true\n".into();
    place.buildpack("p", PASS);
    place.buildpack("q", FAIL);
    place.buildpack("a", PASS);
    check(&place, "a", &["p", "a"]);
    place.api = "0.14".parse().unwrap();
    check(&place, "a", &["a"]);
}

#[test]
fn duplicates_that_differ_are_warned_of_once() {
    let place = Place::new();
    place.buildpack("a", PASS);
    place.buildpack("b", FAIL);
    let log = check(&place, "a? a b | a? a", &["a"]);
    let warning = "Warning: a@1 is left out of its group, because a@1 stands before it";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
}

#[test]
fn floods_are_shown_in_part() {
    let place = Place::new();
    place.buildpack("flood", "head -c 30000000 /dev/zero | tr '\\0' x; echo end; exit 1");
    let log = check_fails(&place, "flood", true);
    assert!(
        log.len() < 1_000_000 && log.contains("bytes of output left out ...]\n") && log.contains("xend\n")
    );
}

#[test]
fn large_orders_take_moments() {
    let place = Place::new();
    let groups: Vec<String> = (0..12)
        .map(|group| {
            let ids: Vec<String> = (0..8).map(|at| format!("b{group}-{at}")).collect();
            for id in &ids {
                place.buildpack(id, if id == "b11-7" || !id.ends_with("-7") { PASS } else { FAIL });
            }
            ids.join(" ")
        })
        .collect();
    let expected: Vec<String> = (0..8).map(|at| format!("b11-{at}")).collect();
    check(&place, &groups.join(" | "), &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn multiplied_orders_that_cannot_pass_come_to_an_end() {
    let place = Place::new();
    let composite = |ids: &[String]| {
        ids.iter().fold(String::new(), |text, id| {
            format!("{text}[[order]]\n[[order.group]]\nid = '{id}'\nversion = '1'\n")
        })
    };
    for at in 0..8 {
        let ids: Vec<String> = (0..12).map(|way| format!("m{at}-{way}")).collect();
        for id in &ids {
            place.buildpack(id, PASS);
        }
        place.buildpack_with(&format!("o{at}"), &composite(&ids), PASS);
    }
    place.buildpack("last", FAIL);
    let log = check_fails(&place, "o0 o1 o2 o3 o4 o5 o6 o7 last", false);
    assert!(log.contains("There are more groups than are told of here.\n"));
}
