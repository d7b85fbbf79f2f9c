//! BuildKit, the reference for what a Dockerfile means: the daemon that `BUILDKIT_HOST` names, else the
//! one inside the Docker engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::docker::docker;
use crate::oci::LayoutImage;
use crate::places::skopeo;

/// Builds at the same time.
const THREADS: usize = 3;

/// A BuildKit.
#[derive(Debug)]
pub enum BuildKit {
    /// A daemon, reached through `buildctl`.
    Daemon,
    /// The Docker engine's own, reached through a `docker` that can speak to it.
    Engine(PathBuf),
}

/// A base image: a layout, and the name under which the engine has it.
#[derive(Debug)]
pub struct Base {
    /// Its name in the engine.
    pub name: String,
    /// The layout's directory.
    pub layout: PathBuf,
    /// What the layout holds.
    pub image: LayoutImage,
}

/// Something to build.
#[derive(Debug)]
pub struct Job<'j> {
    /// A directory with the `Dockerfile`.
    pub dockerfile: &'j Path,
    /// The context.
    pub context: &'j Path,
    /// The argument `base_image`.
    pub base: &'j Base,
    /// Further arguments.
    pub arguments: Vec<(String, String)>,
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The image's config.
    pub config: Value,
    /// Its layers as uncompressed tars, the base's first.
    pub layers: Vec<PathBuf>,
}

impl Base {
    /// Takes the image of a layout.
    pub fn new(name: &str, layout: PathBuf) -> Self {
        let image = LayoutImage::read(&layout);
        let name = format!("lifecycle-acceptance/{name}:{}", &image.digest[7..19]);
        Self { name, layout, image }
    }

    fn load(&self) {
        if docker(&["image", "inspect", &self.name]).code != 0 {
            let source = format!("oci:{}", self.layout.display());
            skopeo(&["copy", "-q", &source, &format!("docker-daemon:{}", self.name)]);
        }
    }
}

impl BuildKit {
    /// The one to be asked here.
    ///
    /// # Panics
    ///
    /// When there is none: `./acceptance/run` starts an engine.
    pub fn here() -> Self {
        if Self::is_current() {
            return Self::Daemon;
        }
        // One of several programs of that name may lack the plugin that it needs.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut programs = std::env::split_paths(&path).map(|dir| dir.join("docker"));
        let able = |program: &PathBuf| {
            let help = Command::new(program).env("DOCKER_BUILDKIT", "1").args(["build", "--help"]).output();
            help.is_ok_and(|output| output.status.success())
        };
        Self::Engine(
            programs.find(able).expect("a `docker build` with BuildKit (./acceptance/run installs it)"),
        )
    }

    /// Whether it is one that knows all of today's Dockerfiles: whoever names one sees to that.
    pub fn is_current() -> bool {
        std::env::var_os("BUILDKIT_HOST").is_some()
    }

    /// Builds everything. What cannot be built gives the builder's words. Layers are written to `work`.
    ///
    /// # Panics
    ///
    /// When BuildKit does not answer.
    pub fn build_all(&self, jobs: &[Job<'_>], work: &Path) -> Vec<Result<Built, String>> {
        if let Self::Engine(_) = self {
            for job in jobs {
                job.base.load();
            }
        }
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(number) else { break };
                        let result = self.build(job, &work.join(number.to_string()));
                        done.lock().expect("no thread panics here").push((number, result));
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("the threads have ended");
        done.sort_by_key(|(number, _)| *number);
        let results = done.into_iter().map(|(_, result)| result).collect();
        match self {
            Self::Daemon => results,
            Self::Engine(_) => saved(results, work),
        }
    }

    /// Builds one image: with the daemon completely, with the engine its name is given for later.
    fn build(&self, job: &Job<'_>, to: &Path) -> Result<Built, String> {
        fs::create_dir_all(to).expect("the work directory is ours");
        let mut command = match self {
            Self::Daemon => buildctl(job, to),
            Self::Engine(docker) => docker_build(docker, job, to),
        };
        let output = command.stdin(Stdio::null()).output().expect("the builder can be started");
        if !output.status.success() {
            return Err(last_line(&output.stderr));
        }
        match self {
            Self::Daemon => Ok(exported(to)),
            Self::Engine(_) => Ok(Built { config: Value::from(image_name(to)), layers: Vec::new() }),
        }
    }
}

/// What the builder said in the end.
fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

fn buildctl(job: &Job<'_>, to: &Path) -> Command {
    let mut command = Command::new("buildctl");
    let digest = &job.base.image.digest;
    command
        .args(["build", "--no-cache", "--frontend", "dockerfile.v0"])
        .arg(format!("--local=context={}", job.context.display()))
        .arg(format!("--local=dockerfile={}", job.dockerfile.display()))
        .arg(format!("--oci-layout=base={}", job.base.layout.display()))
        .arg(format!("--opt=context:base=oci-layout://base@{digest}"))
        .arg("--opt=build-arg:base_image=base");
    for (name, value) in &job.arguments {
        command.arg(format!("--opt=build-arg:{name}={value}"));
    }
    command.arg(format!("--output=type=oci,tar=false,dest={}", to.join("oci").display()));
    command
}

fn docker_build(docker: &Path, job: &Job<'_>, to: &Path) -> Command {
    let mut command = Command::new(docker);
    command
        .env("DOCKER_BUILDKIT", "1")
        .args(["build", "-q", "--no-cache", "-t", &image_name(to)])
        .arg(format!("--file={}", job.dockerfile.join("Dockerfile").display()))
        .arg(format!("--build-arg=base_image={}", job.base.name));
    for (name, value) in &job.arguments {
        command.arg(format!("--build-arg={name}={value}"));
    }
    command.arg(job.context);
    command
}

/// A name that no other build has at the same time.
fn image_name(to: &Path) -> String {
    let parts: Vec<String> =
        to.iter().rev().take(2).map(|part| part.to_string_lossy().to_lowercase()).collect();
    let clean = parts.concat().replace(|c: char| !c.is_ascii_alphanumeric(), "");
    format!("lifecycle-acceptance/judged-{}-{clean}:latest", std::process::id())
}

/// What the daemon wrote, its layers unpacked.
fn exported(to: &Path) -> Built {
    let image = LayoutImage::read(&to.join("oci"));
    let layers = image.layers.into_iter().enumerate().map(|(number, layer)| {
        let path = to.join(format!("{number}.tar"));
        fs::write(&path, layer.tar).expect("the work directory is ours");
        path
    });
    Built { layers: layers.collect(), config: image.config }
}

/// Takes all images out of the engine at once, as they share their base.
fn saved(results: Vec<Result<Built, String>>, work: &Path) -> Vec<Result<Built, String>> {
    let names: Vec<&str> =
        results.iter().filter_map(|result| result.as_ref().ok()?.config.as_str()).collect();
    if names.is_empty() {
        return results;
    }
    let archive = work.join("images.tar");
    let to = archive.to_string_lossy();
    docker(&[&["save", "-o", &to][..], &names].concat()).ok();
    docker(&[&["rmi", "-f"][..], &names].concat());
    let dir = work.join("images");
    fs::create_dir_all(&dir).expect("the work directory is ours");
    let unpacked = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&dir).status();
    assert!(unpacked.is_ok_and(|status| status.success()), "docker save writes a tar");
    fs::remove_file(&archive).expect("the work directory is ours");
    let read = |path: &Path| -> Value {
        let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).expect("the document is JSON")
    };
    let manifest = read(&dir.join("manifest.json"));
    let find = |name: &Value| -> Built {
        let images = manifest.as_array().into_iter().flatten();
        let image = images
            .into_iter()
            .find(|image| image["RepoTags"].as_array().is_some_and(|tags| tags.contains(name)));
        let image = image.unwrap_or_else(|| panic!("{name} was saved"));
        let layers = image["Layers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Built {
            layers: layers.map(|layer| dir.join(layer)).collect(),
            config: read(&dir.join(image["Config"].as_str().expect("an image has a config"))),
        }
    };
    results.into_iter().map(|result| result.map(|built| find(&built.config))).collect()
}
