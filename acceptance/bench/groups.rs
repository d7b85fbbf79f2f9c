//! What is measured: each phase beside the tools that do the same work with the same data, and beside the reference
//! implementation's where its programs were named.

mod builds;
mod extends;
mod images;
mod starts;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use acceptance::binaries::PHASES;
use acceptance::data::toml;
use acceptance::greeter::Greeter;
use acceptance::run_image::RunImage;
use acceptance::sandbox::{Sandbox, as_cnb_user};
use acceptance::servers::registry::Registry;

use acceptance::bench::measure::Row;
use acceptance::bench::tree;

/// The image that is exported.
const APP: &str = "registry.example/bench/app";
const RUN: &str = "registry.example/bench/run";

/// Rows that do the same work, of which ratios are to the first; or why they cannot be measured here.
pub type Group<'a> = Result<Vec<Row<'a>>, &'static str>;

/// Puts a group together.
type Make = for<'a> fn(&'a Bench) -> Group<'a>;

/// All groups by what they do, in the order of a build. Each is put together when those before it have been
/// measured, because it begins with what they left.
pub const GROUPS: [(&str, Make); 12] = [
    ("Look at a run image in a layout", |bench| Ok(bench.analyzes())),
    ("Detect the sample application: four buildpacks", |bench| Ok(bench.detects())),
    ("Build the sample application", |bench| Ok(bench.builds())),
    ("Make an image of the layer, as a layout", |bench| Ok(bench.exports())),
    ("Push the image to a registry on this machine", |bench| Ok(bench.pushes())),
    ("Hand the image to a Docker engine", Bench::loads),
    ("Bring the layer back from the cache", |bench| Ok(bench.restores())),
    ("Put the sample application on another run image", |bench| Ok(bench.rebases())),
    ("Start a process 200 times", |bench| Ok(bench.starts())),
    ("All phases: the layer, an image in a layout, and the cache", |bench| Ok(bench.wholes())),
    ("All phases again: nothing changed", |bench| Ok(bench.wholes_again())),
    ("Apply a run.Dockerfile to an image of as many files", Bench::extends),
];

/// Whose programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Reference,
}

/// Where images are.
#[derive(Debug, Clone, Copy)]
enum Store {
    Layout,
    Registry,
    Daemon,
}

/// The data of all groups.
pub struct Bench {
    sandbox: Sandbox,
    layouts: Link,
    greeter: Greeter,
    registry: Registry,
    round: Cell<usize>,
    megabytes: u64,
    /// What the reference implementation's programs say that they are, where they were named.
    pub reference: Option<String>,
    /// How many files the layer has.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Bench {
    /// A build of one layer of about `megabytes`, ready to be exported, and the sample application. `reference` is
    /// the directory with the reference implementation's programs `lifecycle` and `launcher`.
    pub fn new(megabytes: u64, reference: Option<&Path>) -> Self {
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
        let reference = reference.map(|from| install(from, &sandbox.path("reference")));
        let greeter = Greeter::new();
        let built = greeter.build();
        assert!(built.iter().all(|outcome| outcome.code == 0), "{built:?}");
        let (registry, round) = (Registry::plain(), Cell::new(0));
        let layouts = Link::to(&sandbox.path("layouts"));
        Self { sandbox, layouts, greeter, registry, round, megabytes, reference, files, bytes }
    }

    /// Whose programs are measured.
    fn all(&self) -> Vec<Whose> {
        let mut all = vec![Whose::Ours];
        all.extend(self.reference.is_some().then_some(Whose::Reference));
        all
    }

    fn program(&self, whose: Whose, phase: &str) -> PathBuf {
        match whose {
            Whose::Ours => self.sandbox.phase_path(phase),
            Whose::Reference => self.sandbox.path("reference").join(phase),
        }
    }

    fn layout(&self, name: &str) -> PathBuf {
        self.sandbox.path("layouts").join(name).join("latest")
    }

    fn next(&self) -> usize {
        self.round.set(self.round.get() + 1);
        self.round.get()
    }

    fn phase(&self, whose: Whose, name: &str, arguments: &[&str], store: Store) -> Command {
        let mut command = Command::new(self.program(whose, name));
        command.env_clear().envs(self.sandbox.environment()).current_dir(self.sandbox.path("."));
        command.args(["-log-level", "warn"]);
        match store {
            Store::Layout => {
                command.arg("-layout").arg("-layout-dir").arg(&self.layouts.0);
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

    /// A phase of the sample application's build.
    fn sample(&self, whose: Whose, name: &str, arguments: &[&str]) -> Command {
        let sandbox = &self.greeter.sandbox;
        let mut command = Command::new(self.program(whose, name));
        command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path(".")).args(arguments);
        as_cnb_user(&mut command);
        quiet(command)
    }

    fn analyze(&self, whose: Whose, app: &str, store: Store) {
        let run = match store {
            Store::Layout => RUN.to_owned(),
            Store::Registry => format!("{}/bench/run", self.registry.host),
            Store::Daemon => "bench/run".to_owned(),
        };
        done(&mut self.phase(whose, "analyzer", &["-run-image", &run, app], store));
    }

    /// Exports the layer to layout and cache, unless that was measured before.
    fn ensure_exported(&self) {
        if !self.layout(APP).exists() {
            self.analyze(Whose::Ours, APP, Store::Layout);
            let mut exporter = self.exporter(Whose::Ours, Store::Layout);
            done(exporter.arg("-cache-dir").arg(self.sandbox.path("cache")).arg(APP));
        }
    }

    /// An exporter, which adds our launcher whosever it is.
    fn exporter(&self, whose: Whose, store: Store) -> Command {
        let mut command = self.phase(whose, "exporter", &[], store);
        command.arg("-launcher").arg(self.program(Whose::Ours, "launcher"));
        command
    }

    /// Moves a directory aside. File systems are slow after as much was removed, so it is not.
    fn aside(&self, path: &Path) {
        let _ = fs::rename(path, self.sandbox.path(format!("aside-{}", self.next())));
    }
}

/// A link without capital letters in its path, which the reference implementation does not take.
struct Link(PathBuf);

impl Link {
    fn to(directory: &Path) -> Self {
        let path = std::env::temp_dir().join(format!("bench-layouts-{}", std::process::id()));
        symlink(directory, &path).expect("a link can be made");
        Self(path)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Copies the two programs to where every user can run them, with links for the phases. Gives their version.
fn install(from: &Path, to: &Path) -> String {
    fs::create_dir_all(to).expect("the sandbox is ours");
    for name in ["lifecycle", "launcher"] {
        let (from, to) = (from.join(name), to.join(name));
        fs::copy(&from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("the sandbox is ours");
    }
    for phase in PHASES.iter().filter(|phase| **phase != "launcher") {
        symlink("lifecycle", to.join(phase)).expect("the sandbox is ours");
    }
    let said = Command::new(to.join("analyzer")).arg("-version").env("CNB_PLATFORM_API", "0.15").output();
    String::from_utf8_lossy(&said.expect("it can be started").stdout).trim().to_owned()
}

/// A row's name: ours as it is.
fn named(whose: Whose, name: &str) -> String {
    match whose {
        Whose::Ours => name.to_owned(),
        Whose::Reference => format!("reference: {name}"),
    }
}

/// A TOML file as data, in one form.
fn data(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    format!("{:#}", toml(&text))
}

fn done(command: &mut Command) {
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a command writes to standard output.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
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
