//! Tests of layout directories, against ones made by hand.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::digest::DiffId;
use crate::image::{ImageConfig, MediaFamily};
use crate::reference::{Reference, StoreKind};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn store(&self) -> LayoutStore {
        let platform = Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() };
        LayoutStore::new(self.path().to_owned(), platform, Encoding::Gzip)
    }

    fn put(&self, layout: &str, bytes: &[u8]) -> Digest {
        let (dir, digest) = (self.path().join(layout).join("blobs/sha256"), Digest::of(bytes));
        fs::create_dir_all(&dir).expect("created");
        fs::write(dir.join(digest.hex()), bytes).expect("written");
        digest
    }

    fn index(&self, layout: &str, text: &str) {
        let dir = self.path().join(layout);
        fs::create_dir_all(&dir).expect("created");
        fs::write(dir.join("index.json"), text).expect("written");
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    }

    /// A manifest of one layer, as an entry of an index.
    fn image(&self, layout: &str, architecture: &str) -> String {
        let layer = self.put(layout, b"layer");
        let config = format!(
            r#"{{"os":"linux","architecture":"{architecture}","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let config_digest = self.put(layout, config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","size":{},"digest":"{config_digest}"}},"layers":[{{"mediaType":"l","size":5,"digest":"{layer}"}}]}}"#,
            config.len()
        );
        let digest = self.put(layout, manifest.as_bytes());
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":{},"digest":"{digest}","platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
            manifest.len()
        )
    }
}

fn name(dir: &Dir, layout: &str) -> ImageName {
    ImageName::Layout { path: dir.path().join(layout), digest: None }
}

fn reference(text: &str) -> ImageName {
    ImageName::Reference(Reference::parse(text).expect("a reference"))
}

fn read(store: &LayoutStore, layer: &Layer) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.open_layer(layer).expect("opened").read_to_end(&mut bytes).expect("right bytes");
    bytes
}

fn add_layer(store: &LayoutStore, target: &ImageName, image: &mut Image, bytes: &[u8]) {
    let mut sink = store.layer_sink(target).expect("a sink");
    sink.write_all(bytes).expect("written");
    let digest = Digest::of(bytes);
    let blob = Descriptor::new(MediaFamily::Oci.layer(Encoding::Gzip), bytes.len() as u64, digest);
    let origin = sink.commit(&blob).expect("committed");
    image.push_layer(Layer { diff_id: DiffId::new(digest), blob: Some(blob), origin }, "test");
}

fn new_image() -> Image {
    Image::new(ImageConfig::new("linux", "amd64"))
}

/// Every file below `dir`, sorted, relative to it.
fn files(dir: &Path) -> Vec<String> {
    let all = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(|e| e.expect("readable"));
    let below = |path: &Path| path.strip_prefix(dir).expect("below").display().to_string();
    all.filter(|entry| entry.file_type().is_file()).map(|entry| below(entry.path())).collect()
}

#[test]
fn what_was_saved_is_found_with_every_layer() {
    let dir = Dir::new();
    let (store, target) = (dir.store(), reference("gcr.io/my/app:1"));
    let mut image = new_image();
    add_layer(&store, &target, &mut image, b"one");
    add_layer(&store, &target, &mut image, b"two");
    let saved = store.save(&image, std::slice::from_ref(&target)).expect("saved");
    let path = dir.path().join("gcr.io/my/app/1");
    assert_eq!(files(&path).len(), 2 + 2 + 2, "two layers, config, manifest, index, oci-layout");
    let found = store.find(&target).expect("readable").expect("there");
    assert_eq!(found.config, image.config);
    assert_eq!(found.name, Some(ImageName::Layout { path, digest: saved.digest }));
    assert_eq!(found.layers.iter().map(|layer| read(&store, layer)).collect::<Vec<_>>(), [b"one", b"two"]);
    let text = found.name.as_ref().map(ToString::to_string).expect("a name");
    let recorded = ImageName::recorded(StoreKind::Layout, &text).expect("a name");
    assert_eq!(store.find(&recorded).expect("readable").expect("there").config, image.config);
}

#[test]
fn the_index_names_the_image_after_its_tag() {
    let dir = Dir::new();
    let store = dir.store();
    let mut image = new_image();
    let saved = store.save(&image, &[reference("app:1"), reference("app")]).expect("saved");
    let digest = saved.digest.expect("a digest");
    let size = saved.manifest_size.expect("a size");
    let check = |tag: &str, name: &str| {
        let index = dir.path().join("index.docker.io/library/app").join(tag).join("index.json");
        assert_eq!(
            fs::read_to_string(index).expect("an index"),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":{size},"digest":"{digest}","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}]}}"#
            )
        );
    };
    check("1", "1");
    check("latest", "latest");
    let annotations = r#"{"annotations":{"org.opencontainers.image.ref.name":"given"}}"#;
    image.manifest = crate::json::JsonObject::parse(annotations).expect("an object");
    store.save(&image, &[reference("app:1")]).expect("saved");
    let found = store.find(&reference("app:1")).expect("readable").expect("there");
    assert_eq!(found.manifest.raw("annotations"), image.manifest.raw("annotations"));
}

#[test]
fn files_and_directories_are_readable_by_all() {
    let dir = Dir::new();
    let (store, target) = (dir.store(), reference("app"));
    let mut image = new_image();
    add_layer(&store, &target, &mut image, b"one");
    store.save(&image, &[target]).expect("saved");
    for entry in walkdir::WalkDir::new(dir.path().join("index.docker.io")) {
        let entry = entry.expect("readable");
        let mode = entry.metadata().expect("readable").permissions().mode() & 0o7777;
        assert_eq!(
            mode,
            if entry.file_type().is_dir() { 0o755 } else { 0o644 },
            "{}",
            entry.path().display()
        );
    }
}

#[test]
fn a_sink_that_is_dropped_leaves_nothing_behind() {
    let dir = Dir::new();
    let store = dir.store();
    let mut sink = store.layer_sink(&reference("app")).expect("a sink");
    sink.write_all(b"half").expect("written");
    assert_eq!(files(dir.path()).len(), 1);
    drop(sink);
    assert!(files(dir.path()).is_empty());
    let mut sink = store.layer_sink(&reference("app")).expect("a sink");
    sink.write_all(b"half").expect("written");
    let error = sink.commit(&Descriptor::new("l", 5, Digest::of(b"whole"))).expect_err("refused");
    assert!(error.to_string().contains("4 bytes were written, expected 5"), "{error}");
    assert!(files(dir.path()).is_empty());
}

#[test]
fn abandoned_files_are_removed_and_young_ones_kept() {
    let dir = Dir::new();
    let (store, target) = (dir.store(), reference("app"));
    let blobs = dir.path().join("index.docker.io/library/app/latest/blobs/sha256");
    fs::create_dir_all(&blobs).expect("created");
    for (file, age) in [(".tmp-old", 90_000), (".tmp-young", 60)] {
        let file = fs::File::create(blobs.join(file)).expect("created");
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(time).expect("a time");
    }
    store.save(&new_image(), &[target]).expect("saved");
    let left = files(&blobs).into_iter().filter(|name| name.starts_with('.'));
    assert_eq!(left.collect::<Vec<_>>(), [".tmp-young"]);
}

#[test]
fn layers_of_another_layout_are_linked_and_the_old_image_stays_until_the_new_is_complete() {
    let dir = Dir::new();
    let (store, first, second) = (dir.store(), reference("app:1"), reference("app:2"));
    let mut image = new_image();
    add_layer(&store, &first, &mut image, b"one");
    store.save(&image, std::slice::from_ref(&first)).expect("saved");
    let found = store.find(&first).expect("readable").expect("there");
    store.save(&found, std::slice::from_ref(&second)).expect("saved");
    let hex = Digest::of(b"one").hex();
    let inode = |tag: &str| {
        let path = dir.path().join(format!("index.docker.io/library/app/{tag}/blobs/sha256/{hex}"));
        fs::metadata(path).expect("there").ino()
    };
    assert_eq!(inode("1"), inode("2"));
    let mut broken = new_image();
    let missing = Descriptor::new("l", 1, Digest::of(b"x"));
    for origin in [found.layers[0].origin.clone(), Origin::Sent] {
        let blob =
            if origin == Origin::Sent { &missing } else { found.layers[0].blob.as_ref().expect("a blob") };
        let (diff_id, blob) = (DiffId::new(blob.digest), Some(blob.clone()));
        broken.push_layer(Layer { diff_id, blob, origin }, "");
    }
    assert!(matches!(store.save(&broken, std::slice::from_ref(&second)), Err(StoreError::NotFound(_))));
    assert_eq!(store.find(&second).expect("readable").expect("there").config, found.config);
}

#[test]
fn a_layer_in_a_file_is_copied_and_checked() {
    let dir = Dir::new();
    let (store, target, file) = (dir.store(), reference("app"), dir.path().join("layer"));
    let mut image = new_image();
    let blob = Descriptor::new("l", 5, Digest::of(b"layer"));
    let diff_id = DiffId::new(blob.digest);
    image.push_layer(Layer { diff_id, blob: Some(blob), origin: Origin::File(file.clone()) }, "");
    for (bytes, why) in [(&b"lay"[..], "it has 3 bytes"), (b"later", "failed to write")] {
        fs::write(&file, bytes).expect("written");
        let error = store.save(&image, std::slice::from_ref(&target)).expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
        assert!(store.find(&target).expect("readable").is_none());
    }
    fs::write(&file, b"layer").expect("written");
    store.save(&image, std::slice::from_ref(&target)).expect("saved");
    let found = store.find(&target).expect("readable").expect("there");
    assert_eq!(read(&store, &found.layers[0]), b"layer");
}

#[test]
fn base_layers_may_be_missing_but_no_others() {
    let dir = Dir::new();
    let (store, base, app) = (dir.store(), reference("run"), reference("app"));
    let mut image = new_image();
    add_layer(&store, &base, &mut image, b"base");
    store.save(&image, std::slice::from_ref(&base)).expect("saved");
    let layout = dir.path().join("index.docker.io/library/run/latest");
    fs::remove_file(layout.join("blobs/sha256").join(Digest::of(b"base").hex())).expect("removed");
    let mut image = store.find(&base).expect("readable").expect("a sparse image");
    assert!(matches!(store.open_layer(&image.layers[0]).err(), Some(StoreError::NotFound(_))));
    let sparse = image.layers[0].clone();
    add_layer(&store, &app, &mut image, b"app");
    store.save(&image, std::slice::from_ref(&app)).expect("a sparse app image");
    image.push_layer(sparse, "");
    assert!(matches!(store.save(&image, &[app]), Err(StoreError::NotFound(_))));
    fs::remove_dir_all(layout).expect("removed");
    image.layers.remove(0);
    assert!(matches!(store.save(&image, &[reference("other")]), Err(StoreError::NotFound(_))));
}

#[test]
fn the_image_for_our_platform_is_found_in_indexes_and_nested_ones() {
    let dir = Dir::new();
    let (amd64, arm64) = (dir.image("a", "amd64"), dir.image("a", "arm64"));
    dir.index("a", &format!(r#"{{"schemaVersion":2,"manifests":[{arm64},{amd64}]}}"#));
    let architecture = |layout: &str| {
        let found = dir.store().find(&name(&dir, layout)).expect("readable");
        found.map(|image| image.config.architecture())
    };
    assert_eq!(architecture("a").as_deref(), Some("amd64"));
    let nested = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{arm64},{amd64}]}}"#,
        manifest::OCI_INDEX
    );
    let (size, digest) = (nested.len(), dir.put("a", nested.as_bytes()));
    dir.index(
        "a",
        &format!(
            r#"{{"manifests":[{{"mediaType":"{}","size":{size},"digest":"{digest}"}}]}}"#,
            manifest::OCI_INDEX
        ),
    );
    assert_eq!(architecture("a").as_deref(), Some("amd64"));
    dir.index("a", &format!(r#"{{"manifests":[{arm64}]}}"#));
    assert_eq!(architecture("a").as_deref(), Some("arm64"));
    let pinned = ImageName::Layout { path: dir.path().join("a"), digest: Some(digest) };
    assert_eq!(dir.store().find(&pinned).expect("readable").expect("there").config.architecture(), "amd64");
    dir.index("a", &format!(r#"{{"manifests":[{arm64},{arm64}]}}"#));
    assert!(matches!(dir.store().find(&name(&dir, "a")), Err(StoreError::NotFound(_))));
}

#[test]
fn what_is_not_there_is_none() {
    let dir = Dir::new();
    let found = |layout: &str| dir.store().find(&name(&dir, layout)).expect("readable").is_some();
    assert!(!found("none"));
    fs::create_dir(dir.path().join("empty")).expect("created");
    assert!(!found("empty"));
    dir.index("new", r#"{"schemaVersion":2,"manifests":[]}"#);
    assert!(!found("new"));
    let digest = Some(Digest::of(b"x"));
    let pinned = ImageName::Layout { path: dir.path().join("new"), digest };
    assert!(dir.store().find(&pinned).expect("readable").is_none());
    assert!(dir.store().find(&ImageName::ImageId(Digest::of(b"x"))).is_err());
}

#[track_caller]
fn check_damaged(dir: &Dir, why: &str) {
    let error = dir.store().find(&name(dir, "a")).expect_err("refused");
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        text = format!("{text}: {source}");
    }
    assert!(text.contains(why), "{text}");
}

#[test]
fn damaged_layouts_are_refused_with_the_reason() {
    let dir = Dir::new();
    let entry = dir.image("a", "amd64");
    let index = format!(r#"{{"manifests":[{entry}]}}"#);
    dir.index("a", "{");
    check_damaged(&dir, "its manifest is not what it must be");
    dir.index("a", &index.replace("sha256:", "sha256:../../"));
    check_damaged(&dir, "is not `sha256:` followed by");
    dir.index("a", r#"{"config":{"mediaType":"c","size":1,"digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}"#);
    check_damaged(&dir, "it is a manifest, not an index");
    dir.index("a", &index);
    fs::write(dir.path().join("a/oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).expect("written");
    check_damaged(&dir, "is not 1.x");
    dir.index("a", &index);
    let digest: Descriptor = serde_json::from_str(&entry).expect("a descriptor");
    let blob = dir.path().join("a/blobs/sha256").join(digest.digest.hex());
    let manifest = fs::read(&blob).expect("read");
    fs::write(&blob, "{}").expect("written");
    check_damaged(&dir, "its digest is sha256:");
    fs::remove_file(&blob).expect("removed");
    check_damaged(&dir, "was not found");
    fs::write(dir.path().join("manifest"), &manifest).expect("written");
    symlink(dir.path().join("manifest"), &blob).expect("linked");
    check_damaged(&dir, "it is a symbolic link");
    fs::remove_file(&blob).expect("removed");
    fs::create_dir(&blob).expect("created");
    check_damaged(&dir, "it is not a regular file");
}

#[test]
fn links_in_the_place_of_directories_are_not_followed() {
    let dir = Dir::new();
    let entry = dir.image("elsewhere", "amd64");
    dir.index("a", &format!(r#"{{"manifests":[{entry}]}}"#));
    symlink(dir.path().join("elsewhere/blobs"), dir.path().join("a/blobs")).expect("linked");
    assert!(dir.store().find(&name(&dir, "a")).is_err());
    assert!(dir.store().layer_sink(&name(&dir, "a")).is_err());
}

#[test]
fn a_damaged_layer_fails_when_it_is_read() {
    let dir = Dir::new();
    let entry = dir.image("a", "amd64");
    dir.index("a", &format!(r#"{{"manifests":[{entry}]}}"#));
    let store = dir.store();
    let image = store.find(&name(&dir, "a")).expect("readable").expect("there");
    dir.put("a", b"layer");
    fs::write(dir.path().join("a/blobs/sha256").join(Digest::of(b"layer").hex()), b"later").expect("written");
    let mut bytes = Vec::new();
    let error = store.open_layer(&image.layers[0]).expect("opened").read_to_end(&mut bytes);
    assert!(error.expect_err("damaged").to_string().contains("its digest is"));
}

proptest::proptest! {
    #[test]
    fn any_index_is_read_or_refused(text in r#"[\[\]{}a-zA-Z",:0-9]{0,80}"#) {
        let dir = Dir::new();
        dir.index("a", &text);
        let _ = dir.store().find(&name(&dir, "a"));
    }
}

#[test]
fn readers_find_a_whole_image_while_others_are_saved() {
    let dir = Dir::new();
    let (store, target) = (dir.store(), reference("app"));
    let save = |text: &str| {
        let mut image = new_image();
        add_layer(&store, &target, &mut image, text.as_bytes());
        store.save(&image, std::slice::from_ref(&target)).expect("saved");
    };
    save("first");
    std::thread::scope(|scope| {
        for writer in ["a", "b"] {
            scope.spawn(move || (0..50).for_each(|round| save(&format!("{writer}{round}"))));
        }
        for _ in 0..200 {
            let image = store.find(&target).expect("readable").expect("there");
            assert!(!read(&store, &image.layers[0]).is_empty());
        }
    });
    assert!(files(dir.path()).iter().all(|file| !file.contains(".tmp-")));
}
