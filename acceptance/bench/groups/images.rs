//! Images: looked at, made of the layer, pushed, loaded, and rebased.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use acceptance::greeter;
use acceptance::sandbox::{copy_tree, is_root};
use acceptance::servers::registry::Registry;
use serde_json::Value;

use super::{APP, Bench, Group, RUN, Store, Whose, data, done, is_there, named, output, quiet, shell};
use acceptance::bench::measure::Row;

impl Bench {
    pub(super) fn analyzes(&self) -> Vec<Row<'_>> {
        let inspect = || {
            let mut command = Command::new("skopeo");
            command.arg("inspect").arg(format!("oci:{}", self.layout(RUN).display()));
            quiet(command)
        };
        let mut rows = vec![Row::new("`skopeo inspect`", || {}, inspect)];
        for whose in self.all() {
            let analyzer = move || self.phase(whose, "analyzer", &["-run-image", RUN, APP], Store::Layout);
            let row = Row::new(named(whose, "`analyzer`"), || {}, analyzer);
            // They name a run image in a layout differently.
            let found = || {
                let text = data(&self.sandbox.path("layers/analyzed.toml"));
                let found: Value = serde_json::from_str(&text).expect("it was written as JSON");
                let run_image = &found["run-image"];
                format!("{:#} {:#}", run_image["reference"], run_image["target"])
            };
            rows.push(row.makes(found));
        }
        rows
    }

    pub(super) fn exports(&self) -> Vec<Row<'_>> {
        let tree = self.sandbox.path("layers/bench_big/big");
        let pipe = move |tail: &str| shell(&format!("tar c -C {} . | {tail} > /dev/null", tree.display()));
        let pigz = pipe.clone();
        let mut rows = vec![Row::new("`tar c \\| gzip -1`", || {}, move || pipe("gzip -1"))];
        if is_there("pigz") {
            rows.push(Row::new("`tar c \\| pigz -1`", || {}, move || pigz("pigz -1")));
        }
        if is_root() && is_there("buildah") {
            rows.push(Row::new("`buildah copy`, `commit`", || {}, || self.buildah()));
        }
        let forget = |whose| {
            let _ = fs::remove_dir_all(self.sandbox.path("layouts").join(APP));
            self.sandbox.clear("cache");
            self.analyze(whose, APP, Store::Layout);
        };
        let made = || diff_ids(&self.layout(APP));
        let without = move |whose| {
            let mut command = self.exporter(whose, Store::Layout);
            command.arg(APP);
            command
        };
        let with_cache = move |whose| {
            let mut command = self.exporter(whose, Store::Layout);
            command.arg("-cache-dir").arg(self.sandbox.path("cache")).arg(APP);
            command
        };
        for whose in self.all() {
            let row = Row::new(
                named(whose, "`exporter` without a cache"),
                move || forget(whose),
                move || without(whose),
            );
            rows.push(row.makes(made));
        }
        for whose in self.all() {
            let row = Row::new(
                named(whose, "`exporter` with a cache"),
                move || forget(whose),
                move || with_cache(whose),
            );
            rows.push(row.makes(made));
        }
        for whose in self.all() {
            let again = move || self.analyze(whose, APP, Store::Layout);
            let row = Row::new(named(whose, "`exporter`, nothing changed"), again, move || without(whose));
            rows.push(row.makes(made));
        }
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

    pub(super) fn pushes(&self) -> Vec<Row<'_>> {
        self.ensure_exported();
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
        let mut rows = vec![Row::new("`skopeo copy` of the finished layout", begin, copy)];
        for whose in self.all() {
            rows.push(self.push(whose));
        }
        rows
    }

    fn push(&self, whose: Whose) -> Row<'_> {
        // Each time to another repository, where nothing is yet.
        let app = || format!("{}/bench/app-{}", self.registry.host, self.round.get());
        let prepare = move || {
            self.next();
            self.analyze(whose, &app(), Store::Registry);
        };
        let export = move || {
            let mut command = self.exporter(whose, Store::Registry);
            command.arg(app());
            command
        };
        let made = move || pushed_diff_ids(&app());
        Row::new(named(whose, "`exporter`, compressing too"), prepare, export).makes(made)
    }

    pub(super) fn loads(&self) -> Group<'_> {
        an_engine()?;
        self.ensure_exported();
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
        let loaded = |tag: &str| {
            output(Command::new("docker").args(["inspect", "-f", "{{json .RootFS.Layers}}", tag]))
        };
        let row = Row::new("`docker load` of the finished archive", forget, load);
        let mut rows = vec![row.makes(move || loaded("bench/app:skopeo"))];
        for whose in self.all() {
            let prepare = move || {
                forget();
                self.analyze(whose, "bench/app", Store::Daemon);
            };
            let export = move || {
                let mut command = self.exporter(whose, Store::Daemon);
                command.arg("bench/app");
                command
            };
            let row = Row::new(named(whose, "`exporter -daemon`, making the layer too"), prepare, export);
            rows.push(row.makes(move || loaded("bench/app")));
        }
        Ok(rows)
    }

    pub(super) fn rebases(&self) -> Vec<Row<'_>> {
        let sandbox = &self.greeter.sandbox;
        let (layout, kept) = (self.greeter.layout(greeter::APP), sandbox.path("built"));
        copy_tree(&layout, &kept);
        self.greeter.publish_run_image(2);
        let run = format!("{}/bench/new-run", self.registry.host);
        skopeo(&format!("oci:{}", self.greeter.layout(greeter::RUN).display()), &format!("docker://{run}"));
        let in_layout = {
            let (layout, kept) = (layout.clone(), kept.clone());
            let prepare = move || {
                let _ = fs::remove_dir_all(&layout);
                copy_tree(&kept, &layout);
                sandbox.own_all();
            };
            let rebaser = || {
                let mut command = self.sample(Whose::Ours, "rebaser", &["-layout", "-layout-dir"]);
                command.arg(sandbox.path("layouts")).arg("-report").arg(sandbox.path("layers/report.toml"));
                command.arg(greeter::APP);
                command
            };
            Row::new("`rebaser`, in a layout", prepare, rebaser)
        };
        let mut rows = Vec::new();
        for whose in self.all() {
            let (run, built) = (run.clone(), format!("oci:{}", kept.display()));
            // The reference implementation has no layouts here.
            let app = || format!("{}/bench/rebased-{}", self.registry.host, self.round.get());
            let prepare = move || {
                self.next();
                skopeo(&built, &format!("docker://{}", app()));
            };
            let rebaser = move || {
                let mut command = self.sample(whose, "rebaser", &["-force", "-run-image", &run, "-report"]);
                command.arg(sandbox.path("layers/report.toml")).arg(app());
                command
            };
            let row = Row::new(named(whose, "`rebaser`, in a registry"), prepare, rebaser);
            rows.push(row.makes(move || pushed_diff_ids(&app())));
        }
        rows.push(in_layout.makes(move || diff_ids(&layout)));
        rows
    }
}

/// Fails where there is no Docker engine.
pub fn an_engine() -> Result<(), &'static str> {
    let answers = Command::new("docker").arg("info").output().is_ok_and(|output| output.status.success());
    if is_root() && answers { Ok(()) } else { Err("no Docker engine answers to root here") }
}

/// The diffIDs of the image of a layout, as JSON.
pub fn diff_ids(layout: &Path) -> String {
    let read = |path: &Path| -> Value {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).expect("it is JSON")
    };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
        read(&layout.join("blobs").join(digest.replace(':', "/")))
    };
    let manifest = blob(&read(&layout.join("index.json"))["manifests"][0]);
    blob(&manifest["config"])["rootfs"]["diff_ids"].to_string()
}

/// The diffIDs of an image in a registry, as JSON.
fn pushed_diff_ids(name: &str) -> String {
    let mut command = Command::new("skopeo");
    command.args(["inspect", "--config", "--tls-verify=false", &format!("docker://{name}")]);
    let config: Value = serde_json::from_str(&output(&mut command)).expect("a config is JSON");
    config["rootfs"]["diff_ids"].to_string()
}

fn skopeo(from: &str, to: &str) {
    let mut command = Command::new("skopeo");
    command.args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]);
    // A rebase by the reference implementation mixes media types otherwise.
    if to.starts_with("docker://") {
        command.args(["--format", "v2s2"]);
    }
    done(command.args([from, to]));
}
