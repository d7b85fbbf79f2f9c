//! Tekton's catalog tasks: one step with the creator at Platform API 0.9, or a step per phase at 0.13.
//! Parameters that are not set are given as empty flags.

use std::sync::OnceLock;

use super::engine::{Step, in_order, words};
use super::images::{Builder, Version};
use super::pod::Pod;
use crate::sandbox::Outcome;

/// One pipeline's app.
#[derive(Debug)]
pub struct Tekton {
    /// The pod.
    pub pod: Pod,
    with_extension: bool,
    /// Whether a workspace for the cache is bound.
    pub cached: bool,
    /// The builder's name in the registry.
    builder: OnceLock<String>,
}

/// Volumes of one run.
const EMPTY_DIRS: [&str; 5] = ["layers", "source", "platform", "home", "kaniko"];

impl Tekton {
    /// An app built by the plain builder or by one with an extension.
    pub fn new(kind: Builder) -> Self {
        let with_extension = kind == Builder::WithExtension;
        Self { pod: Pod::new("tekton", kind), with_extension, cached: true, builder: OnceLock::new() }
    }

    /// The step that gives volumes to the build's user, as root.
    fn prepare(&self) {
        self.pod.forget(&EMPTY_DIRS);
        for volume in EMPTY_DIRS {
            self.pod.volume(volume, 0o2777);
        }
        self.pod.write("source/index.txt", "A page\n");
        if self.with_extension {
            for name in ["greeting", "build-only"] {
                self.pod.write(&format!("source/{name}"), ""); // there is no step that extends run images
            }
        }
        self.pod.write("platform/env/SPEAKER", "Tekton");
        for place in ["home/.docker/config.json", "dockerconfig/config.json"] {
            self.pod.write(place, &self.pod.docker_config());
        }
        for place in ["layers/.made", "cache/.made"] {
            self.pod.write(place, ""); // gives the directory to the user
        }
    }

    fn container(&self, api: &str) -> Step {
        let mut step = self.pod.container().env("CNB_PLATFORM_API", api);
        let volumes = [("layers", "/layers"), ("source", "/workspace/source"), ("platform", "/platform")];
        for (volume, path) in
            volumes.iter().chain(&[("home", "/tekton/home"), ("dockerconfig", "/dockerconfig")])
        {
            step = step.mount(&self.pod.volume(volume, 0o2777), path);
        }
        if self.cached {
            step = step.mount(&self.pod.volume("cache", 0o2775), "/workspace/cache");
        }
        step
    }

    /// The path of the cache's workspace, empty when it is not bound.
    fn cache(&self) -> &'static str {
        if self.cached { "/workspace/cache" } else { "" }
    }

    /// The task `buildpacks`.
    pub fn create(&self) -> Outcome {
        self.prepare();
        let (app, cache) = (self.pod.name("app"), self.cache());
        let line = format!(
            "/cnb/lifecycle/creator -app=/workspace/source/ -cache-dir={cache} -cache-image= -uid=1000 -gid=1000 -layers=/layers \
             -platform=/platform -report=/layers/report.toml -process-type=web -skip-restore=false -previous-image={app} -run-image= {app}"
        );
        self.container("0.9")
            .env("DOCKER_CONFIG", "/dockerconfig")
            .env("HOME", "/tekton/home")
            .run(&words(&line))
    }

    /// The task `buildpacks-phases`.
    pub fn build(&self) -> Vec<Outcome> {
        self.prepare();
        let builder = self.builder.get_or_init(|| self.pod.publish_builder());
        in_order(&[
            &|| self.analyze(),
            &|| self.detect(),
            &|| self.restore(builder),
            &|| if self.with_extension { self.extend() } else { self.compile() },
            &|| self.export(),
        ])
    }

    fn phase(&self) -> Step {
        let step = self.container("0.13").env("HOME", "/tekton/home");
        step.env("CNB_EXPERIMENTAL_MODE", "silent")
    }

    fn analyze(&self) -> Outcome {
        let app = self.pod.name("app");
        let line = format!(
            "/cnb/lifecycle/analyzer -log-level=info -layers=/layers -run-image= -cache-image= -uid=1000 -gid=1000 \
             -insecure-registry= -tag= -skip-layers=false {app}"
        );
        self.phase().run(&words(&line))
    }

    fn detect(&self) -> Outcome {
        let line = "/cnb/lifecycle/detector -log-level=info -app=/workspace/source/ -group=/layers/group.toml -plan=/layers/plan.toml \
                    -layers=/layers -platform=/platform";
        self.phase().run(&words(line))
    }

    fn restore(&self, builder: &str) -> Outcome {
        // The script's variables that are not set there are empty too.
        let line = format!(
            "/cnb/lifecycle/restorer -log-level=info -build-image={builder} -group=/layers/group.toml -layers= -cache-dir={} \
             -cache-image= -uid=1000 -gid=1000 -insecure-registry= -skip-layers=false",
            self.cache()
        );
        let step = self.phase().mount(&self.pod.volume("kaniko", 0o2777), "/kaniko");
        let empty = ["CNB_BUILD_IMAGE", "CNB_CACHE_IMAGE", "CNB_INSECURE_REGISTRIES"];
        empty.iter().fold(step, |step, name| step.env(name, "")).run(&words(&line))
    }

    fn extend(&self) -> Outcome {
        let line = "/cnb/lifecycle/extender -log-level=info -app=/workspace/source/ -generated=/layers/generated -uid=1000 -gid=1000 \
                    -platform=/platform";
        let step = self.phase().mount(&self.pod.volume("kaniko", 0o2777), "/kaniko");
        let step =
            step.option("--user", "0:0").option("--cap-add", "SYS_ADMIN").option("--cap-add", "SETFCAP");
        step.run(&words(line))
    }

    fn compile(&self) -> Outcome {
        let line = "/cnb/lifecycle/builder -log-level=info -app=/workspace/source/ -layers=/layers -group=/layers/group.toml \
                    -plan=/layers/plan.toml -platform=/platform";
        self.phase().run(&words(line))
    }

    fn export(&self) -> Outcome {
        let app = self.pod.name("app");
        let line = format!(
            "/cnb/lifecycle/exporter -log-level=info -app=/workspace/source/ -layers=/layers -group=/layers/group.toml -cache-dir={} \
             -cache-image= -report=/layers/report.toml -process-type=web -uid=1000 -gid=1000 -insecure-registry= {app}",
            self.cache()
        );
        self.phase().run(&words(&line))
    }

    /// What the tasks give as their result: `grep digest report.toml | cut -d'"' -f2`.
    pub fn result(&self) -> String {
        let report = self.pod.read("layers/report.toml");
        let lines = report.lines().filter(|line| line.contains("digest"));
        lines.filter_map(|line| line.split('"').nth(1)).collect()
    }

    /// Puts the app on that version of the run image.
    pub fn rebase(&self, version: Version) -> Outcome {
        self.pod.publish_run_image(version);
        let line = format!("/cnb/lifecycle/rebaser -report=/layers/report.toml {}", self.pod.name("app"));
        self.phase().run(&words(&line))
    }
}
