//! Whom registries must prove to be, to whom we prove who we are, and the way there.

use acceptance::places::{Place, World};
use acceptance::run_image::RunImage;
use acceptance::sandbox::{Outcome, Sandbox};
use acceptance::servers::registry::{NAME, PASSWORD, Registry, USER};
use acceptance::servers::relay::Relay;
use acceptance::servers::tokens::base64;

fn sandbox() -> Sandbox {
    Sandbox::new().with_app("greeter").with_order("greeter")
}

fn text(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A world of `registry`, with an account and its run image, that phases reach as `host`.
fn world<'a>(sandbox: &'a Sandbox, registry: &Registry, host: &str) -> World<'a> {
    let mut world = World::bare(sandbox, Place::Registry(host.to_owned()));
    world.upstream = Some(registry.host.clone());
    world.account = Some(format!("{USER}:{PASSWORD}"));
    world.publish_run_image(&RunImage::version(1));
    let header = format!("Basic {}", base64(&format!("{USER}:{PASSWORD}")));
    world.env.push(("CNB_REGISTRY_AUTH".to_owned(), format!("{{\"{host}\":\"{header}\"}}")));
    world
}

fn analyze(world: &World<'_>, variables: &[(&str, &str)]) -> Outcome {
    world.phase_with("analyzer", &["-run-image", "RUN", "APP"], |command| {
        command.envs(variables.iter().copied());
    })
}

#[test]
fn a_directory_of_roots_is_trusted() {
    let (registry, sandbox) = (Registry::with_tls_and_basic_auth(), sandbox());
    let world = world(&sandbox, &registry, &registry.host);
    let authority = text(&registry.authority());
    sandbox.write("roots/ca.pem", &authority);
    // As `c_rehash` names it: OpenSSL's tools find certificates by a hash of their subject.
    sandbox.write("hashed/5ed36f99.0", &authority);
    sandbox.write("other/readme.txt", "no certificate");
    for (directory, code) in [("roots", 0), ("hashed", 0), ("other", 32)] {
        let path = sandbox.path(directory).display().to_string();
        analyze(&world, &[("SSL_CERT_DIR", &path)]).expect_code(code);
    }
    let list = ["other", "roots"].map(|name| sandbox.path(name).display().to_string()).join(":");
    analyze(&world, &[("SSL_CERT_DIR", &list)]).ok();
}

#[test]
fn a_client_certificate_is_shown_to_the_host_that_it_is_for() {
    let (registry, sandbox) = (Registry::with_client_certificates(), sandbox());
    let world = World::bare(&sandbox, Place::Registry(registry.host.clone()));
    let directory = format!(".docker/certs.d/{}", registry.host);
    sandbox.write(&format!("{directory}/ca.crt"), text(&registry.authority()));
    let refused = world.phase("analyzer", &["-run-image", "RUN", "APP"]).expect_code(32);
    assert!(!refused.text().contains("not found"), "{}", refused.text());
    sandbox.write(&format!("{directory}/client.key"), text(&registry.file("client.key")));
    sandbox.write(&format!("{directory}/client.cert"), text(&registry.file("old.crt")));
    let outdated = world.phase("analyzer", &["-run-image", "RUN", "APP"]).expect_code(32);
    outdated.says("client.cert").says("version before 3");
    sandbox.write(&format!("{directory}/client.cert"), text(&registry.file("client.crt")));
    // There is no run image: the registry let us in to say so.
    world.phase("analyzer", &["-run-image", "RUN", "APP"]).expect_code(32).says("not found");
}

/// Asks a registry that only the proxy knows for its run image.
fn through(proxy_variable: &str, more: &[(&str, &str)]) -> (Outcome, Vec<String>) {
    let (registry, sandbox) = (Registry::with_tls_and_basic_auth(), sandbox());
    let port = registry.host.rsplit(':').next().expect("a port");
    let world = world(&sandbox, &registry, &format!("{NAME}:{port}"));
    sandbox.write("ca.crt", text(&registry.authority()));
    let roots = sandbox.path("ca.crt").display().to_string();
    let tunnel = Relay::tunnel(&registry.host);
    let proxy = format!("http://{}", tunnel.host);
    let mut variables = vec![("SSL_CERT_FILE", roots.as_str()), (proxy_variable, &proxy)];
    variables.extend(more);
    let outcome = analyze(&world, &variables);
    (outcome, tunnel.asked())
}

#[test]
fn a_proxy_is_used_in_both_spellings() {
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let (outcome, asked) = through(variable, &[]);
        outcome.ok();
        assert!(asked.iter().any(|line| line.starts_with(&format!("CONNECT {NAME}:"))), "{asked:?}");
    }
    // One for plain http is not for TLS.
    let (outcome, asked) = through("HTTP_PROXY", &[]);
    outcome.expect_code(32).says(NAME);
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn hosts_without_proxy_are_asked_directly() {
    for variable in ["NO_PROXY", "no_proxy"] {
        let (outcome, asked) = through("HTTPS_PROXY", &[(variable, "other.example,.example")]);
        outcome.expect_code(32).says(NAME);
        assert!(asked.is_empty(), "{variable}: {asked:?}");
    }
}

#[test]
fn plain_http_has_a_proxy_of_its_own_and_loopback_none() {
    for variable in ["HTTP_PROXY", "http_proxy"] {
        let (registry, sandbox) = (Registry::plain(), sandbox());
        let tunnel = Relay::tunnel(&registry.host);
        let proxy = format!("http://{}", tunnel.host);
        let direct = World::new(&sandbox, Place::Registry(registry.host.clone()));
        analyze(&direct, &[(variable, &proxy)]).ok();
        assert!(tunnel.asked().is_empty(), "{:?}", tunnel.asked());
        let port = registry.host.rsplit(':').next().expect("a port");
        let named = World::behind(&sandbox, &format!("registry.localhost:{port}"), &registry.host);
        analyze(&named, &[(variable, &proxy)]).ok();
        assert!(!tunnel.asked().is_empty(), "a name below localhost is no loopback address");
    }
}
