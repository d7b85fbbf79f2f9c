//! The whole way of the sample application on OCI layouts: build, rebuild, rebase, launch.
//!
//! Used by the demo, which tells about each step, and by tests, which check each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::oci::LayoutImage;
use crate::run_image::RunImage;
use crate::sandbox::{Outcome, Sandbox, as_cnb_user, finish};

/// The app image's reference.
pub const APP: &str = "registry.example/demo/app";
/// The run image's reference.
pub const RUN: &str = "registry.example/demo/run";

/// The sample application in a sandbox, ready to be built.
#[derive(Debug)]
pub struct Greeter {
    /// Where it is built.
    pub sandbox: Sandbox,
}

impl Default for Greeter {
    fn default() -> Self {
        Self::new()
    }
}

impl Greeter {
    /// Application, buildpacks and order in place, and version 1 of the run image.
    pub fn new() -> Self {
        let greeter = Self { sandbox: Sandbox::new().with_app("greeter").with_order("greeter") };
        greeter.publish_run_image(1);
        greeter
    }

    /// Puts a version of the run image where the layout rule has it, instead of the one before.
    pub fn publish_run_image(&self, version: u32) {
        let directory = self.layout(RUN);
        if directory.exists() {
            fs::remove_dir_all(&directory).expect("the sandbox is ours");
        }
        RunImage::version(version).write(&directory);
        let run = format!("[[images]]\nimage = \"{RUN}\"\n");
        self.sandbox.write("cnb/run.toml", run);
    }

    /// Where the image of that reference lies (`<dir>/<registry>/<repository>/<tag>`).
    pub fn layout(&self, reference: &str) -> PathBuf {
        self.sandbox.path("layouts").join(reference).join("latest")
    }

    /// The app image as it is now.
    pub fn image(&self) -> LayoutImage {
        LayoutImage::read(&self.layout(APP))
    }

    /// Runs the five phases in order and stops at the first that fails.
    pub fn build(&self) -> Vec<Outcome> {
        let steps: [(&str, Vec<&str>); 5] = [
            ("analyzer", vec!["-run-image", RUN, APP]),
            ("detector", vec![]),
            ("restorer", vec!["-cache-dir", "CACHE"]),
            ("builder", vec![]),
            ("exporter", vec!["-cache-dir", "CACHE", "-launcher", "LAUNCHER", "-process-type", "web", APP]),
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

    /// Puts the app image on the run image that is published now.
    pub fn rebase(&self) -> Outcome {
        self.phase("rebaser", &["-report", "REPORT", APP])
    }

    /// Runs one phase; words in capitals stand for this sandbox's paths.
    pub fn phase(&self, phase: &str, arguments: &[&str]) -> Outcome {
        let layouts = self.sandbox.path("layouts");
        let mut all: Vec<PathBuf> = Vec::new();
        if ["analyzer", "restorer", "exporter", "creator", "rebaser"].contains(&phase) {
            all.extend(["-layout".into(), "-layout-dir".into(), layouts]);
        }
        all.extend(arguments.iter().map(|argument| match *argument {
            "CACHE" => self.sandbox.path("cache"),
            "LAUNCHER" => self.sandbox.phase_path("launcher"),
            "REPORT" => self.sandbox.path("layers/report.toml"),
            other => other.into(),
        }));
        self.sandbox.run(phase, all)
    }

    /// Unpacks the app image and runs a process of it through its launcher, its layers and
    /// application back at the paths they were built at.
    pub fn launch(&self, process: &str, arguments: &[&str]) -> Outcome {
        let root = self.sandbox.path("rootfs");
        let _ = fs::remove_dir_all(&root);
        let image = self.image();
        image.unpack(&root);
        for directory in ["CNB_LAYERS_DIR", "CNB_APP_DIR"] {
            let path = PathBuf::from(image.env(directory).expect("an app image names its directories"));
            let _ = fs::remove_dir_all(&path);
            fs::rename(below(&root, &path), &path).expect("both are in the sandbox");
        }
        self.sandbox.own_all();
        let mut command = Command::new(root.join("cnb/lifecycle/launcher"));
        let env = image.config["config"]["Env"].as_array().into_iter().flatten();
        let env = env.filter_map(|pair| pair.as_str()?.split_once('='));
        command.env_clear().envs(env).args(arguments).current_dir(self.sandbox.path("workspace"));
        std::os::unix::process::CommandExt::arg0(&mut command, format!("/cnb/process/{process}"));
        as_cnb_user(&mut command);
        finish(&format!("/cnb/process/{process}"), command)
    }
}

/// `path`, an absolute one, below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
