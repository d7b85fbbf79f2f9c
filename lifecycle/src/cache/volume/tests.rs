//! A cache that is filled, read, damaged and interrupted.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::cache::metadata::{CachedBuildpack, CachedLayer};
use crate::digest::Digest;
use crate::log::Level;

fn temp() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn open(dir: &TempDir) -> VolumeCache {
    VolumeCache::open(dir.path(), &Log::buffer(Level::Debug).0).expect("the directory is there")
}

fn id(bytes: &[u8]) -> DiffId {
    DiffId::new(Digest::of(bytes))
}

fn add(cache: &VolumeCache, bytes: &[u8]) -> DiffId {
    let mut sink = cache.layer_sink().expect("a sink");
    sink.write_all(bytes).expect("write");
    sink.commit(id(bytes)).expect("commit the layer");
    id(bytes)
}

fn commit(cache: &VolumeCache) {
    cache.commit(&CacheMetadata::default()).expect("commit");
}

fn read(cache: &VolumeCache, diff_id: DiffId) -> Vec<u8> {
    let mut bytes = Vec::new();
    cache.open_layer(diff_id).expect("the layer is there").read_to_end(&mut bytes).expect("read");
    bytes
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("list").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_was_added_is_there_after_the_commit_and_not_before() {
    let dir = temp();
    let cache = open(&dir);
    let layer = add(&cache, b"layer");
    assert!(matches!(open(&dir).open_layer(layer), Err(CacheError::NotFound(_))));
    commit(&cache);
    assert_eq!(read(&open(&dir), layer), b"layer");
    assert_eq!(names(dir.path()), ["committed"]);
    assert_eq!(names(&dir.path().join("committed")), [METADATA.to_owned(), format!("{layer}.tar")]);
}

#[test]
fn a_commit_replaces_everything_and_keeps_what_was_reused_without_a_copy() {
    let dir = temp();
    let first = open(&dir);
    let (kept, dropped) = (add(&first, b"kept"), add(&first, b"dropped"));
    commit(&first);
    let file = dir.path().join("committed").join(file_name(kept));
    let before = fs::metadata(&file).expect("stat").ino();
    let second = open(&dir);
    second.reuse_layer(kept).expect("reuse");
    second.reuse_layer(kept).expect("reuse twice");
    let added = add(&second, b"added");
    commit(&second);
    let third = open(&dir);
    assert_eq!(read(&third, kept), b"kept");
    assert_eq!(read(&third, added), b"added");
    assert!(matches!(third.open_layer(dropped), Err(CacheError::NotFound(_))));
    assert_eq!(fs::metadata(&file).expect("stat").ino(), before);
    assert_eq!(names(dir.path()), ["committed"]);
}

#[test]
fn metadata_is_the_reference_implementation_s_json() {
    let dir = temp();
    let cache = open(&dir);
    let data = serde_json::json!({"big": 9_007_199_254_740_993_i64, "count": 3, "ratio": 1.5});
    let layer = CachedLayer { sha: "sha256:1".into(), data, build: true, launch: false, cache: true };
    let metadata = CacheMetadata {
        buildpacks: vec![CachedBuildpack {
            key: "a/b".into(),
            version: "1".into(),
            layers: [("rt".to_owned(), layer)].into(),
        }],
        ..CacheMetadata::default()
    };
    cache.commit(&metadata).expect("commit");
    let text = fs::read_to_string(dir.path().join("committed").join(METADATA)).expect("read");
    let expected =
        r#"{"sbom":{"sha":""},"buildpacks":[{"key":"a/b","version":"1","layers":{"rt":{"sha":"sha256:1","#;
    assert!(text.starts_with(expected) && text.ends_with("}\n"), "{text}");
    assert_eq!(open(&dir).metadata().expect("metadata"), metadata);
    let go =
        r#"{"sbom":{"sha":""},"buildpacks":[{"key":"a","version":"1","layers":null,"store":{}}],"more":1}"#;
    fs::write(dir.path().join("committed").join(METADATA), go).expect("write");
    assert_eq!(open(&dir).metadata().expect("metadata").buildpacks[0].key, "a");
}

#[test]
fn an_empty_directory_is_an_empty_cache_and_stays_untouched_by_reading() {
    let dir = temp();
    let cache = open(&dir);
    assert_eq!(cache.metadata().expect("metadata"), CacheMetadata::default());
    assert!(matches!(cache.reuse_layer(id(b"x")), Err(CacheError::NotFound(_))));
    assert!(names(dir.path()).is_empty());
    assert!(VolumeCache::open(&dir.path().join("missing"), &Log::buffer(Level::Debug).0).is_err());
}

#[test]
fn entries_that_are_no_files_are_not_followed() {
    let dir = temp();
    let committed = dir.path().join("committed");
    fs::create_dir(&committed).expect("create");
    let secret = dir.path().join("secret");
    fs::write(&secret, "secret").expect("write");
    symlink(&secret, committed.join(file_name(id(b"link")))).expect("link");
    fs::create_dir(committed.join(file_name(id(b"dir")))).expect("create");
    let pipe = committed.join(file_name(id(b"pipe")));
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from(0o600), 0).expect("make a pipe");
    symlink(&secret, committed.join(METADATA)).expect("link");
    let cache = open(&dir);
    for name in [b"link".as_slice(), b"dir", b"pipe"] {
        assert!(matches!(cache.open_layer(id(name)), Err(CacheError::Damaged(..))));
        assert!(matches!(cache.reuse_layer(id(name)), Err(CacheError::Damaged(..))));
    }
    assert!(cache.metadata().is_err());
    add(&cache, b"new");
    commit(&cache);
    assert_eq!(read(&open(&dir), id(b"new")), b"new");
    assert_eq!(fs::read(&secret).expect("read"), b"secret");
}

#[test]
fn what_an_interrupted_build_left_is_found_or_removed() {
    let dir = temp();
    let first = open(&dir);
    let layer = add(&first, b"layer");
    commit(&first);
    fs::rename(dir.path().join("committed"), dir.path().join("committed-backup")).expect("rename");
    let outside = temp();
    fs::write(outside.path().join("file"), "").expect("write");
    symlink(outside.path(), dir.path().join("staging")).expect("link");
    let second = open(&dir);
    assert_eq!(read(&second, layer), b"layer");
    second.reuse_layer(layer).expect("reuse");
    commit(&second);
    assert_eq!(read(&open(&dir), layer), b"layer");
    assert_eq!(names(dir.path()), ["committed"]);
    assert_eq!(names(outside.path()), ["file"]);
}

#[test]
fn a_foreign_file_in_the_place_of_the_content_is_replaced() {
    let dir = temp();
    fs::write(dir.path().join("committed"), "not ours").expect("write");
    let (log, lines) = Log::buffer(Level::Debug);
    let cache = VolumeCache::open(dir.path(), &log).expect("open");
    assert!(lines.text().starts_with("Warning: Ignoring the content of cache"), "{}", lines.text());
    let layer = add(&cache, b"layer");
    commit(&cache);
    assert_eq!(read(&open(&dir), layer), b"layer");
    assert_eq!(names(dir.path()), ["committed"]);
}

#[test]
fn the_two_steps_of_file_systems_that_cannot_exchange_give_the_same() {
    let dir = temp();
    let first = open(&dir);
    add(&first, b"old");
    commit(&first);
    let second = open(&dir);
    let layer = add(&second, b"new");
    second.staging().expect("staging").complete(&CacheMetadata::default()).expect("complete");
    second.exchange_in_two_steps().expect("exchange");
    assert_eq!(read(&open(&dir), layer), b"new");
    assert_eq!(names(dir.path()), ["committed", "committed-backup"]);
    let third = open(&dir);
    third.reuse_layer(layer).expect("reuse");
    third.staging().expect("staging").complete(&CacheMetadata::default()).expect("complete");
    third.exchange_in_two_steps().expect("exchange with a backup left over");
    assert_eq!(read(&open(&dir), layer), b"new");
}

#[test]
fn a_layer_that_is_given_up_leaves_nothing() {
    let dir = temp();
    let cache = open(&dir);
    let mut sink = cache.layer_sink().expect("a sink");
    sink.write_all(b"half").expect("write");
    drop(sink);
    commit(&cache);
    assert_eq!(names(&dir.path().join("committed")), [METADATA]);
}

#[test]
fn many_layers_are_written_out_at_once() {
    let dir = temp();
    let cache = open(&dir);
    let layers: Vec<DiffId> = (0..100_u32).map(|number| add(&cache, &number.to_le_bytes())).collect();
    commit(&cache);
    let cache = open(&dir);
    assert!(layers.iter().all(|layer| id(&read(&cache, *layer)) == *layer));
}

proptest! {
    #[test]
    fn any_metadata_file_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let dir = temp();
        fs::create_dir(dir.path().join("committed")).expect("create");
        fs::write(dir.path().join("committed").join(METADATA), &text).expect("write");
        let _ = open(&dir).metadata();
    }
}
