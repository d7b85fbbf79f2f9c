//! The daemon store against a real Docker engine.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use lifecycle::digest::{DiffId, Digest};
use lifecycle::image::manifest::MediaFamily;
use lifecycle::image::store::daemon::DaemonStore;
use lifecycle::image::store::daemon::engine::{Address, Engine};
use lifecycle::image::store::{Encoding, ImageStore};
use lifecycle::image::{Descriptor, Image, ImageConfig, Layer};
use lifecycle::reference::{ImageName, Reference};

/// A tag of the engine, removed when dropped.
struct Tag(String);

impl Tag {
    fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("lifecycle-test.example/{name}:{}-{count}", std::process::id()))
    }

    fn name(&self) -> ImageName {
        ImageName::Reference(Reference::parse(&self.0).expect("a reference"))
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

fn store() -> DaemonStore {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let engine = Engine::connect(&Address::parse(&host).expect("an address"))
        .expect("an engine (./acceptance/run starts one)");
    DaemonStore::new(engine).expect("an engine answers")
}

/// A layer that holds one small file.
fn layer(store: &DaemonStore, target: &ImageName, file: &str) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(file.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, file, file.as_bytes()).expect("a Vec takes any bytes");
    let bytes = tar.into_inner().expect("a Vec takes any bytes");
    let digest = Digest::of(&bytes);
    let blob = Descriptor::new(MediaFamily::Docker.layer(Encoding::Tar), bytes.len() as u64, digest);
    let mut sink = store.layer_sink(target).expect("layers are taken");
    sink.write_all(&bytes).expect("bytes are taken");
    let origin = sink.commit(&blob).expect("the layer is kept");
    Layer { diff_id: DiffId::new(digest), blob: Some(blob), origin }
}

fn image(store: &DaemonStore, target: &ImageName) -> Image {
    let mut config = ImageConfig::new("linux", "amd64");
    config.set_env("BASE", "1=2");
    config.set_label("org.example.x", "a <b> & c");
    config.set_process_text("User", "1000:1000");
    let mut image = Image::new(config);
    for file in ["one", "two"] {
        let layer = layer(store, target, file);
        image.push_layer(layer, file);
    }
    image.config.stamp("1980-01-01T00:00:01Z", lifecycle::image::config::HistoryRule::Keep);
    image
}

#[test]
fn an_image_goes_in_and_comes_out_the_same() {
    let (store, tag) = (store(), Tag::new("round"));
    assert!(store.find(&tag.name()).expect("the engine answers").is_none());
    let image = image(&store, &tag.name());
    let saved = store.save(&image, &[tag.name()]).expect("it is loaded");
    let found = store.find(&tag.name()).expect("the engine answers").expect("it is there");
    assert_eq!(saved.image_id, Digest::of(image.config.to_json().as_bytes()));
    assert_eq!(found.name, Some(ImageName::ImageId(saved.image_id)));
    let json =
        |image: &Image| serde_json::from_str::<serde_json::Value>(&image.config.to_json()).expect("JSON");
    assert_eq!(json(&found), json(&image));
    let mut bytes = Vec::new();
    store.open_layer(&found.layers[1]).expect("a layer").read_to_end(&mut bytes).expect("a whole layer");
    assert_eq!(DiffId::new(Digest::of(&bytes)), image.layers[1].diff_id);
}

#[test]
fn layers_that_the_engine_has_are_not_given_to_it_again() {
    let (store, base, app) = (store(), Tag::new("base"), Tag::new("app"));
    store.save(&image(&store, &base.name()), &[base.name()]).expect("it is loaded");
    let mut found = store.find(&base.name()).expect("the engine answers").expect("it is there");
    let above = layer(&store, &app.name(), "three");
    found.push_layer(above, "three");
    store.save(&found, &[app.name()]).expect("it is loaded");
    let app = store.find(&app.name()).expect("the engine answers").expect("it is there");
    assert_eq!(app.config.diff_ids(), found.config.diff_ids());
}

#[test]
fn a_layer_above_a_changed_one_is_fetched_from_the_engine() {
    let (store, old, new) = (store(), Tag::new("old"), Tag::new("new"));
    store.save(&image(&store, &old.name()), &[old.name()]).expect("it is loaded");
    let previous = store.find(&old.name()).expect("the engine answers").expect("it is there");
    let mut image = Image::new(ImageConfig::new("linux", "amd64"));
    let changed = layer(&store, &new.name(), "changed");
    image.push_layer(changed, "changed");
    image.push_layer(previous.layers[1].clone(), "two");
    store.save(&image, &[new.name()]).expect("it is loaded");
    let found = store.find(&new.name()).expect("the engine answers").expect("it is there");
    assert_eq!(found.config.diff_ids(), image.config.diff_ids());
}
