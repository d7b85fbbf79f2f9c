//! The daemon store against a small fake of an engine with the containerd image store, which newer
//! engines than the distribution's have: it keeps blobs, and is given those that it lacks.

mod fake;

use std::io::Write;

use fake::{Fake, sha256, tar};
use lifecycle::digest::{DiffId, Digest};
use lifecycle::image::store::daemon::DaemonStore;
use lifecycle::image::store::daemon::engine::{Address, Engine};
use lifecycle::image::store::{Encoding, ImageStore};
use lifecycle::image::{Descriptor, Image, Layer, MediaFamily};
use lifecycle::reference::{ImageName, Reference};
use serde_json::{Value, json};

const BASE: &str = "r.example/base:latest";
const APP: &str = "r.example/app:latest";

/// The base's layers, as tars.
fn base_layers() -> [Vec<u8>; 2] {
    [tar(&[("base", b"base")]), tar(&[("more", &[7; 4096])])]
}

/// An engine that pulled a base: its layers are there as gzip.
fn engine(api: &str) -> (Fake, DaemonStore) {
    let fake = Fake::start(api);
    let layers = base_layers();
    let mut engine = fake.engine();
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    let config = json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = engine.put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| engine.put("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(layer)))
        .collect();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
    let digest = engine.put(media_type, manifest.to_string().as_bytes())["digest"]
        .as_str()
        .expect("a text")
        .to_owned();
    engine.unpack(&digest).expect("every layer is there");
    engine.names.insert(BASE.to_owned(), digest);
    drop(engine);
    let connected = Engine::connect(&Address::parse(&fake.address).expect("an address")).expect("an engine");
    let store = DaemonStore::new(connected).expect("an engine");
    (fake, store)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes any bytes");
    encoder.finish().expect("a Vec takes any bytes")
}

fn name(reference: &str) -> ImageName {
    ImageName::Reference(Reference::parse(reference).expect("a reference"))
}

/// The base with one layer more.
fn app(store: &DaemonStore) -> Image {
    let mut image = store.find(&name(BASE)).expect("the engine answers").expect("it is there");
    let tar = tar(&[("app", b"app")]);
    let digest = Digest::of(&tar);
    let blob = Descriptor::new(MediaFamily::Docker.layer(Encoding::Tar), tar.len() as u64, digest);
    let mut sink = store.layer_sink(&name(APP)).expect("layers are taken");
    sink.write_all(&tar).expect("bytes are taken");
    let origin = sink.commit(&blob).expect("the layer is kept");
    image.push_layer(Layer { diff_id: DiffId::new(digest), blob: Some(blob), origin }, "app");
    image
}

/// The image that the engine has, all of it, under the app's name; its config is that of `image`.
#[track_caller]
fn check_saved(fake: &Fake, image: &Image) {
    let engine = fake.engine();
    let found = engine.inspect(APP, true).expect("it has the name");
    assert_eq!(found["Manifests"][0]["Available"], true, "no blob is missing");
    let diff_ids: Vec<String> = image.config.diff_ids().iter().map(ToString::to_string).collect();
    assert_eq!(found["RootFS"]["Layers"], json!(diff_ids));
    assert!(!engine.names.keys().any(|name| name.starts_with("moby-dangling")), "{:?}", engine.names);
}

#[test]
fn a_containerd_image_store_is_given_only_what_it_lacks() {
    let (fake, store) = engine("1.48");
    let image = app(&store);
    let saved = store.save(&image, &[name(APP), name("r.example/app:2")]).expect("it is loaded");
    check_saved(&fake, &image);
    let engine = fake.engine();
    assert_eq!(engine.names["r.example/app:2"], saved.image_id.to_string());
    let log = &engine.log;
    let tars: Vec<&String> = log.iter().filter(|line| line.ends_with(" 2048")).collect();
    assert_eq!(tars.len(), 1, "one layer is new: {log:?}");
    for layer in base_layers() {
        for form in [sha256(&layer), sha256(&gzip(&layer))] {
            let hex = form.trim_start_matches("sha256:");
            assert!(!log.iter().any(|line| line.starts_with(&format!("blobs/sha256/{hex}"))), "{log:?}");
        }
    }
    let at = |start: &str| log.iter().position(|line| line.starts_with(start));
    let asked = format!("GET /images/{}/json?manifests=1", saved.image_id);
    assert!(at("POST /images/load") < at(&asked) && at(&asked) < at("POST /images/sha256"), "{log:?}");
}

#[test]
fn layers_of_an_image_that_was_loaded_are_named_too() {
    let (fake, store) = engine("1.51");
    store.save(&app(&store), &[name(APP)]).expect("it is loaded");
    let mut previous = store.find(&name(APP)).expect("the engine answers").expect("it is there");
    previous.config.set_label("changed", "1");
    fake.engine().log.clear();
    store.save(&previous, &[name(APP)]).expect("it is loaded");
    check_saved(&fake, &previous);
    assert!(!fake.engine().log.iter().any(|line| line.ends_with(" 2048")), "{:?}", fake.engine().log);
}

#[test]
fn an_image_that_is_not_all_there_gets_no_name_and_is_given_whole() {
    let (fake, store) = engine("1.48");
    let image = app(&store);
    fake.engine().fleeting = Some(sha256(&gzip(&base_layers()[0])));
    store.save(&image, &[name(APP)]).expect("it is loaded");
    check_saved(&fake, &image);
    let engine = fake.engine();
    assert_eq!(engine.log.iter().filter(|line| line.starts_with("POST /images/load")).count(), 2);
    assert!(!engine.log.iter().any(|line| line.contains("/tag?")), "{:?}", engine.log);
}

#[test]
fn an_engine_that_does_not_say_what_it_has_is_given_every_layer() {
    let (fake, store) = engine("1.47");
    let image = app(&store);
    store.save(&image, &[name(APP)]).expect("it is loaded");
    check_saved(&fake, &image);
    let engine = fake.engine();
    for (index, layer) in base_layers().iter().enumerate() {
        let given = format!("layer_{index}/layer.tar {}", layer.len());
        assert!(engine.log.contains(&given), "{:?}", engine.log);
    }
    assert!(!engine.log.iter().any(|line| line.starts_with("blank")), "{:?}", engine.log);
}
