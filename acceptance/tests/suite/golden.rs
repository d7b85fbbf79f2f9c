//! The reference implementation's builds made again by our phases, in containers against a registry:
//! files, labels, configs, diffIDs, exit codes and the log lines that platforms quote must be the same.
//!
//! May differ, and is masked: the launcher's layer and everything that names its digest, version or
//! source; the config layer; manifest digests (another compressor). See `fixtures/golden/builds`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use acceptance::data::{differences, toml};
use acceptance::docker::{Container, base_image};
use acceptance::fixtures;
use acceptance::sandbox::{Outcome, Sandbox};
use acceptance::servers::registry::Registry;
use serde_json::Value;

/// The registry that the reference implementation used; ours has another port.
const THEIR_REGISTRY: &str = "127.0.0.1:5000";

/// Builds of one Platform API, and what is wrong with them.
pub(crate) struct Golden {
    api: &'static str,
    minor: u32,
    pub(crate) sandbox: Sandbox,
    pub(crate) registry: Registry,
    pub(crate) faults: Vec<String>,
}

#[test]
fn platform_0_7_builds_are_the_same() {
    Golden::check("0.7");
}

#[test]
fn platform_0_9_builds_are_the_same() {
    Golden::check("0.9");
}

#[test]
fn platform_0_10_builds_are_the_same() {
    Golden::check("0.10");
}

#[test]
fn platform_0_12_builds_are_the_same() {
    Golden::check("0.12");
}

#[test]
fn platform_0_13_builds_are_the_same() {
    Golden::check("0.13");
}

#[test]
fn platform_0_15_builds_are_the_same() {
    Golden::check("0.15");
}

impl Golden {
    /// The inputs in a sandbox, the first run image in a registry.
    pub(crate) fn new(api: &'static str) -> Self {
        let minor = api[2..].parse().expect("a version");
        let (sandbox, registry) = (Sandbox::new(), Registry::plain());
        let golden = Self { api, minor, sandbox, registry, faults: Vec::new() };
        golden.prepare();
        golden.publish_base(1);
        golden
    }

    fn check(api: &'static str) {
        let mut golden = Self::new(api);
        golden.build(1);
        golden.compare_image("1-image", &golden.app());
        golden.reset_layers();
        golden.build(2);
        golden.compare_image("2-image", &golden.app());
        golden.create();
        golden.publish_base(2);
        let app = golden.app();
        golden.step(
            "3-rebaser",
            true,
            "rebaser",
            &["-no-color", "-uid", "1000", "-gid", "1000", "-report", "/layers/rebase-report.toml", &app],
        );
        golden.compare_image("3-image", &app);
        assert!(golden.faults.is_empty(), "Platform API {api}:\n{}", golden.faults.join("\n"));
    }

    /// The app image's name.
    pub(crate) fn app(&self) -> String {
        format!("{}/golden/app-{}", self.registry.host, self.minor)
    }

    fn inputs() -> PathBuf {
        fixtures().join("golden/builds/inputs")
    }

    fn expected(&self, step: &str) -> PathBuf {
        fixtures().join("golden/builds/expected").join(self.api).join(step)
    }

    fn prepare(&self) {
        let copy = |from: &str, to: &str| {
            acceptance::sandbox::copy_tree(&Self::inputs().join(from), &self.sandbox.path(to));
        };
        fs::remove_dir_all(self.sandbox.path("cnb/buildpacks")).expect("the sandbox is ours");
        copy("buildpacks", "cnb/buildpacks");
        copy("app", "workspace");
        copy("platform", "platform");
        for file in ["order.toml", "run.toml"] {
            let text = fs::read_to_string(Self::inputs().join(file)).expect("a fixture");
            self.sandbox.write(&format!("cnb/{file}"), self.ours(&text));
        }
        let host = &self.registry.host;
        let stack = format!(
            "[run-image]\nimage = \"{host}/golden/run:latest\"\nmirrors = [\"{host}/mirror/run:latest\"]\n"
        );
        self.sandbox.write("cnb/stack.toml", stack);
        for name in ["lifecycle", "launcher"] {
            for kind in ["cdx", "spdx", "syft"] {
                self.sandbox.write(&format!("cnb/lifecycle/{name}.sbom.{kind}.json"), "{}\n");
            }
        }
        self.add_project_metadata();
        let script = "find . -type d -exec chmod 755 {} +; find workspace platform cnb/buildpacks -type f -exec chmod 644 {} +; \
            chmod 755 cnb/buildpacks/*/*/bin/*";
        let modes = Command::new("sh").args(["-c", script]).current_dir(self.sandbox.path(".")).status();
        assert!(modes.is_ok_and(|status| status.success()));
    }

    fn add_project_metadata(&self) {
        let text = fs::read(Self::inputs().join("project-metadata.toml")).expect("a fixture");
        self.sandbox.write("layers/project-metadata.toml", text);
    }

    /// A fresh layers directory, as a platform has for each build; what the first build left in the
    /// application is gone too.
    fn reset_layers(&self) {
        self.sandbox.clear("layers");
        fs::set_permissions(self.sandbox.path("layers"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("modes");
        self.add_project_metadata();
        let _ = fs::remove_file(self.sandbox.path("workspace/built.txt"));
    }

    fn publish_base(&self, version: u32) {
        self.publish(&format!("golden/builds/base{version}"), "golden/run:latest");
    }

    /// Copies a layout among the fixtures to the registry.
    pub(crate) fn publish(&self, layout: &str, name: &str) {
        let layout = format!("oci:{}", fixtures().join(layout).display());
        let target = format!("docker://{}/{name}", self.registry.host);
        let output = Command::new("skopeo")
            .args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false", &layout, &target])
            .output();
        assert!(
            output.is_ok_and(|output| output.status.success()),
            "skopeo copies {layout} (./acceptance/run installs it)"
        );
    }

    /// The five phases, compared with the build of that number.
    pub(crate) fn build(&mut self, number: u32) {
        let app = self.app();
        let (stack, run) = self.run_image_arguments();
        let user = ["-no-color", "-uid", "1000", "-gid", "1000"];
        let stack: Vec<&str> = stack.iter().map(String::as_str).collect();
        let run: Vec<&str> = run.iter().map(String::as_str).collect();
        self.step(
            &format!("{number}-1-analyzer"),
            true,
            "analyzer",
            &[&user[..], &stack, &run, &[&app]].concat(),
        );
        self.step(
            &format!("{number}-2-detector"),
            false,
            "detector",
            &["-no-color", "-order", "/cnb/order.toml"],
        );
        self.step(
            &format!("{number}-3-restorer"),
            true,
            "restorer",
            &[&user[..], &["-cache-dir", "/cache"]].concat(),
        );
        self.step(&format!("{number}-4-builder"), false, "builder", &["-no-color"]);
        let export = ["-report", "/layers/report.toml", "-cache-dir", "/cache", "-process-type", "web"];
        self.step(
            &format!("{number}-5-exporter"),
            true,
            "exporter",
            &[&user[..], &export, &stack, &[&app]].concat(),
        );
        self.compare_cache(&format!("{number}-cache"));
    }

    fn create(&mut self) {
        self.sandbox.clear("cache");
        self.reset_layers();
        let app = format!("{}-creator", self.app());
        let (stack, run) = self.run_image_arguments();
        let stack: Vec<&str> = stack.iter().chain(&run).map(String::as_str).collect();
        let fixed = [
            "-no-color",
            "-uid",
            "1000",
            "-gid",
            "1000",
            "-cache-dir",
            "/cache",
            "-process-type",
            "web",
            "-order",
            "/cnb/order.toml",
            "-platform",
            "/platform",
            "-report",
            "/layers/report.toml",
        ];
        self.step("4-creator", true, "creator", &[&fixed[..], &stack, &[&app]].concat());
        self.compare_image("4-image", &app);
    }

    fn run_image_arguments(&self) -> (Vec<String>, Vec<String>) {
        if self.minor >= 12 {
            return (vec!["-run".to_owned(), "/cnb/run.toml".to_owned()], Vec::new());
        }
        let run = format!("{}/golden/run:latest", self.registry.host);
        (vec!["-stack".to_owned(), "/cnb/stack.toml".to_owned()], vec!["-run-image".to_owned(), run])
    }

    fn step(&mut self, step: &str, as_root: bool, phase: &str, arguments: &[&str]) {
        let outcome = self.run(as_root, phase, arguments);
        self.compare_log(step, &outcome);
        self.compare_files(step);
    }

    /// Runs a phase in a container.
    pub(crate) fn run(&self, as_root: bool, phase: &str, arguments: &[&str]) -> Outcome {
        self.run_in(Container::new(), as_root, phase, arguments)
    }

    /// Runs a phase in `container`.
    pub(crate) fn run_in(
        &self,
        container: Container,
        as_root: bool,
        phase: &str,
        arguments: &[&str],
    ) -> Outcome {
        let path = |relative: &str| self.sandbox.path(relative);
        let mut container = container
            .env("CNB_PLATFORM_API", self.api)
            .env("CNB_USER_ID", "1000")
            .env("CNB_GROUP_ID", "1000")
            .env("CNB_STACK_ID", "golden.stack")
            .env("HOME", "/tmp")
            .env("CNB_TARGET_OS", "linux")
            .env("CNB_TARGET_ARCH", "amd64")
            .mount(&path("layers"), "/layers", "rw")
            .mount(&path("workspace"), "/workspace", "rw")
            .mount(&path("cache"), "/cache", "rw");
        for name in ["lifecycle", "buildpacks", "order.toml", "run.toml", "stack.toml"] {
            container = container.mount(&path(&format!("cnb/{name}")), &format!("/cnb/{name}"), "ro");
        }
        container = container.mount(&path("platform"), "/platform", "ro");
        if !as_root {
            container = container.as_cnb_user();
        }
        let program = format!("/cnb/lifecycle/{phase}");
        container.run(base_image(), &[&[program.as_str()], arguments].concat())
    }

    /// A text of theirs with our registry.
    pub(crate) fn ours(&self, text: &str) -> String {
        text.replace(THEIR_REGISTRY, &self.registry.host)
    }

    fn fault(&mut self, step: &str, what: impl AsRef<str>) {
        self.faults.push(format!("{step}: {}", what.as_ref()));
    }

    /// Every line they print is printed; ours may say more, and theirs are in random order here and there.
    fn compare_log(&mut self, step: &str, outcome: &Outcome) {
        let expected = fs::read_to_string(self.expected(step).join("log.txt")).expect("a fixture");
        let expected = self.ours(&expected);
        let code =
            expected.lines().find_map(|line| line.strip_prefix("[exit ")?.strip_suffix(']')).unwrap_or("0");
        if code != outcome.code.to_string() {
            self.fault(step, format!("exit {}, expected {code}:\n{}", outcome.code, outcome.text()));
        }
        let lines: BTreeSet<String> = outcome.stdout.lines().map(masked).collect();
        for line in expected.lines().filter(|line| !line.starts_with(['$', '['])).map(masked) {
            // Warnings go to stderr.
            if !line.contains("Warning: ") && !line.trim().is_empty() && !lines.contains(&line) {
                self.fault(step, format!("the log lacks {line:?}; it is\n{}", outcome.text()));
            }
        }
    }

    fn compare_files(&mut self, step: &str) {
        let directory = self.expected(step);
        for relative in toml_files(&directory) {
            let expected = self.ours(&fs::read_to_string(directory.join(&relative)).expect("a fixture"));
            let place = relative.strip_prefix("layers").map_or_else(|_| relative.clone(), Path::to_owned);
            let Ok(found) = fs::read_to_string(self.sandbox.path("layers").join(&place)) else {
                self.fault(step, format!("{} is missing", place.display()));
                continue;
            };
            for line in differences(&neutral(toml(&found)), &neutral(toml(&expected))) {
                self.fault(step, format!("{}{line}", place.display()));
            }
        }
    }

    fn compare_cache(&mut self, step: &str) {
        let name = "io.buildpacks.lifecycle.cache.metadata";
        let expected =
            fs::read_to_string(self.expected(step).join(format!("{name}.json"))).expect("a fixture");
        let found = fs::read_to_string(self.sandbox.path("cache/committed").join(name)).unwrap_or_default();
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        for line in differences(&parse(&found), &parse(&expected)) {
            self.fault(step, format!("cache metadata{line}"));
        }
        let listed = fs::read_to_string(self.expected(step).join("files")).expect("a fixture");
        for line in listed.lines().filter(|line| line.contains(".tar\"")) {
            let row: Value = serde_json::from_str(line).expect("a row");
            let file = row[0].as_str().unwrap_or_default().to_owned();
            if !self.sandbox.path("cache").join(&file).exists() {
                self.fault(step, format!("{file} is not in the cache"));
            }
        }
    }

    /// Compares an image in the registry with the one of that step.
    pub(crate) fn compare_image(&mut self, step: &str, image: &str) {
        let output = Command::new("skopeo")
            .args(["inspect", "--config", "--raw", "--tls-verify=false"])
            .arg(format!("docker://{image}"))
            .output();
        let output = output.expect("skopeo is installed (./acceptance/run installs it)");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let expected = fs::read_to_string(self.expected(step).join("config.json")).expect("a fixture");
        let expected: Value = serde_json::from_str(&self.ours(&expected)).expect("a config");
        let special = self.special_layers(step);
        let (mut found, mut expected) = (found, expected);
        if step == "3-image" {
            // A rebase blanks the history there; ours is kept from 0.12 on (contract 3.6).
            found["history"] = Value::Null;
            expected["history"] = Value::Null;
        }
        let (found, expected) = (image_data(found, &special), image_data(expected, &special));
        for line in differences(&found, &expected) {
            self.fault(step, line);
        }
    }

    /// The layers that may differ: the launcher's and the config's.
    fn special_layers(&self, step: &str) -> BTreeSet<usize> {
        let rows = fs::read_to_string(self.expected(step).join("layers")).expect("a fixture");
        let special = |row: &&str| {
            row.contains("/cnb/lifecycle/launcher") || row.contains("/layers/config/metadata.toml")
        };
        rows.lines().enumerate().filter(|(_, row)| special(row)).map(|(index, _)| index).collect()
    }
}

/// A config with its JSON labels as data and what may differ left out.
fn image_data(mut config: Value, special: &BTreeSet<usize>) -> Value {
    for index in special {
        config["rootfs"]["diff_ids"][*index] = Value::Null;
    }
    if let Some(labels) = config["config"]["Labels"].as_object_mut() {
        for value in labels.values_mut() {
            if let Some(parsed) = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
                *value = neutral(parsed);
            }
        }
    }
    config
}

/// Data without what names the launcher, a manifest, or its size, and without what is different on purpose:
/// the names of buildpacks' APIs (PL-LBL-10), the execution environment (PL-LBL-12), and integers, which
/// stay integers (TR-22).
fn neutral(data: Value) -> Value {
    let mut data = plain(data);
    if !data.is_object() {
        return data;
    }
    for list in ["buildpacks", "extensions"] {
        for entry in data.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            entry.as_object_mut().and_then(|entry| entry.remove("api"));
        }
    }
    for place in ["", "/metadata"] {
        data.pointer_mut(place).and_then(Value::as_object_mut).and_then(|table| table.remove("exec-env"));
    }
    for key in ["launcher", "config"] {
        if data[key].is_object() {
            data[key] = Value::Null;
        }
        if data.pointer(&format!("/metadata/{key}")).is_some_and(Value::is_object) {
            data["metadata"][key] = Value::Null;
        }
    }
    if data["image"]["digest"].is_string() {
        data["image"]["digest"] = Value::Null;
        data["image"]["manifest-size"] = Value::Null;
    }
    if data["image"]["reference"].is_string() {
        data["image"]["reference"] =
            Value::from(masked(data["image"]["reference"].as_str().unwrap_or_default()));
    }
    // The reference implementation writes plans in random order.
    if let Some(entries) = data["entries"].as_array_mut() {
        entries.sort_by_key(Value::to_string);
    }
    data
}

/// Numbers as floats, and nothing where there is an empty list.
fn plain(data: Value) -> Value {
    match data {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::Object(table) => table.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        other => other,
    }
}

/// A line without digests.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("sha256:") {
        masked.push_str(before);
        masked.push_str("sha256:…");
        rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    masked + rest
}

fn toml_files(directory: &Path) -> Vec<PathBuf> {
    fn walk(directory: &Path, top: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, top, found);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                found.push(path.strip_prefix(top).expect("below").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, directory, &mut found);
    found.sort();
    found
}
