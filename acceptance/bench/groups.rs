//! What is measured: each phase beside the tools that do the same work with the same data.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use acceptance::greeter::{self, Greeter};
use acceptance::run_image::RunImage;
use acceptance::sandbox::{Sandbox, as_cnb_user, is_root};
use acceptance::servers::registry::Registry;

use crate::measure::Row;
use crate::tree;

/// The image that is exported.
const APP: &str = "registry.example/bench/app";
const RUN: &str = "registry.example/bench/run";

/// Rows that do the same work; ratios are to the first.
pub struct Group<'a> {
    /// What they do.
    pub name: &'static str,
    /// Why they cannot be measured here, if they cannot.
    pub missing: Option<&'static str>,
    /// The commands.
    pub rows: Vec<Row<'a>>,
}

/// All groups, in the order of a build. Each is put together when those before it have been measured, because
/// it begins with what they left.
pub const GROUPS: [for<'a> fn(&'a Bench) -> Group<'a>; 7] = [
    |bench| group("Look at a run image in a layout", bench.analyzes()),
    |bench| group("Detect and build the sample application: four buildpacks", bench.builds()),
    |bench| group("Make an image of the layer, as a layout", bench.exports()),
    |bench| group("Push the image to a registry on this machine", bench.pushes()),
    Bench::loads,
    |bench| group("Bring the layer back from the cache", bench.restores()),
    |bench| group("Put the sample application on another run image", bench.rebases()),
];

fn group<'a>(name: &'static str, rows: Vec<Row<'a>>) -> Group<'a> {
    Group { name, missing: None, rows }
}

/// The data of all groups.
pub struct Bench {
    sandbox: Sandbox,
    greeter: Greeter,
    registry: Registry,
    round: Cell<usize>,
    /// How many files the layer has.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Bench {
    /// A build of one layer of about `megabytes`, ready to be exported, and the sample application.
    pub fn new(megabytes: u64) -> Self {
        let sandbox = Sandbox::new();
        let (files, bytes) = tree::write(&sandbox.path("layers/bench_big/big"), megabytes);
        assert_eq!(tree::count(&sandbox.path("layers/bench_big/big")), files, "all files are there");
        sandbox.write("layers/bench_big/big.toml", "[types]\nlaunch = true\ncache = true\n");
        let group = "[[group]]\nid = \"bench/big\"\nversion = \"1\"\napi = \"0.10\"\n";
        sandbox.write("layers/group.toml", group);
        let metadata = "buildpacks = [{ id = \"bench/big\", version = \"1\" }]\n";
        sandbox.write("layers/config/metadata.toml", metadata);
        sandbox.write("workspace/readme", "bench\n");
        RunImage::version(1).write(&sandbox.path("layouts").join(RUN).join("latest"));
        sandbox.write("cnb/run.toml", format!("[[images]]\nimage = \"{RUN}\"\n"));
        let greeter = Greeter::new();
        let built = greeter.build();
        assert!(built.iter().all(|outcome| outcome.code == 0), "{built:?}");
        Self { sandbox, greeter, registry: Registry::plain(), round: Cell::new(0), files, bytes }
    }

    fn analyzes(&self) -> Vec<Row<'_>> {
        let inspect = || {
            let mut command = Command::new("skopeo");
            command.arg("inspect").arg(format!("oci:{}", self.layout(RUN).display()));
            quiet(command)
        };
        let analyzer = || self.phase("analyzer", &["-run-image", RUN, APP], Store::Layout);
        vec![Row::new("`skopeo inspect`", || {}, inspect), Row::new("`analyzer`", || {}, analyzer)]
    }

    fn builds(&self) -> Vec<Row<'_>> {
        let phase = |name: &str| {
            let sandbox = &self.greeter.sandbox;
            let mut command = Command::new(sandbox.phase_path(name));
            command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path("."));
            as_cnb_user(&mut command);
            quiet(command)
        };
        vec![
            Row::new("`detector`", || {}, move || phase("detector")),
            Row::new("`builder`", || {}, move || phase("builder")),
        ]
    }

    fn exports(&self) -> Vec<Row<'_>> {
        let tree = self.sandbox.path("layers/bench_big/big");
        let pipe = move |tail: &str| shell(&format!("tar c -C {} . | {tail} > /dev/null", tree.display()));
        let pigz = pipe.clone();
        let forget = || {
            let _ = fs::remove_dir_all(self.sandbox.path("layouts").join(APP));
            self.sandbox.clear("cache");
            self.analyze(APP, Store::Layout);
        };
        let with_cache = || {
            let mut command = self.exporter(Store::Layout);
            command.arg("-cache-dir").arg(self.sandbox.path("cache")).arg(APP);
            command
        };
        let without = || {
            let mut command = self.exporter(Store::Layout);
            command.arg(APP);
            command
        };
        let mut rows = vec![Row::new("`tar c \\| gzip -1`", || {}, move || pipe("gzip -1"))];
        if is_there("pigz") {
            rows.push(Row::new("`tar c \\| pigz -1`", || {}, move || pigz("pigz -1")));
        }
        if is_root() && is_there("buildah") {
            rows.push(Row::new("`buildah copy`, `commit`", || {}, || self.buildah()));
        }
        rows.push(Row::new("`exporter` without a cache", forget, without));
        rows.push(Row::new("`exporter` with a cache", forget, with_cache));
        rows.push(Row::new("`exporter`, nothing changed", || self.analyze(APP, Store::Layout), without));
        rows
    }

    /// The layer as an image with buildah's tools, on no base image: one copy, committed to a layout.
    fn buildah(&self) -> Command {
        let out = self.sandbox.path(format!("buildah-{}", self.next()));
        let tree = self.sandbox.path("layers/bench_big/big");
        shell(&format!(
            "set -e; c=$(buildah from scratch); buildah copy -q $c {} /layers >/dev/null; \
             buildah commit -q --rm $c oci:{}:latest >/dev/null",
            tree.display(),
            out.display()
        ))
    }

    fn pushes(&self) -> Vec<Row<'_>> {
        // Each time to another repository, where nothing is yet.
        let name = |number: usize| format!("{}/bench/app-{number}", self.registry.host);
        let run = format!("docker://{}/bench/run:latest", self.registry.host);
        skopeo(&format!("oci:{}", self.layout(RUN).display()), &run);
        // skopeo remembers which repositories of a registry have a blob, and mounts it from there.
        let unknown: Rc<RefCell<Option<Registry>>> = Rc::default();
        let begin = {
            let unknown = Rc::clone(&unknown);
            move || drop(unknown.replace(Some(Registry::plain())))
        };
        let copy = move || {
            let registry = unknown.borrow();
            let host = &registry.as_ref().expect("it was started before").host;
            let source = format!("oci:{}", self.layout(APP).display());
            let mut command = Command::new("skopeo");
            command.args(["copy", "-q", "--dest-tls-verify=false", &source]);
            command.arg(format!("docker://{host}/bench/app"));
            quiet(command)
        };
        let app = move || name(self.round.get());
        let prepare = move || {
            self.next();
            self.analyze(&app(), Store::Registry);
        };
        let export = move || {
            let mut command = self.exporter(Store::Registry);
            command.arg(app());
            command
        };
        vec![
            Row::new("`skopeo copy` of the finished layout", begin, copy),
            Row::new("`exporter`, compressing too", prepare, export),
        ]
    }

    fn loads(&self) -> Group<'_> {
        let name = "Hand the image to a Docker engine";
        let answers = Command::new("docker").arg("info").output().is_ok_and(|output| output.status.success());
        if !is_root() || !answers {
            return Group { name, missing: Some("no Docker engine answers to root here"), rows: Vec::new() };
        }
        let archive = self.sandbox.path("app.tar");
        skopeo(
            &format!("oci:{}", self.layout(APP).display()),
            &format!("docker-archive:{}:bench/app:skopeo", archive.display()),
        );
        skopeo(&format!("oci:{}", self.layout(RUN).display()), "docker-daemon:bench/run:latest");
        let forget = || {
            for tag in ["bench/app:skopeo", "bench/app:latest"] {
                let _ = Command::new("docker").args(["image", "rm", "-f", tag]).output();
            }
        };
        let load = move || {
            let mut command = Command::new("docker");
            command.args(["load", "-q", "-i"]).arg(&archive);
            quiet(command)
        };
        let prepare = move || {
            forget();
            self.analyze("bench/app", Store::Daemon);
        };
        let export = || {
            let mut command = self.exporter(Store::Daemon);
            command.arg("bench/app");
            command
        };
        let rows = vec![
            Row::new("`docker load` of the finished archive", forget, load),
            Row::new("`exporter -daemon`, making the layer too", prepare, export),
        ];
        Group { name, missing: None, rows }
    }

    fn restores(&self) -> Vec<Row<'_>> {
        self.analyze(APP, Store::Layout);
        let status =
            self.exporter(Store::Layout).arg("-cache-dir").arg(self.sandbox.path("cache")).arg(APP).status();
        assert!(status.is_ok_and(|status| status.success()), "the cache is filled");
        // What was written is moved away, not removed: file systems are slow after they removed as much.
        let aside = |path: &Path| {
            let _ = fs::rename(path, self.sandbox.path(format!("aside-{}", self.next())));
        };
        let target = self.sandbox.path("untar");
        let untar = {
            let (tars, target) = (self.sandbox.path("cache/committed"), target.clone());
            move || {
                shell(&format!(
                    "for t in {}/*.tar; do tar x -P -C {} --transform 's,^/,,' -f $t; done",
                    tars.display(),
                    target.display()
                ))
            }
        };
        let fresh = move || {
            aside(&target);
            fs::create_dir_all(&target).expect("the sandbox is ours");
        };
        let emptied = move || aside(&self.sandbox.path("layers/bench_big/big"));
        let restorer = || {
            let mut command = self.phase("restorer", &[], Store::Layout);
            command.arg("-cache-dir").arg(self.sandbox.path("cache"));
            command
        };
        vec![Row::new("`tar x`", fresh, untar), Row::new("`restorer`, verifying too", emptied, restorer)]
    }

    fn rebases(&self) -> Vec<Row<'_>> {
        let sandbox = &self.greeter.sandbox;
        let layouts = sandbox.path("layouts");
        let turn =
            || self.greeter.publish_run_image(u32::try_from(2 + self.next() % 2).expect("a small number"));
        let rebaser = move || {
            let mut command = Command::new(sandbox.phase_path("rebaser"));
            command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path("."));
            command.arg("-layout").arg("-layout-dir").arg(&layouts);
            command.arg("-report").arg(sandbox.path("layers/report.toml")).arg(greeter::APP);
            as_cnb_user(&mut command);
            quiet(command)
        };
        vec![Row::new("`rebaser`", turn, rebaser)]
    }

    fn layout(&self, name: &str) -> PathBuf {
        self.sandbox.path("layouts").join(name).join("latest")
    }

    fn next(&self) -> usize {
        self.round.set(self.round.get() + 1);
        self.round.get()
    }

    fn phase(&self, name: &str, arguments: &[&str], store: Store) -> Command {
        let mut command = Command::new(self.sandbox.phase_path(name));
        command.env_clear().envs(self.sandbox.environment()).current_dir(self.sandbox.path("."));
        command.args(["-log-level", "warn"]);
        match store {
            Store::Layout => {
                command.arg("-layout").arg("-layout-dir").arg(self.sandbox.path("layouts"));
                as_cnb_user(&mut command);
            }
            Store::Registry => as_cnb_user(&mut command),
            // The engine's socket is root's; the phase gives up its rights itself.
            Store::Daemon => {
                command.arg("-daemon");
            }
        }
        command.args(arguments);
        quiet(command)
    }

    fn analyze(&self, app: &str, store: Store) {
        let run = match store {
            Store::Layout => RUN.to_owned(),
            Store::Registry => format!("{}/bench/run", self.registry.host),
            Store::Daemon => "bench/run".to_owned(),
        };
        let output = self.phase("analyzer", &["-run-image", &run, app], store).output();
        let output = output.expect("the analyzer can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn exporter(&self, store: Store) -> Command {
        let mut command = self.phase("exporter", &[], store);
        command.arg("-launcher").arg(self.sandbox.phase_path("launcher"));
        command
    }
}

/// Where images are.
#[derive(Debug, Clone, Copy)]
enum Store {
    Layout,
    Registry,
    Daemon,
}

fn skopeo(from: &str, to: &str) {
    let mut command = Command::new("skopeo");
    command.args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false", from, to]);
    let output = command.output().expect("skopeo is needed (./acceptance/run installs it)");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_there(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Without its output among the tables.
fn quiet(mut command: Command) -> Command {
    command.stdout(std::process::Stdio::null());
    command
}
