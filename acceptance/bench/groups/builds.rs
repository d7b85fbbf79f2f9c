//! Builds: detected, built, restored, and whole ones.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use acceptance::sandbox::as_cnb_user;

use super::images::diff_ids;
use super::{APP, Bench, RUN, Store, Whose, data, done, named, output, quiet, shell};
use acceptance::bench::measure::Row;

impl Bench {
    pub(super) fn detects(&self) -> Vec<Row<'_>> {
        let made = || {
            let file = |name: &str| data(&self.greeter.sandbox.path("layers").join(name));
            file("group.toml") + &file("plan.toml")
        };
        let row = |whose| {
            Row::new(named(whose, "`detector`"), || {}, move || self.sample(whose, "detector", &[]))
                .makes(made)
        };
        self.all().into_iter().map(row).collect()
    }

    pub(super) fn builds(&self) -> Vec<Row<'_>> {
        let made = || {
            let text = data(&self.greeter.sandbox.path("layers/config/metadata.toml"));
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("\"version\""));
            lines.collect::<Vec<_>>().join("\n")
        };
        let row = |whose| {
            Row::new(named(whose, "`builder`"), || {}, move || self.sample(whose, "builder", &[])).makes(made)
        };
        self.all().into_iter().map(row).collect()
    }

    pub(super) fn restores(&self) -> Vec<Row<'_>> {
        self.analyze(Whose::Ours, APP, Store::Layout);
        let mut fill = self.exporter(Whose::Ours, Store::Layout);
        done(fill.arg("-cache-dir").arg(self.sandbox.path("cache")).arg(APP));
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
            self.aside(&target);
            fs::create_dir_all(&target).expect("the sandbox is ours");
        };
        let mut rows = vec![Row::new("`tar x`", fresh, untar)];
        for whose in self.all() {
            let name = match whose {
                Whose::Ours => "`restorer`, verifying too",
                Whose::Reference => "`restorer`",
            };
            let restorer = move || {
                let mut command = self.phase(whose, "restorer", &[], Store::Layout);
                command.arg("-cache-dir").arg(self.sandbox.path("cache"));
                command
            };
            let emptied = || self.aside(&self.tree());
            rows.push(Row::new(named(whose, name), emptied, restorer).makes(|| self.restored()));
        }
        rows
    }

    /// The layer's directory.
    fn tree(&self) -> PathBuf {
        self.sandbox.path("layers/bench_big/big")
    }

    /// What the layer's directory holds, as a digest.
    fn restored(&self) -> String {
        let options = "--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner";
        output(&mut shell(&format!("tar c {options} -C {} . | sha256sum", self.tree().display())))
    }

    /// Whole builds: the layer's files are there, and a buildpack moves them into its layer.
    pub(super) fn wholes(&self) -> Vec<Row<'_>> {
        let (prepared, sandbox) = (self.sandbox.path("prepared"), &self.sandbox);
        let buildpack = "cnb/buildpacks/bench_big/1";
        let about =
            "api = \"0.10\"\n[buildpack]\nid = \"bench/big\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n";
        sandbox.write(&format!("{buildpack}/buildpack.toml"), about);
        sandbox.script(&format!("{buildpack}/bin/detect"), "#!/bin/sh\n");
        let build = format!(
            "#!/bin/sh\nset -e\n[ -d $1/big ] || mv {} $1/big\n\
             printf '[types]\\nlaunch = true\\ncache = true\\n' > $1/big.toml\n",
            prepared.display()
        );
        sandbox.script(&format!("{buildpack}/bin/build"), &build);
        sandbox.write("cnb/order.toml", "[[order]]\ngroup = [{ id = \"bench/big\", version = \"1\" }]\n");
        let prepare = move || {
            fs::rename(self.tree(), &prepared).expect("the layer is there");
            let _ = fs::remove_dir_all(self.sandbox.path("layouts").join(APP));
            self.sandbox.clear("layers");
            self.sandbox.clear("cache");
        };
        self.whole_rows(prepare)
    }

    /// The same with everything in cache and image already.
    pub(super) fn wholes_again(&self) -> Vec<Row<'_>> {
        self.whole_rows(|| {
            self.aside(&self.tree());
            self.sandbox.clear("layers");
        })
    }

    fn whole_rows<'a>(&'a self, prepare: impl Fn() + Clone + 'a) -> Vec<Row<'a>> {
        let mut rows = Vec::new();
        for whose in self.all() {
            for (name, one) in [("the five phases", false), ("`creator`", true)] {
                let command = move || if one { self.creator(whose) } else { self.phases(whose) };
                let row = Row::new(named(whose, name), prepare.clone(), command);
                rows.push(row.makes(|| diff_ids(&self.layout(APP))));
            }
        }
        rows
    }

    fn creator(&self, whose: Whose) -> Command {
        let mut command = self.phase(whose, "creator", &["-run-image", RUN], Store::Layout);
        command.arg("-launcher").arg(self.program(Whose::Ours, "launcher"));
        command.arg("-cache-dir").arg(self.sandbox.path("cache")).arg(APP);
        command
    }

    /// The five phases, one after another.
    fn phases(&self, whose: Whose) -> Command {
        let path = |name: &str| self.sandbox.path(name).display().to_string();
        let program = |phase: &str| format!("{} -log-level warn", self.program(whose, phase).display());
        let layout = format!("-layout -layout-dir {}", self.layouts.0.display());
        let cache = format!("-cache-dir {}", path("cache"));
        let launcher = self.program(Whose::Ours, "launcher");
        let mut command = shell(&format!(
            "{} {layout} -run-image {RUN} {APP} && {} && {} {layout} {cache} && {} && \
             {} {layout} {cache} -launcher {} {APP}",
            program("analyzer"),
            program("detector"),
            program("restorer"),
            program("builder"),
            program("exporter"),
            launcher.display(),
        ));
        command.env_clear().envs(self.sandbox.environment()).current_dir(self.sandbox.path("."));
        as_cnb_user(&mut command);
        quiet(command)
    }
}
