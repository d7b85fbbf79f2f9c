//! The reference implementation's builds with extensions, made again by our phases.
//!
//! Different on purpose: only instructions that change files make layers, so there is no history of others;
//! layers have one constant time and no records of times; the static extension's Dockerfile is applied at
//! every Platform API (TR-12); the label `io.buildpacks.rebasable` is told of. The base image is another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use acceptance::data::{differences, toml};
use acceptance::oci::LayoutImage;
use acceptance::run_image::RunImage;
use acceptance::sandbox::{Sandbox, copy_tree};
use acceptance::servers::registry::Registry;
use serde_json::Value;

use super::cell::{Cell, Flow};

#[test]
fn builds_with_extensions_are_the_reference_implementations() {
    for api in ["0.12", "0.13", "0.15"] {
        let mut sandbox = Sandbox::new();
        api.clone_into(&mut sandbox.platform_api);
        let registry = Registry::plain();
        let cell = Cell::new(&sandbox, &registry, Flow::Phases, "registry");
        cell.reset("");
        prepare(&sandbox);
        cell.world.publish("run", &RunImage::version(1).with_shell());
        let text = cell.build().ok().text();
        let golden = Golden { cell: &cell, api };
        golden.compare_files();
        golden.compare_log(&text);
        golden.compare_extended();
        golden.compare_image();
    }
}

fn inputs() -> PathBuf {
    acceptance::fixtures().join("golden/extended/inputs")
}

fn prepare(sandbox: &Sandbox) {
    for (from, to) in
        [("extensions", "cnb/extensions"), ("buildpacks", "cnb/buildpacks"), ("app", "workspace")]
    {
        let to = sandbox.path(to);
        for entry in fs::read_dir(&to).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("ours");
        }
        copy_tree(&inputs().join(from), &to);
        // The base image has a smaller shell.
        for path in
            files(&to).into_iter().filter(|path| path.parent().is_some_and(|dir| dir.ends_with("bin")))
        {
            let path = to.join(path);
            let text = fs::read_to_string(&path).expect("a script");
            fs::write(&path, text.replace("#!/usr/bin/env bash", "#!/bin/sh")).expect("ours");
        }
    }
    // The reference implementation's had this mode; a checkout's depends on who checked out.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(sandbox.path("workspace/file.txt"), mode).expect("ours");
    fs::copy(inputs().join("order.toml"), sandbox.path("cnb/order.toml")).expect("ours");
    sandbox.own_all();
}

struct Golden<'a> {
    cell: &'a Cell<'a>,
    api: &'static str,
}

impl Golden<'_> {
    fn expected(&self, name: &str) -> String {
        let path = acceptance::fixtures().join("golden/extended/expected").join(self.api).join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn layers(&self, name: &str) -> PathBuf {
        self.cell.world.sandbox.path("layers").join(name)
    }

    #[track_caller]
    fn same(&self, what: &str, found: &Value, expected: &Value) {
        assert_eq!(differences(found, expected), Vec::<String>::new(), "{what} at Platform API {}", self.api);
    }

    fn compare_files(&self) {
        for name in ["group.toml", "plan.toml"] {
            let found = fs::read_to_string(self.layers(name)).expect("a file");
            self.same(name, &toml(&found), &toml(&self.expected(name)));
        }
        let expected =
            acceptance::fixtures().join("golden/extended/expected").join(self.api).join("generated");
        for path in files(&expected) {
            let found = fs::read_to_string(self.layers("generated").join(&path)).unwrap_or_default();
            let expected = fs::read_to_string(expected.join(&path)).expect("a fixture");
            assert_eq!(found, expected, "{} at Platform API {}", path.display(), self.api);
        }
        let analyzed = |text: &str| {
            let data = toml(text);
            let digest = |image: &str| {
                let reference = data[image]["reference"].as_str().unwrap_or_default().to_owned();
                reference.rsplit_once("@sha256:").map(|(_, digest)| digest.len())
            };
            (data["run-image"]["extend"].clone(), digest("run-image"), digest("build-image"))
        };
        let found = fs::read_to_string(self.layers("analyzed.toml")).expect("a file");
        assert_eq!(analyzed(&found), analyzed(&self.expected("analyzed.toml")));
    }

    /// Every line that platforms know is there.
    fn compare_log(&self, text: &str) {
        let lines: BTreeSet<&str> = text.lines().collect();
        let names =
            ["4-extender-build.log", "5-extender-run.log", "6-exporter.log"].map(|name| self.expected(name));
        for line in names.iter().flat_map(|log| log.lines()) {
            let line = match line.split_once("msg=\"") {
                Some((_, told)) => told.trim_end_matches('"').replace("\\\"", "\""),
                None => line.to_owned(),
            };
            if ["Adding", "Added", "No cached", "BUILD_TOOL"].iter().any(|word| line.starts_with(word)) {
                assert!(lines.contains(line.as_str()), "{line:?} is not told at {}:\n{text}", self.api);
            }
        }
        assert!(lines.contains("build from config"), "{text}");
    }

    fn compare_extended(&self) {
        let directory = self.layers("extended/run").join(self.cell.extended());
        let manifest = blob(&directory, &index(&directory)["manifests"][0]);
        let found = blob(&directory, &manifest["config"]);
        let expected: Value = serde_json::from_str(&self.expected("extended-config.json")).expect("JSON");
        Self::compare_config(&found, &expected);
        for (name, layer) in
            ["run.entries", "copy.entries"].iter().zip(&self.cell.world.fetch("app").layers[2..])
        {
            assert_eq!(entries(&layer.tar), golden_entries(&self.expected(name)), "{name}");
        }
    }

    fn compare_image(&self) {
        let image: LayoutImage = self.cell.world.fetch("app");
        let expected: Value = serde_json::from_str(&self.expected("image-config.json")).expect("JSON");
        Self::compare_config(&image.config, &expected);
        let label = &image.config["config"]["Labels"]["io.buildpacks.build.metadata"];
        let found: Value = serde_json::from_str(label.as_str().expect("a label")).expect("JSON");
        let expected: Value = serde_json::from_str(&self.expected("build-metadata.json")).expect("JSON");
        self.same("processes", &found["processes"], &expected["processes"]);
        let ids = |data: &Value| -> Vec<String> {
            data["extensions"].as_array().into_iter().flatten().map(|one| one["id"].to_string()).collect()
        };
        assert_eq!(ids(&found), ids(&expected));
    }

    /// Compares history, user, labels and what extensions set of the environment.
    fn compare_config(found: &Value, expected: &Value) {
        let history = |config: &Value| -> Vec<String> {
            let all = config["history"].as_array().cloned().unwrap_or_default();
            let texts = all.iter().filter_map(|entry| entry["created_by"].as_str().map(str::to_owned));
            texts.filter(|text| text.contains("'RUN ") || text.contains("'COPY ")).collect()
        };
        assert_eq!(history(found), history(expected));
        assert_eq!(found["config"]["User"], expected["config"]["User"]);
        let named = |config: &Value, key: &str| -> BTreeMap<String, Value> {
            let labels = config["config"]["Labels"].as_object().cloned().unwrap_or_default();
            labels.into_iter().filter(|(name, _)| name.contains(key)).collect()
        };
        assert_eq!(named(found, "org.example.tool"), named(expected, "org.example.tool"));
        assert_eq!(named(found, "io.buildpacks.rebasable"), named(expected, "io.buildpacks.rebasable"));
        assert_eq!(named(found, "org.example.static").len(), 1, "the static extension took part");
        let set = |config: &Value| config["config"]["Env"].to_string().contains("\"TOOL_HOME=/opt/tool\"");
        assert!(set(found) && set(expected));
    }
}

fn index(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("index.json")).expect("a layout")).expect("JSON")
}

fn blob(directory: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().expect("a digest");
    let path = directory.join("blobs/sha256").join(&digest["sha256:".len()..]);
    serde_json::from_slice(&fs::read(path).expect("a blob")).expect("JSON")
}

/// Kind, mode, owner, size, name and link of each entry.
fn entries(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar").map(|entry| {
        let entry = entry.expect("an entry");
        let header = entry.header();
        assert_eq!(header.mtime().ok(), Some(315_532_801), "the constant time");
        let kind = match header.entry_type() {
            tar::EntryType::Directory => "dir",
            tar::EntryType::Symlink => "symlink",
            _ => "file",
        };
        let owner = (header.uid().unwrap_or(1), header.gid().unwrap_or(1));
        let path = entry.path().expect("a path").display().to_string();
        let link =
            header.link_name().ok().flatten().map(|link| link.display().to_string()).unwrap_or_default();
        let mode = header.mode().unwrap_or(0) & 0o7777;
        format!(
            "{kind} {mode:o} {}:{} {} {} {link}",
            owner.0,
            owner.1,
            header.size().unwrap_or(9),
            path.trim_end_matches('/')
        )
    });
    entries.collect()
}

fn golden_entries(text: &str) -> Vec<String> {
    let entry = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a row");
        let text = |at: usize| row[at].as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} {} {} {} {}",
            text(0),
            text(1).trim_start_matches("0o"),
            text(2),
            row[3],
            text(5),
            text(6)
        )
    };
    text.lines().map(entry).collect()
}

/// The files below a directory, as paths relative to it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![directory.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path.strip_prefix(directory).expect("below").to_owned());
            }
        }
    }
    found.sort();
    found
}
