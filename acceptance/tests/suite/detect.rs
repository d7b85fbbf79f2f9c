//! The detector as platforms run it: exit codes, files, streams.

use acceptance::sandbox::{Outcome, Sandbox};

/// A sandbox with buildpacks (`bin/detect` each) and an order of their groups.
fn sandbox(buildpacks: &[(&str, &str)], order: &[&[&str]]) -> Sandbox {
    let sandbox = Sandbox::new();
    for (id, script) in buildpacks {
        buildpack(&sandbox, id, "api = '0.12'\n", script);
    }
    let group = |group: &&[&str]| {
        let element = |id: &&str| {
            let (name, optional) = (id.trim_end_matches('?'), id.ends_with('?'));
            format!("[[order.group]]\nid = '{name}'\nversion = '1'\noptional = {optional}\n")
        };
        format!("[[order]]\n{}", group.iter().map(element).collect::<String>())
    };
    sandbox.write("cnb/order.toml", order.iter().map(group).collect::<String>());
    sandbox
}

fn buildpack(sandbox: &Sandbox, id: &str, descriptor: &str, script: &str) {
    sandbox.write(&format!("cnb/buildpacks/{id}/1/buildpack.toml"), descriptor);
    sandbox.script(&format!("cnb/buildpacks/{id}/1/bin/detect"), &format!("#!/bin/sh\n{script}\n"));
    sandbox.script(&format!("cnb/buildpacks/{id}/1/bin/build"), "#!/bin/sh\nexit 1\n");
}

/// Adds an extension that runs `script` to generate, in front of every group.
fn extension(sandbox: &Sandbox, id: &str, script: &str) {
    sandbox.write(&format!("cnb/extensions/{id}/1/extension.toml"), "api = '0.12'\n");
    sandbox.script(&format!("cnb/extensions/{id}/1/bin/generate"), &format!("#!/bin/sh\n{script}\n"));
    let order = sandbox.read("cnb/order.toml");
    let added = format!("[[order-extensions]]\n[[order-extensions.group]]\nid = '{id}'\nversion = '1'\n");
    sandbox.write("cnb/order.toml", order + &added);
}

fn detect(sandbox: &Sandbox) -> Outcome {
    sandbox.run("detector", [] as [&str; 0])
}

/// Expects a failure that leaves no file behind.
#[track_caller]
fn fails(sandbox: &Sandbox, code: i32) -> Outcome {
    let outcome = detect(sandbox).expect_code(code);
    let left = std::fs::read_dir(sandbox.path("layers")).expect("a directory").flatten();
    let written: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "generated").collect();
    assert!(written.is_empty(), "{written:?} was written");
    outcome
}

const REQUIRES: &str = "printf '[[requires]]\\nname = \"x\"\\n' > \"$CNB_BUILD_PLAN_PATH\"";
const PROVIDES: &str = "printf '[[provides]]\\nname = \"x\"\\n' > \"$CNB_BUILD_PLAN_PATH\"";

#[test]
fn group_and_plan_are_written_for_the_group_that_passes() {
    let sandbox = sandbox(
        &[("no", "exit 100"), ("gives", PROVIDES), ("needs", REQUIRES)],
        &[&["no", "needs"], &["gives", "no?", "needs"]],
    );
    let outcome = detect(&sandbox).ok();
    assert_eq!(outcome.stdout.lines().last(), Some("needs 1"));
    assert_eq!(outcome.stderr, "");
    let expected = "[[group]]\nid = \"gives\"\nversion = \"1\"\napi = \"0.12\"\n\n\
                    [[group]]\nid = \"needs\"\nversion = \"1\"\napi = \"0.12\"\n";
    assert_eq!(sandbox.read("layers/group.toml"), expected);
    assert!(sandbox.read("layers/plan.toml").contains("name = \"x\""));
}

#[test]
fn no_group_without_error_ends_with_20() {
    let sandbox = sandbox(&[("no", "echo said; exit 100"), ("needs", REQUIRES)], &[&["no"], &["needs"]]);
    let outcome = fails(&sandbox, 20)
        .says("No buildpack groups passed detection.")
        .says("Please check that you are running against the correct path.")
        .says("needs@1 requires \"x\", which nothing before it provides; nothing in the order provides it")
        .says("no buildpacks participating");
    assert!(outcome.stdout.contains("======== Output: no@1 ========\nsaid\n"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("ERROR"), "errors go to the other stream");
}

#[test]
fn no_group_with_an_error_ends_with_21() {
    let scripts = [("odd", "exit 7"), ("killed", "kill -9 $$"), ("no", "exit 100")];
    fails(&sandbox(&scripts, &[&["odd"]]), 21).says("err:  odd@1 (7)");
    fails(&sandbox(&scripts, &[&["killed"], &["no"]]), 21).says("killed by SIGKILL");
    fails(&sandbox(&scripts, &[&["odd?", "no"]]), 21).says("buildpack(s) failed with err");
}

#[test]
fn unknown_apis_end_with_12_also_within_composites() {
    let sandbox = sandbox(&[], &[&["meta"]]);
    let member = "[[order]]\n[[order.group]]\nid = 'old'\nversion = '1'\n";
    buildpack(&sandbox, "meta", &format!("api = '0.12'\n{member}"), "");
    buildpack(&sandbox, "old", "api = '0.6'\n", "touch ran");
    fails(&sandbox, 12).says("buildpack API version '0.6' is incompatible with the lifecycle");
    assert!(!sandbox.path("workspace/ran").exists());
}

#[test]
fn composites_within_themselves_are_shown() {
    let sandbox = sandbox(&[], &[&["a"]]);
    for (id, member) in [("a", "b"), ("b", "a")] {
        let order = format!("api = '0.12'\n[[order]]\n[[order.group]]\nid = '{member}'\nversion = '1'\n");
        buildpack(&sandbox, id, &order, "");
    }
    fails(&sandbox, 22).says("composite buildpacks form a cycle: a@1 -> b@1 -> a@1");
}

#[test]
fn broken_and_hostile_orders_are_told_in_the_phases_range() {
    let sandbox = sandbox(&[], &[&["missing"]]);
    fails(&sandbox, 22).says("find buildpack 'missing@1'");
    for (order, text) in [
        ("[[order]]\n[[order.group]]\nid = '../../etc'\nversion = '1'\n", "is not a component ID"),
        ("[[order]\n", "order.toml"),
        ("[[order]]\n[[order.group]]\nid = 'sbom'\nversion = '1'\n", "is reserved"),
    ] {
        sandbox.write("cnb/order.toml", order);
        fails(&sandbox, 22).says(text);
    }
}

#[test]
fn floods_cost_neither_memory_nor_time() {
    let sandbox = sandbox(&[("flood", "head -c 300000000 /dev/zero; exit 1")], &[&["flood"]]);
    let outcome = fails(&sandbox, 21).says("bytes of output left out ...]");
    assert!(outcome.stdout.len() < 1_000_000);
}

#[test]
fn extensions_generate_before_files_are_written() {
    let sandbox = sandbox(&[("a", "")], &[&["a"]]);
    extension(&sandbox, "e", "echo 'FROM other' > \"$CNB_OUTPUT_DIR/run.Dockerfile\"; echo said");
    let outcome = detect(&sandbox).ok();
    assert!(outcome.stdout.ends_with("e 1\na 1\nsaid\n"), "{}", outcome.stdout);
    assert_eq!(outcome.stderr, "Warning: new runtime base image 'other' not found in run metadata\n");
    assert!(sandbox.read("layers/group.toml").contains("[[group-extensions]]\nid = \"e\""));
    assert!(sandbox.read("layers/analyzed.toml").contains("image = \"other\""));
    assert_eq!(sandbox.read("layers/generated/e/run.Dockerfile"), "FROM other\n");
}

#[test]
fn failing_extensions_end_with_91_and_bad_output_with_92() {
    let sandbox = sandbox(&[("a", "")], &[&["a"]]);
    extension(&sandbox, "e", "exit 3");
    fails(&sandbox, 91).says("run `bin/generate` of extension e@1: exit status 3");
    let scripts = [
        ("echo 'RUN x' > \"$CNB_OUTPUT_DIR/run.Dockerfile\"", "parse run.Dockerfile for extension e@1"),
        (
            "mkdir \"$CNB_OUTPUT_DIR/context\" \"$CNB_OUTPUT_DIR/context.run\"",
            "together with a shared context",
        ),
        ("touch made", "changed the application directory"),
    ];
    for (script, text) in scripts {
        sandbox.script("cnb/extensions/e/1/bin/generate", &format!("#!/bin/sh\n{script}\n"));
        let enforced = sandbox.run_with("detector", [] as [&str; 0], |command| {
            command.env("CNB_APP_DIR_GUARD", "enforce");
        });
        enforced.expect_code(92).says(text);
        let left = std::fs::read_dir(sandbox.path("layers/generated")).expect("a directory").count();
        assert_eq!(left, 0, "nothing half-made is left");
    }
}

#[test]
fn an_extension_that_writes_to_the_application_is_warned_of() {
    let sandbox = sandbox(&[("a", "")], &[&["a"]]);
    extension(&sandbox, "e", "touch made");
    detect(&sandbox).ok().says("Warning: extension e@1 changed the application directory");
    let typo = |command: &mut std::process::Command| {
        command.env("CNB_APP_DIR_GUARD", "enforced");
    };
    sandbox.run_with("detector", [] as [&str; 0], typo).expect_code(3).says("is not warn, enforce or off");
}

/// An extension whose run.Dockerfile has one of everything that a policy may refuse.
fn with_everything(sandbox: &Sandbox) {
    extension(sandbox, "e", "cp \"$CNB_EXTENSION_DIR\"/*.Dockerfile \"$CNB_OUTPUT_DIR\"");
    let run = "FROM other.example/base:1\nRUN make\nADD https://x.example/f /f\nCOPY file /\n\
               LABEL io.buildpacks.rebasable=true\nUSER root\n";
    sandbox.write("cnb/extensions/e/1/run.Dockerfile", run);
    let build = "ARG base_image\nFROM ${base_image}\nARG build_id\nRUN echo ${build_id}\n";
    sandbox.write("cnb/extensions/e/1/build.Dockerfile", build);
    sandbox.write("workspace/file", "content");
}

#[test]
fn the_plan_of_extending_is_written_beside_what_extensions_made() {
    let sandbox = sandbox(&[("a", "")], &[&["a"]]);
    with_everything(&sandbox);
    detect(&sandbox).ok();
    let plan: serde_json::Value =
        serde_json::from_str(&sandbox.read("layers/generated/extend-plan.json")).expect("JSON");
    let (build, run) = (&plan["dockerfiles"][0], &plan["dockerfiles"][1]);
    assert_eq!((&plan["version"], &plan["rebasable"]["label"]), (&1.into(), &"true".into()));
    assert_eq!((&build["target"], &build["instructions"][1]["volatile"]), (&"build".into(), &true.into()));
    assert_eq!(
        (&build["context"], &build["final_user"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!((&run["extension"], &run["base_after"]), (&"e".into(), &"other.example/base:1".into()));
    let lines: Vec<(u64, bool)> = run["instructions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|instruction| {
            (
                instruction["line"].as_u64().expect("a number"),
                instruction["network"].as_bool().expect("a boolean"),
            )
        })
        .collect();
    assert_eq!(lines, [(2, true), (3, true), (4, false), (5, false), (6, false)]);
    assert_eq!((&run["final_user"], &run["rebasable_claim"]), (&"root".into(), &"true".into()));
    assert!(run["context"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
}

#[test]
fn the_plan_of_an_earlier_build_does_not_stay() {
    let sandbox = sandbox(&[("a", "")], &[&["a"]]);
    sandbox.write("layers/generated/extend-plan.json", "{}");
    detect(&sandbox).ok();
    assert!(!sandbox.path("layers/generated/extend-plan.json").exists());
    detect(&sandbox).ok();
}

#[test]
fn a_policy_refuses_what_extensions_would_do() {
    let sandbox = sandbox(&[("a", "")], &[&["a"]]);
    with_everything(&sandbox);
    let policy = sandbox.path("policy.toml");
    let refused = |rules: &str, text: &str| {
        sandbox.write("policy.toml", rules);
        let told: [&std::ffi::OsStr; 2] = ["-extend-policy".as_ref(), policy.as_ref()];
        sandbox.run("detector", told).expect_code(92).says(text);
        let by_variable = sandbox.run_with("detector", [] as [&str; 0], |command| {
            command.env("CNB_EXTEND_POLICY", &policy);
        });
        by_variable.expect_code(92).says(text);
        let left = std::fs::read_dir(sandbox.path("layers/generated")).expect("a directory").count();
        assert_eq!((left, sandbox.path("layers/group.toml").exists()), (0, false));
    };
    refused(
        "deny = ['run']",
        "build.Dockerfile of extension `e` on line 4: `RUN echo ${build_id}` is denied by `run`",
    );
    refused("deny = ['add-url']", "on line 3: `ADD https://x.example/f /f` is denied by `add-url`");
    refused(
        "deny = ['network']",
        "run.Dockerfile of extension `e` on line 2: `RUN make` is denied by `network`",
    );
    refused("deny = ['root']", "run.Dockerfile of extension `e` on line 6: a final user that is root");
    refused(
        "allow-from = ['some.example/*']",
        "FROM other.example/base:1 is not among the images of `allow-from`",
    );
    refused("deny = ['rum']", "unknown variant `rum`");
    sandbox.write("policy.toml", "allow-from = ['other.example/*']");
    sandbox.run("detector", [std::path::Path::new("-extend-policy"), &policy]).ok();
}

#[test]
fn extensions_are_experimental_before_their_platform_api() {
    let mut sandbox = sandbox(&[("a", "")], &[&["a"]]);
    extension(&sandbox, "e", "");
    sandbox.platform_api = "0.12".to_owned();
    let refused = |command: &mut std::process::Command| {
        command.env_remove("CNB_EXPERIMENTAL_MODE");
    };
    sandbox
        .run_with("detector", [] as [&str; 0], refused)
        .expect_code(1)
        .says("experimental feature 'Dockerfiles'");
    let warned = |command: &mut std::process::Command| {
        command.env("CNB_EXPERIMENTAL_MODE", "warn");
    };
    sandbox
        .run_with("detector", [] as [&str; 0], warned)
        .ok()
        .says("Warning: Platform requested experimental feature");
}
