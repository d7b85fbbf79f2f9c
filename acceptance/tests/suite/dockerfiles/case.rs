//! A case: a Dockerfile, what it is applied to, and what is known of the result.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use acceptance::buildkit::{Base, Job};
use acceptance::tree::Tree;
use serde::Deserialize;
use serde_json::Value;

use super::bases;
use super::server::Server;

/// One row of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The base image, see [`bases`].
    #[serde(default = "busybox")]
    pub base: String,
    /// A script that adds to the context, in which it runs.
    #[serde(default)]
    pub context: String,
    /// Build arguments.
    #[serde(default)]
    pub arguments: BTreeMap<String, String>,
    /// The instructions below `FROM`, or a whole Dockerfile.
    pub dockerfile: String,
    /// Whether it is an error, whoever builds it.
    #[serde(default)]
    pub fails: bool,
    /// What a current BuildKit makes of it, where the engine's is too old.
    pub table: Option<String>,
    /// What we make of it, where that is meant to differ.
    pub ours: Option<String>,
    /// Why it differs.
    pub because: Option<String>,
}

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

fn busybox() -> String {
    "busybox".to_owned()
}

/// The context that every case starts from.
const CONTEXT: &str = r"
    mkdir -p dir/sub/deep
    for file in a.txt b.txt run.sh dir/one dir/sub/two.txt dir/sub/deep/three; do printf '%s' $file > $file; done
    chmod 755 run.sh
    chmod 750 dir/sub
    chown 1000:1000 a.txt
";

/// Reads a table.
///
/// # Panics
///
/// When it is none.
pub fn table(name: &str) -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/dockerfiles/cases");
    let path = dir.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    table.case
}

/// The lines of an expected outcome.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A case with its files written.
pub struct Prepared {
    /// The case.
    pub case: Case,
    base: &'static (Base, Tree),
    /// A directory of its own.
    pub dir: PathBuf,
    /// The directory of its Dockerfile.
    pub dockerfile: PathBuf,
    /// Its context.
    pub context: PathBuf,
    /// The Dockerfile's text.
    pub text: String,
    /// How the server is reached.
    pub server: String,
}

impl Prepared {
    /// Writes a case's Dockerfile and context to a directory of its own.
    ///
    /// # Panics
    ///
    /// When that is not possible.
    pub fn new(case: Case, dir: &Path, server: &Server) -> Self {
        let base = bases::base(&case.base);
        for below in ["context", "dockerfile", "work"] {
            fs::create_dir_all(dir.join(below)).expect("the directory is ours");
        }
        let script = format!("set -eu; umask 022\n{CONTEXT}\n{}", case.context);
        let output = Command::new("bash").args(["-c", &script]).current_dir(dir.join("context")).output();
        let output = output.expect("bash can be started");
        assert!(output.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
        let is_whole = case.dockerfile.contains("FROM ");
        let head = if is_whole { "" } else { "ARG base_image\nFROM ${base_image}\n" };
        let text = format!("{head}{}", case.dockerfile).replace("SERVER", &server.address);
        fs::write(dir.join("dockerfile/Dockerfile"), &text).expect("the directory is ours");
        Self {
            case,
            base,
            dir: dir.to_owned(),
            dockerfile: dir.join("dockerfile"),
            context: dir.join("context"),
            text,
            server: server.address.clone(),
        }
    }

    /// The base image.
    pub fn base(&self) -> &'static Base {
        &self.base.0
    }

    /// The base image's files.
    pub fn base_tree(&self) -> &'static Tree {
        &self.base.1
    }

    /// What the judge is to build.
    pub fn job(&self) -> Job<'_> {
        Job {
            dockerfile: &self.dockerfile,
            context: &self.context,
            base: &self.base.0,
            arguments: self.case.arguments.clone().into_iter().collect(),
        }
    }
}

/// What differs between two configs, a line each.
pub fn config_changes(config: &Value, base: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, default) in [("User", ""), ("WorkingDir", "/")] {
        let text = |config: &Value| {
            let text = config[key].as_str().unwrap_or_default();
            if text.is_empty() { default.to_owned() } else { text.to_owned() }
        };
        if text(config) != text(base) {
            lines.push(format!("{key} {}", text(config)));
        }
    }
    let env = |config: &Value| -> Vec<String> {
        let pairs = config["Env"].as_array().into_iter().flatten();
        pairs.filter_map(Value::as_str).map(|pair| format!("Env {}", pair.escape_debug())).collect()
    };
    let before = env(base);
    lines.extend(env(config).into_iter().filter(|line| !before.contains(line)));
    for key in ["Labels", "ExposedPorts", "Volumes"] {
        for (name, value) in config[key].as_object().into_iter().flatten() {
            if base[key].get(name) != Some(value) {
                lines.push(format!("{key} {name}={value}"));
            }
        }
    }
    for key in ["Shell", "Cmd", "Entrypoint", "StopSignal", "Healthcheck", "OnBuild"] {
        if config[key] != base[key] {
            lines.push(format!("{key} {}", config[key]));
        }
    }
    lines
}
