//! The Docker engine: its socket for root alone, and the launch cache.

use acceptance::places::{Place, World};
use acceptance::run_image::RunImage;
use acceptance::sandbox::{CNB_ID, Sandbox, is_root};
use acceptance::servers::relay::Relay;

fn world<'a>(sandbox: &'a Sandbox, test: &str) -> World<'a> {
    World::new(sandbox, Place::Daemon(format!("acceptance.example/{test}-{}", std::process::id())))
}

/// A buildpack that tells who runs it, and whether that user may open the engine's socket.
fn curious(sandbox: &Sandbox) {
    let buildpack = "cnb/buildpacks/test_curious/1";
    let toml =
        "api = \"0.12\"\n[buildpack]\nid = \"test/curious\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n";
    sandbox.write(&format!("{buildpack}/buildpack.toml"), toml);
    sandbox.script(&format!("{buildpack}/bin/detect"), "#!/bin/sh\nexit 0\n");
    let build =
        "#!/bin/bash\necho \"uid $(id -u)\"\n[ -w /var/run/docker.sock ] && echo 'socket open'\nsleep 2\n";
    sandbox.script(&format!("{buildpack}/bin/build"), build);
    sandbox.write("cnb/order.toml", "[[order]]\n[[order.group]]\nid = \"test/curious\"\nversion = \"1\"\n");
}

#[test]
fn a_socket_for_root_serves_a_creator_that_became_another_user() {
    let sandbox = Sandbox::new().with_app("greeter");
    curious(&sandbox);
    let world = world(&sandbox, "socket");
    let create = ["-run-image", "RUN", "-launcher", "LAUNCHER", "APP"];
    let outcome = world.phase("creator", &create).ok();
    if is_root() {
        let outcome = outcome.says(&format!("uid {CNB_ID}"));
        assert!(!outcome.text().contains("socket open"), "{}", outcome.text());
    }
}

#[test]
fn a_launch_cache_keeps_the_layers_of_the_app_image_and_is_no_condition() {
    let sandbox = Sandbox::new().with_app("greeter").with_order("greeter");
    let world = world(&sandbox, "launch");
    let flags = ["-cache-dir", "CACHE", "-launch-cache", "LAUNCH_CACHE"];
    world.create(&flags).ok();
    let image = world.image("app");
    let committed = sandbox.path("launch-cache/committed");
    let kept = |diff_id: &String| committed.join(format!("{diff_id}.tar")).exists();
    let diff_ids = image.diff_ids();
    assert!(!diff_ids[..2].iter().any(kept) && diff_ids[2..].iter().all(kept), "all but the run image's");
    sandbox.clear("layers");
    world.create(&flags).ok().says("Reusing layer 'demo/toolchain:toolchain'");
    assert_eq!(image, world.image("app"));
    assert!(diff_ids[2..].iter().any(kept), "what was reused is kept");
    for diff_id in &diff_ids[2..] {
        let _ = std::fs::write(committed.join(format!("{diff_id}.tar")), "damaged");
    }
    sandbox.clear("layers");
    world.create(&flags).ok();
    assert_eq!(image, world.image("app"));
}

#[test]
fn a_launch_cache_that_was_lost_is_filled_by_a_build_that_reuses_everything() {
    let sandbox = Sandbox::new().with_app("greeter").with_order("greeter");
    let world = world(&sandbox, "lost");
    let flags = ["-cache-dir", "CACHE", "-launch-cache", "LAUNCH_CACHE"];
    world.create(&flags).ok();
    for directory in ["layers", "launch-cache"] {
        sandbox.clear(directory);
    }
    let again = world.create(&flags).ok();
    assert!(!again.text().contains("Adding layer"), "{}", again.text());
    let diff_ids = world.image("app").diff_ids();
    let kept = |diff_id: &String| sandbox.path(format!("launch-cache/committed/{diff_id}.tar")).exists();
    assert!(diff_ids[2..].iter().all(kept) && !diff_ids[..2].iter().any(kept), "all but the run image's");
}

#[test]
fn an_engine_behind_a_port_is_built_and_rebased_with() {
    let sandbox = Sandbox::new().with_app("greeter").with_order("greeter");
    let mut world = world(&sandbox, "port");
    let relay = Relay::to_engine();
    // Nobody needs the right to open the socket.
    let unprivileged = |command: &mut std::process::Command| {
        acceptance::sandbox::as_cnb_user(command);
    };
    world.env.push(("DOCKER_HOST".to_owned(), format!("tcp://{}", relay.host)));
    let create = ["-run-image", "RUN", "-launcher", "LAUNCHER", "-launch-cache", "LAUNCH_CACHE", "APP"];
    world.phase_with("creator", &create, unprivileged).ok();
    let before = world.image("app").diff_ids();
    world.publish_run_image(&RunImage::version(2));
    world.phase_with("rebaser", &["-report", "REPORT", "APP"], unprivileged).ok();
    let after = world.image("app").diff_ids();
    assert_eq!(before[2..], after[2..]);
    assert_ne!(before[1], after[1]);
}
