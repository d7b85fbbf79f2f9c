//! Real packages: `apt-get install` from the distribution's own sources, for the build and for the app.

use std::path::Path;

use acceptance::docker::{base_image, docker};
use acceptance::places::skopeo;
use acceptance::sandbox::Sandbox;
use acceptance::servers::registry::Registry;

use super::cell::{Cell, Flow};

/// A small package without a service, whose program prints its version.
const LINES: &str = "USER root\nRUN apt-get update -q && apt-get install -y -q --no-install-recommends tree \\\n\
    && rm -rf /var/lib/apt/lists/*\nARG user_id\nUSER ${user_id}";

/// Uses the program in its build, and starts it with the app.
const BUILD: &str = r#"#!/bin/sh
set -eu
layer="$CNB_LAYERS_DIR/seen"
mkdir -p "$layer"
tree --version > "$layer/version"
printf '[types]\nlaunch = true\n' > "$layer.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<LAUNCH
[[processes]]
type = "web"
command = ["/bin/sh", "-c"]
args = ["cat $layer/version; tree --noreport -i /workspace; id -u"]
default = true
LAUNCH
"#;

/// Debian as platforms' images are: with a user.
fn write_debian(layout: &Path) {
    let name = format!("lifecycle-acceptance/installs:{}", std::process::id());
    let created = docker(&["create", base_image(), "true"]).ok();
    let id = created.stdout.trim();
    docker(&["commit", "-c", "USER 1000:1000", id, &name]).ok();
    docker(&["rm", id]);
    skopeo(&["copy", "-q", &format!("docker-daemon:{name}"), &format!("oci:{}", layout.display())]);
    docker(&["rmi", &name]);
}

/// An extension with the Dockerfile for both images, and a buildpack that requires it.
fn prepare(cell: &Cell<'_>) {
    let sandbox = cell.world.sandbox;
    cell.reset("");
    cell.with_dockerfile("build", LINES);
    let extension = "cnb/extensions/test_lines/1/generate";
    sandbox.write(
        &format!("{extension}/run.Dockerfile"),
        sandbox.read(&format!("{extension}/build.Dockerfile")),
    );
    let buildpack = "cnb/buildpacks/test_tree/1";
    let toml =
        "api = \"0.12\"\n[buildpack]\nid = \"test/tree\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n";
    sandbox.write(&format!("{buildpack}/buildpack.toml"), toml);
    sandbox.write(&format!("{buildpack}/plan.toml"), "[[requires]]\nname = \"lines\"\n");
    let detect = "#!/bin/sh\ncat \"$CNB_BUILDPACK_DIR/plan.toml\" > \"$CNB_BUILD_PLAN_PATH\"\n";
    sandbox.script(&format!("{buildpack}/bin/detect"), detect);
    sandbox.script(&format!("{buildpack}/bin/build"), BUILD);
    let order = sandbox.read("cnb/order.toml");
    let own = "id = \"test/tree\"\nversion = \"1\"";
    sandbox.write("cnb/order.toml", order.replace("id = \"demo/consumer\"\nversion = \"1.0.0\"", own));
}

#[test]
fn a_package_of_the_distribution_serves_the_buildpack_and_the_app() {
    let (sandbox, registry) = (Sandbox::new(), Registry::plain());
    let cell = Cell::of(&sandbox, &registry, Flow::Phases, "registry", &write_debian);
    prepare(&cell);
    let source = format!("oci:{}", sandbox.path("build-image").display());
    skopeo(&["copy", "-q", "--dest-tls-verify=false", &source, &cell.world.upstream("run")]);
    let built = cell.build().ok();
    assert_eq!(built.stdout.matches("Setting up tree").count(), 2, "{}", built.text());

    let shown = cell.run_app().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("tree v"), "{shown}");
    assert_eq!(lines[1..], ["/workspace", "app.txt", "1000"], "{shown}");

    // Once more, the packages come out of the step cache.
    cell.reset_layers();
    let again = cell.build().ok();
    assert!(!again.text().contains("Setting up tree"), "{}", again.text());
    assert_eq!(cell.run_app().stdout, shown);
}
