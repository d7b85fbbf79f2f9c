//! Tests of the step cache, which takes nothing in its directory for granted.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::record::hex;
use super::*;
use crate::layer::{Compression, LayerFile, Mtimes};

const TTL: Duration = Duration::from_secs(100);

fn open(temp: &tempfile::TempDir) -> Cache {
    Cache::open(&temp.path().join("steps"), TTL).expect("open cache")
}

fn key(name: &str) -> Key {
    KeyBuilder::new("test").part("name", name).finish()
}

/// Stores a step whose layer has that content.
fn store(cache: &Cache, name: &str, content: &[u8]) {
    let mut blob = cache.new_blob().expect("new blob");
    blob.file.write_all(content).expect("write");
    let digest: [u8; 32] = Sha256::digest(content).into();
    let path = cache.keep(&blob, &digest).expect("keep");
    let layer = LayerFile {
        diff_id: hex(&digest),
        tar_size: 1,
        path,
        digest: hex(&digest),
        size: content.len() as u64,
        compression: Compression::None,
    };
    let mut mtimes = Mtimes::default();
    mtimes.push(1, 2);
    let footprint = Footprint { added: 3, ..Footprint::default() };
    cache.store_layer(&key(name), "RUN x", &layer, &mtimes, footprint).expect("store");
}

/// All files of a kind in the cache's directory.
fn files(temp: &tempfile::TempDir, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![temp.path().join("steps").join(kind)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("list").flatten() {
            if entry.path().is_dir() { open.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

#[test]
fn a_stored_step_is_found_with_its_layer() {
    let temp = tempfile::tempdir().expect("temp dir");
    let cache = open(&temp);
    assert!(cache.find(&key("a")).is_none());
    store(&cache, "a", b"content");
    cache.store_nothing(&key("b"), "RUN true").expect("store");
    let again = open(&temp);
    let hit = again.find(&key("a")).expect("a hit");
    let mut layer = hit.layer.expect("a layer");
    let mut content = String::new();
    layer.blob.read_to_string(&mut content).expect("read");
    assert_eq!((content.as_str(), layer.mtimes.get(0)), ("content", Some((1, 2))));
    assert_eq!(fs::read(layer.path).expect("read"), b"content");
    assert_eq!((hit.record.footprint.added, hit.record.created_by.as_str()), (3, "RUN x"));
    assert!(again.find(&key("b")).expect("a hit").layer.is_none());
}

/// Stores a step, lets a test damage the directory, and tells whether the step is still found.
fn survives(damage: impl FnOnce(&tempfile::TempDir)) -> bool {
    let temp = tempfile::tempdir().expect("temp dir");
    store(&open(&temp), "a", b"content");
    damage(&temp);
    open(&temp).find(&key("a")).is_some()
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("read");
    change(&mut bytes);
    fs::write(path, bytes).expect("write");
}

#[test]
fn anything_that_was_tampered_with_is_a_miss() {
    assert!(survives(|_| {}));
    for index in 0..2 {
        assert!(!survives(|temp| rewrite(&files(temp, "blobs")[index], |bytes| bytes[0] ^= 1)));
        assert!(!survives(|temp| rewrite(&files(temp, "blobs")[index], |bytes| bytes.push(0))));
        assert!(!survives(|temp| fs::remove_file(&files(temp, "blobs")[index]).expect("remove")));
    }
    let record = |temp: &tempfile::TempDir| files(temp, "steps")[0].clone();
    assert!(!survives(|temp| fs::remove_file(record(temp)).expect("remove")));
    for (from, to) in [("RUN x", "RUN y"), ("\"added\":3", "\"added\":4"), ("none", "gzip"), ("{", "")] {
        assert!(!survives(|temp| rewrite(&record(temp), |bytes| {
            let text = String::from_utf8_lossy(bytes).replacen(from, to, 1);
            *bytes = text.into_bytes();
        })));
    }
}

#[test]
fn files_that_others_could_have_written_are_a_miss() {
    let open_up = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    assert!(!survives(|temp| open_up(&files(temp, "steps")[0], 0o622)));
    assert!(!survives(|temp| open_up(&files(temp, "blobs")[0], 0o620)));
    assert!(!survives(|temp| {
        let path = files(temp, "blobs").remove(0);
        let aside = temp.path().join("aside");
        fs::rename(&path, &aside).expect("rename");
        symlink(aside, path).expect("symlink");
    }));
    assert!(!survives(|temp| {
        let path = files(temp, "steps").remove(0);
        fs::remove_file(&path).expect("remove");
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .expect("mkfifo");
    }));
}

#[test]
fn a_record_is_good_for_its_own_key_only() {
    let temp = tempfile::tempdir().expect("temp dir");
    let cache = open(&temp);
    store(&cache, "a", b"content");
    let from = files(&temp, "steps").remove(0);
    let hex = key("b").hex();
    let dir = temp.path().join("steps/steps").join(&hex[..2]);
    fs::create_dir_all(&dir).expect("mkdir");
    fs::copy(from, dir.join(format!("{hex}.json"))).expect("copy");
    assert!(cache.find(&key("b")).is_none());
}

#[test]
fn a_directory_that_others_can_write_is_not_opened() {
    let not_ours = |damage: &dyn Fn(&Path)| {
        let temp = tempfile::tempdir().expect("temp dir");
        let path = temp.path().join("steps");
        drop(open(&temp));
        damage(&path);
        matches!(Cache::open(&path, TTL), Err(CacheError::NotOurs(_)))
    };
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    assert!(not_ours(&|path| mode(path, 0o770)));
    assert!(not_ours(&|path| mode(&path.join("blobs"), 0o777)));
    assert!(not_ours(&|path| {
        fs::rename(path, path.with_extension("aside")).expect("rename");
        symlink(path.with_extension("aside"), path).expect("symlink");
    }));
    assert!(not_ours(&|path| {
        fs::remove_dir_all(path).expect("remove");
        fs::write(path, "").expect("write");
    }));
    assert!(!not_ours(&|_| {}));
}

#[test]
fn a_collection_leaves_what_can_be_found() {
    let temp = tempfile::tempdir().expect("temp dir");
    let cache = open(&temp);
    store(&cache, "a", b"one");
    store(&cache, "b", b"two");
    fs::write(temp.path().join("steps/tmp/left"), "").expect("write");
    fs::write(temp.path().join("steps/blobs/odd"), "").expect("write");
    let hex = key("b").hex();
    fs::remove_file(temp.path().join("steps/steps").join(&hex[..2]).join(format!("{hex}.json")))
        .expect("remove");
    let mount = cache.mount("m").expect("mount");
    drop(mount);
    let collected = cache.collect().expect("collect");
    assert_eq!(collected, Collected { records: 0, blobs: 3, mounts: 0 });
    assert!(cache.find(&key("a")).is_some());
    drop(cache);
    let expired = Cache::open(&temp.path().join("steps"), Duration::ZERO).expect("open");
    let collected = expired.collect().expect("collect");
    assert_eq!(collected, Collected { records: 1, blobs: 2, mounts: 1 });
    assert!(files(&temp, "blobs").is_empty());
}

#[test]
fn nothing_is_collected_while_another_uses_the_cache() {
    let temp = tempfile::tempdir().expect("temp dir");
    let (one, other) = (open(&temp), open(&temp));
    store(&one, "a", b"one");
    fs::write(temp.path().join("steps/tmp/left"), "").expect("write");
    assert_eq!(one.collect().expect("collect"), Collected::default());
    drop(other);
    assert_eq!(one.collect().expect("collect").blobs, 1);
    assert!(one.find(&key("a")).is_some());
}

#[test]
fn an_unfinished_blob_is_removed() {
    let temp = tempfile::tempdir().expect("temp dir");
    let cache = open(&temp);
    let blob = cache.new_blob().expect("new blob");
    assert_eq!(files(&temp, "tmp").len(), 1);
    drop(blob);
    assert_eq!(files(&temp, "tmp").len(), 0);
}

#[test]
fn a_missing_directory_above_is_an_error() {
    let temp = tempfile::tempdir().expect("temp dir");
    assert!(matches!(Cache::open(&temp.path().join("no/steps"), TTL), Err(CacheError::Path(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_record_makes_it_fail_badly(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        flip in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let temp = tempfile::tempdir().expect("temp dir");
        let cache = open(&temp);
        store(&cache, "a", b"content");
        let path = files(&temp, "steps").remove(0);
        let good = fs::read(&path).expect("read");
        fs::write(&path, bytes).expect("write");
        prop_assert!(cache.find(&key("a")).is_none());
        let mut changed = good.clone();
        let at = flip.index(changed.len());
        changed[at] = byte;
        fs::write(&path, &changed).expect("write");
        prop_assert_eq!(cache.find(&key("a")).is_some(), changed == good);
    }
}

#[test]
fn a_cache_that_somebody_keeps_to_themselves_is_closed() {
    let temp = tempfile::tempdir().expect("temp dir");
    drop(open(&temp));
    let path = temp.path().join("steps");
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("chmod");
    let opened = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Of this thread alone, and only as far as files go.
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            Cache::open(&path, TTL)
        });
        thread.join().expect("no panic")
    });
    assert!(matches!(&opened, Err(CacheError::Closed(closed)) if *closed == path), "{opened:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("chmod");
}
