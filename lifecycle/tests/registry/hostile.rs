//! Registries that answer what no registry should.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use acceptance::servers::script::{Answer, Script};
use lifecycle::image::store::LayerSink;
use lifecycle::image::store::registry::blob::BlobReader;
use lifecycle::image::store::registry::credential::Keychain;
use lifecycle::image::store::registry::upload::UploadSink;

use crate::blobs::descriptor;
use crate::support::{noise, uploads};

/// Answers as a registry does for an upload whose first `PATCH` fails and that is then said to have
/// arrived up to `range`.
fn claims_to_have(range: &'static str) -> Script {
    let patches = Arc::new(AtomicUsize::new(0));
    Script::start(move |line| {
        let location = "Location: /v2/team/app/blobs/uploads/1\r\n";
        match line.split(' ').next() {
            Some("PATCH") if patches.fetch_add(1, Ordering::SeqCst) == 0 => Answer::new(500, "", b""),
            Some("POST" | "PATCH") => Answer::new(202, location, b""),
            Some("PUT") => Answer::new(201, "", b""),
            Some("HEAD") => Answer::new(404, "", b""),
            Some("GET") if line.contains("uploads") => {
                Answer::new(204, &format!("{location}Range: {range}\r\n"), b"")
            }
            _ => Answer::new(200, "", b""),
        }
    })
}

#[test]
fn an_upload_that_is_said_to_have_more_than_there_is_starts_over() {
    for range in ["0-18446744073709551615", "0-18446744073709551614", "0-9000000", "junk", "5"] {
        let registry = claims_to_have(range);
        let bytes = noise(3 << 20);
        let mut sink = Box::new(UploadSink::new(uploads(&registry.host, "team/app", Keychain::default())));
        sink.write_all(&bytes).expect("the sink takes bytes");
        sink.commit(&descriptor(&bytes)).unwrap_or_else(|error| panic!("{range}: {error}"));
    }
}

#[test]
fn an_error_whose_text_does_not_come_is_told_without_it() {
    let registry = Script::start(|line| match line.split(' ').next() {
        Some("POST") => Answer::unfinished(403, 1000, b"{\"errors\":[", Duration::from_mins(5)),
        _ => Answer::new(200, "", b""),
    });
    let begun = Instant::now();
    let error = uploads(&registry.host, "team/app", Keychain::default()).probe().expect_err("refused");
    assert!(error.to_string().contains(": 403 Forbidden"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(40), "it took {:?}", begun.elapsed());
}

#[test]
fn who_reads_on_after_a_failure_gets_another_error() {
    let bytes = noise(2000);
    let asked = AtomicUsize::new(0);
    let registry =
        Script::start(move |line| match (line.contains("/blobs/"), asked.load(Ordering::SeqCst)) {
            (true, 0) => {
                asked.store(1, Ordering::SeqCst);
                Answer::unfinished(200, 2000, b"some", Duration::ZERO)
            }
            (true, _) => Answer::new(404, "", b""),
            _ => Answer::new(200, "", b""),
        });
    let uploads = uploads(&registry.host, "team/app", Keychain::default());
    let mut reader = BlobReader::open(&uploads.client, &uploads.repository, &descriptor(&bytes))
        .expect("the blob seems to be there");
    let mut buffer = [0; 100];
    let failures = (0..5).filter(|_| reader.read(&mut buffer).is_err()).count();
    assert_eq!(failures, 4, "all reads but the first fail");
}

/// A registry that wants tokens, whose server is first asked at `/token` and answers there by `first`.
fn wants_tokens(first: impl Fn() -> Answer + Send + Sync + 'static) -> Script {
    let posts = AtomicUsize::new(0);
    Script::start_with(move |host, line| {
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"\r\n");
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            [_, target, _] if target.starts_with("/moved") => Answer::new(200, "", br#"{"token":"abc"}"#),
            [_, target, _] if target.starts_with("/token") => first(),
            ["POST", ..] if posts.fetch_add(1, Ordering::SeqCst) > 0 => {
                Answer::new(202, "Location: /v2/team/app/blobs/uploads/1\r\n", b"")
            }
            _ => Answer::new(401, &challenge, b""),
        }
    })
}

#[test]
fn a_token_server_that_moved_its_path_is_followed_and_to_no_other_host() {
    let probe = |registry: &Script| uploads(&registry.host, "team/app", Keychain::default()).probe();
    probe(&wants_tokens(|| Answer::new(302, "Location: /moved?a=b\r\n", b""))).expect("a token");
    for elsewhere in ["http://127.0.0.1:9/moved", "/token", "ftp://h/"] {
        let location = format!("Location: {elsewhere}\r\n");
        let error = probe(&wants_tokens(move || Answer::new(307, &location, b""))).expect_err("no token");
        assert!(error.to_string().contains("307 Temporary Redirect"), "{error}");
    }
}
