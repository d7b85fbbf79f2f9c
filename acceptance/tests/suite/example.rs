//! The builder in `fixtures/builder`, which readers copy, does what it says.

use std::fs;

use acceptance::fixtures;
use acceptance::run_image::RunImage;
use acceptance::sandbox::{Sandbox, copy_tree};

/// A sandbox as `pack builder create` would lay the example out.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let example = fixtures().join("builder");
    for kind in ["buildpacks", "extensions"] {
        let _ = fs::remove_dir_all(sandbox.path(format!("cnb/{kind}")));
        copy_tree(&example.join(kind), &sandbox.path(format!("cnb/{kind}")));
    }
    let text = fs::read_to_string(example.join("builder.toml")).expect("it is there");
    let builder: toml::Table = toml::from_str(&text).expect("it is TOML");
    let orders = ["order", "order-extensions"].map(|key| (key.to_owned(), builder[key].clone()));
    sandbox.write("cnb/order.toml", toml::to_string(&toml::Table::from_iter(orders)).expect("it was TOML"));
    sandbox.write("workspace/fortunes.txt", "You will build images.\n");
    RunImage::version(1).write(&sandbox.path("layouts/registry.example/run/latest"));
    sandbox.write("cnb/run.toml", "[[images]]\nimage = \"registry.example/run\"\n");
    sandbox
}

fn detect(sandbox: &Sandbox) -> String {
    let layouts = sandbox.path("layouts").to_string_lossy().into_owned();
    sandbox.run("analyzer", ["-layout", "-layout-dir", &layouts, "registry.example/app"]).ok();
    sandbox.run("detector", [] as [&str; 0]).ok();
    sandbox.read("layers/group.toml")
}

#[test]
fn without_a_cow_the_buildpack_builds_alone() {
    let sandbox = sandbox();
    let group = detect(&sandbox);
    assert!(group.contains("example/fortune") && !group.contains("example/cowsay"), "{group}");
    sandbox.run("builder", [] as [&str; 0]).ok().says("process fortune");
    assert!(sandbox.read("layers/config/metadata.toml").contains("fortune"));
}

#[test]
fn with_a_cow_the_extension_writes_a_dockerfile() {
    let sandbox = sandbox();
    sandbox.write("workspace/cow", "");
    let group = detect(&sandbox);
    assert!(group.contains("example/fortune") && group.contains("example/cowsay"), "{group}");
    assert!(sandbox.read("layers/generated/example_cowsay/run.Dockerfile").contains("cowsay"));
}

#[test]
fn builder_names_what_there_is() {
    let example = fixtures().join("builder");
    let text = fs::read_to_string(example.join("builder.toml")).expect("it is there");
    let builder: toml::Table = toml::from_str(&text).expect("it is TOML");
    for kind in ["buildpacks", "extensions"] {
        for entry in builder[kind].as_array().expect("a list") {
            let uri = entry["uri"].as_str().expect("a path");
            assert!(example.join(uri).join("bin/detect").exists(), "{uri}");
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let uri = builder["lifecycle"]["uri"].as_str().expect("a path");
    assert!(uri.contains(&format!("lifecycle-v{version}+linux")), "{uri} is of version {version}");
}
