//! What platforms on Kubernetes have in common: volumes that are directories, images in a registry,
//! containers of the builder image as its user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use super::engine::{AppImage, Step, unique};
use super::images::{Builder, Version, builder, run};
use crate::docker::docker;
use crate::places::skopeo;
use crate::sandbox::{CNB_ID, is_root};
use crate::servers::registry::{PASSWORD, Registry, USER};
use crate::servers::tokens::base64;

/// A pod's volumes and the images it works with.
#[derive(Debug)]
pub struct Pod {
    registry: Registry,
    volumes: tempfile::TempDir,
    /// Where names of images begin.
    prefix: String,
    /// The builder image.
    pub builder: String,
}

impl Pod {
    /// A pod for apps built by a builder of that kind, with accounts at its registry.
    pub fn new(platform: &str, kind: Builder) -> Self {
        let registry = Registry::with_basic_auth();
        let prefix = format!("{}/{}", registry.host, unique(platform));
        let volumes = tempfile::tempdir().expect("a temporary directory can be made");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(volumes.path(), open).expect("the owner may change modes");
        let builder = builder(kind, &format!("{prefix}/run"));
        let pod = Self { registry, volumes, prefix, builder };
        pod.publish_run_image(Version::One);
        pod
    }

    /// An image's name.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.prefix)
    }

    /// Puts that version of the run image where the next build or rebase looks for it.
    pub fn publish_run_image(&self, version: Version) {
        self.push(&run(version), "run");
    }

    /// Puts the builder image into the registry; gives its name there.
    pub fn publish_builder(&self) -> String {
        self.push(&self.builder, "builder");
        self.name("builder")
    }

    fn push(&self, made: &str, image: &str) {
        let target = format!("docker://{}", self.name(image));
        let credentials = format!("{USER}:{PASSWORD}");
        let flags = ["copy", "-q", "--dest-tls-verify=false", "--dest-creds", &credentials];
        skopeo(&[&flags[..], &[&format!("docker-daemon:{made}"), &target]].concat());
    }

    /// The digest under an image's tag.
    pub fn digest(&self, image: &str) -> String {
        let credentials = format!("{USER}:{PASSWORD}");
        let flags = ["inspect", "--tls-verify=false", "--creds", &credentials, "--format", "{{.Digest}}"];
        skopeo(&[&flags[..], &[&format!("docker://{}", self.name(image))]].concat()).trim().to_owned()
    }

    /// A volume's directory, made with that mode at its first use: for root and the pod's group.
    pub fn volume(&self, name: &str, mode: u32) -> String {
        let path = self.volumes.path().join(name);
        if !path.exists() {
            fs::create_dir_all(&path).expect("the volumes are ours");
            if is_root() {
                chown(&path, Some(0), Some(CNB_ID)).expect("root may change owners");
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the owner may change modes");
        }
        path.display().to_string()
    }

    /// Ends the volumes that live as long as one build.
    pub fn forget(&self, volumes: &[&str]) {
        for name in volumes {
            let _ = fs::remove_dir_all(self.volumes.path().join(name));
        }
    }

    /// Writes a file of a volume as the build's user.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.volumes.path().join(path);
        let parent = path.parent().expect("a file has a parent");
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, content)).expect("the volumes are ours");
        if is_root() {
            for each in [&PathBuf::from(parent), &path] {
                chown(each, Some(CNB_ID), Some(CNB_ID)).expect("root may change owners");
            }
        }
    }

    /// A file of a volume.
    pub fn read(&self, path: &str) -> String {
        let path = self.volumes.path().join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A docker config for the registry.
    pub fn docker_config(&self) -> String {
        let auth = base64(&format!("{USER}:{PASSWORD}"));
        format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", self.registry.host)
    }

    /// A container of the builder image as its user.
    pub fn container(&self) -> Step {
        Step::of(&self.builder)
            .option("--network", "host") // the registry is on loopback
            .option("--user", format!("{CNB_ID}:{CNB_ID}"))
    }

    /// The app image, brought into the engine.
    pub fn image(&self) -> AppImage {
        self.load();
        AppImage::named(&self.name("app"))
    }

    fn load(&self) {
        let (name, credentials) = (self.name("app"), format!("{USER}:{PASSWORD}"));
        let flags = ["copy", "-q", "--src-tls-verify=false", "--src-creds", &credentials];
        let images = [&format!("docker://{name}"), &format!("docker-daemon:{name}:latest")];
        skopeo(&[&flags[..], &images.map(String::as_str)[..]].concat());
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.name("app"), &self.builder]);
    }
}
