//! One cell of the matrix: the sample extensions in a sandbox, its phases in containers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use acceptance::docker::{Container, docker};
use acceptance::places::{Place, World, skopeo};
use acceptance::run_image::RunImage;
use acceptance::sandbox::{CNB_ID, Outcome, Sandbox, copy_tree, is_root};
use acceptance::servers::registry::Registry;

/// Who runs the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The platform, one after the other.
    Phases,
    /// The creator.
    Creator,
}

/// The engine's socket, for phases that need it.
const SOCKET: &str = "/var/run/docker.sock";

/// What every export is told.
const FIXED: [&str; 4] = ["-launcher", "/cnb/launcher", "-process-type", "web"];

/// A place for builds with extensions.
#[derive(Debug)]
pub struct Cell<'a> {
    /// The sandbox, and where its images are.
    pub world: World<'a>,
    flow: Flow,
    /// The build image, which is also what the run image's container is started from.
    pub image: String,
    /// The build image in a registry.
    build_image: String,
}

impl<'a> Cell<'a> {
    /// A sandbox with the sample extensions, and containers' images in the engine.
    pub fn new(sandbox: &'a Sandbox, registry: &Registry, flow: Flow, store: &str) -> Self {
        let small = |layout: &Path| RunImage::version(1).with_shell().write(layout);
        Self::of(sandbox, registry, flow, store, &small)
    }

    /// The same with a build image that is written as a layout.
    pub fn of(
        sandbox: &'a Sandbox,
        registry: &Registry,
        flow: Flow,
        store: &str,
        write_image: &dyn Fn(&Path),
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let prefix = format!("acceptance.example/extend-{unique}");
        let place = match store {
            "layout" => Place::Layout,
            "registry" => Place::Registry(registry.host.clone()),
            _ => Place::Daemon(prefix.clone()),
        };
        copy_tree(&acceptance::fixtures().join("extensions"), &sandbox.path("cnb/extensions"));
        // Small, as a released one is.
        let launcher = sandbox.path("cnb/launcher");
        let status =
            Command::new("strip").arg("-o").args([&launcher, &sandbox.phase_path("launcher")]).status();
        assert!(status.is_ok_and(|status| status.success()), "strip is installed with every compiler");
        sandbox.write("cnb/order.toml", ORDER);
        let layout = sandbox.path("build-image");
        write_image(&layout);
        let (image, build_image) =
            (format!("{prefix}/build:latest"), format!("{}/demo/build", registry.host));
        let source = format!("oci:{}", layout.display());
        skopeo(&["copy", "-q", &source, &format!("docker-daemon:{image}")]);
        skopeo(&["copy", "-q", "--dest-tls-verify=false", &source, &format!("docker://{build_image}")]);
        let world = World::bare(sandbox, place);
        Self { world, flow, image, build_image }
    }

    /// Forgets earlier builds; the next one requires `names` of the extensions.
    pub fn reset(&self, names: &str) {
        let sandbox = self.world.sandbox;
        for directory in ["layers", "cache", "kaniko", "workspace", "platform"] {
            let path = sandbox.path(directory);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("the sandbox is ours");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the sandbox is ours");
        }
        sandbox.write("workspace/app.txt", "an application\n");
        sandbox.write("platform/env/REQUIRES", names);
        sandbox.write("platform/env/SWITCH_TO", self.world.name("other"));
        let name = self.world.name("run");
        sandbox.write("cnb/run.toml", format!("[[images]]\nimage = \"{name}\"\n"));
        sandbox.write("cnb/stack.toml", format!("[run-image]\nimage = \"{name}\"\n"));
        // The step cache is root's alone.
        let _ = chown(sandbox.path("kaniko"), Some(0), Some(0));
    }

    /// Adds an extension to the order, whose only Dockerfile has those lines below FROM. Nothing else
    /// changes its owner.
    pub fn with_dockerfile(&self, kind: &str, lines: &str) {
        let write = |relative: &str, text: &str| {
            let path = self.world.sandbox.path(relative);
            fs::create_dir_all(path.parent().expect("a file has a parent")).expect("the sandbox is ours");
            fs::write(path, text).expect("the sandbox is ours");
        };
        let dir = "cnb/extensions/test_lines/1";
        let _ = fs::remove_dir_all(self.world.sandbox.path(dir));
        let id = "id = \"test/lines\"\nversion = \"1\"\n";
        write(&format!("{dir}/extension.toml"), &format!("api = \"0.10\"\n[extension]\n{id}"));
        write(&format!("{dir}/detect/plan.toml"), "[[provides]]\nname = \"lines\"\n");
        let text = format!("ARG base_image\nFROM ${{base_image}}\n{lines}\n");
        write(&format!("{dir}/generate/{kind}.Dockerfile"), &text);
        let element = format!("[[order-extensions.group]]\n{id}\n[[order]]");
        write("cnb/order.toml", &ORDER.replacen("[[order]]", &element, 1));
    }

    /// The only entry of `<extended>/run`.
    pub fn extended(&self) -> String {
        let entries = fs::read_dir(self.world.sandbox.path("layers/extended/run")).expect("it is there");
        let names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    }

    /// A fresh layers directory, as a platform has for each build. Everything else stays whose it is.
    pub fn reset_layers(&self) {
        let path = self.world.sandbox.path("layers");
        fs::remove_dir_all(&path).expect("the sandbox is ours");
        fs::create_dir(&path).expect("the sandbox is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the sandbox is ours");
        if is_root() {
            chown(&path, Some(CNB_ID), Some(CNB_ID)).expect("root may change owners");
        }
    }

    /// Builds; the outcome of the phase that failed or, if none did, of all together.
    pub fn build(&self) -> Outcome {
        if self.flow == Flow::Creator {
            return self.create(&[]);
        }
        let (run, app) = (self.world.name("run"), self.world.name("app"));
        let mut all = Vec::new();
        let mut step = |phase: &str, arguments: &[&str]| {
            let outcome = self.phase(phase, arguments);
            let failed = outcome.code != 0;
            all.push(outcome);
            !failed
        };
        let extends = |what: &str| {
            let toml =
                fs::read_to_string(self.world.sandbox.path("layers/analyzed.toml")).unwrap_or_default();
            let older = self.world.sandbox.path("layers/generated/build");
            acceptance::data::toml(&toml)[what]["extend"] == true || (what == "build-image" && older.is_dir())
        };
        let done = step("analyzer", &["-run-image", &run, &app])
            && step("detector", &["-order", "/cnb/order.toml"])
            && step("restorer", &["-cache-dir", "/cache", "-build-image", &self.build_image])
            && if extends("build-image") { step("extender", &[]) } else { step("builder", &[]) }
            && (!extends("run-image") || step("extender", &["-kind", "run"]))
            && step("exporter", &[&["-cache-dir", "/cache"], FIXED.as_slice(), &[app.as_str()]].concat());
        let last = all.last().cloned().expect("a phase ran");
        let text = |of: fn(&Outcome) -> &str| all.iter().map(of).collect::<String>();
        if !done {
            return last;
        }
        Outcome { stdout: text(|one| &one.stdout), stderr: text(|one| &one.stderr), ..last }
    }

    /// Builds with the creator.
    pub fn create(&self, further: &[&str]) -> Outcome {
        let (run, app) = (self.world.name("run"), self.world.name("app"));
        let arguments = ["-cache-dir", "/cache", "-run-image", run.as_str(), "-order", "/cnb/order.toml"];
        self.phase("creator", &[&arguments, FIXED.as_slice(), further, &[app.as_str()]].concat())
    }

    /// Runs one phase in a container of its own.
    pub fn phase(&self, phase: &str, arguments: &[&str]) -> Outcome {
        self.phase_in(self.container(), phase, arguments)
    }

    /// Runs one phase in a container that has more than the usual.
    pub fn phase_in(&self, container: Container, phase: &str, arguments: &[&str]) -> Outcome {
        let is_unprivileged = ["detector", "builder"].contains(&phase);
        let container =
            if is_unprivileged { container.as_cnb_user() } else { container.option("--user", "0:0") };
        let mut all: Vec<&str> = Vec::new();
        if ["analyzer", "restorer", "exporter", "creator"].contains(&phase) {
            match self.world.place {
                Place::Layout => all.extend(["-layout", "-layout-dir", "/layouts"]),
                Place::Registry(_) => {}
                Place::Daemon(_) => all.push("-daemon"),
            }
        }
        all.extend(arguments);
        let program = format!("/cnb/lifecycle/{phase}");
        container.run(&self.image, &[&[program.as_str()], all.as_slice()].concat())
    }

    /// A container with everything that phases are given.
    pub fn container(&self) -> Container {
        let path = |relative: &str| self.world.sandbox.path(relative);
        let mut container = Container::new()
            .env("CNB_STACK_ID", "fixture.stack")
            .env("CNB_PLATFORM_API", &self.world.sandbox.platform_api)
            .env("CNB_USER_ID", "1000")
            .env("CNB_GROUP_ID", "1000")
            .env("CNB_EXPERIMENTAL_MODE", "quiet")
            .env("CNB_NO_COLOR", "true")
            .env("CNB_REGISTRY_AUTH", r#"{"secret.example":"Basic dXNlcjpzZWNyZXQ="}"#);
        for name in ["layers", "workspace", "cache", "layouts"] {
            container = container.mount(&path(name), &format!("/{name}"), "rw");
        }
        if self.flow == Flow::Phases {
            container = container.mount(&path("kaniko"), "/kaniko", "rw");
        }
        for name in
            ["lifecycle", "launcher", "buildpacks", "extensions", "order.toml", "run.toml", "stack.toml"]
        {
            container = container.mount(&path(&format!("cnb/{name}")), &format!("/cnb/{name}"), "ro");
        }
        if matches!(self.world.place, Place::Daemon(_)) {
            container = container.mount(Path::new(SOCKET), SOCKET, "rw");
        }
        container.mount(&path("platform"), "/platform", "ro")
    }

    /// Runs the app image as it is.
    pub fn run_app(&self) -> Outcome {
        let name = self.image.replace("/build:", "/app:");
        self.world.load("app", &name);
        let outcome = docker(&["run", "--rm", "--network", "none", &name]).ok();
        docker(&["rmi", "-f", &name]);
        outcome
    }
}

impl Drop for Cell<'_> {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.image, &format!("{}:latest", self.world.name("other"))]);
    }
}

const ORDER: &str = r#"
[[order-extensions]]
[[order-extensions.group]]
id = "demo/switch"
version = "1.0.0"
[[order-extensions.group]]
id = "demo/compiler"
version = "1.0.0"
[[order-extensions.group]]
id = "demo/tool"
version = "1.0.0"
[[order-extensions.group]]
id = "demo/notes"
version = "1.0.0"

[[order]]
[[order.group]]
id = "demo/consumer"
version = "1.0.0"
"#;
