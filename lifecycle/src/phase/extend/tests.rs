//! Extending, in a root directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::time::Duration;

use extensions::apply::Fetched;
use extensions::context::SelectOptions;

use super::base::{get, put};
use super::*;
use crate::api::PlatformApi;
use crate::files::group::GroupElement;
use crate::files::labels::REBASABLE;
use crate::image::store::ImageStore;
use crate::image::store::layout::LayoutStore;
use crate::log::Level;
use crate::phase::world::{API, World, files, reference, threads};

struct NoDownloads;

impl Fetch for NoDownloads {
    fn fetch(&self, _: &str, _: &mut dyn Write) -> Result<Fetched, NotReady> {
        Err("nothing is downloaded here".into())
    }
}

fn element(id: &str) -> GroupElement {
    GroupElement {
        id: id.parse().expect("an ID"),
        version: "1".parse().expect("a version"),
        api: "0.10".to_owned(),
        homepage: String::new(),
    }
}

/// Extensions `e0`, `e1` and so on, with those lines below FROM.
fn generate(world: &World, lines: &[&str]) -> Vec<GroupElement> {
    let _ = fs::remove_dir_all(world.path("generated"));
    let write = |(number, lines): (usize, &&str)| {
        let text = format!("ARG base_image\nFROM ${{base_image}}\n{lines}\n");
        world.write(&format!("generated/e{number}/run.Dockerfile"), &text);
        element(&format!("e{number}"))
    };
    lines.iter().enumerate().map(write).collect()
}

fn dockerfiles(world: &World, api: PlatformApi, extensions: &[GroupElement]) -> Vec<Dockerfile> {
    let (dir, app) = (world.path("generated"), world.path("app"));
    let generated = Generated { api, dir: &dir, app: &app };
    let (log, _) = Log::buffer(Level::Debug);
    find(generated, extensions, Target::Run, &BTreeMap::new(), &log).expect("Dockerfiles")
}

/// Extends `r.io/run` of the world, and returns what was logged, too.
fn run(world: &World, lines: &[&str]) -> Result<(Extended, String), ExtendError> {
    let extensions = generate(world, lines);
    let dockerfiles = dockerfiles(world, API, &extensions);
    for dir in ["root/etc", "work", "steps"] {
        fs::create_dir_all(world.path(dir)).expect("writable");
    }
    let root = Root::open(&world.path("root")).expect("a directory");
    let cache = Cache::open(&world.path("steps/v1"), Duration::from_secs(1000)).expect("a cache");
    let (log, text) = Log::buffer(Level::Debug);
    let base = world.image("r.io/run");
    let inputs = Extend {
        target: Target::Run,
        dockerfiles: &dockerfiles,
        base: &base,
        base_name: "r.io/run@sha256:1",
        place: Place { root: &root, ignore: Vec::new(), work: &world.path("work"), make_ready: &|| Ok(()) },
        cache: Some(&cache),
        proxies: BTreeMap::new(),
        fetch: &NoDownloads,
        threads: threads(1),
    };
    let extended = extend(&inputs, &log);
    extended.map(|extended| (extended, text.text()))
}

#[test]
fn dockerfiles_and_contexts_are_found_where_each_platform_api_puts_them() {
    let world = World::new();
    let text = "ARG base_image\nFROM ${base_image}\nCOPY which /\n";
    for (context, dir) in [("kind", "a/context.run"), ("shared", "b/context")] {
        world.write(&format!("generated/{dir}/which"), context);
    }
    world.write("app/which", "app");
    for id in ["a", "b", "c"] {
        world.write(&format!("generated/{id}/run.Dockerfile"), text);
        world.write(&format!("generated/run/{id}/Dockerfile"), text);
        world.write(&format!("generated/{id}/build.Dockerfile"), "damaged");
    }
    world.write("generated/c/extend-config.toml", "[[run.args]]\nname = 'x'\nvalue = '1'\n");
    let extensions = ["c", "none", "b", "a"].map(element);
    let contexts = |api| {
        let found = dockerfiles(&world, api, &extensions);
        let which = |dockerfile: &Dockerfile| {
            let selected = dockerfile.context.select("which", &SelectOptions::default()).expect("a file");
            let file = dockerfile.context.open_file(&selected[0], &selected[0].entries[0]).expect("a file");
            (dockerfile.extension.to_string(), std::io::read_to_string(file).expect("a text"))
        };
        found.iter().map(which).collect::<Vec<_>>()
    };
    let named = |pairs: [(&str, &str); 3]| pairs.map(|(id, which)| (id.to_owned(), which.to_owned()));
    assert_eq!(contexts(API), named([("c", "app"), ("b", "shared"), ("a", "kind")]));
    assert_eq!(contexts(PlatformApi::V0_12), named([("c", "app"), ("b", "app"), ("a", "app")]));
    assert_eq!(dockerfiles(&world, API, &extensions)[0].args["x"], "1");
}

#[test]
fn files_of_others_are_read_only_where_they_are() {
    let world = World::new();
    world.write("secret", "FROM x\n");
    fs::create_dir_all(world.path("generated/e")).expect("writable");
    std::os::unix::fs::symlink(world.path("secret"), world.path("generated/e/run.Dockerfile"))
        .expect("a link");
    let (dir, app) = (world.path("generated"), world.path("app"));
    let (log, _) = Log::buffer(Level::Debug);
    let generated = Generated { api: API, dir: &dir, app: &app };
    assert!(find(generated, &[element("e")], Target::Run, &BTreeMap::new(), &log).is_err());
}

#[test]
fn arguments_are_the_lifecycles_and_follow_the_image() {
    let world = World::new();
    world.save_image("r.io/run", |image| image.config.set_process_text("User", "7:8"));
    let first =
        "ARG user_id\nARG group_id\nARG base_image\nENV U=$user_id G=$group_id B=$base_image\nUSER app";
    let second = "ARG user_id\nARG group_id\nARG base_image\nARG build_id\n\
        ENV U2=$user_id G2=$group_id B2=$base_image ID=$build_id";
    let (extended, _) = run(&world, &[first, second]).expect("extended");
    let value = |name: &str| extended.image.config.env_value(name).expect(name);
    assert_eq!((value("U"), value("G"), value("B")), ("7".into(), "8".into(), "r.io/run@sha256:1".into()));
    assert_eq!((value("U2"), value("G2")), ("app".into(), String::new()));
    assert!(value("B2").starts_with("base@sha256:"), "{}", value("B2"));
    assert_eq!(value("ID").len(), 36);
}

#[track_caller]
fn check_label(base: Option<&str>, lines: &[&str], expected: Option<&str>) {
    let world = World::new();
    world.save_image("r.io/run", |image| {
        image.config.set_process_text("User", "7:8");
        if let Some(value) = base {
            image.config.set_label(REBASABLE, value);
        }
    });
    let (extended, _) = run(&world, lines).expect("extended");
    assert_eq!(extended.image.config.label(REBASABLE), expected);
}

#[test]
fn only_what_dockerfiles_say_themselves_makes_an_image_rebasable() {
    let (yes, no, silent) =
        ("LABEL io.buildpacks.rebasable=true", "LABEL io.buildpacks.rebasable=0", "ENV A=1");
    check_label(None, &[], None);
    check_label(Some("false"), &[""], Some("false"));
    check_label(None, &[yes, yes], Some("true"));
    check_label(Some("true"), &[yes], Some("true"));
    check_label(Some("false"), &[yes], Some("false"));
    check_label(Some("true"), &[silent], Some("false"));
    check_label(None, &[yes, silent], Some("false"));
    check_label(None, &[no, yes], Some("false"));
}

#[track_caller]
fn check_user(base: &str, lines: &str, is_root: bool) {
    let world = World::new();
    world.save_image("r.io/run", |image| image.config.set_process_text("User", base));
    world.write("root/etc/passwd", "toor:x:0:0::/:\napp:x:7:7::/:\n");
    let found = run(&world, &[lines]);
    assert_eq!(matches!(found, Err(ExtendError::RootUser { .. })), is_root, "{base} {lines}: {found:?}");
}

#[test]
fn final_user_of_a_run_image_is_not_root() {
    for root in ["root", "0", "00:5", "root:app", "toor", "toor:7"] {
        check_user("7", &format!("USER {root}"), true);
    }
    for user in ["7", "app", "1000:0", "nobody"] {
        check_user("7", &format!("USER {user}"), false);
    }
    check_user("0", "ENV A=1", true);
    check_user("", "ENV A=1", false);
    check_user("", "USER root", true);
}

#[test]
fn an_extended_image_is_its_new_layers_and_the_same_from_the_cache() {
    let world = World::new();
    if !crate::cli::privileges::is_root() {
        return;
    }
    world.save_image("r.io/run", |image| image.config.set_process_text("User", "7:8"));
    let lines = ["COPY index.html /opt/a/\nLABEL l=1", "ENV A=1\nCOPY static /opt/b"];
    let (extended, text) = run(&world, &lines).expect("extended");
    assert!(text.contains("No cached layer found for cmd COPY static /opt/b"), "{text}");
    world.write("extended/run/sha256:old/index.json", "stale");
    world.write("extended/run/file", "stale");
    let saved = save::save(&extended, &world.path("extended")).expect("saved");
    let found = files(&world.path("extended/run"));
    assert_eq!(found.len(), 4 + 3, "two layers, config, manifest, and three files: {found:?}");
    assert_eq!(LayoutStore::base_layers(&saved).expect("readable"), Some(1));
    let history: Vec<String> = extended
        .image
        .config
        .history()
        .iter()
        .filter_map(|entry| entry.get("created_by").ok().flatten())
        .collect();
    let expected = ["COPY index.html /opt/a/' e0", "COPY static /opt/b' e1"]
        .map(|text| text.replace("' ", "', Created by extension: "));
    assert_eq!(history[1..], expected.map(|text| format!("Layer: '{text}")));

    fs::remove_dir_all(world.path("root/opt")).expect("writable");
    let (again, text) = run(&world, &lines).expect("extended");
    assert!(!text.contains("No cached layer") && !world.path("root/opt").exists(), "{text}");
    assert_eq!(save::save(&again, &world.path("extended")).expect("saved"), saved);
    assert_eq!(files(&world.path("extended/run")), found);
}

#[test]
fn base_images_are_handed_on_without_layers_but_empty_ones() {
    let world = World::new();
    let content = world.layer(&reference("r.io/run"), &[1; 1024]);
    world.save_image("r.io/run", |image| image.push_layer(content.clone(), "content"));
    let image = world.image("r.io/run");
    let name = image.name.as_ref().expect("a name").to_string();
    put(&world.store, &image, &world.path("kaniko")).expect("saved");
    let digest = name.rsplit_once('@').expect("a digest").1;
    let dir = world.path("kaniko/cache/base").join(digest);
    assert!(dir.join("blobs/sha256").join(&digest[7..]).is_file(), "the manifest as it was");
    assert_eq!(files(&dir).len(), 5, "{:?}", files(&dir));
    let empty = dir.join("blobs/sha256").join(crate::digest::Digest::of(&[0; 1024]).hex());
    assert_eq!(fs::read(empty).expect("the empty layer"), [0; 1024]);
    let found = get(&name, &world.path("kaniko")).expect("there");
    assert_eq!((&found.config, found.layers.len()), (&image.config, 2));
    assert!(matches!(get("r.io/run", &world.path("kaniko")), Err(ExtendError::NotExact(_))));
    let other = format!("r.io/run@sha256:{}", "0".repeat(64));
    assert!(matches!(get(&other, &world.path("kaniko")), Err(ExtendError::Base { .. })));

    // A daemon's image has an ID and no blobs.
    let mut image = world.store.find(&reference("r.io/run")).expect("readable").expect("there");
    let id = crate::digest::Digest::of(b"image");
    image.name = Some(crate::reference::ImageName::ImageId(id));
    image.layers[0].blob = None;
    put(&NoDocuments, &image, &world.path("kaniko")).expect("saved");
    assert_eq!(get(&id.hex(), &world.path("kaniko")).expect("there").config, image.config);
}

/// A store whose images have no documents.
struct NoDocuments;

impl ImageStore for NoDocuments {
    fn find(&self, _: &crate::reference::ImageName) -> Result<Option<Image>, StoreError> {
        Ok(None)
    }

    fn open_layer(&self, _: &crate::image::Layer) -> Result<Box<dyn io::Read + Send + '_>, StoreError> {
        Err(StoreError::Refused("no layers".to_owned()))
    }

    fn encoding(&self) -> crate::image::Encoding {
        crate::image::Encoding::Tar
    }

    fn layer_sink(
        &self,
        _: &crate::reference::ImageName,
    ) -> Result<Box<dyn crate::image::store::LayerSink + '_>, StoreError> {
        Err(StoreError::Refused("nothing is kept".to_owned()))
    }

    fn save(&self, _: &Image, _: &[crate::reference::ImageName]) -> Result<crate::image::Saved, StoreError> {
        Err(StoreError::Refused("nothing is kept".to_owned()))
    }
}
