//! The sample application in each kind of store: the same phases, told of a layout, a registry or an
//! engine.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::docker::docker;
use crate::oci::LayoutImage;
use crate::run_image::RunImage;
use crate::sandbox::{Outcome, Sandbox, is_root};

/// Where images are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A layout directory in the sandbox.
    Layout,
    /// A registry, host and port, without TLS.
    Registry(String),
    /// The Docker engine that answers, under names that begin so.
    Daemon(String),
}

/// The sample application in a sandbox, its images in a place.
#[derive(Debug)]
pub struct World<'a> {
    /// Where it is built.
    pub sandbox: &'a Sandbox,
    /// Where its images are.
    pub place: Place,
    /// Further flags of every phase that has to do with images.
    pub flags: Vec<String>,
    /// Further variables of those phases.
    pub env: Vec<(String, String)>,
    /// The registry itself, where phases are told of a proxy before it.
    pub upstream: Option<String>,
    /// `user:password` for the registry itself.
    pub account: Option<String>,
}

/// An image as its store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its config.
    pub config: Value,
}

impl Stored {
    /// The diffIDs, base first.
    pub fn diff_ids(&self) -> Vec<String> {
        let ids = self.config["rootfs"]["diff_ids"].as_array().into_iter().flatten();
        ids.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A label's text.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.config["config"]["Labels"][key].as_str()
    }
}

impl<'a> World<'a> {
    /// A world with version 1 of the run image.
    pub fn new(sandbox: &'a Sandbox, place: Place) -> Self {
        let world = Self::bare(sandbox, place);
        world.publish_run_image(&RunImage::version(1));
        world
    }

    /// A world of a registry that phases reach through a proxy at `host`.
    pub fn behind(sandbox: &'a Sandbox, host: &str, upstream: &str) -> Self {
        let place = Place::Registry(host.to_owned());
        let mut world = Self::bare(sandbox, place);
        world.upstream = Some(upstream.to_owned());
        world.publish_run_image(&RunImage::version(1));
        world
    }

    /// A world without a run image.
    pub fn bare(sandbox: &'a Sandbox, place: Place) -> Self {
        // Not run here, and the real one without optimisation takes long to compress.
        sandbox.write("small-launcher", "launcher");
        let (flags, env) = (Vec::new(), Vec::new());
        Self { sandbox, place, flags, env, upstream: None, account: None }
    }

    /// The name of an image of the sample: `app`, `run`, `cache`.
    pub fn name(&self, image: &str) -> String {
        match &self.place {
            Place::Layout => format!("registry.example/demo/{image}"),
            Place::Registry(host) => format!("{host}/demo/{image}"),
            Place::Daemon(prefix) => format!("{prefix}/demo/{image}"),
        }
    }

    /// The name of an image as the phases' lines have it.
    pub fn shown(&self, image: &str) -> String {
        match self.place {
            Place::Layout => self.layout(image).display().to_string(),
            Place::Registry(_) | Place::Daemon(_) => self.name(image),
        }
    }

    /// Puts a run image where the phases look for it, instead of the one before.
    ///
    /// # Panics
    ///
    /// When skopeo is missing or fails.
    pub fn publish_run_image(&self, image: &RunImage) {
        self.publish("run", image);
        self.sandbox.write("cnb/run.toml", format!("[[images]]\nimage = \"{}\"\n", self.name("run")));
    }

    /// Puts an image where the phases look for it, instead of the one of that name before.
    ///
    /// # Panics
    ///
    /// When skopeo is missing or fails.
    pub fn publish(&self, image_name: &str, image: &RunImage) {
        let directory = match &self.place {
            Place::Layout => self.layout(image_name),
            Place::Registry(_) | Place::Daemon(_) => self.sandbox.path("run-image"),
        };
        let _ = std::fs::remove_dir_all(&directory);
        image.write(&directory);
        let source = format!("oci:{}", directory.display());
        match &self.place {
            Place::Layout => self.sandbox.own_all(),
            Place::Registry(_) => {
                let target = self.upstream(image_name);
                let mut arguments = vec!["copy", "-q", "--dest-tls-verify=false"];
                arguments.extend(self.account.iter().flat_map(|account| ["--dest-creds", account]));
                arguments.extend([source.as_str(), &target]);
                skopeo(&arguments);
            }
            Place::Daemon(_) => {
                skopeo(&["copy", "-q", &source, &format!("docker-daemon:{}:latest", self.name(image_name))]);
            }
        }
    }

    /// Makes an image one of the Docker engine, named `name`.
    ///
    /// # Panics
    ///
    /// When there is no such image, or skopeo or docker are missing.
    pub fn load(&self, image: &str, name: &str) {
        let target = format!("docker-daemon:{name}");
        match &self.place {
            Place::Layout => {
                skopeo(&["copy", "-q", &format!("oci:{}", self.layout(image).display()), &target]);
            }
            Place::Registry(_) => {
                skopeo(&["copy", "-q", "--src-tls-verify=false", &self.upstream(image), &target]);
            }
            Place::Daemon(_) => drop(docker(&["tag", &format!("{}:latest", self.name(image)), name]).ok()),
        }
    }

    /// Runs the five phases in order and stops at the first that fails.
    pub fn build(&self) -> Vec<Outcome> {
        let steps: [(&str, Vec<&str>); 5] = [
            ("analyzer", vec!["-run-image", "RUN", "APP"]),
            ("detector", vec![]),
            ("restorer", vec!["-cache-dir", "CACHE"]),
            ("builder", vec![]),
            ("exporter", vec!["-cache-dir", "CACHE", "-launcher", "LAUNCHER", "-process-type", "web", "APP"]),
        ];
        let mut outcomes = Vec::new();
        for (phase, arguments) in steps {
            let outcome = self.phase(phase, &arguments);
            let failed = outcome.code != 0;
            outcomes.push(outcome);
            if failed {
                break;
            }
        }
        outcomes
    }

    /// Builds with the creator.
    pub fn create(&self, further: &[&str]) -> Outcome {
        let arguments = ["-run-image", "RUN", "-launcher", "LAUNCHER", "-process-type", "web"];
        let all: Vec<&str> = arguments.iter().chain(further).copied().chain(["APP"]).collect();
        self.phase("creator", &all)
    }

    /// Puts the app image on the run image that is published now.
    pub fn rebase(&self) -> Outcome {
        self.phase("rebaser", &["-report", "REPORT", "APP"])
    }

    /// Runs one phase; words in capitals stand for this world's names and paths.
    pub fn phase(&self, phase: &str, arguments: &[&str]) -> Outcome {
        self.phase_with(phase, arguments, |_| {})
    }

    /// Runs one phase, its command changed by `change` first.
    pub fn phase_with(&self, phase: &str, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Outcome {
        let mut all: Vec<PathBuf> = Vec::new();
        let stored = ["analyzer", "restorer", "exporter", "creator", "rebaser"].contains(&phase);
        if stored {
            match &self.place {
                Place::Layout => {
                    all.extend(["-layout".into(), "-layout-dir".into(), self.sandbox.path("layouts")]);
                }
                Place::Registry(_) => {}
                Place::Daemon(_) => all.push("-daemon".into()),
            }
            all.extend(self.flags.iter().map(PathBuf::from));
        }
        all.extend(arguments.iter().map(|argument| match *argument {
            "CACHE" => self.sandbox.path("cache"),
            "LAUNCHER" => self.sandbox.path("small-launcher"),
            "LAUNCH_CACHE" => self.sandbox.path("launch-cache"),
            "REPORT" => self.sandbox.path("layers/report.toml"),
            "APP" => self.name("app").into(),
            "RUN" => self.name("run").into(),
            "CACHE_IMAGE" => self.name("cache").into(),
            other => other.into(),
        }));
        let daemon = stored && matches!(self.place, Place::Daemon(_));
        self.sandbox.run_with(phase, all, |command| {
            if daemon && is_root() {
                // The engine's socket is for root; the phase becomes the build image's user by itself.
                std::os::unix::process::CommandExt::uid(command, 0);
                std::os::unix::process::CommandExt::gid(command, 0);
            }
            if stored {
                command.envs(self.env.iter().map(|(name, value)| (name, value)));
            }
            change(command);
        })
    }

    /// An image as it is now.
    ///
    /// # Panics
    ///
    /// When there is none, or skopeo or docker are missing.
    pub fn image(&self, name: &str) -> Stored {
        match &self.place {
            Place::Layout => Stored { config: LayoutImage::judged(&self.layout(name)).config },
            Place::Registry(_) => Stored { config: self.fetch(name).config },
            Place::Daemon(_) => saved(&format!("{}:latest", self.name(name))),
        }
    }

    /// An image of a registry, with every blob.
    ///
    /// # Panics
    ///
    /// When there is none, or skopeo is missing.
    pub fn fetch(&self, name: &str) -> LayoutImage {
        let work = tempfile::tempdir().expect("a temporary directory can be made");
        let (source, target) = (self.upstream(name), format!("oci:{}:x", work.path().display()));
        let mut arguments = vec!["copy", "-q", "--src-tls-verify=false"];
        arguments.extend(self.account.iter().flat_map(|account| ["--src-creds", account]));
        arguments.extend([source.as_str(), &target]);
        skopeo(&arguments);
        LayoutImage::read(work.path())
    }

    /// An image as skopeo finds it.
    pub fn upstream(&self, image: &str) -> String {
        let name = self.name(image);
        match (&self.place, &self.upstream) {
            (Place::Registry(host), Some(upstream)) => {
                format!("docker://{}", name.replacen(host, upstream, 1))
            }
            _ => format!("docker://{name}"),
        }
    }

    fn layout(&self, image: &str) -> PathBuf {
        self.sandbox.path("layouts").join(self.name(image)).join("latest")
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        if let Place::Daemon(_) = self.place {
            for image in ["app", "run"] {
                docker(&["rmi", "-f", &format!("{}:latest", self.name(image))]);
            }
        }
    }
}

/// The config of an image as `docker save` gives it.
fn saved(name: &str) -> Stored {
    let work = tempfile::tempdir().expect("a temporary directory can be made");
    let path = work.path().join("image.tar");
    docker(&["save", "-o", &path.to_string_lossy(), name]).ok();
    let read = |wanted: &str| -> Value {
        let file = std::fs::File::open(&path).expect("docker wrote the archive");
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries().expect("it is a tar") {
            let entry = entry.expect("an entry can be read");
            if entry.path().is_ok_and(|path| path.as_os_str() == wanted) {
                return serde_json::from_reader(entry).expect("the document is JSON");
            }
        }
        panic!("{wanted} is in the archive")
    };
    let manifest = read("manifest.json");
    Stored { config: read(manifest[0]["Config"].as_str().expect("a manifest names the config")) }
}

/// Runs skopeo; gives what it prints.
///
/// # Panics
///
/// When it is missing or fails.
pub fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .output()
        .expect("skopeo is installed (./acceptance/run installs it)");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
