//! Exports that are killed: the tag names the old image or the new one, and the next build works.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acceptance::places::{Place, World};
use acceptance::run_image::digest;
use acceptance::sandbox::Sandbox;
use acceptance::servers::registry::Registry;

const KILLS: u64 = 200;
const THREADS: u64 = 4;

/// The digest of what a tag names. While the registry writes a tag's file, it may answer 500.
fn tagged(host: &str, name: &str) -> String {
    let mut answer = Vec::new();
    for _ in 0..50 {
        answer = manifest(host, name);
        if !answer.starts_with(b"HTTP/1.1 5") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends") + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    digest(&answer[head..])
}

/// What the registry answers to a request for the manifest, head and body.
fn manifest(host: &str, name: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(host).expect("the registry listens");
    write!(
        stream,
        "GET /v2/{name}/manifests/latest HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Accept: application/vnd.oci.image.manifest.v1+json\r\n\r\n"
    )
    .expect("the registry listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the registry answers");
    answer
}

const EXPORT: [&str; 5] = ["-cache-dir", "CACHE", "-launcher", "LAUNCHER", "APP"];

/// Exports, and kills the phase after `wait`.
fn kill_after(world: &World<'_>, wait: Duration) {
    let arguments = [
        "-cache-dir".into(),
        world.sandbox.path("cache"),
        "-launcher".into(),
        world.sandbox.path("small-launcher"),
        world.name("app").into(),
    ];
    let mut command = std::process::Command::new(world.sandbox.phase_path("exporter"));
    command.args(arguments).env_clear().envs(world.sandbox.environment());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    acceptance::sandbox::as_cnb_user(&mut command);
    let mut child = command.spawn().expect("the exporter starts");
    std::thread::sleep(wait);
    let _ = child.kill();
    let _ = child.wait();
}

/// One builder of many images, killed in between.
fn builder(number: u64, registry: &Registry, kills: &AtomicU64) {
    let sandbox = Sandbox::new().with_app("greeter").with_order("greeter");
    let place = Place::Registry(format!("{}/k{number}", registry.host));
    let world = World::new(&sandbox, place);
    for outcome in world.build() {
        outcome.ok();
    }
    let name = format!("k{number}/demo/app");
    let start = Instant::now();
    world.phase("exporter", &EXPORT).ok();
    let longest = start.elapsed();
    let mut old = tagged(&registry.host, &name);
    let (mut state, mut new_ones) = (number + 1, 0);
    while kills.fetch_add(1, Ordering::Relaxed) < KILLS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sandbox.write("workspace/version", state.to_string());
        kill_after(&world, longest.mul_f64(f64::from(u32::try_from(state >> 32).expect("32 bits")) / 4e9));
        let found = tagged(&registry.host, &name);
        world.phase("exporter", &EXPORT).ok();
        let new = tagged(&registry.host, &name);
        assert!(found == old || found == new, "{found} is neither {old} nor {new}");
        new_ones += u32::from(found == new);
        old = new;
    }
    world.fetch("app");
    println!("builder {number}: {new_ones} exports had ended before they were killed");
}

#[test]
fn a_killed_export_leaves_the_old_image_or_the_new_one() {
    let (registry, kills) = (Registry::plain(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let (registry, kills) = (&registry, &kills);
            scope.spawn(move || builder(number, registry, kills));
        }
    });
}
