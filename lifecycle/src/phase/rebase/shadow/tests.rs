//! Rebases of images with footprints, on layouts; every layer that is opened is counted.

use std::io::{Read, Write};
use std::sync::Mutex;

use super::*;
use crate::api::PlatformApi;
use crate::digest::{DiffId, Digest};
use crate::files::footprints::Footprint;
use crate::image::manifest::{Descriptor, Encoding, MediaFamily, Platform};
use crate::image::rebase::Force;
use crate::image::store::layout::LayoutStore;
use crate::image::store::{LayerSink, StoreError};
use crate::image::{ImageConfig, Origin, Saved};
use crate::log::{Level, Log};
use crate::phase::rebase::{Inputs, rebase};
use crate::reference::{ImageName, Reference};

/// A layer: names and contents; without contents a whiteout.
type Files = &'static [(&'static str, &'static str)];

struct World {
    _dir: tempfile::TempDir,
    store: LayoutStore,
    opened: Mutex<Vec<DiffId>>,
}

impl ImageStore for World {
    fn find(&self, name: &ImageName) -> Result<Option<Image>, StoreError> {
        self.store.find(name)
    }

    fn open_layer(&self, layer: &Layer) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        self.opened.lock().expect("no panic").push(layer.diff_id);
        self.store.open_layer(layer)
    }

    fn encoding(&self) -> Encoding {
        self.store.encoding()
    }

    fn layer_sink(&self, target: &ImageName) -> Result<Box<dyn LayerSink + '_>, StoreError> {
        self.store.layer_sink(target)
    }

    fn save(&self, image: &Image, names: &[ImageName]) -> Result<Saved, StoreError> {
        self.store.save(image, names)
    }
}

/// What ends in a slash is a directory, whose text is its mode.
fn tar(files: Files) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_mode(u32::from_str_radix(text, 8).expect("a mode"));
            tar.append_data(&mut header, name, io::empty()).expect("memory takes any bytes");
            continue;
        }
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).expect("memory takes any bytes");
    }
    tar.into_inner().expect("memory takes any bytes")
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = LayoutStore::new(dir.path().to_owned(), Platform::host(), Encoding::Gzip);
        Self { _dir: dir, store, opened: Mutex::default() }
    }

    fn name(name: &str) -> ImageName {
        ImageName::Reference(Reference::parse(name).expect("a reference"))
    }

    fn layer(&self, name: &str, bytes: &[u8]) -> Layer {
        let mut sink = self.store.layer_sink(&Self::name(name)).expect("a sink");
        sink.write_all(bytes).expect("written");
        let kind = MediaFamily::Oci.layer(Encoding::Gzip);
        let blob = Descriptor::new(kind, bytes.len() as u64, Digest::of(bytes));
        let origin: Origin = sink.commit(&blob).expect("committed");
        Layer { diff_id: DiffId::new(Digest::of(bytes)), blob: Some(blob), origin }
    }

    fn save(&self, name: &str, mut image: Image, layers: &[Files]) -> Image {
        for files in layers {
            image.push_layer(self.layer(name, &tar(files)), "");
        }
        self.store.save(&image, &[Self::name(name)]).expect("saved");
        self.image(name)
    }

    fn image(&self, name: &str) -> Image {
        self.store.find(&Self::name(name)).expect("readable").expect("there")
    }

    fn run(&self, layers: &[Files]) -> Image {
        self.save("a.io/run", Image::new(ImageConfig::new("linux", "amd64")), layers)
    }

    /// An app on `base` with one extension's layer of these footprints.
    fn app(&self, base: &Image, overwrites: &[&str], whiteouts: &[&str]) {
        let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let (overwrites, whiteouts, dirs) = (set(overwrites), set(whiteouts), set(&["opt/own"]));
        let layer = Footprint { extension: "ext".to_owned(), added: 0, overwrites, whiteouts, dirs };
        let footprints = Footprints { base: chain_id(base.config.diff_ids()), ..Footprints::new([layer]) };
        self.app_saying(base, Some(&footprints.to_label()));
    }

    fn app_saying(&self, base: &Image, footprints: Option<&str>) {
        let mut image = base.clone();
        let top = base.config.diff_ids().last().expect("a layer");
        let label = format!(r#"{{"runImage":{{"topLayer":"{top}","reference":"x","image":"a.io/run"}}}}"#);
        image.config.set_label("io.buildpacks.lifecycle.metadata", &label);
        image.config.set_env("CNB_PLATFORM_API", "0.15");
        if let Some(value) = footprints {
            image.config.set_label(footprints::LABEL, value);
        }
        self.save("a.io/app", image, &[&[("extension", "layer")], &[("app", "layer")]]);
    }

    /// Rebases; returns the error, if any, and what was logged as a warning.
    fn rebase(&self, shadow: ShadowCheck, force: Force) -> (Option<String>, String) {
        let (log, text) = Log::buffer(Level::Warn);
        let app = Reference::parse("a.io/app").expect("a reference");
        let (images, platform) = (std::slice::from_ref(&app), PlatformApi::V0_15);
        let inputs = Inputs { store: self, app: &app, images, run_image: None, platform, force, shadow };
        let error = rebase(&inputs, &log).err().map(|error| error.to_string());
        (error, text.text())
    }

    #[track_caller]
    fn warned(&self, expected: &str) {
        let (error, log) = self.rebase(ShadowCheck::Warn, Force::No);
        assert_eq!(error, None);
        assert!(if expected.is_empty() { log.is_empty() } else { log.contains(expected) }, "{log}");
    }

    fn label(&self) -> Footprints {
        let image = self.image("a.io/app");
        Footprints::parse(image.config.label(footprints::LABEL).expect("a label")).expect("ours")
    }

    fn count_opened(&self) -> usize {
        self.opened.lock().expect("no panic").drain(..).count()
    }
}

const SYSTEM: Files = &[("etc/os-release", "1"), ("var/lib/dpkg/status", "foo 1.0"), ("etc/passwd", "root")];
const UPDATED: Files = &[("etc/os-release", "2"), ("var/lib/dpkg/status", "foo 1.1"), ("etc/passwd", "root")];
const STATUS: &str = "`/var/lib/dpkg/status` (extension `ext`)";

#[test]
fn without_footprints_nothing_is_read_and_nothing_changes() {
    let world = World::new();
    world.app_saying(&world.run(&[SYSTEM]), None);
    world.run(&[UPDATED]);
    world.warned("");
    assert_eq!(world.count_opened(), 0);
    assert_eq!(world.image("a.io/app").config.label(footprints::LABEL), None);
}

#[test]
fn a_file_that_the_new_base_changed_is_named_and_others_are_not() {
    let world = World::new();
    world.app(&world.run(&[SYSTEM]), &["var/lib/dpkg/status", "etc/passwd", "none"], &[]);
    let new = world.run(&[UPDATED]);
    let (_, log) = world.rebase(ShadowCheck::Warn, Force::No);
    assert!(log.contains(STATUS) && !log.contains("passwd") && log.contains("at 1 path(s)"), "{log}");
    assert_eq!(world.count_opened(), 2);
    let label = world.label();
    assert_eq!(label.base, chain_id(new.config.diff_ids()));
    assert_eq!(label.stale.into_iter().collect::<Vec<_>>(), ["var/lib/dpkg/status"]);
}

#[test]
fn what_is_stale_stays_so_and_an_equal_base_is_not_read() {
    let world = World::new();
    world.app(&world.run(&[SYSTEM]), &["var/lib/dpkg/status"], &[]);
    world.run(&[UPDATED]);
    world.warned(STATUS);
    world.count_opened();
    world.warned(STATUS);
    assert_eq!(world.count_opened(), 0);
    world.run(&[UPDATED, &[("other", "")]]);
    world.warned(STATUS);
}

#[test]
fn a_rebase_fails_where_told_so_unless_forced() {
    let world = World::new();
    let old = world.run(&[SYSTEM]);
    world.app(&old, &["var/lib/dpkg/status"], &[]);
    let new = world.run(&[UPDATED]);
    let (error, log) = world.rebase(ShadowCheck::Fail, Force::No);
    assert!(error.is_some_and(|error| error.contains(STATUS)) && log.is_empty(), "{log}");
    assert_eq!(world.image("a.io/app").layers[0].diff_id, old.layers[0].diff_id, "nothing was saved");
    let (error, log) = world.rebase(ShadowCheck::Fail, Force::Yes);
    assert!(error.is_none() && log.contains(STATUS), "{log}");
    assert_eq!(world.image("a.io/app").layers[0].diff_id, new.layers[0].diff_id);
}

#[test]
fn a_rebase_that_was_not_compared_is_noticed_by_the_next() {
    let world = World::new();
    world.app(&world.run(&[SYSTEM]), &["var/lib/dpkg/status"], &[]);
    world.run(&[UPDATED]);
    assert_eq!(world.rebase(ShadowCheck::Off, Force::No), (None, String::new()));
    assert_eq!(world.count_opened(), 0);
    for _ in 0..2 {
        world.warned("an earlier rebase did not compare them");
    }
    let (error, _) = world.rebase(ShadowCheck::Fail, Force::No);
    assert!(error.is_some_and(|error| error.contains("cannot tell")));
}

#[test]
fn layers_that_both_bases_have_are_read_only_where_one_of_them_changes_a_path() {
    let world = World::new();
    let paths = ["etc/os-release", "var/lib/dpkg/status"];
    world.app(&world.run(&[SYSTEM, &[("etc/version", "1")]]), &paths, &[]);
    world.run(&[SYSTEM, &[("etc/version", "2")]]);
    world.warned("");
    assert_eq!(world.count_opened(), 2);
    world.run(&[SYSTEM, &[("etc/os-release", "2")]]);
    world.warned("`/etc/os-release`");
    assert_eq!(world.count_opened(), 3);
}

#[test]
fn a_deleted_directory_is_compared_as_a_whole() {
    const OLD: Files = &[("usr/share/a/x", "1"), ("usr/share/b", "1")];
    const NEW: Files = &[("usr/share/a/x", "1"), ("usr/share/a/y", "1"), ("usr/share/b", "2")];
    let world = World::new();
    world.app(&world.run(&[OLD]), &[], &["usr/share/a"]);
    world.run(&[OLD, &[("usr/share/b", "2")]]);
    world.warned("");
    world.run(&[NEW]);
    world.warned("`/usr/share/a` (extension `ext`)");
}

#[test]
fn directories_on_the_way_are_compared_by_themselves() {
    const OLD: Files =
        &[("etc/", "755"), ("etc/a", "1"), ("etc/b", "1"), ("opt/own/", "755"), ("opt/own/x", "1")];
    let world = World::new();
    world.app(&world.run(&[OLD]), &["etc/a"], &[]);
    world.run(&[OLD, &[("etc/", "755"), ("etc/b", "2"), ("opt/own/x", "2")]]);
    world.warned("");
    world.run(&[OLD, &[("etc/", "700")]]);
    world.warned("mode or owner of `/etc` (extension `ext`)");
    world.app(&world.run(&[OLD]), &[], &[]);
    world.run(&[OLD, &[("opt/own/", "711")]]);
    world.warned("at 1 path(s) that extensions replaced or removed");
    world.run(&[OLD, &[("opt/.wh.own", "")]]);
    world.warned("mode or owner of `/opt/own` (extension `ext`)");
}

#[test]
fn files_that_come_and_go_are_changes() {
    let world = World::new();
    world.app(&world.run(&[SYSTEM]), &["etc/passwd", "etc/new"], &[]);
    world.run(&[SYSTEM, &[("etc/.wh.passwd", ""), ("etc/new", "")]]);
    world.warned("at 2 path(s)");
}

#[test]
fn what_nobody_knows_is_said() {
    let world = World::new();
    let old = world.run(&[SYSTEM]);
    let label = format!(r#"{{"base":"{}","truncated":7}}"#, old.layers[0].diff_id);
    world.app_saying(&old, Some(&label));
    world.warned("7 of their paths are not in the label");
    world.app_saying(&old, Some("no JSON"));
    world.warned("cannot tell");
    assert_eq!(world.count_opened(), 0);
}

#[test]
fn layers_that_cannot_be_read_do_not_hinder_a_rebase_but_are_said() {
    let world = World::new();
    world.app(&world.run(&[SYSTEM]), &["etc/passwd"], &[]);
    let mut broken = Image::new(ImageConfig::new("linux", "amd64"));
    broken.push_layer(world.layer("a.io/run", b"no tar at all, but a layer all the same"), "");
    world.store.save(&broken, &[World::name("a.io/run")]).expect("saved");
    world.warned("cannot tell whether extensions hide files that the new run image has changed: reading");
    world.warned("an earlier rebase did not compare them");
}

#[test]
fn only_the_first_paths_are_named() {
    let mut footprints = Footprints::default();
    footprints.stale.extend((0..12).map(|at| at.to_string()));
    let text = tell(&footprints);
    assert!(text.contains("at 12 path(s)") && text.ends_with("and 2 more"), "{text}");
}
