//! Credentials: where they come from, and where they must never be found.

use std::path::Path;
use std::time::Duration;

use acceptance::places::World;
use acceptance::sandbox::Sandbox;
use acceptance::servers::proxy::Proxy;
use acceptance::servers::registry::{PASSWORD, Registry, USER};
use acceptance::servers::tokens::{BEARER_TOKEN, REFRESH_TOKEN, base64};

/// Prints all it can find out about credentials: its environment, and that of the process above it.
const SPY: &str = "#!/bin/bash\nenv\ntr '\\0' '\\n' < /proc/$PPID/environ\nmkdir -p \"$1/spied\"\n\
    { env; tr '\\0' '\\n' < /proc/$PPID/environ; } > \"$1/spied/env\" 2>/dev/null\n\
    printf '[types]\\nlaunch = true\\ncache = true\\n' > \"$1/spied.toml\"\nexit 0\n";

fn spy(sandbox: &Sandbox) {
    let buildpack = "cnb/buildpacks/test_spy/1";
    let toml =
        "api = \"0.12\"\n[buildpack]\nid = \"test/spy\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n";
    sandbox.write(&format!("{buildpack}/buildpack.toml"), toml);
    sandbox.script(&format!("{buildpack}/bin/detect"), "#!/bin/sh\nenv\nexit 0\n");
    sandbox.script(&format!("{buildpack}/bin/build"), SPY);
    sandbox.write("cnb/order.toml", "[[order]]\n[[order.group]]\nid = \"test/spy\"\nversion = \"1\"\n");
}

#[track_caller]
fn clean(what: &str, bytes: &[u8]) {
    let basic = base64(&format!("{USER}:{PASSWORD}"));
    for secret in [PASSWORD, basic.trim_end_matches('='), REFRESH_TOKEN, BEARER_TOKEN] {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{what} holds {secret}:\n{}", String::from_utf8_lossy(bytes));
    }
}

#[track_caller]
fn clean_tree(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            clean_tree(&path);
        } else {
            clean(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default());
        }
    }
}

/// Builds with credentials placed by `place`, which gets the host, and looks for them everywhere.
#[track_caller]
fn check(source: &str, place: impl FnOnce(&mut World<'_>, &str)) {
    let (registry, sandbox) = (Registry::plain(), Sandbox::new().with_app("greeter"));
    spy(&sandbox);
    let proxy = Proxy::start(
        &registry.host,
        acceptance::servers::faults::Rates::default(),
        1,
        Some(Duration::from_mins(1)),
    );
    let mut world = World::behind(&sandbox, &proxy.host, &registry.host);
    place(&mut world, &proxy.host);
    let create = [
        "-log-level",
        "debug",
        "-run-image",
        "RUN",
        "-launcher",
        "LAUNCHER",
        "-cache-dir",
        "CACHE",
        "-cache-image",
        "CACHE_IMAGE",
        "APP",
    ];
    let outcome = world.phase("creator", &create).ok().says(&format!("Using credentials from {source}"));
    clean("the log", outcome.text().as_bytes());
    for directory in ["layers", "cache"] {
        clean_tree(&sandbox.path(directory));
    }
    for image in ["app", "cache"] {
        let image = world.fetch(image);
        clean("the config", image.config.to_string().as_bytes());
        image.layers.iter().for_each(|layer| clean("a layer", &layer.tar));
    }
}

fn docker_config(world: &mut World<'_>, json: &str) {
    world.sandbox.write("docker/config.json", json);
    let directory = world.sandbox.path("docker").display().to_string();
    world.env.push(("DOCKER_CONFIG".to_owned(), directory));
}

#[test]
fn credentials_of_the_platforms_variable_are_used_and_never_shown() {
    check("CNB_REGISTRY_AUTH", |world, host| {
        let header = format!("Basic {}", base64(&format!("{USER}:{PASSWORD}")));
        world.env.push(("CNB_REGISTRY_AUTH".to_owned(), format!("{{\"{host}\":\"{header}\"}}")));
    });
}

#[test]
fn an_identity_token_of_the_platforms_variable_is_used_and_never_shown() {
    check("CNB_REGISTRY_AUTH", |world, host| {
        let value = format!("{{\"{host}\":\"X-Identity {REFRESH_TOKEN}\"}}");
        world.env.push(("CNB_REGISTRY_AUTH".to_owned(), value));
    });
}

#[test]
fn a_bearer_token_of_the_platforms_variable_is_used_and_never_shown() {
    check("CNB_REGISTRY_AUTH", |world, host| {
        let value = format!("{{\"{host}\":\"Bearer {BEARER_TOKEN}\"}}");
        world.env.push(("CNB_REGISTRY_AUTH".to_owned(), value));
    });
}

#[test]
fn a_registry_token_of_a_docker_config_is_used_and_never_shown() {
    check("/", |world, host| {
        docker_config(
            world,
            &format!("{{\"auths\":{{\"{host}\":{{\"registrytoken\":\"{BEARER_TOKEN}\"}}}}}}"),
        );
    });
}

#[test]
fn credentials_of_a_docker_config_are_used_and_never_shown() {
    check("/", |world, host| {
        let auth = base64(&format!("{USER}:{PASSWORD}"));
        docker_config(world, &format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{auth}\"}}}}}}"));
    });
}

#[test]
fn an_identity_token_of_a_docker_config_is_used_and_never_shown() {
    check("/", |world, host| {
        let auth = format!("{{\"auths\":{{\"{host}\":{{\"identitytoken\":\"{REFRESH_TOKEN}\"}}}}}}");
        docker_config(world, &auth);
    });
}

fn helper(world: &mut World<'_>) {
    let script =
        format!("#!/bin/sh\ncat >/dev/null\necho '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n");
    world.sandbox.script("helpers/docker-credential-test", &script);
    let path = format!("{}:/usr/bin:/bin", world.sandbox.path("helpers").display());
    world.env.push(("PATH".to_owned(), path));
}

#[test]
fn credentials_of_a_helper_are_used_and_never_shown() {
    check("credential helper test", |world, host| {
        helper(world);
        docker_config(world, &format!("{{\"credHelpers\":{{\"{host}\":\"test\"}}}}"));
    });
}

#[test]
fn credentials_of_a_store_are_used_and_never_shown() {
    check("credential store test", |world, _| {
        helper(world);
        docker_config(world, "{\"credsStore\":\"test\"}");
    });
}
