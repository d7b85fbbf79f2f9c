//! Tests of whole rebases, on layout directories.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::*;
use crate::digest::{DiffId, Digest};
use crate::image::manifest::{Encoding, MediaFamily, Platform};
use crate::image::store::layout::LayoutStore;
use crate::image::{Descriptor, ImageConfig, Layer};
use crate::log::Level;

const API: PlatformApi = PlatformApi::V0_15;

struct World {
    dir: tempfile::TempDir,
    store: LayoutStore,
}

impl World {
    /// Two run images on two registries, and an app on the first's first version.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = LayoutStore::new(dir.path().to_owned(), Platform::host(), Encoding::Gzip);
        let world = Self { dir, store };
        let old = world.save("a.io/run:1", &[b"old"], None);
        world.save("a.io/app", &[b"app"], Some(&old));
        world.save("a.io/run:1", &[b"new"], None);
        world.save("b.io/run:1", &[b"new"], None);
        world
    }

    fn save(&self, name: &str, layers: &[&[u8]], base: Option<&Image>) -> Image {
        let name = ImageName::Reference(reference(name));
        let mut image = base.cloned().unwrap_or_else(|| Image::new(ImageConfig::new("linux", "amd64")));
        if let Some(base) = base {
            let top = base.config.diff_ids().last().expect("a layer");
            let label = format!(
                r#"{{"runImage":{{"topLayer":"{top}","reference":"x","image":"a.io/run:1","mirrors":["b.io/run:1"]}}}}"#
            );
            image.config.set_label("io.buildpacks.lifecycle.metadata", &label);
            image.config.set_env("CNB_PLATFORM_API", "0.15");
        }
        for bytes in layers {
            let mut sink = self.store.layer_sink(&name).expect("a sink");
            sink.write_all(bytes).expect("written");
            let blob = Descriptor::new(
                MediaFamily::Oci.layer(Encoding::Gzip),
                bytes.len() as u64,
                Digest::of(bytes),
            );
            let origin = sink.commit(&blob).expect("committed");
            image.push_layer(Layer { diff_id: DiffId::new(Digest::of(bytes)), blob: Some(blob), origin }, "");
        }
        self.store.save(&image, std::slice::from_ref(&name)).expect("saved");
        self.store.find(&name).expect("readable").expect("there")
    }

    fn contents(&self, name: &str) -> Vec<String> {
        let image =
            self.store.find(&ImageName::Reference(reference(name))).expect("readable").expect("there");
        let read = |layer: &Layer| {
            let mut text = String::new();
            self.store.open_layer(layer).expect("opened").read_to_string(&mut text).expect("right bytes");
            text
        };
        image.layers.iter().map(read).collect()
    }

    fn rebase(
        &self,
        app: &str,
        images: &[&str],
        run_image: Option<&str>,
    ) -> (Result<Report, RebaseError>, String) {
        let (log, text) = Log::buffer(Level::Debug);
        let images: Vec<Reference> = images.iter().copied().map(reference).collect();
        let (store, app) = (&self.store, &reference(app));
        let (platform, force) = (API, Force::No);
        let shadow = ShadowCheck::Warn;
        let inputs = Inputs { store, app, images: &images, run_image, platform, force, shadow };
        (rebase(&inputs, &log), text.text())
    }
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).expect("a reference")
}

#[test]
fn an_image_is_rebased_in_place() {
    let world = World::new();
    let (report, log) = world.rebase("a.io/app", &["a.io/app"], None);
    let report = report.expect("rebased").image;
    let path = world.dir.path().join("a.io/app/latest").display().to_string();
    assert_eq!(world.contents("a.io/app"), ["new", "app"]);
    let digest = report.digest.expect("a digest");
    assert_eq!((report.tags, report.image_id), (vec![path.clone()], None));
    let size = report.manifest_size.expect("a size");
    assert_eq!(
        log,
        format!(
            "Saving {path}...\n*** Images ({digest}):\n      {path}\n\n*** Digest: {digest}\n\n*** Manifest Size: {size}\n"
        )
    );
}

#[test]
fn a_previous_image_is_rebased_to_other_names_and_stays_as_it_was() {
    let world = World::new();
    let (report, _) = world.rebase("a.io/app", &["a.io/new:1", "a.io/new:2"], Some("a.io/run:1"));
    assert_eq!(report.expect("rebased").image.tags.len(), 2);
    assert_eq!(world.contents("a.io/app"), ["old", "app"]);
    for name in ["a.io/new:1", "a.io/new:2"] {
        assert_eq!(world.contents(name), ["new", "app"]);
    }
    let index = |name: &str| fs::read(world.dir.path().join(name).join("index.json")).expect("an index");
    let (one, two) = (index("a.io/new/1"), index("a.io/new/2"));
    assert_eq!(String::from_utf8_lossy(&one).replace(r#""1""#, r#""2""#), String::from_utf8_lossy(&two));
}

#[test]
fn the_run_image_is_the_recorded_one_that_can_be_read_on_the_same_registry_first() {
    let world = World::new();
    world.save("b.io/run:1", &[b"mirror"], None);
    let (report, _) = world.rebase("a.io/app", &["a.io/one"], None);
    report.expect("rebased");
    assert_eq!(world.contents("a.io/one"), ["new", "app"]);
    fs::remove_dir_all(world.dir.path().join("a.io/run")).expect("removed");
    let (report, log) = world.rebase("a.io/app", &["a.io/two"], None);
    report.expect("rebased");
    assert_eq!(world.contents("a.io/two"), ["mirror", "app"]);
    assert!(log.starts_with("Run image is not accessible: run image `a.io/run:1` was not found\n"), "{log}");
    fs::remove_dir_all(world.dir.path().join("b.io/run")).expect("removed");
    let (report, _) = world.rebase("a.io/app", &["a.io/three"], None);
    assert_eq!(
        report.expect_err("none left").to_string(),
        "failed to find accessible run image among `a.io/run:1`, `b.io/run:1`"
    );
}

#[test]
fn a_refused_rebase_changes_nothing() {
    let world = World::new();
    let before = snapshot(world.dir.path());
    world.save("c.io/run", &[b"other"], None);
    let with_run = snapshot(world.dir.path());
    assert_ne!(before, with_run);
    for (app, run_image, expected) in [
        (
            "a.io/app",
            "c.io/run",
            "rebase app image: new base image 'c.io/run' not found in existing run image metadata",
        ),
        ("a.io/app", "d.io/run", "run image `d.io/run` was not found"),
        ("a.io/app", "d.io/Run", "could not parse reference `d.io/Run`"),
        ("a.io/none", "a.io/run:1", "image to rebase `a.io/none` was not found"),
        ("a.io/run:1", "a.io/run:1", "stack not defined on app image"),
    ] {
        let (report, _) = world.rebase(app, &[app], Some(run_image));
        let error = report.expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(snapshot(world.dir.path()), with_run);
    }
}

/// Every file with its digest.
fn snapshot(dir: &Path) -> Vec<(String, Digest)> {
    let files = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(|e| e.expect("readable"));
    let content = |path: &Path| (path.display().to_string(), Digest::of(&fs::read(path).expect("readable")));
    files.filter(|entry| entry.file_type().is_file()).map(|entry| content(entry.path())).collect()
}
