//! Images are saved under several names, found again, and copied by mounts where that is possible.

use std::io::{Read, Write};

use acceptance::servers::proxy::Proxy;
use acceptance::servers::registry::Registry;
use lifecycle::digest::{DiffId, Digest};
use lifecycle::image::manifest::{Encoding, MediaFamily, Platform};
use lifecycle::image::store::registry::RegistryStore;
use lifecycle::image::store::registry::client::Client;
use lifecycle::image::store::registry::credential::Keychain;
use lifecycle::image::store::registry::trust::Trust;
use lifecycle::image::store::{ImageStore, Need};
use lifecycle::image::{Descriptor, Image, ImageConfig, Layer};
use lifecycle::log::{Level, Log};
use lifecycle::reference::{ImageName, Reference};

use crate::support::noise;

fn store() -> RegistryStore {
    let client = Client::new(Trust::default(), Keychain::default(), Log::buffer(Level::Debug).0);
    RegistryStore::new(client, Platform::host(), Encoding::Tar)
}

fn name(host: &str, rest: &str) -> ImageName {
    ImageName::Reference(Reference::parse(&format!("{host}/{rest}")).expect("a reference"))
}

fn layer(store: &RegistryStore, target: &ImageName, bytes: &[u8]) -> Layer {
    let digest = Digest::of(bytes);
    let blob = Descriptor::new(MediaFamily::Oci.layer(Encoding::Tar), bytes.len() as u64, digest);
    let mut sink = store.layer_sink(target).expect("a registry takes layers");
    sink.write_all(bytes).expect("the sink takes bytes");
    let origin = sink.commit(&blob).expect("the layer is stored");
    Layer { diff_id: DiffId::new(digest), blob: Some(blob), origin }
}

fn image(store: &RegistryStore, target: &ImageName) -> Image {
    let mut image = Image::new(ImageConfig::new("linux", Platform::host().architecture.as_str()));
    for len in [100, 2 << 20] {
        let layer = layer(store, target, &noise(len));
        image.push_layer(layer, "test");
    }
    image
}

#[test]
fn an_image_is_found_under_each_of_its_names() {
    let registry = Registry::plain();
    let store = store();
    let names = ["team/app:one", "team/app:two", "team/copy"].map(|rest| name(&registry.host, rest));
    assert!(store.find(&names[0]).expect("the registry answers").is_none());
    let saved = store.save(&image(&store, &names[0]), &names).expect("it is saved");
    for name in &names {
        let found = store.find(name).expect("the registry answers").expect("it is there");
        let exact = found.name.clone().expect("a found image has a name").to_string();
        assert!(exact.ends_with(&format!("@{}", saved.digest.expect("a registry gives digests"))), "{exact}");
        for layer in &found.layers {
            let mut bytes = Vec::new();
            store.open_layer(layer).expect("a layer").read_to_end(&mut bytes).expect("a whole layer");
            assert_eq!(Digest::of(&bytes), layer.diff_id.digest());
        }
    }
}

#[test]
fn saving_what_the_registry_has_sends_no_layer() {
    let registry = Registry::plain();
    let proxy = Proxy::counting(&registry.host);
    let (store, base, app) = (store(), name(&proxy.host, "team/base"), name(&proxy.host, "team/app"));
    store.save(&image(&store, &base), std::slice::from_ref(&base)).expect("it is saved");
    let found = store.find(&base).expect("the registry answers").expect("it is there");
    proxy.forget();
    store.save(&found, std::slice::from_ref(&app)).expect("it is saved");
    let seen = proxy.seen();
    let asked = |method: &str, part: &str| {
        seen.iter().filter(|r| r.method == method && r.target.contains(part)).count()
    };
    assert_eq!(asked("POST", "mount="), 2, "{seen:?}");
    assert_eq!((asked("GET", ""), asked("PATCH", "")), (0, 0), "{seen:?}");
    proxy.forget();
    store
        .save(&store.find(&app).expect("the registry answers").expect("it is there"), &[app])
        .expect("it is saved");
    assert!(proxy.seen().len() <= 4, "{:?}", proxy.seen());
}

#[test]
fn access_is_told_before_work_begins() {
    let registry = Registry::plain();
    let (store, app) = (store(), name(&registry.host, "team/app"));
    store.ensure_access(&app, Need::Write).expect("anyone may write");
    store.ensure_access(&app, Need::Read).expect("a missing image is no lack of access");
    let locked = Registry::with_basic_auth();
    let error =
        store.ensure_access(&name(&locked.host, "team/app"), Need::Write).expect_err("an account is needed");
    assert!(error.to_string().contains("401"), "{error}");
}
