//! Cache images.

use acceptance::places::{World, skopeo};
use acceptance::sandbox::Sandbox;
use acceptance::servers::proxy::{Proxy, Quirks, Seen};
use acceptance::servers::registry::Registry;

const CACHE: [&str; 2] = ["-cache-image", "CACHE_IMAGE"];
const LABEL: &str = "io.buildpacks.lifecycle.cache.metadata";

fn sandbox() -> Sandbox {
    Sandbox::new().with_app("greeter").with_order("greeter")
}

fn sent(seen: &[Seen]) -> u64 {
    seen.iter().filter(|seen| seen.target.contains("/blobs/uploads/")).map(|seen| seen.sent).sum()
}

#[test]
fn a_layer_of_image_and_cache_is_sent_once_and_a_reused_one_never() {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let proxy = Proxy::counting(&registry.host);
    let world = World::behind(&sandbox, &proxy.host, &registry.host);
    world.create(&CACHE).ok();
    let (image, cache) = (world.fetch("app"), world.fetch("cache"));
    let shared: Vec<&String> = cache
        .layers
        .iter()
        .map(|layer| &layer.digest)
        .filter(|digest| image.layers.iter().any(|layer| layer.digest == **digest))
        .collect();
    assert!(!shared.is_empty(), "the toolchain is in both");
    for digest in shared {
        let ended = digest.replace(':', "%3A");
        let finished = |seen: &&Seen| seen.method == "PUT" && seen.target.contains(&ended);
        assert_eq!(proxy.seen().iter().filter(finished).count(), 1, "{digest} is sent once");
    }
    sandbox.clear("layers");
    proxy.forget();
    let again = world.create(&CACHE).ok();
    again
        .says("Restoring data for \"demo/toolchain:toolchain\" from cache")
        .says("Reusing cache layer 'demo/toolchain:toolchain'")
        .says("Toolchain 3: kept from the cache");
    assert_eq!(sent(&proxy.seen()), 0, "nothing is uploaded");
    assert_eq!((image.digest, cache.digest), (world.fetch("app").digest, world.fetch("cache").digest));
}

#[test]
fn a_cache_image_has_the_reference_implementations_label_and_docker_types_are_read() {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let world = World::behind(&sandbox, &registry.host, &registry.host);
    world.create(&CACHE).ok().says("Layer cache not found\n");
    let cache = world.fetch("cache");
    let label = cache.json_label(LABEL);
    let layer = &label["buildpacks"][0]["layers"]["toolchain"];
    assert_eq!(label["buildpacks"][0]["key"], "demo/toolchain");
    assert!(cache.diff_ids().contains(&layer["sha"].as_str().expect("a diffID")), "{label}");
    assert_eq!((&layer["cache"], label["sbom"].is_object()), (&true.into(), true));
    // As the reference implementation writes it: Docker's media types.
    let name = world.upstream("cache");
    let flags = ["--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2"];
    skopeo(&[&["copy", "-q"], &flags[..], &[&name, &name]].concat());
    sandbox.clear("layers");
    world.create(&CACHE).ok().says("Restoring data for \"demo/toolchain:toolchain\" from cache");
}

#[test]
fn a_cache_that_cannot_be_written_fails_no_image() {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let proxy = Proxy::odd(&registry.host, Quirks { read_only: true, ..Quirks::default() }, None);
    let world = World::behind(&sandbox, &registry.host, &registry.host);
    for outcome in world.build() {
        outcome.ok();
    }
    for parallel in ["-parallel=false", "-parallel"] {
        let cache = format!("{}/demo/cache", proxy.host);
        let arguments = [parallel, "-cache-image", &cache, "-launcher", "LAUNCHER", "APP"];
        let outcome = world.phase("exporter", &arguments).ok();
        outcome.says("Failed to export cache").says("403");
    }
}

#[test]
fn image_and_cache_are_saved_at_the_same_time_to_the_same_end() {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let world = World::behind(&sandbox, &registry.host, &registry.host);
    world.create(&CACHE).ok();
    let expected = (world.fetch("app").digest, world.fetch("cache").digest);
    for image in ["app", "cache"] {
        let name = world.upstream(image);
        skopeo(&["delete", "--tls-verify=false", &name]);
    }
    sandbox.clear("layers");
    world.create(&["-parallel", "-cache-image", "CACHE_IMAGE"]).ok();
    assert_eq!(expected, (world.fetch("app").digest, world.fetch("cache").digest));
}
