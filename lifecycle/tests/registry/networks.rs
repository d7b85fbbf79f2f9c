//! Tokens that expire, networks that break.

use std::time::Duration;

use acceptance::servers::faults::{Fault, Rates};
use acceptance::servers::proxy::{Proxy, Seen};
use acceptance::servers::registry::{PASSWORD, Registry};
use acceptance::servers::tokens::REFRESH_TOKEN;
use lifecycle::image::store::registry::credential::{Credential, Keychain};

use crate::blobs::round_trip;
use crate::support::{account, credential, noise, uploads};

#[test]
fn tokens_are_fetched_by_scope_kept_and_renewed_when_they_expire() {
    let registry = Registry::plain();
    let proxy = Proxy::start(&registry.host, Rates::default(), 1, Some(Duration::from_secs(1)));
    let uploads = uploads(&proxy.host, "team/app", account(&proxy.host, PASSWORD));
    for len in [10, 2 << 20] {
        round_trip(&uploads, &noise(len));
    }
    let before = proxy.tokens();
    assert!(before <= 4, "{before} tokens for two scopes");
    std::thread::sleep(Duration::from_millis(1100));
    round_trip(&uploads, &noise(11));
    assert!(proxy.tokens() > before);
}

#[test]
fn an_identity_token_is_exchanged() {
    let registry = Registry::plain();
    let proxy = Proxy::start(&registry.host, Rates::default(), 1, Some(Duration::from_mins(1)));
    let identity = Credential::Identity(REFRESH_TOKEN.to_owned());
    round_trip(&uploads(&proxy.host, "team/app", credential(&proxy.host, identity)), &noise(10));
    let wrong = Credential::Identity("wrong-secret-word".to_owned());
    let error =
        uploads(&proxy.host, "team/app", credential(&proxy.host, wrong)).probe().expect_err("refused");
    assert!(error.to_string().contains("401") && !error.to_string().contains("wrong-secret-word"), "{error}");
}

#[test]
fn blobs_survive_a_network_that_breaks_one_request_in_two() {
    let registry = Registry::plain();
    let rates = Rates { status: 20, too_many: 2, cut_request: 10, cut_answer: 10, slow: 8 };
    for seed in 1..=6 {
        let proxy = Proxy::start(&registry.host, rates, seed, None);
        let name = format!("team/app{seed}");
        let uploads = uploads(&proxy.host, &name, Keychain::default());
        let sizes = [1000, 700_000, 3 << 20];
        for len in sizes {
            round_trip(&uploads, &noise(len + usize::try_from(seed).expect("small")));
        }
        let seen = proxy.seen();
        let sent: u64 = seen.iter().map(|request| request.sent).sum();
        let whole: u64 = sizes.iter().map(|len| *len as u64).sum();
        assert!(sent < whole * 2, "{sent} bytes sent for {whole}: {}", describe(&seen));
    }
}

fn describe(seen: &[Seen]) -> String {
    let line = |r: &Seen| format!("{} {} {} {} {:?}\n", r.method, r.target, r.status, r.sent, r.fault);
    seen.iter().filter(|r| r.sent > 0 || r.fault != Fault::None).map(line).collect()
}
