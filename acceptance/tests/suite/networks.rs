//! Registries as they are out there: networks that break, tokens that expire, servers with quirks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acceptance::places::{Place, World};
use acceptance::run_image::RunImage;
use acceptance::sandbox::Sandbox;
use acceptance::servers::faults::Rates;
use acceptance::servers::proxy::{Proxy, Quirks, Seen};
use acceptance::servers::registry::{PASSWORD, Registry, USER};
use acceptance::servers::tokens::base64;

const BUILDS: u64 = 50;

fn sandbox() -> Sandbox {
    Sandbox::new().with_app("greeter").with_order("greeter")
}

/// `CNB_REGISTRY_AUTH` for `host`.
fn authorize(world: &mut World<'_>, host: &str) {
    let header = format!("Basic {}", base64(&format!("{USER}:{PASSWORD}")));
    world.env.push(("CNB_REGISTRY_AUTH".to_owned(), format!("{{\"{host}\":\"{header}\"}}")));
}

/// Bytes that do not compress, other ones for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::try_from(state >> 56).expect("eight bits")
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn uploads(seen: &[Seen]) -> impl Iterator<Item = &Seen> {
    seen.iter().filter(|seen| seen.target.contains("/blobs/uploads/"))
}

/// How often each blob's upload was finished.
fn finished(seen: &[Seen]) -> BTreeMap<String, u32> {
    let mut finished = BTreeMap::new();
    for seen in uploads(seen).filter(|seen| seen.method == "PUT" && seen.status == 201) {
        let digest = seen.target.split("digest=").nth(1).unwrap_or_default();
        *finished.entry(digest.to_owned()).or_insert(0) += 1;
    }
    finished
}

/// Bytes that the registry took, and bytes of what it has of them in the end.
#[derive(Debug, Default)]
struct Sent {
    taken: AtomicU64,
    distinct: AtomicU64,
}

impl Sent {
    /// Adds what one build sent through its proxy; the image's blobs but for the base's are new.
    #[track_caller]
    fn add(&self, world: &World<'_>, seen: &[Seen]) {
        let twice: Vec<_> = finished(seen).into_iter().filter(|(_, times)| *times > 1).collect();
        assert_eq!(twice, [], "a blob is uploaded once");
        let image = world.fetch("app");
        let layers = image.layers.iter().skip(2).map(|layer| (layer.digest.clone(), layer.size));
        let sizes: BTreeMap<String, u64> = layers.collect();
        let config = image.manifest["config"]["size"].as_u64().unwrap_or(0);
        self.distinct.fetch_add(sizes.values().sum::<u64>() + config, Ordering::Relaxed);
        self.taken.fetch_add(uploads(seen).map(|seen| seen.sent).sum(), Ordering::Relaxed);
    }

    #[track_caller]
    fn check(&self, network: &str) {
        let (taken, distinct) = (self.taken.load(Ordering::Relaxed), self.distinct.load(Ordering::Relaxed));
        println!("{network} network: {taken} bytes sent for {distinct} distinct ones");
        assert!(taken * 10 <= distinct * 11, "{taken} bytes sent for {distinct} distinct ones");
    }
}

/// Builds through a network of its own that breaks by `rates`.
fn build(number: u64, rates: Rates, registry: &Registry, sent: &Sent) -> usize {
    let sandbox = sandbox();
    sandbox.write("workspace/noise", noise(number + 1, 1_300_000));
    let proxy = Proxy::start(&registry.host, rates, number + 1, Some(Duration::from_secs(5)));
    let (host, upstream) = (format!("{}/b{number}", proxy.host), format!("{}/b{number}", registry.host));
    let mut world = World::behind(&sandbox, &host, &upstream);
    authorize(&mut world, &proxy.host);
    world.create(&["-cache-dir", "CACHE"]).ok();
    sent.add(&world, &proxy.seen());
    proxy.tokens()
}

#[test]
fn fifty_of_fifty_builds_pass_on_a_bad_network() {
    let rates = Rates { status: 20, too_many: 2, cut_request: 4, cut_answer: 3, slow: 3 };
    let (registry, sent, start) = (Registry::plain(), Sent::default(), Instant::now());
    let (next, tokens) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= BUILDS {
                        return;
                    }
                    tokens.fetch_add(build(number, rates, &registry, &sent) as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let (took, tokens) = (start.elapsed().as_secs(), tokens.into_inner());
    println!("{BUILDS} of {BUILDS} builds in {took} s with {tokens} tokens");
    sent.check("bad");
}

#[test]
fn a_good_network_carries_each_byte_once() {
    let (registry, sent) = (Registry::plain(), Sent::default());
    build(0, Rates::default(), &registry, &sent);
    sent.check("good");
}

#[test]
fn a_second_export_sends_no_layer_and_reads_none() {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let proxy = Proxy::counting(&registry.host);
    let world = World::behind(&sandbox, &proxy.host, &registry.host);
    for outcome in world.build() {
        outcome.ok();
    }
    let image = world.fetch("app");
    sandbox.clear("layers");
    for outcome in world.build() {
        outcome.ok();
    }
    proxy.forget();
    world
        .phase("exporter", &["-cache-dir", "CACHE", "-launcher", "LAUNCHER", "-process-type", "web", "APP"])
        .ok();
    let seen = proxy.seen();
    print_log("an export with nothing changed", &seen);
    assert_eq!(uploads(&seen).map(|seen| seen.sent).sum::<u64>(), 0, "nothing is uploaded");
    for layer in &image.layers {
        let read = |seen: &&Seen| seen.method == "GET" && seen.target.contains(&layer.digest);
        assert_eq!(seen.iter().filter(read).count(), 0, "{} is not read", layer.digest);
    }
    assert_eq!(image.digest, world.fetch("app").digest);
}

fn print_log(what: &str, seen: &[Seen]) {
    println!("{what}: {} requests", seen.len());
    for seen in seen {
        println!("  {} {} {} {}/{}", seen.status, seen.method, seen.target, seen.sent, seen.received);
    }
}

/// A buildpack with 36 layers: with those of base and lifecycle, the image has more than 40.
fn many_layers(sandbox: &Sandbox) {
    let buildpack = "cnb/buildpacks/test_many/1";
    sandbox.write(
        &format!("{buildpack}/buildpack.toml"),
        "api = \"0.12\"\n[buildpack]\nid = \"test/many\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n",
    );
    sandbox.script(&format!("{buildpack}/bin/detect"), "#!/bin/sh\nexit 0\n");
    let build = "#!/bin/bash\nset -e\nfor n in $(seq 36); do mkdir \"$1/l$n\"; echo $n > \"$1/l$n/file\"; \
                 printf '[types]\\nlaunch = true\\n' > \"$1/l$n.toml\"; done\n";
    sandbox.script(&format!("{buildpack}/bin/build"), build);
    sandbox.write("cnb/order.toml", "[[order]]\n[[order.group]]\nid = \"test/many\"\nversion = \"1\"\n");
}

#[test]
fn a_rebase_of_forty_layers_takes_eight_requests_and_a_mount_per_layer() {
    let (registry, sandbox) = (Registry::plain(), Sandbox::new().with_app("greeter"));
    many_layers(&sandbox);
    let proxy = Proxy::counting(&registry.host);
    let world = World::behind(&sandbox, &proxy.host, &registry.host);
    let create = ["-run-image", "RUN", "-launcher", "LAUNCHER", "APP"];
    world.phase("creator", &create).ok();
    let before = world.fetch("app");
    assert!(before.layers.len() >= 40, "{} layers", before.layers.len());
    world.publish_run_image(&RunImage::version(2));
    proxy.forget();
    world.rebase().ok();
    let seen = proxy.seen();
    print_log("a rebase of an image with 40 layers", &seen);
    let mounts = seen.iter().filter(|seen| seen.target.contains("mount=") && seen.status == 201).count();
    assert!(seen.len() <= 8 + mounts, "{} requests, {mounts} mounts", seen.len());
    let after = world.fetch("app");
    for layer in &after.layers {
        assert!(!seen.iter().any(|seen| seen.method == "GET" && seen.target.contains(&layer.digest)));
    }
    let config = after.manifest["config"]["size"].as_u64().expect("a size");
    assert_eq!(uploads(&seen).map(|seen| seen.sent).sum::<u64>(), config, "only the config is sent");
    assert_eq!(before.diff_ids()[2..], after.diff_ids()[2..]);
}

/// Builds and rebases with a registry that has `quirks`; gives the proxy and what it saw.
fn build_with(quirks: Quirks) -> Vec<Seen> {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let proxy = Proxy::odd(&registry.host, quirks, Some(Duration::from_mins(5)));
    let mut world = World::behind(&sandbox, &proxy.host, &registry.host);
    authorize(&mut world, &proxy.host);
    for outcome in world.build() {
        outcome.ok();
    }
    world.publish_run_image(&RunImage::version(2));
    world.rebase().ok();
    world.fetch("app");
    proxy.seen()
}

#[test]
fn a_registry_without_head_works() {
    let seen = build_with(Quirks { no_head: true, ..Quirks::default() });
    assert!(seen.iter().any(|seen| seen.status == 405));
}

#[test]
fn a_registry_without_mounts_works() {
    let seen = build_with(Quirks { no_mounts: true, ..Quirks::default() });
    assert!(seen.iter().any(|seen| seen.target.contains("mount=") && seen.status == 202));
}

#[test]
fn a_registry_whose_blobs_are_elsewhere_works_and_no_credentials_go_there() {
    let registry = Registry::plain();
    let elsewhere = Proxy::counting(&registry.host);
    let quirks = Quirks { blobs_at: Some(elsewhere.host.clone()), no_mounts: true, ..Quirks::default() };
    let sandbox = sandbox();
    let proxy = Proxy::odd(&registry.host, quirks, Some(Duration::from_mins(5)));
    let mut world = World::behind(&sandbox, &proxy.host, &registry.host);
    authorize(&mut world, &proxy.host);
    world.create(&["-cache-dir", "CACHE"]).ok();
    let seen = elsewhere.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| !seen.authorized), "{seen:?}");
}

#[test]
fn nothing_is_written_before_write_access_is_sure() {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let proxy = Proxy::odd(&registry.host, Quirks { read_only: true, ..Quirks::default() }, None);
    let world = World::behind(&sandbox, &proxy.host, &registry.host);
    let outcome = world.phase("analyzer", &["-run-image", "RUN", "APP"]).expect_code(32);
    outcome.says("ensure registry read/write access to").says("403");
}

#[test]
fn a_probe_leaves_no_upload_open() {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let proxy = Proxy::counting(&registry.host);
    let world = World::behind(&sandbox, &proxy.host, &registry.host);
    let cache = ["-run-image", "RUN", "-cache-image", "CACHE_IMAGE", "APP"];
    world.phase("analyzer", &cache).ok();
    let seen = proxy.seen();
    let count = |method: &str| uploads(&seen).filter(|seen| seen.method == method).count();
    assert_eq!((count("POST"), count("DELETE")), (2, 2), "one each for the image and the cache");
}

#[test]
fn a_missing_run_image_is_named_and_mirrors_are_tried() {
    let (registry, sandbox) = (Registry::plain(), sandbox());
    let world = World::new(&sandbox, Place::Registry(registry.host.clone()));
    let missing = world.name("missing");
    world.phase("analyzer", &["-run-image", &missing, "APP"]).expect_code(32).says(&missing);
    let mirrored = format!("[[images]]\nimage = \"{missing}\"\nmirrors = [\"{}\"]\n", world.name("run"));
    sandbox.write("cnb/run.toml", mirrored);
    world.phase("analyzer", &["APP"]).ok();
    assert!(sandbox.read("layers/analyzed.toml").contains(&world.name("run")));
}

fn secure(registry: &Registry, sandbox: &Sandbox, change: impl FnOnce(&mut World<'_>)) -> (i32, String) {
    let mut world = World::bare(sandbox, Place::Registry(registry.host.clone()));
    world.account = Some(format!("{USER}:{PASSWORD}"));
    world.publish_run_image(&RunImage::version(1));
    authorize(&mut world, &registry.host);
    change(&mut world);
    let outcome = world.phase("analyzer", &["-run-image", "RUN", "APP"]);
    (outcome.code, outcome.text())
}

#[test]
fn tls_is_trusted_by_file_by_directory_or_not_at_all() {
    let (registry, sandbox) = (Registry::with_tls_and_basic_auth(), sandbox());
    let authority = std::fs::read(registry.authority()).expect("an authority");
    sandbox.write("ca.crt", &authority);
    let ca = sandbox.path("ca.crt").display().to_string();
    let (code, text) = secure(&registry, &sandbox, |_| {});
    assert!(code == 32 && text.contains("https://"), "{text}");
    let file = |world: &mut World<'_>| world.env.push(("SSL_CERT_FILE".to_owned(), ca.clone()));
    assert_eq!(secure(&registry, &sandbox, file).0, 0);
    let insecure =
        |world: &mut World<'_>| world.flags = vec!["-insecure-registry".to_owned(), registry.host.clone()];
    assert_eq!(secure(&registry, &sandbox, insecure).0, 0);
    sandbox.write(&format!(".docker/certs.d/{}/ca.crt", registry.host), &authority);
    let (code, text) = secure(&registry, &sandbox, |_| {});
    assert_eq!(code, 0, "{text}");
}
