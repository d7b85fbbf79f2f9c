//! kpack: five phases from the builder image, each an unprivileged container of a pod that has no
//! capability and can get none, at the newest Platform API of 0.9, 0.8 and 0.7.

use std::sync::{Mutex, PoisonError};

use super::engine::{Step, in_order, words};
use super::images::{Builder, Version};
use super::pod::Pod;
use crate::sandbox::Outcome;

/// Where kpack keeps its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// A persistent volume.
    Volume,
    /// An image.
    Registry,
}

/// One image resource: an app that is built again and again.
#[derive(Debug)]
pub struct Kpack {
    /// The pod.
    pub pod: Pod,
    api: &'static str,
    cache: Cache,
    /// The last build's image, by digest.
    last: Mutex<Option<String>>,
}

/// Volumes of one build's pod.
const EMPTY_DIRS: [&str; 6] = ["layers", "workspace", "platform", "home", "report", "bindings"];

impl Kpack {
    /// An app built at `api`.
    pub fn new(api: &'static str, cache: Cache) -> Self {
        Self { pod: Pod::new("kpack", Builder::WithoutRunToml), api, cache, last: Mutex::default() }
    }

    /// Builds: analyze, detect, restore, build, export.
    pub fn build(&self) -> Vec<Outcome> {
        self.pod.forget(&EMPTY_DIRS);
        for volume in EMPTY_DIRS {
            self.pod.volume(volume, 0o2777);
        }
        self.pod.write("workspace/app/index.txt", "A page\n");
        self.pod.write("platform/env/SPEAKER", "kpack");
        self.pod.write("home/.docker/config.json", &self.pod.docker_config());
        let toml = "[source]\n  type = \"git\"\n  [source.version]\n    commit = \"0123\"\n";
        self.pod.write("layers/project-metadata.toml", toml);
        let outcomes = in_order(&[
            &|| self.analyze(),
            &|| self.detect(),
            &|| self.restore(),
            &|| self.compile(),
            &|| self.export(),
        ]);
        if outcomes.iter().all(|outcome| outcome.code == 0) {
            let built = format!("{}@{}", self.pod.name("app"), self.pod.digest("app"));
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(built);
        }
        outcomes
    }

    /// The run image as its builder names it: by digest.
    fn run_image(&self) -> String {
        format!("{}@{}", self.pod.name("run"), self.pod.digest("run"))
    }

    fn container(&self, volumes: &[(&str, &str)]) -> Step {
        let mut step = self
            .pod
            .container()
            .option("--cap-drop", "ALL")
            .option("--security-opt", "no-new-privileges=true")
            .env("CNB_PLATFORM_API", self.api);
        for (volume, path) in volumes {
            step = step.mount(&self.pod.volume(volume, 0o2777), path);
        }
        step
    }

    /// A container that may reach images, with the home that holds credentials.
    fn with_home(&self, volumes: &[(&str, &str)]) -> Step {
        self.container(&[volumes, &[("home", "/builder/home")]].concat()).env("HOME", "/builder/home")
    }

    /// The cache's flag, and the container with its volume.
    fn cached(&self, step: Step) -> (Step, String) {
        match self.cache {
            Cache::Volume => {
                (step.mount(&self.pod.volume("cache", 0o2775), "/cache"), "-cache-dir=/cache".to_owned())
            }
            Cache::Registry => (step, format!("-cache-image={}", self.pod.name("cache"))),
        }
    }

    fn analyze(&self) -> Outcome {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let previous = last.map(|image| format!("-previous-image={image}")).unwrap_or_default();
        let (run, app, tag) = (self.run_image(), self.pod.name("app"), self.pod.name("app:two"));
        let cache = match self.cache {
            Cache::Volume => String::new(),
            Cache::Registry => format!("-cache-image={}", self.pod.name("cache")),
        };
        let line = format!(
            "/cnb/lifecycle/analyzer -layers=/layers -analyzed=/layers/analyzed.toml -run-image={run} {cache} -tag={tag} {previous} {app}"
        );
        let step = self.with_home(&[("layers", "/layers"), ("workspace/app", "/workspace")]);
        step.env("SERVICE_BINDING_ROOT", "/platform/bindings").run(&words(&line))
    }

    fn detect(&self) -> Outcome {
        let step = self.container(&[
            ("layers", "/layers"),
            ("platform", "/platform"),
            ("workspace/app", "/workspace"),
            ("bindings", "/platform/bindings"),
        ]);
        let line =
            "/cnb/lifecycle/detector -app=/workspace -group=/layers/group.toml -plan=/layers/plan.toml";
        step.env("SERVICE_BINDING_ROOT", "/platform/bindings").run(&words(line))
    }

    fn restore(&self) -> Outcome {
        let (step, cache) = self.cached(self.with_home(&[("layers", "/layers")]));
        let line = format!(
            "/cnb/lifecycle/restorer -group=/layers/group.toml -layers=/layers {cache} -analyzed=/layers/analyzed.toml"
        );
        step.run(&words(&line))
    }

    fn compile(&self) -> Outcome {
        let step = self.container(&[
            ("layers", "/layers"),
            ("platform", "/platform"),
            ("workspace/app", "/workspace"),
            ("bindings", "/platform/bindings"),
        ]);
        let line = "/cnb/lifecycle/builder -layers=/layers -app=/workspace -group=/layers/group.toml -plan=/layers/plan.toml";
        step.env("SERVICE_BINDING_ROOT", "/platform/bindings").run(&words(line))
    }

    fn export(&self) -> Outcome {
        let volumes = [("layers", "/layers"), ("workspace/app", "/workspace"), ("report", "/var/report")];
        let (step, cache) = self.cached(self.with_home(&volumes));
        let (app, tag) = (self.pod.name("app"), self.pod.name("app:two"));
        let line = format!(
            "/cnb/lifecycle/exporter -layers=/layers -app=/workspace -group=/layers/group.toml -analyzed=/layers/analyzed.toml \
             -project-metadata=/layers/project-metadata.toml {cache} -process-type=web -report=/var/report/report.toml {app} {tag}"
        );
        // The run image in the environment must not matter here.
        let step = step.env("CNB_RUN_IMAGE", self.run_image()).env("SOURCE_DATE_EPOCH", "1700000000");
        step.run(&words(&line))
    }

    /// Puts the app on that version of the run image.
    pub fn rebase(&self, version: Version) -> Outcome {
        self.pod.publish_run_image(version);
        let app = self.pod.name("app");
        let line = format!(
            "/cnb/lifecycle/rebaser -run-image={} -report=/var/report/report.toml {app}",
            self.run_image()
        );
        self.with_home(&[("report", "/var/report")]).run(&words(&line))
    }
}
