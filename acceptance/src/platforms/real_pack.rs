//! The `pack` on PATH, where there is one: a builder that it made of our lifecycle, and everything else that it
//! builds with, made on the spot and removed afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::engine::{AppImage, unique};
use super::images::{APIS, Builder, Version, feed, lifecycle_layers, release, run};
use crate::docker::docker;
use crate::fixtures;
use crate::places::skopeo;
use crate::run_image::{arch, digest, write_layout};
use crate::sandbox::{CNB_ID, Outcome, copy_tree, finish, is_root};
use crate::servers::registry::{NAME, PASSWORD, Registry, USER};
use crate::servers::relay::Relay;
use crate::servers::tokens::base64;

/// The label of every image of one test; images built on them have it too.
const MARK: &str = "lifecycle-acceptance.pack";

/// pack with a home of its own, and a builder, run and lifecycle image.
#[derive(Debug)]
pub struct RealPack {
    home: tempfile::TempDir,
    registry: Registry,
    /// Keeps the run image under a name without a port, which a layout's path cannot hold.
    secure: Registry,
    relay: Relay,
    mark: String,
    with_extension: bool,
}

/// How pack runs the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The creator, in the builder image.
    Trusted,
    /// Five phases, those that may be root in the lifecycle image.
    Untrusted,
}

/// Whether there is a pack on PATH; says so where there is none.
pub fn is_here() -> bool {
    let help = Command::new("pack").arg("--help").output();
    let here =
        help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("Cloud Native Buildpacks"));
    if !here {
        println!("no pack on PATH: nothing is built with it");
    }
    here
}

impl RealPack {
    /// Makes the images, and lets pack make a builder of that kind; `None` where there is no pack.
    ///
    /// # Panics
    ///
    /// When something fails.
    pub fn find(kind: Builder) -> Option<Self> {
        if !is_here() {
            return None;
        }
        let secure = Registry::with_tls_and_basic_auth();
        let pack = Self {
            home: tempfile::tempdir().expect("a temporary directory can be made"),
            registry: Registry::plain(),
            relay: Relay::tunnel(&secure.host),
            secure,
            mark: unique("real-pack"),
            with_extension: kind == Builder::WithExtension,
        };
        pack.configure();
        pack.publish_run_image(Version::One);
        pack.make_lifecycle();
        pack.make_builder();
        Some(pack)
    }

    /// An image's name in the registry.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{}/{image}", self.registry.host, self.mark)
    }

    /// A path that only this test has.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    /// Where a layout of the application is built: pack names its caches after the directory.
    pub fn layout(&self) -> PathBuf {
        self.path(&self.mark)
    }

    fn configure(&self) {
        for directory in ["pack", "docker"] {
            fs::create_dir(self.path(directory)).expect("the directory is ours");
        }
        // Layouts are an experiment of pack's.
        let layouts = self.path("pack/layout-repo");
        let config = format!("experimental = true\nlayout-repo-dir = \"{}\"\n", layouts.display());
        fs::write(self.path("pack/config.toml"), config).expect("the directory is ours");
        let auth = json!({ "auths": { NAME: { "auth": base64(&format!("{USER}:{PASSWORD}")) } } });
        fs::write(self.path("docker/config.json"), auth.to_string()).expect("the directory is ours");
        // The phases go through it to other directories of ours.
        fs::set_permissions(self.home.path(), Permissions::from_mode(0o755)).expect("the directory is ours");
        copy_tree(&fixtures().join("platforms/app"), &self.path("app"));
        fs::write(self.path("app/index.txt"), "A page\n").expect("the directory is ours");
        if self.with_extension {
            fs::write(self.path("app/greeting"), "").expect("the directory is ours");
        }
    }

    /// Puts that version of the run image where the next build or rebase looks for it.
    pub fn publish_run_image(&self, version: Version) {
        self.make("run", &format!("FROM {}\n", run(version)));
        let credentials = format!("{USER}:{PASSWORD}");
        let target = format!("docker://{}/{}/run", self.secure.host, self.mark);
        let flags = ["copy", "-q", "--dest-tls-verify=false", "--dest-creds", &credentials];
        skopeo(&[&flags[..], &[&format!("docker-daemon:{}:latest", self.name("run")), &target]].concat());
    }

    /// Makes an image of a Dockerfile that copies nothing, in the engine and in the registry.
    fn make(&self, image: &str, dockerfile: &str) {
        let name = self.name(image);
        let dockerfile = format!("{dockerfile}LABEL {MARK}={}\n", self.mark);
        let mut command = Command::new("docker");
        command.env("DOCKER_BUILDKIT", "0").args(["build", "-q", "-t", &name, "-"]);
        feed(&mut command, dockerfile.as_bytes());
        docker(&["push", "-q", &name]).ok();
    }

    /// The lifecycle image: what ships if that is made, else the same of this checkout's programs.
    fn make_lifecycle(&self) {
        let layout = package(".image").unwrap_or_else(|| {
            let (path, tars) = (self.path("lifecycle-image"), lifecycle_layers());
            let config = json!({
                "architecture": arch(),
                "os": "linux",
                "config": { "WorkingDir": "/layers", "Labels": { "io.buildpacks.lifecycle.apis": APIS } },
                "rootfs": { "type": "layers", "diff_ids": tars.each_ref().map(|tar| digest(tar)) },
                "history": [{ "created_by": "base" }, { "created_by": "lifecycle" }],
            });
            write_layout(&path, &tars, &config);
            path
        });
        let (source, name) = (format!("oci:{}", layout.display()), self.name("lifecycle"));
        skopeo(&["copy", "-q", "--dest-tls-verify=false", &source, &format!("docker://{name}")]);
        docker(&["pull", "-q", &name]).ok();
    }

    fn make_builder(&self) {
        let tgz = package(".tgz").unwrap_or_else(|| {
            let path = self.path("lifecycle.tgz");
            let file = fs::File::create(&path).expect("the directory is ours");
            let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, &release()).expect("the directory is ours");
            gzip.finish().expect("the directory is ours");
            path
        });
        let user = format!("ENV CNB_USER_ID={CNB_ID} CNB_GROUP_ID={CNB_ID}\n");
        self.make("build", &format!("FROM {}\n{user}", run(Version::One)));
        fs::write(self.path("builder.toml"), self.builder_toml(&tgz)).expect("the directory is ours");
        let config = self.path("builder.toml").display().to_string();
        let name = self.name("builder");
        self.run(&["builder", "create", &name, "--config", &config, "--pull-policy", "never"]).ok();
        docker(&["push", "-q", &name]).ok();
    }

    fn builder_toml(&self, tgz: &Path) -> String {
        let module = |kind: &str, name: &str, id: &str| {
            let path = fixtures().join("platforms").join(kind).join(name).join("1.0.0");
            let order = if kind == "buildpacks" { "order" } else { "order-extensions" };
            format!(
                "[[{kind}]]\nuri = \"{}\"\n[[{order}]]\n[[{order}.group]]\nid = \"{id}\"\nversion = \"1.0.0\"\n",
                path.display()
            )
        };
        let mut text = module("buildpacks", "test_web", "test/web");
        if self.with_extension {
            text += &module("extensions", "test_greeting", "test/greeting");
        }
        let (build, run) = (self.name("build"), self.name("run"));
        format!(
            "{text}[build]\nimage = \"{build}\"\n[[run.images]]\nimage = \"{run}\"\n[stack]\nid = \"test.stack\"\n\
             build-image = \"{build}\"\nrun-image = \"{run}\"\n[lifecycle]\nuri = \"{}\"\n",
            tgz.display()
        )
    }

    /// Runs pack.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        finish("pack", self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("pack");
        command.args(arguments).arg("--no-color").current_dir(self.home.path());
        command.env("PACK_HOME", self.path("pack")).env("DOCKER_CONFIG", self.path("docker"));
        command.env("PACK_VOLUME_KEY", &self.mark);
        command
    }

    /// Builds the sample application as `image`.
    pub fn build(&self, trust: Trust, image: &str, further: &[&str]) -> Outcome {
        let (builder, lifecycle) = (self.name("builder"), self.name("lifecycle"));
        // pack takes a builder with extensions only if it may look for newer images.
        let policy = if self.with_extension { "always" } else { "never" };
        let common = ["build", image, "--path", "app", "--builder", &builder];
        let registry_is_on_loopback = ["--network", "host", "--pull-policy", policy];
        let trust = match trust {
            Trust::Trusted => vec!["--trust-builder"],
            Trust::Untrusted => vec!["--lifecycle-image", &lifecycle],
        };
        self.run(&[&common[..], &registry_is_on_loopback, &trust, further].concat())
    }

    /// Builds the sample application to a layout, of the run image under its name without a port.
    pub fn build_layout(&self) -> Outcome {
        let directory = &self.layout();
        fs::create_dir_all(directory).expect("the directory is ours");
        if is_root() {
            chown(directory, Some(CNB_ID), Some(CNB_ID)).expect("root may change owners");
        }
        fs::set_permissions(directory, Permissions::from_mode(0o777)).expect("the owner may change modes");
        let (builder, run) = (self.name("builder"), format!("{NAME}/{}/run", self.mark));
        let image = format!("oci:{}", directory.display());
        let names = ["build", &image, "--path", "app", "--builder", &builder, "--run-image", &run];
        let flags = ["--network", "host", "--pull-policy", "never", "--trust-builder"];
        let mut command = self.command(&[&names[..], &flags].concat());
        command.env("HTTPS_PROXY", format!("http://{}", self.relay.host));
        command.env("SSL_CERT_FILE", self.secure.authority());
        finish("pack", command)
    }

    /// The app of a layout, brought into the engine: with the run image's layers, where they were left out.
    pub fn load_layout(&self) -> AppImage {
        let directory = self.layout();
        let run = self.path("pack/layout-repo").join(NAME).join(&self.mark).join("run/latest/blobs/sha256");
        for entry in fs::read_dir(run).expect("pack has brought the run image").flatten() {
            let target = directory.join("blobs/sha256").join(entry.file_name());
            if !target.exists() {
                fs::copy(entry.path(), &target).expect("the directory is ours");
            }
        }
        let name = self.name("from-layout");
        skopeo(&[
            "copy",
            "-q",
            &format!("oci:{}", directory.display()),
            &format!("docker-daemon:{name}:latest"),
        ]);
        AppImage::named(&name)
    }

    /// An image that was published, brought into the engine.
    pub fn pulled(&self, image: &str) -> AppImage {
        docker(&["pull", "-q", &self.name(image)]).ok();
        self.in_engine(image)
    }

    /// An image of the engine.
    pub fn in_engine(&self, image: &str) -> AppImage {
        AppImage::named(&self.name(image))
    }
}

impl Drop for RealPack {
    fn drop(&mut self) {
        // The lifecycle image of another test is the same one under another name: only the name goes.
        docker(&["rmi", &self.name("lifecycle")]);
        let (label, ours) = (format!("label={MARK}={}", self.mark), format!("name={}", self.mark));
        remove(&["images", "-q", "--no-trunc", "--filter", &label], &["rmi", "-f"]);
        remove(&["volume", "ls", "-q", "--filter", &ours], &["volume", "rm", "-f"]);
    }
}

/// Removes what a list of the engine has.
fn remove(list: &[&str], remove: &[&str]) {
    let found = docker(list).stdout;
    let mut ids: Vec<&str> = found.lines().collect();
    ids.sort_unstable();
    ids.dedup();
    if !ids.is_empty() {
        docker(&[remove, &ids].concat());
    }
}

/// A file of what ships, where that is made already.
fn package(ending: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("LIFECYCLE_PACKAGE_DIR")?;
    Some(crate::package::file(Path::new(&directory), ending))
}
