//! What layers become: blobs, entries of the cache, or an error.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::cache::{CacheMetadata, VolumeCache};
use crate::digest::Digest;
use crate::image::store::{Encoding, LayerSink};
use crate::image::{Descriptor, Image, Origin, Saved};
use crate::layers::decode::decompress;
use crate::layers::deflate::point::BLOCK;
use crate::layers::gzip::GzipWriter;
use crate::layers::tar::Owner;
use crate::log::{Level, Log};

/// A store in memory, which may fail after so many bytes of a layer.
struct Memory {
    encoding: Encoding,
    room: usize,
    open: AtomicUsize,
    blobs: Mutex<Vec<(Descriptor, Vec<u8>)>>,
}

struct MemorySink<'a>(&'a Memory, Vec<u8>);

impl Memory {
    fn new(encoding: Encoding) -> Self {
        Self { encoding, room: usize::MAX, open: AtomicUsize::new(0), blobs: Mutex::default() }
    }

    fn blob(&self, layer: &Layer) -> Vec<u8> {
        let wanted = layer.blob.as_ref().expect("a blob");
        let blobs = self.blobs.lock().expect("no panic");
        blobs.iter().find(|(blob, _)| blob == wanted).expect("it was committed").1.clone()
    }
}

impl Write for MemorySink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1.len() + bytes.len() > self.0.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LayerSink for MemorySink<'_> {
    fn commit(mut self: Box<Self>, blob: &Descriptor) -> Result<Origin, StoreError> {
        assert_eq!((blob.size, blob.digest), (self.1.len() as u64, Digest::of(&self.1)));
        self.0.blobs.lock().expect("no panic").push((blob.clone(), std::mem::take(&mut self.1)));
        Ok(Origin::Sent)
    }
}

impl Drop for MemorySink<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ImageStore for Memory {
    fn find(&self, _name: &ImageName) -> Result<Option<Image>, StoreError> {
        Ok(None)
    }

    fn open_layer(&self, _layer: &Layer) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        Err(StoreError::Refused("nothing is read".to_owned()))
    }

    fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn layer_sink(&self, _target: &ImageName) -> Result<Box<dyn LayerSink + '_>, StoreError> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(MemorySink(self, Vec::new())))
    }

    fn save(&self, _image: &Image, _names: &[ImageName]) -> Result<Saved, StoreError> {
        Err(StoreError::Refused("nothing is saved".to_owned()))
    }
}

/// Layer directories and a cache.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(temp.path().join("cache")).expect("create");
        Self(temp)
    }

    /// A layer with one file of `length` bytes, of which no two megabytes are the same.
    fn layer(&self, name: &str, length: usize) -> PathBuf {
        let dir = self.0.path().join(name);
        fs::create_dir_all(&dir).expect("create");
        fs::write(dir.join("file"), text(length)).expect("write");
        dir
    }

    fn cache(&self) -> VolumeCache {
        VolumeCache::open(&self.0.path().join("cache"), &Log::buffer(Level::Debug).0).expect("open")
    }
}

fn text(length: usize) -> Vec<u8> {
    let mut text: Vec<u8> =
        (0..=length / 16).flat_map(|line| format!("{line:x} of {length:x}\n").into_bytes()).collect();
    text.truncate(length);
    text
}

fn source(dir: &Path) -> LayerSource {
    LayerSource::dir(dir, Owner { uid: 1, gid: 1 }).expect("the directory is there")
}

fn job(dir: &Path, image: Want, cache: Want) -> Job {
    Job { source: source(dir), image, cache }
}

fn tar(job: &Job) -> Vec<u8> {
    let mut tar = Vec::new();
    job.source.open().expect("open").read_to_end(&mut tar).expect("read");
    tar
}

fn id(job: &Job) -> DiffId {
    DiffId::new(Digest::of(&tar(job)))
}

fn write_with(
    jobs: &[Job],
    store: &Memory,
    cache: Option<&dyn Cache>,
    threads: usize,
) -> Result<Vec<Written>, LayerError> {
    let target = ImageName::Layout { path: "app".into(), digest: None };
    let threads = NonZeroUsize::new(threads).expect("not 0");
    let image = Some((store as &dyn ImageStore, &target));
    let result = write_layers(jobs, &Outputs { image, family: MediaFamily::Oci, cache, threads });
    assert_eq!(store.open.load(Ordering::Relaxed), 0, "a sink was left open");
    result
}

fn write(jobs: &[Job], store: &Memory, cache: Option<&dyn Cache>) -> Vec<Written> {
    write_with(jobs, store, cache, 2).expect("the layers can be made")
}

fn new(written: &Written) -> &Layer {
    match &written.image {
        Outcome::New(layer) => layer,
        other => panic!("it is not new: {other:?}"),
    }
}

/// Lengths around the ends of blocks: the tar is up to 2560 bytes longer than the file.
const LENGTHS: [usize; 8] = [0, 1, BLOCK - 4096, BLOCK - 2560, BLOCK, 3 * BLOCK + 5, 7 * BLOCK, 20 * BLOCK];

#[test]
fn blobs_hold_the_tars_and_do_not_depend_on_the_number_of_threads() {
    let place = Place::new();
    let dirs = LENGTHS.map(|length| place.layer(&format!("l{length}"), length));
    let jobs: Vec<Job> = dirs.iter().map(|dir| job(dir, Want::Yes, Want::No)).collect();
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Tar] {
        let mut before: Option<Vec<Vec<u8>>> = None;
        for threads in [1, 2, 3, 8] {
            let store = Memory::new(encoding);
            let written = write_with(&jobs, &store, None, threads).expect("the layers can be made");
            let blobs: Vec<Vec<u8>> = written.iter().map(|made| store.blob(new(made))).collect();
            assert!(before.is_none_or(|before| before == blobs), "{encoding:?} {threads}");
            for ((job, made), blob) in jobs.iter().zip(&written).zip(&blobs) {
                let mut unpacked = Vec::new();
                decompress(blob.as_slice()).expect("known").read_to_end(&mut unpacked).expect("read");
                assert!(unpacked == tar(job), "{encoding:?} {threads}");
                assert_eq!((made.diff_id, made.tar_bytes), (id(job), unpacked.len() as u64));
                assert_eq!(
                    new(made).blob.as_ref().expect("a blob").media_type,
                    MediaFamily::Oci.layer(encoding)
                );
            }
            before = Some(blobs);
        }
    }
}

#[test]
fn gzip_is_what_the_writer_of_streams_makes() {
    let place = Place::new();
    let jobs = LENGTHS.map(|length| job(&place.layer(&format!("l{length}"), length), Want::Yes, Want::No));
    let store = Memory::new(Encoding::Gzip);
    for (job, made) in jobs.iter().zip(write(&jobs, &store, None)) {
        let mut writer = GzipWriter::new(Vec::new(), NonZeroUsize::MIN);
        writer.write_all(&tar(job)).expect("memory");
        assert!(writer.finish().expect("memory") == store.blob(new(&made)));
    }
}

#[test]
fn layers_of_the_image_before_are_only_hashed() {
    let place = Place::new();
    let (same, changed) = (place.layer("same", 3 * BLOCK), place.layer("changed", 3 * BLOCK));
    let before = id(&job(&same, Want::No, Want::No));
    let other = DiffId::new(Digest::of(b"other"));
    let jobs = [
        job(&same, Want::UnlessStill(before), Want::No),
        job(&changed, Want::UnlessStill(other), Want::No),
        job(&same, Want::No, Want::No),
    ];
    let store = Memory::new(Encoding::Gzip);
    let written = write(&jobs, &store, None);
    assert_eq!((&written[0].image, written[0].diff_id), (&Outcome::Same, before));
    assert_eq!(new(&written[1]).diff_id, id(&jobs[1]));
    assert_eq!(written[2].image, Outcome::NotWanted);
    assert_eq!(store.blobs.lock().expect("no panic").len(), 1);
}

/// Exports `dir` for the image and the cache, as one that both may have, and commits the cache.
#[track_caller]
fn again(place: &Place, dir: &Path, image: DiffId, cached: DiffId) -> (Outcome, CacheOutcome) {
    let cache = place.cache();
    let jobs = [job(dir, Want::UnlessStill(image), Want::UnlessStill(cached))];
    let store = Memory::new(Encoding::Gzip);
    let mut written = write(&jobs, &store, Some(&cache));
    cache.commit(&CacheMetadata::default()).expect("commit");
    let mut entry = Vec::new();
    place.cache().open_layer(written[0].diff_id).expect("cached").read_to_end(&mut entry).expect("read");
    assert!(entry == tar(&jobs[0]), "the cache has other bytes");
    let written = written.remove(0);
    (written.image, written.cache.expect("the cache works"))
}

#[test]
fn the_cache_gets_the_tar_keeps_it_and_has_damage_replaced() {
    let place = Place::new();
    let dir = place.layer("layer", 3 * BLOCK);
    let first = place.cache();
    let store = Memory::new(Encoding::Gzip);
    let written = write(&[job(&dir, Want::Yes, Want::Yes)], &store, Some(&first));
    assert!(matches!(written[0].cache, Ok(CacheOutcome::Added)));
    first.commit(&CacheMetadata::default()).expect("commit");
    let layer = written[0].diff_id;
    let other = DiffId::new(Digest::of(b"other"));
    let entry = place.0.path().join(format!("cache/committed/{layer}.tar"));

    assert_eq!(again(&place, &dir, layer, layer), (Outcome::Same, CacheOutcome::Reused));
    let (image, cache) = again(&place, &dir, other, layer);
    assert!(matches!((image, cache), (Outcome::New(_), CacheOutcome::Reused)));
    assert_eq!(again(&place, &dir, layer, other), (Outcome::Same, CacheOutcome::Added));
    let file = OpenOptions::new().write(true).open(&entry).expect("open");
    file.set_len(2 * BLOCK as u64).expect("truncate");
    assert_eq!(again(&place, &dir, layer, layer), (Outcome::Same, CacheOutcome::Replaced));
    OpenOptions::new().append(true).open(&entry).expect("open").write_all(b"x").expect("write");
    assert_eq!(again(&place, &dir, layer, layer), (Outcome::Same, CacheOutcome::Replaced));
    fs::remove_file(&entry).expect("remove");
    assert_eq!(again(&place, &dir, layer, layer), (Outcome::Same, CacheOutcome::Replaced));
    fs::write(dir.join("file"), "changed").expect("write");
    let (image, cache) = again(&place, &dir, layer, layer);
    assert!(matches!((image, cache), (Outcome::New(_), CacheOutcome::Added)));
}

#[test]
fn a_cache_that_fails_fails_no_layer() {
    let place = Place::new();
    let dir = place.layer("layer", 2 * BLOCK);
    let cache = place.cache();
    fs::remove_dir(place.0.path().join("cache")).expect("remove");
    let store = Memory::new(Encoding::Gzip);
    let written = write(&[job(&dir, Want::Yes, Want::Yes)], &store, Some(&cache));
    assert!(written[0].cache.is_err());
    assert_eq!(new(&written[0]).diff_id, written[0].diff_id);
}

#[test]
fn without_a_store_or_cache_nothing_is_wanted() {
    let place = Place::new();
    let jobs = [job(&place.layer("layer", 10), Want::Yes, Want::Yes)];
    let outputs = Outputs { image: None, family: MediaFamily::Oci, cache: None, threads: NonZeroUsize::MIN };
    let written = write_layers(&jobs, &outputs).expect("the layer can be made");
    assert_eq!(written[0].image, Outcome::NotWanted);
    assert!(matches!(written[0].cache, Ok(CacheOutcome::NotWanted)));
    assert!(write_layers(&[], &outputs).expect("no layers").is_empty());
}

#[test]
fn a_failure_ends_all_and_names_what_failed() {
    let place = Place::new();
    let dirs: Vec<PathBuf> = (0..20).map(|number| place.layer(&format!("l{number}"), BLOCK)).collect();
    let jobs: Vec<Job> = dirs.iter().map(|dir| job(dir, Want::Yes, Want::No)).collect();
    fs::remove_dir_all(&dirs[7]).expect("remove");
    for threads in [1, 4] {
        let error = write_with(&jobs, &Memory::new(Encoding::Gzip), None, threads).expect_err("one is gone");
        assert!(error.to_string().contains("/l7"), "{error}");
    }
    for room in [0, 100, 20_000] {
        let store = Memory { room, ..Memory::new(Encoding::Gzip) };
        let error = write_with(&jobs[..7], &store, None, 2).expect_err("the store is full");
        assert!(matches!(error, LayerError::Store(StoreError::Io { .. })), "{error}");
    }
}

#[test]
fn many_small_layers_come_back_in_order() {
    let place = Place::new();
    let types = |number: usize| LayerSource::ProcessTypes(vec![format!("p{number}")]);
    let jobs: Vec<Job> =
        (0..500).map(|number| Job { source: types(number), image: Want::Yes, cache: Want::Yes }).collect();
    let (store, cache) = (Memory::new(Encoding::Gzip), place.cache());
    let written = write(&jobs, &store, Some(&cache));
    for (job, made) in jobs.iter().zip(&written) {
        assert_eq!(made.diff_id, id(job));
    }
}
