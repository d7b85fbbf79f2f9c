//! pack: the creator in the builder image when that is trusted, else the phases that may be root in the
//! lifecycle image and those that run buildpacks in the builder image. Always at Platform API 0.15.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::engine::{AppImage, Owned, Step, application, file, in_order, read, unique, words};
use super::images::{Builder, Version, builder, lifecycle, run, with_lifecycle};
use crate::docker::{docker, socket};
use crate::places::skopeo;
use crate::sandbox::{CNB_ID, Outcome};
use crate::servers::registry::Registry;

/// Where the app image goes.
#[derive(Debug)]
pub enum Target {
    /// The engine's own store.
    Daemon,
    /// `--publish`.
    Registry,
    /// `--path oci:…`, experimental: a directory of layouts.
    Layout(tempfile::TempDir),
}

/// One app built by pack, its caches kept between builds.
#[derive(Debug)]
pub struct Pack {
    target: Target,
    builder: String,
    with_extension: bool,
    /// Where names of images begin.
    prefix: String,
    registry: Option<Registry>,
    build_cache: Owned,
    launch_cache: Owned,
    kaniko: Owned,
    /// `--clear-cache`.
    pub clear_cache: bool,
    /// `--cache-image`: then nothing is mounted where the cache's directory is said to be.
    pub cache_image: bool,
    report: Mutex<String>,
}

/// The volumes of one build.
struct Build {
    layers: Owned,
    app: Owned,
    network: Option<Owned>,
}

impl Pack {
    /// An app for `target`, built by the plain builder or by one with an extension.
    pub fn new(target: Target, kind: Builder) -> Self {
        let with_extension = kind == Builder::WithExtension;
        // Images that are extended must be in a registry.
        let registry = (matches!(target, Target::Registry) || with_extension).then(Registry::plain);
        let host = registry.as_ref().map_or("acceptance.example", |registry| &registry.host);
        let prefix = format!("{host}/{}", unique("pack"));
        let mut pack = Self {
            builder: builder(kind, &format!("{prefix}/run")),
            target,
            with_extension,
            prefix,
            registry,
            build_cache: Owned::volume("pack-cache.build"),
            launch_cache: Owned::volume("pack-cache.launch"),
            kaniko: Owned::volume("pack-cache.kaniko"),
            clear_cache: false,
            cache_image: false,
            report: Mutex::default(),
        };
        if with_extension {
            let name = pack.name("builder");
            docker(&["tag", &pack.builder, &name]).ok();
            docker(&["push", "-q", &name]).ok();
            pack.builder = name;
        }
        pack.publish_run_image(Version::One);
        pack
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.prefix)
    }

    /// Where a layout of that image lies on this machine.
    fn layout(&self, image: &str) -> Option<PathBuf> {
        match &self.target {
            Target::Layout(directory) => Some(directory.path().join(self.name(image)).join("latest")),
            _ => None,
        }
    }

    /// Puts that version of the run image where the next build or rebase looks for it.
    pub fn publish_run_image(&self, version: Version) {
        let (made, name) = (run(version), self.name("run"));
        docker(&["tag", &made, &name]).ok();
        if self.registry.is_some() {
            docker(&["push", "-q", &name]).ok();
        }
        if let Some(layout) = self.layout("run") {
            let _ = std::fs::remove_dir_all(&layout);
            std::fs::create_dir_all(&layout).expect("the layout's directory is ours");
            let (_link, target) = without_colon(&layout);
            skopeo(&["copy", "-q", &format!("docker-daemon:{made}"), &target]);
            self.own_layouts();
        }
    }

    /// The build's user has the directory of layouts: pack makes it as its own user.
    fn own_layouts(&self) {
        if let Target::Layout(directory) = &self.target {
            let path = directory.path().display().to_string();
            let _ = std::process::Command::new("chown").args(["-R", &CNB_ID.to_string(), &path]).status();
            let _ = std::process::Command::new("chmod").args(["-R", "a+rwX", &path]).status();
        }
    }

    fn begin(&self) -> Build {
        if let Some(layout) = self.layout("app") {
            std::fs::create_dir_all(layout).expect("the layout's directory is ours");
            self.own_layouts();
        }
        let host = self.registry.is_some(); // on loopback: `--network host`
        Build {
            layers: Owned::volume("pack-layers"),
            app: Owned::volume("pack-app"),
            network: (!host).then(|| Owned::network("pack.local-network")),
        }
    }

    /// A container that may reach images: as root, with the engine's socket or credentials.
    fn with_images(&self, step: Step) -> Step {
        let step = step.option("--user", "root");
        match &self.target {
            Target::Daemon => {
                step.option("--security-opt", "label=disable").mount(&socket(), "/var/run/docker.sock")
            }
            Target::Registry => confined(step).env("CNB_REGISTRY_AUTH", "{}"),
            Target::Layout(_) => {
                let step = confined(step)
                    .env("CNB_REGISTRY_AUTH", "{}")
                    .env("CNB_USE_LAYOUT", "true")
                    .env("CNB_LAYOUT_DIR", "/layout-repo")
                    .env("CNB_EXPERIMENTAL_MODE", "warn");
                self.with_layouts(step)
            }
        }
    }

    /// The layouts of run and app image alone. pack 0.40 does not give them to the analyzer, without which no
    /// lifecycle builds to layouts in five phases.
    fn with_layouts(&self, step: Step) -> Step {
        [("run", ",readonly"), ("app", "")].into_iter().fold(step, |step, (image, mode)| {
            let source = self.layout(image).expect("a layout");
            let target = format!("/layout-repo/{}/latest", self.name(image));
            step.option("--mount", format!("type=bind,source={},target={target}{mode}", source.display()))
        })
    }

    /// The name of a second tag; a layout's would be where nothing is mounted.
    fn tag(&self) -> String {
        if matches!(self.target, Target::Layout(_)) { String::new() } else { self.name("app:two") }
    }

    fn tag_flag(&self) -> String {
        let tag = self.tag();
        if tag.is_empty() { tag } else { format!("-tag {tag}") }
    }

    fn trusted(&self, build: &Build) -> Step {
        let step = self.with_images(container(build, lifecycle()));
        step.env("CNB_USER_ID", CNB_ID.to_string()).env("CNB_GROUP_ID", CNB_ID.to_string())
    }

    fn is_daemon(&self) -> bool {
        matches!(self.target, Target::Daemon)
    }

    /// The flag of the cache image, if there is to be one.
    fn cache_flag(&self) -> String {
        if self.cache_image { format!("-cache-image {}", self.name("cache")) } else { String::new() }
    }

    /// The container with the volume of the cache, if that is where the cache is.
    fn cached(&self, step: Step) -> Step {
        if self.cache_image { step } else { step.mount(&self.build_cache.name, "/cache") }
    }

    fn app(&self) -> Vec<u8> {
        let mut files = vec![("index.txt".to_owned(), b"A page\n".to_vec())];
        if self.with_extension {
            files.push(("greeting".to_owned(), Vec::new()));
        }
        application(&files, "/workspace")
    }

    /// A builder's images for applications: those of its `run` and that of its `stack`.
    fn run_toml(&self) -> Vec<u8> {
        let image = format!("[[images]]\n  image = \"{}\"\n\n", self.name("run"));
        file("/layers/run.toml", &image.repeat(2))
    }

    /// `pack build --trust-builder`.
    pub fn create(&self) -> Outcome {
        let build = self.begin();
        let daemon = if self.is_daemon() { "-daemon -launch-cache /launch-cache" } else { "" };
        let skip = if self.clear_cache { "-skip-restore" } else { "" };
        let (run, tag, app) = (self.name("run"), self.tag_flag(), self.name("app"));
        let cache = self.cache_flag();
        let line = format!(
            "/cnb/lifecycle/creator {daemon} -app /workspace -cache-dir /cache -run-image {run} {tag} {skip} {cache} {app}"
        );
        let step = self.with_images(container(&build, &self.builder));
        let mut step = self.cached(step).copy_in(project()).copy_in(self.app());
        if self.is_daemon() {
            step = step.mount(&self.launch_cache.name, "/launch-cache");
        }
        step.run_then(&words(&line), |container| self.keep_report(container))
    }

    /// `pack build` with a builder that is not trusted: stops at the first phase that fails.
    pub fn build(&self) -> Vec<Outcome> {
        let build = self.begin();
        let mut outcomes =
            in_order(&[&|| self.analyze(&build), &|| self.detect(&build), &|| self.restore(&build)]);
        let passed = |outcomes: &[Outcome]| outcomes.iter().all(|outcome| outcome.code == 0);
        if passed(&outcomes) {
            outcomes.extend(self.build_or_extend(&build));
        }
        if passed(&outcomes) {
            outcomes.push(self.export(&build));
        }
        outcomes
    }

    fn analyze(&self, build: &Build) -> Outcome {
        let (run, tag, app) = (self.name("run"), self.tag_flag(), self.name("app"));
        let daemon = if self.is_daemon() { "-daemon" } else { "" };
        // Given for layouts too, where it must only be warned of.
        let launch = if matches!(self.target, Target::Registry) { "" } else { "-launch-cache /launch-cache" };
        let skip = if self.clear_cache { "-skip-layers" } else { "" };
        let cache = self.cache_flag();
        let line = format!(
            "/cnb/lifecycle/analyzer {cache} {daemon} -run /layers/run.toml -run-image {run} {tag} {launch} {skip} {app}"
        );
        let mut step = self.trusted(build).copy_in(self.run_toml());
        if self.is_daemon() {
            step = step.mount(&self.launch_cache.name, "/launch-cache");
        }
        step.run(&words(&line))
    }

    fn detect(&self, build: &Build) -> Outcome {
        let step = confined(container(build, &self.builder)).copy_in(self.app());
        step.run(&words("/cnb/lifecycle/detector -app /workspace"))
    }

    fn restore(&self, build: &Build) -> Outcome {
        let skip = if self.clear_cache { "-skip-layers" } else { "" };
        let daemon = if self.is_daemon() { "-daemon" } else { "" };
        let image =
            if self.with_extension { format!("-build-image {}", self.builder) } else { String::new() };
        let cache = if self.cache_image { self.cache_flag() } else { "-cache-dir /cache".to_owned() };
        let line = format!("/cnb/lifecycle/restorer {skip} {cache} {image} {daemon}");
        let mut step = self.cached(self.trusted(build));
        if self.with_extension {
            step = step.mount(&self.kaniko.name, "/kaniko").env("CNB_REGISTRY_AUTH", "{}");
        }
        step.run(&words(&line))
    }

    fn build_or_extend(&self, build: &Build) -> Vec<Outcome> {
        if !self.with_extension {
            let step = confined(container(build, &self.builder));
            return vec![step.run(&words("/cnb/lifecycle/builder -app /workspace"))];
        }
        let extend = |image: &str, line: &str| {
            let step = confined(container(build, image)).option("--user", "root");
            step.mount(&self.kaniko.name, "/kaniko").run(&words(line))
        };
        // Both at the same time, on the same layers.
        let run_image = with_lifecycle(&self.name("run"));
        std::thread::scope(|scope| {
            let run = scope.spawn(|| extend(&run_image, "/cnb/lifecycle/extender -app /workspace -kind run"));
            let build = extend(&self.builder, "/cnb/lifecycle/extender -app /workspace");
            vec![build, run.join().expect("a container ran")]
        })
    }

    fn export(&self, build: &Build) -> Outcome {
        let daemon = if self.is_daemon() { "-daemon -launch-cache /launch-cache" } else { "" };
        let (app, tag) = (self.name("app"), self.tag());
        let cache = self.cache_flag();
        let line = format!(
            "/cnb/lifecycle/exporter {daemon} -app /workspace -cache-dir /cache -run /layers/run.toml {cache} {app} {tag}"
        );
        let mut step = self.cached(self.trusted(build));
        step = step.copy_in(self.run_toml()).copy_in(project());
        if self.is_daemon() {
            step = step.mount(&self.launch_cache.name, "/launch-cache");
        }
        if self.with_extension {
            step = step.mount(&self.kaniko.name, "/kaniko");
        }
        step.run_then(&words(&line), |container| self.keep_report(container))
    }

    fn keep_report(&self, container: &str) {
        *self.lock() = read(container, "/layers/report.toml");
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the last build wrote as its report.
    pub fn report(&self) -> String {
        self.lock().clone()
    }

    /// How many names a build gives the app image.
    pub fn tags(&self) -> usize {
        if self.tag().is_empty() { 1 } else { 2 }
    }

    /// Puts the app on the run image that is published now.
    pub fn rebase(&self) -> Outcome {
        let build = self.begin();
        let daemon = if self.is_daemon() { "-daemon" } else { "" };
        let (app, tag) = (self.name("app"), self.tag());
        let line = format!("/cnb/lifecycle/rebaser {daemon} -report /tmp/report.toml {app} {tag}");
        self.trusted(&build).run(&words(&line))
    }

    /// The app image, brought into the engine.
    pub fn image(&self) -> AppImage {
        self.load();
        AppImage::named(&self.name("app"))
    }

    /// Brings the app image into the engine from wherever it was saved.
    fn load(&self) {
        let name = self.name("app");
        match &self.target {
            Target::Daemon => {}
            Target::Registry => drop(docker(&["pull", "-q", &name]).ok()),
            Target::Layout(_) => {
                let layout = self.layout("app").expect("a layout");
                let (_link, source) = without_colon(&layout);
                skopeo(&["copy", "-q", &source, &format!("docker-daemon:{name}:latest")]);
            }
        }
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        let names = ["app", "app:two", "run", "builder"].map(|image| self.name(image));
        let names: Vec<&str> = names.iter().map(String::as_str).chain([self.builder.as_str()]).collect();
        docker(&[&["rmi", "-f"], &names[..]].concat());
    }
}

/// What every container of a build has.
fn container(build: &Build, image: &str) -> Step {
    let network = build.network.as_ref().map_or("host", |network| &network.name);
    Step::of(image)
        .option("--label", "author=pack")
        .option("--network", network)
        .env("CNB_PLATFORM_API", "0.15")
        .env("CNB_EXEC_ENV", "production")
        .mount(&build.layers.name, "/layers")
        .mount(&build.app.name, "/workspace")
}

/// Without new privileges, as every container is that has no engine's socket.
fn confined(step: Step) -> Step {
    step.option("--security-opt", "no-new-privileges=true")
}

/// A layout as skopeo is told of it, by a link: a port in its path would be taken for a tag.
fn without_colon(layout: &Path) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let link = directory.path().join("layout");
    std::os::unix::fs::symlink(layout, &link).expect("a new directory can be written");
    let name = format!("oci:{}", link.display());
    (directory, name)
}

fn project() -> Vec<u8> {
    let text = "[source]\n  type = \"project\"\n  [source.version]\n    declared = \"1.0.2\"\n  \
                [source.metadata]\n    url = \"https://github.com/buildpacks/pack\"\n";
    file("/layers/project-metadata.toml", text)
}
