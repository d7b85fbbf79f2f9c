//! The sample application, built, rebuilt, rebased and run on OCI layouts.

use acceptance::greeter::{APP, Greeter};
use acceptance::judges;
use acceptance::sandbox::Outcome;

#[track_caller]
fn built(greeter: &Greeter) -> Vec<Outcome> {
    greeter.build().into_iter().map(Outcome::ok).collect()
}

#[test]
fn a_build_gives_a_layout_that_other_tools_read() {
    let greeter = Greeter::new();
    built(&greeter);
    judges::accept_layout(&greeter.layout(APP));
    let image = greeter.image();
    assert_eq!(image.config["config"]["Entrypoint"][0], "/cnb/process/web");
    assert_eq!(image.label("com.example.greeter"), Some("served by demo/server"));
}

#[test]
fn a_second_build_reuses_every_layer_and_gives_the_same_image() {
    let greeter = Greeter::new();
    built(&greeter);
    judges::accept_layout(&greeter.layout(APP));
    let first = greeter.image();
    greeter.sandbox.clear("layers");
    let outcomes = built(&greeter);
    judges::accept_layout(&greeter.layout(APP));
    assert!(outcomes[3].text().contains("Toolchain 3: kept from the cache"), "{}", outcomes[3].text());
    assert!(
        outcomes[4].text().contains("Reusing layer 'demo/toolchain:toolchain'"),
        "{}",
        outcomes[4].text()
    );
    assert!(!outcomes[4].text().contains("Adding layer"), "{}", outcomes[4].text());
    assert_eq!(first.digest, greeter.image().digest);
}

#[test]
fn a_rebase_swaps_the_base_layers_and_nothing_else() {
    let greeter = Greeter::new();
    built(&greeter);
    let before = greeter.image();
    greeter.publish_run_image(2);
    greeter.rebase().ok();
    judges::accept_layout(&greeter.layout(APP));
    let after = greeter.image();
    assert_eq!(before.diff_ids()[0], after.diff_ids()[0], "the system layer is the same in both bases");
    assert_ne!(before.diff_ids()[1], after.diff_ids()[1]);
    assert_eq!(before.diff_ids()[2..], after.diff_ids()[2..]);
    assert_eq!(before.config["config"]["Env"], after.config["config"]["Env"]);
    assert_eq!(after.label("org.example.base"), Some("1"), "only io.buildpacks labels follow the base");
}

#[test]
fn the_launcher_runs_the_process_with_what_every_buildpack_contributed() {
    let greeter = Greeter::new();
    built(&greeter);
    let launched = greeter.launch("web", &["--port", "9090"]).ok();
    let expected =
        "Hello from the application!\nA page about nothing!\nstarted at launch, arguments: --port 9090\n";
    assert_eq!(launched.stdout, expected);
    let launched = greeter.launch("web", &[]).ok();
    assert!(launched.stdout.ends_with("arguments: --port 8080\n"), "{}", launched.stdout);
}
