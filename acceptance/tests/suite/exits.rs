//! Exit codes of the phases after detection, and how the creator ends.

use acceptance::greeter::{APP, Greeter, RUN};
use acceptance::sandbox::Outcome;

/// A greeter whose only buildpack runs `script` as its `bin/build`.
fn greeter(script: &str) -> Greeter {
    let greeter = Greeter::new();
    let sandbox = &greeter.sandbox;
    sandbox.write("cnb/order.toml", "[[order]]\n[[order.group]]\nid = 'b'\nversion = '1'\n");
    sandbox.write("cnb/buildpacks/b/1/buildpack.toml", "api = '0.12'\n");
    sandbox.script("cnb/buildpacks/b/1/bin/detect", "#!/bin/sh\n");
    sandbox.script("cnb/buildpacks/b/1/bin/build", &format!("#!/bin/sh\n{script}\n"));
    greeter
}

fn create(greeter: &Greeter, more: &[&str]) -> Outcome {
    let fixed = ["-run-image", RUN, "-launcher", "LAUNCHER", "-cache-dir", "CACHE"];
    greeter.phase("creator", &[&fixed[..], more, &[APP]].concat())
}

#[test]
fn each_phase_ends_in_its_own_range() {
    let greeter = greeter("");
    let nowhere = ["-run-image", "registry.example/none", APP];
    greeter.phase("analyzer", &nowhere).expect_code(32).says("registry.example/none");
    greeter.phase("rebaser", &["-report", "REPORT", APP]).expect_code(72);
    greeter.phase("restorer", &[]).expect_code(42).says("group.toml");
    let group = "[[group]]\nid = 'b'\nversion = '1'\napi = '0.12'\n";
    greeter.sandbox.write("layers/group.toml", group);
    greeter.sandbox.write("layers/config/metadata.toml", "processes = []\n");
    greeter.sandbox.write("layers/analyzed.toml", "[metadata]\n");
    let export = greeter.phase("exporter", &["-launcher", "LAUNCHER", APP]);
    export.expect_code(62).says("run image not found in analyzed metadata");
    greeter.phase("analyzer", &["-run-image", RUN, APP]).ok();
    let export = greeter.phase("exporter", &["-launcher", "LAUNCHER", "-process-type", "none", APP]);
    export.expect_code(62).says("tried to set none to default");
}

#[test]
fn a_name_that_is_no_reference_is_an_argument_and_nothing_is_read() {
    let greeter = greeter("");
    for arguments in
        [&["-run-image", "::", APP][..], &["-run-image", RUN, "-previous-image", "::", APP], &["::"]]
    {
        greeter.phase("analyzer", arguments).expect_code(3).says("could not parse reference");
    }
    greeter.phase("rebaser", &["-run-image", "::", APP]).expect_code(3).says("could not parse reference");
    assert!(!greeter.sandbox.path("layers/sbom").exists());
}

#[test]
fn a_failing_buildpack_ends_with_51_and_bad_output_with_52() {
    for (script, code) in
        [("exit 7", 51), ("kill -KILL $$", 51), ("echo x > $CNB_LAYERS_DIR/launch.toml", 52)]
    {
        let outcomes = greeter(script).build();
        let last = outcomes.last().expect("a phase ran").clone();
        assert!(last.command.starts_with("builder"), "{}", last.command);
        last.expect_code(code);
    }
}

#[test]
fn the_creator_ends_as_the_phase_that_failed() {
    create(&greeter("exit 7"), &[]).expect_code(51);
    create(&greeter(""), &["-process-type", "none"]).expect_code(62);
    let greeter = greeter("");
    greeter.sandbox.write("cnb/extensions/e/1/extension.toml", "api = '0.12'\n");
    greeter.sandbox.script("cnb/extensions/e/1/bin/detect", "#!/bin/sh\n");
    greeter.sandbox.script("cnb/extensions/e/1/bin/generate", "#!/bin/sh\nexit 3\n");
    let order = greeter.sandbox.read("cnb/order.toml");
    let extensions = "[[order-extensions]]\n[[order-extensions.group]]\nid = 'e'\nversion = '1'\n";
    greeter.sandbox.write("cnb/order.toml", order + extensions);
    create(&greeter, &[]).expect_code(91).says("extension e@1");
    let generate = "#!/bin/sh\nprintf 'ARG base_image\\nFROM ${base_image}\\nRUN x\\n' > \"$CNB_OUTPUT_DIR/run.Dockerfile\"\n";
    greeter.sandbox.script("cnb/extensions/e/1/bin/generate", generate);
    greeter.sandbox.write("policy.toml", "deny = ['run']\n");
    let policy = greeter.sandbox.path("policy.toml");
    let told = ["-extend-policy", &policy.to_string_lossy()];
    create(&greeter, &told).expect_code(92).says("`RUN x` is denied by `run`");
}

#[test]
fn the_creator_restores_stores_only_where_told_to_skip() {
    let script = "cd \"$CNB_LAYERS_DIR\"; ls; mkdir -p l; echo x > l/file\n\
                  printf '[types]\\ncache = true\\n' > l.toml; printf '[metadata]\\nkept = 7\\n' > store.toml";
    let greeter = greeter(script);
    create(&greeter, &[]).ok();
    greeter.sandbox.clear("layers");
    let skipped = create(&greeter, &["-skip-restore"]).ok();
    assert!(
        skipped.stdout.contains("\nstore.toml\n") && !skipped.stdout.contains("l.toml"),
        "{}",
        skipped.stdout
    );
    greeter.sandbox.clear("layers");
    create(&greeter, &[]).ok().says("\nl\nl.toml\nstore.toml\n");
}
