//! A world for tests of phases: layouts, a cache, a layers directory and an application, all in a
//! temporary directory.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::api::PlatformApi;
use crate::cache::VolumeCache;
use crate::digest::{DiffId, Digest};
use crate::files::group::{Group, GroupElement};
use crate::image::manifest::{Encoding, MediaFamily, Platform};
use crate::image::store::ImageStore;
use crate::image::store::layout::LayoutStore;
use crate::image::{Descriptor, Image, ImageConfig, Layer};
use crate::log::{Level, Log};
use crate::reference::{ImageName, StoreKind};

/// The newest Platform API.
pub const API: PlatformApi = PlatformApi::V0_15;

/// The test's directory and what is in it.
pub struct World {
    dir: tempfile::TempDir,
    /// Images below `layouts`.
    pub store: LayoutStore,
}

impl World {
    /// With a run image `r.io/run`, a buildpack `a/b` and an application of two files.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = LayoutStore::new(dir.path().join("layouts"), Platform::host(), Encoding::Gzip);
        let world = Self { dir, store };
        for name in ["layers/a_b", "layers/config", "cache"] {
            fs::create_dir_all(world.path(name)).expect("writable");
        }
        world.write("app/index.html", "hello");
        world.write("app/static/a.txt", "one");
        world.write("launcher", "the launcher");
        world.write("layers/config/metadata.toml", "processes = []\n");
        world.save_image("r.io/run", |_| {});
        world
    }

    /// A path below the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and the directories that it needs.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    /// Removes what a build leaves, as a platform with a fresh volume does.
    pub fn clear_layers(&self) {
        fs::remove_dir_all(self.path("layers")).expect("writable");
        fs::create_dir_all(self.path("layers/a_b")).expect("writable");
        self.write("layers/config/metadata.toml", "processes = []\n");
    }

    /// Saves an image of one layer, for linux/amd64 with a `PATH`, that `edit` changed.
    pub fn save_image(&self, name: &str, edit: impl FnOnce(&mut Image)) {
        let name = reference(name);
        let mut image = Image::new(ImageConfig::new("linux", "amd64"));
        image.config.set_env("PATH", "/usr/bin");
        image.config.set_env("BASE", "1");
        image.push_layer(self.layer(&name, &[0; 1024]), "base");
        edit(&mut image);
        self.store.save(&image, &[name]).expect("saved");
    }

    /// A layer of those bytes for the image of that name.
    pub fn layer(&self, name: &ImageName, bytes: &[u8]) -> Layer {
        let mut sink = self.store.layer_sink(name).expect("a sink");
        sink.write_all(bytes).expect("writable");
        let media_type = MediaFamily::Oci.layer(Encoding::Tar);
        let blob = Descriptor::new(media_type, bytes.len() as u64, Digest::of(bytes));
        let origin = sink.commit(&blob).expect("committed");
        Layer { diff_id: DiffId::new(Digest::of(bytes)), blob: Some(blob), origin }
    }

    /// The image of that name.
    pub fn image(&self, name: &str) -> Image {
        self.store.find(&reference(name)).expect("readable").expect("there")
    }

    /// The cache.
    pub fn cache(&self) -> VolumeCache {
        let (log, _) = Log::buffer(Level::Debug);
        VolumeCache::open(&self.path("cache"), &log).expect("a cache")
    }
}

/// A reference as a store's name.
pub fn reference(text: &str) -> ImageName {
    ImageName::given(StoreKind::Layout, text).expect("a reference")
}

/// The group of the buildpack `a/b`.
pub fn group() -> Group {
    let element = GroupElement {
        id: "a/b".parse().expect("an ID"),
        version: "1.2".parse().expect("a version"),
        api: "0.10".to_owned(),
        homepage: String::new(),
    };
    Group { group: vec![element], ..Group::default() }
}

/// A number of threads.
pub fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("not zero")
}

/// All files below `dir`, as paths relative to it, sorted.
pub fn files(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = walkdir::WalkDir::new(dir)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(dir).expect("below").to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}
