//! Large inputs: time and memory grow with their size and no faster. Limits are generous, since machines
//! are slow and noisy; what they catch is work that grows with the square, or without bound.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use acceptance::oci::LayoutImage;
use acceptance::run_image::RunImage;
use acceptance::sandbox::Sandbox;

const APP: &str = "registry.example/scale/app";

/// A sandbox with a run image and a group of one buildpack, as if it had built already.
fn built(layers: impl Fn(&Sandbox)) -> Sandbox {
    let sandbox = Sandbox::new();
    RunImage::version(1).write(&sandbox.path("layouts/registry.example/scale/run/latest"));
    sandbox.write("layers/group.toml", "[[group]]\nid = \"scale/all\"\nversion = \"1\"\napi = \"0.10\"\n");
    sandbox.write("layers/config/metadata.toml", "buildpacks = [{ id = \"scale/all\", version = \"1\" }]\n");
    sandbox.write("cnb/run.toml", "[[images]]\nimage = \"registry.example/scale/run\"\n");
    layers(&sandbox);
    sandbox.own_all();
    sandbox
}

#[track_caller]
fn export(sandbox: &Sandbox) -> Duration {
    let layouts = sandbox.path("layouts").display().to_string();
    let launcher = sandbox.phase_path("launcher").display().to_string();
    let layout = ["-layout", "-layout-dir", &layouts];
    let start = Instant::now();
    sandbox.run("analyzer", [&layout[..], &["-run-image", "registry.example/scale/run", APP]].concat()).ok();
    sandbox.run("exporter", [&layout[..], &["-launcher", &launcher, APP]].concat()).ok();
    start.elapsed()
}

fn add_layer(sandbox: &Sandbox, name: &str, files: usize) {
    let directory = sandbox.path(format!("layers/scale_all/{name}"));
    for file in 0..files {
        let path = directory.join(format!("{}/{file}", file / 1000));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("the sandbox is ours");
        std::fs::write(path, format!("{name} {file}\n")).expect("the sandbox is ours");
    }
    let toml = sandbox.path(format!("layers/scale_all/{name}.toml"));
    std::fs::write(toml, "[types]\nlaunch = true\n").expect("the sandbox is ours");
}

#[test]
fn hundreds_of_layers_and_many_files_are_exported() {
    let sandbox = built(|sandbox| {
        (0..500).for_each(|number| add_layer(sandbox, &format!("layer-{number:03}"), 2));
        add_layer(sandbox, "many", 20_000);
    });
    let took = export(&sandbox);
    let image = LayoutImage::judged(&sandbox.path("layouts").join(APP).join("latest"));
    // The base's two, ours, the application's, the launcher's and the config's.
    assert_eq!(image.layers.len(), 2 + 501 + 3);
    assert!(took < Duration::from_mins(2), "{took:?}");
}

#[test]
fn deep_directories_and_large_labels_are_exported() {
    let sandbox = built(|sandbox| {
        let deep: String = (0..200).fold(String::new(), |path, level| path + &format!("d{level}/"));
        sandbox.write(&format!("layers/scale_all/deep/{deep}file"), "deep\n");
        sandbox.write("layers/scale_all/deep.toml", "[types]\nlaunch = true\n");
        let label = "x".repeat(5_000_000);
        let metadata = format!(
            "buildpacks = [{{ id = \"scale/all\", version = \"1\" }}]\n[[labels]]\nkey = \"big\"\nvalue = \"{label}\"\n"
        );
        sandbox.write("layers/config/metadata.toml", metadata);
    });
    export(&sandbox);
    // Not judged: skopeo reads no config above 4 MiB.
    let image = LayoutImage::read(&sandbox.path("layouts").join(APP).join("latest"));
    assert_eq!(image.label("big").map(str::len), Some(5_000_000));
}

#[test]
fn an_order_of_twelve_groups_of_eight_resolves_fast() {
    let sandbox = Sandbox::new();
    let mut order = String::new();
    for group in 0..12 {
        order += "[[order]]\n";
        for member in 0..8 {
            // The last member of each group but the last fails.
            let fails = member == 7 && group < 11;
            let id = format!("many/g{group}m{member}");
            let directory = format!("cnb/buildpacks/{}/1", id.replace('/', "_"));
            let toml = format!(
                "api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n"
            );
            std::fs::create_dir_all(sandbox.path(format!("{directory}/bin"))).expect("the sandbox is ours");
            std::fs::write(sandbox.path(format!("{directory}/buildpack.toml")), toml)
                .expect("the sandbox is ours");
            let code = if fails { 100 } else { 0 };
            sandbox.script(&format!("{directory}/bin/detect"), &format!("#!/bin/sh\nexit {code}\n"));
            writeln!(order, "[[order.group]]\nid = \"{id}\"\nversion = \"1\"")
                .expect("a String takes any text");
        }
    }
    sandbox.write("cnb/order.toml", order);
    let outcome = sandbox.run("detector", [""; 0]).ok();
    assert!(sandbox.read("layers/group.toml").contains("many/g11m7"));
    assert!(outcome.took < Duration::from_secs(10), "{:?}", outcome.took);
}

#[test]
fn a_million_plan_alternatives_resolve_fast() {
    let sandbox = Sandbox::new();
    let mut order = String::from("[[order]]\n");
    for member in 0..20 {
        let id = format!("alternatives/m{member}");
        let directory = format!("cnb/buildpacks/{}/1", id.replace('/', "_"));
        let toml = format!(
            "api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n"
        );
        sandbox.write(&format!("{directory}/buildpack.toml"), toml);
        // Two alternatives each, 2^20 in all; the first cannot be met.
        let plan = format!(
            "[[requires]]\\nname = \"nobody-{member}\"\\n[[or]]\\n[[or.provides]]\\nname = \"p{member}\"\\n[[or.requires]]\\nname = \"p{member}\"\\n"
        );
        sandbox.script(&format!("{directory}/bin/detect"), &format!("#!/bin/sh\nprintf '{plan}' > \"$2\"\n"));
        writeln!(order, "[[order.group]]\nid = \"{id}\"\nversion = \"1\"").expect("a String takes any text");
    }
    sandbox.write("cnb/order.toml", order);
    let outcome = sandbox.run("detector", [""; 0]).ok();
    assert!(sandbox.read("layers/plan.toml").contains("p19"));
    assert!(outcome.took < Duration::from_secs(10), "{:?}", outcome.took);
}
