//! Blobs go up, are found, mounted and read back.

use std::io::{Read, Write};

use lifecycle::digest::Digest;
use lifecycle::image::Descriptor;
use lifecycle::image::store::LayerSink;
use lifecycle::image::store::registry::blob::BlobReader;
use lifecycle::image::store::registry::client::Repository;
use lifecycle::image::store::registry::credential::Keychain;
use lifecycle::image::store::registry::upload::{UploadSink, Uploads};

use acceptance::servers::registry::Registry;

use crate::support::{account, noise, uploads};

pub fn descriptor(bytes: &[u8]) -> Descriptor {
    let (size, digest) = (bytes.len() as u64, Digest::of(bytes));
    Descriptor {
        media_type: "application/octet-stream".to_owned(),
        size,
        digest,
        extra: lifecycle::json::JsonObject::default(),
    }
}

#[track_caller]
pub fn round_trip(uploads: &Uploads, bytes: &[u8]) {
    let blob = descriptor(bytes);
    let mut sink = Box::new(UploadSink::new(uploads.clone()));
    for chunk in bytes.chunks(100_000) {
        sink.write_all(chunk).expect("the sink takes bytes");
    }
    sink.commit(&blob).expect("the blob is stored");
    assert!(uploads.exists(blob.digest).expect("the registry answers"));
    let mut back = Vec::new();
    let mut reader =
        BlobReader::open(&uploads.client, &uploads.repository, &blob).expect("the blob is there");
    reader.read_to_end(&mut back).expect("the blob is whole");
    assert!(back == bytes, "the same bytes come back");
}

#[test]
fn small_and_large_blobs_round_trip() {
    let registry = Registry::plain();
    let uploads = uploads(&registry.host, "team/app", Keychain::default());
    for len in [0, 1, 1 << 20, (1 << 20) + 1, 20 << 20] {
        round_trip(&uploads, &noise(len));
    }
}

#[test]
fn a_blob_is_mounted_from_a_repository_that_has_it() {
    let registry = Registry::plain();
    let source = uploads(&registry.host, "team/base", Keychain::default());
    let bytes = noise(3000);
    round_trip(&source, &bytes);
    let target = Uploads {
        repository: Repository { name: "team/app".to_owned(), ..source.repository.clone() },
        ..source
    };
    assert!(target.mount(Digest::of(&bytes), "team/base").expect("the registry answers"));
    assert!(!target.mount(Digest::of(b"else"), "team/base").expect("the registry answers"));
    assert!(target.exists(Digest::of(&bytes)).expect("the registry answers"));
}

#[test]
fn accounts_are_used_when_asked_for_and_errors_hide_them() {
    let registry = Registry::with_basic_auth();
    round_trip(&uploads(&registry.host, "team/app", account(&registry.host, "secret-word")), &noise(2 << 20));
    let denied = uploads(&registry.host, "team/app", account(&registry.host, "wrong-word"))
        .probe()
        .expect_err("denied");
    let text = denied.to_string();
    assert!(
        text.contains("401") && text.contains("POST http://127.0.0.1") && !text.contains("wrong-word"),
        "{text}"
    );
}

#[test]
fn a_blob_that_is_not_what_its_descriptor_says_fails_at_its_end() {
    let registry = Registry::plain();
    let uploads = uploads(&registry.host, "team/app", Keychain::default());
    let bytes = noise(3000);
    round_trip(&uploads, &bytes);
    let short = Descriptor { size: 2999, ..descriptor(&bytes) };
    let mut reader =
        BlobReader::open(&uploads.client, &uploads.repository, &short).expect("the blob is there");
    let error = reader.read_to_end(&mut Vec::new()).expect_err("the size is wrong");
    assert!(error.to_string().contains("is damaged"), "{error}");
}
