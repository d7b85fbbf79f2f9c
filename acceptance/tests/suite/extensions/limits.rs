//! What extensions may not do, and what they do not get.

use acceptance::run_image::RunImage;
use acceptance::sandbox::Sandbox;
use acceptance::servers::registry::Registry;

use super::cell::{Cell, Flow};

/// A cell that is ready to build with an extension of those lines.
fn cell<'a>(sandbox: &'a Sandbox, registry: &Registry, flow: Flow, kind: &str, lines: &str) -> Cell<'a> {
    let cell = Cell::new(sandbox, registry, flow, "registry");
    cell.reset("lines");
    cell.world.publish("run", &RunImage::version(1).with_shell());
    cell.with_dockerfile(kind, lines);
    cell
}

#[test]
fn instructions_find_their_own_environment_and_no_other() {
    let lines = "USER root\nARG build_id=0\nARG user_id\nARG group_id\nENV A=b=c\n\
        RUN env > /seen; ls /proc/self/fd > /fds; echo $user_id:$group_id $build_id >> /seen; cat /seen /fds; rm /seen /fds\n\
        USER ${user_id}:${group_id}";
    let (sandbox, registry) = (Sandbox::new(), Registry::plain());
    let cell = cell(&sandbox, &registry, Flow::Phases, "run", lines);
    let text = cell.build().ok().text();
    assert!(text.contains("\nA=b=c\n") && text.contains("\nHOME=/root\n"), "{text}");
    assert!(!text.contains("CNB_"), "{text}");
    // The listing's own descriptor is the fourth.
    assert!(text.contains("\n0\n1\n2\n3\n") && !text.contains("\n4\n"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("1000:1000 ")).expect("the arguments");
    let parts: Vec<usize> = line.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{line} is a UUID");
    // build_id is in the text: nothing is kept.
    cell.reset_layers();
    let again = cell.build().ok().text();
    assert!(!again.contains(line) && again.contains("No cached layer found for cmd RUN env"), "{again}");
}

#[test]
fn platform_directories_are_in_no_layer() {
    let lines = "USER root\nRUN touch /layers/x /workspace/x /kaniko/x /cnb/y /y\nUSER 1000";
    let (sandbox, registry) = (Sandbox::new(), Registry::plain());
    let cell = cell(&sandbox, &registry, Flow::Phases, "run", lines);
    cell.build().ok();
    let image = cell.world.fetch("app");
    let mut archive = tar::Archive::new(image.layers[2].tar.as_slice());
    let names: Vec<String> = archive
        .entries()
        .expect("a tar")
        .map(|entry| entry.and_then(|entry| Ok(entry.path()?.display().to_string())).expect("an entry"))
        .collect();
    assert_eq!(names, ["cnb/", "cnb/y", "y"]);
}

#[test]
fn a_failing_instruction_and_a_final_root_end_with_102() {
    let (sandbox, registry) = (Sandbox::new(), Registry::plain());
    let cell = cell(&sandbox, &registry, Flow::Phases, "run", "USER root\nRUN echo told && exit 7");
    cell.build()
        .expect_code(102)
        .says("told\n")
        .says("RUN echo told && exit 7 on line 4")
        .says("exit code: 7");
    cell.reset_layers();
    cell.with_dockerfile("run", "USER root\nRUN echo 'toor:x:0:0::/:/bin/sh' >> /etc/passwd\nUSER toor");
    cell.build().expect_code(102).says("the final user `toor` of the extended run image is root");
    cell.reset_layers();
    // The same from the cache, where /etc/passwd is that of the layer.
    let again = cell.build().expect_code(102).says("the final user `toor`");
    assert!(!again.text().contains("No cached layer"), "{}", again.text());
    cell.reset_layers();
    cell.with_dockerfile("build", "USER root\nRUN exit 3");
    cell.build().expect_code(102).says("exit code: 3");
}

#[test]
fn who_is_not_root_is_told_which_instruction_needs_it() {
    let (sandbox, registry) = (Sandbox::new(), Registry::plain());
    let cell = cell(&sandbox, &registry, Flow::Creator, "run", "USER root\nRUN true\nUSER 1000");
    let (run, app) = (cell.world.name("run"), cell.world.name("app"));
    let creator = ["/cnb/lifecycle/creator", "-run-image", &run, "-order", "/cnb/order.toml", &app];
    let outcome = cell.container().as_cnb_user().run(&cell.image, &creator).expect_code(102);
    outcome.says("RUN true on line 4 has to be carried out: that takes root's rights");
}

#[test]
fn who_is_not_root_is_refused_the_build_image_before_anything_is_done() {
    let sandbox = Sandbox::new();
    let outcome = |lines: &str| {
        sandbox.write(
            "layers/group.toml",
            "[[group-extensions]]\nid = \"e\"\nversion = \"1\"\napi = \"0.10\"\n",
        );
        sandbox.write("layers/plan.toml", "");
        sandbox.write("layers/analyzed.toml", "");
        let text = format!("ARG base_image\nFROM ${{base_image}}\n{lines}\n");
        sandbox.write("layers/generated/e/build.Dockerfile", &text);
        sandbox.run("extender", [] as [&str; 0]).expect_code(102)
    };
    outcome("USER root\nRUN true").says(
        "`RUN true` on line 4 of build.Dockerfile of extension e takes root's rights, which this process does not have",
    );
    // What changes no file takes none; there is no base image to begin with.
    outcome("ENV A=b").says("build image not found in analyzed metadata");
}

#[test]
fn a_cache_that_root_made_is_closed_to_others_who_go_on_without() {
    let (sandbox, registry) = (Sandbox::new(), Registry::plain());
    let cell = cell(&sandbox, &registry, Flow::Phases, "run", "USER root\nRUN true\nUSER 1000");
    cell.build().ok();
    let run = ["/cnb/lifecycle/extender", "-kind", "run"];
    let told = "Going on without the steps of earlier builds, and keeping none: \
        step cache `/kaniko/cache/cnb-extend/v1` was made by another user, and is closed to this one";
    let refused = cell.container().as_cnb_user().run(&cell.image, &run).expect_code(102);
    refused.says(told).says("RUN true on line 4 has to be carried out: that takes root's rights");
    // What root wrote cannot be replaced. Nothing else changes its owner.
    std::fs::remove_dir_all(sandbox.path("layers/extended")).expect("the sandbox is ours");
    let path = sandbox.path("layers/generated/test_lines/run.Dockerfile");
    std::fs::write(path, "ARG base_image\nFROM ${base_image}\nENV A=b\n").expect("the sandbox is ours");
    cell.container().as_cnb_user().run(&cell.image, &run).ok().says(told);
}

#[test]
fn older_platforms_have_the_older_places() {
    for (api, kind) in [("0.10", "build"), ("0.12", "build"), ("0.12", "run")] {
        let mut sandbox = Sandbox::new();
        api.clone_into(&mut sandbox.platform_api);
        let registry = Registry::plain();
        let lines = "USER root\nCOPY app.txt /opt/tool/\nRUN mv /opt/tool/app.txt /opt/tool/moved\nUSER 1000";
        let cell = cell(&sandbox, &registry, Flow::Phases, kind, lines);
        let text = cell.build().ok().text();
        assert!(
            text.contains("No cached layer found for cmd COPY app.txt /opt/tool/"),
            "{api} {kind}: {text}"
        );
        let label = cell.world.image("app").label("io.buildpacks.rebasable").map(str::to_owned);
        assert_eq!(label.as_deref(), (kind == "run").then_some("false"), "{api} {kind}");
    }
}
