//! The config of an image: what a lifecycle reads and edits, with every other key kept as it came.
//!
//! Spec: OCI image-spec config.md; Docker's `config` object is the same but for more keys.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::DiffId;
use crate::files::labels;
use crate::json::{JsonError, JsonObject, go_json};
use crate::target::{Distro, Target};

/// An image config. Its known keys have been checked to be of their types; what is not edited is
/// written as it was read.
#[derive(Clone, Default)]
pub struct ImageConfig {
    /// The whole document; `config`, `rootfs` and `history` in it are stale once edited.
    document: JsonObject,
    /// Its `config` object; `Labels` in it is stale once edited.
    process: JsonObject,
    labels: BTreeMap<String, String>,
    diff_ids: Vec<DiffId>,
    /// One entry per layer.
    history: Vec<JsonObject>,
    edited: Edited,
}

/// Which parts of the document are stale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Edited {
    layers: bool,
    process: bool,
    labels: bool,
}

/// A text is not an image config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not a JSON object at all.
    #[error("its config is not a JSON object: {0}")]
    NotAnObject(JsonError),
    /// A key has a value of another type.
    #[error("`{key}` of its config is not what it must be: {error}")]
    Key {
        /// The key, for example `config.Env`.
        key: &'static str,
        /// What is wrong.
        error: JsonError,
    },
}

/// What becomes of the history of layers, which says how each was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRule {
    /// Kept, with the image's creation time.
    Keep,
    /// Only the creation time stays.
    Blank,
}

impl ImageConfig {
    /// A config without layers.
    pub fn new(os: &str, architecture: &str) -> Self {
        let mut config = Self::default();
        config.set_text("architecture", architecture);
        config.set_text("os", os);
        config
    }

    /// Reads a config. Fails when a key that a lifecycle reads is of another type.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let document = JsonObject::parse(text).map_err(ConfigError::NotAnObject)?;
        for name in ["os", "architecture", "variant", "os.version", "created"] {
            key::<String>(&document, name, name)?;
        }
        let process: JsonObject = key(&document, "config", "config")?;
        key::<String>(&process, "User", "config.User")?;
        key::<String>(&process, "WorkingDir", "config.WorkingDir")?;
        for (name, path) in
            [("Env", "config.Env"), ("Entrypoint", "config.Entrypoint"), ("Cmd", "config.Cmd")]
        {
            key::<Vec<String>>(&process, name, path)?;
        }
        let labels: BTreeMap<String, Option<String>> = key(&process, "Labels", "config.Labels")?;
        let rootfs: JsonObject = key(&document, "rootfs", "rootfs")?;
        let diff_ids: Vec<DiffId> = key(&rootfs, "diff_ids", "rootfs.diff_ids")?;
        let history = normalised(key(&document, "history", "history")?, diff_ids.len())?;
        let labels = labels.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
        Ok(Self { document, process, labels, diff_ids, history, edited: Edited::default() })
    }

    /// The config as JSON, in the form that Go programs write.
    pub fn to_json(&self) -> String {
        let mut document = self.document.clone();
        if self.edited.labels || self.edited.process {
            let mut process = self.process.clone();
            if self.edited.labels {
                process.set("Labels", &self.labels);
            }
            document.set("config", &process);
        }
        if self.edited.layers || document.raw("rootfs").is_none() {
            let mut rootfs: JsonObject = known(&document, "rootfs");
            rootfs.set("type", "layers");
            rootfs.set("diff_ids", &self.diff_ids);
            document.set("rootfs", &rootfs);
            document.set("history", &self.history);
        }
        go_json(&document)
    }

    /// `os`, empty when it is not there; so are the other texts.
    pub fn os(&self) -> String {
        known(&self.document, "os")
    }

    /// `architecture`, as Go names it.
    pub fn architecture(&self) -> String {
        known(&self.document, "architecture")
    }

    /// The architecture's `variant`.
    pub fn variant(&self) -> String {
        known(&self.document, "variant")
    }

    /// When the image was created, as RFC 3339.
    pub fn created(&self) -> String {
        known(&self.document, "created")
    }

    /// `User` of the process: `user`, `uid`, `user:group`, `uid:gid`.
    pub fn user(&self) -> String {
        known(&self.process, "User")
    }

    /// `WorkingDir` of the process.
    pub fn working_dir(&self) -> String {
        known(&self.process, "WorkingDir")
    }

    /// `Entrypoint` of the process.
    pub fn entrypoint(&self) -> Vec<String> {
        known(&self.process, "Entrypoint")
    }

    /// `Cmd` of the process.
    pub fn cmd(&self) -> Vec<String> {
        known(&self.process, "Cmd")
    }

    /// `Env` of the process in order, each `NAME=value`.
    pub fn env(&self) -> Vec<String> {
        known(&self.process, "Env")
    }

    /// The value of one variable; `None` when it is not set. Values may hold `=`.
    pub fn env_value(&self, name: &str) -> Option<String> {
        let env = self.env();
        let found = env.iter().find_map(|entry| entry.split_once('=').filter(|(key, _)| *key == name));
        found.map(|(_, value)| value.to_owned())
    }

    /// Every label.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The value of one label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// A value of the process by its key, such as `Shell`; `None` where it is absent or of another type.
    pub fn process_value<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.process.get(key).ok().flatten()
    }

    /// The diffIDs of its layers, base first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.diff_ids
    }

    /// How each layer was made, one entry per layer: entries without layers are left out, and where the
    /// rest does not match the layers every entry is empty.
    pub fn history(&self) -> &[JsonObject] {
        &self.history
    }

    /// What the image runs on. Where labels say no distribution, the deprecated stack `bionic` does.
    ///
    /// Spec: platform.md "Target Data", "analyzed.toml".
    pub fn target(&self) -> Target {
        let text = |name| self.label(name).unwrap_or_default().to_owned();
        let distro = Distro { name: text(labels::DISTRO_NAME), version: text(labels::DISTRO_VERSION) };
        let target = Target {
            id: text(labels::BASE_ID),
            os: self.os(),
            arch: self.architecture(),
            variant: self.variant(),
            distro: (distro != Distro::default()).then_some(distro),
        };
        let is_bionic = self.label(labels::STACK_ID) == Some("io.buildpacks.stacks.bionic");
        if is_bionic && target.distro.is_none() { bionic(target) } else { target }
    }

    /// Sets a text of the document, such as `os`; removes the key when `value` is empty.
    pub fn set_text(&mut self, key: &str, value: &str) {
        set_or_remove(&mut self.document, key, value);
    }

    /// Sets a text of the process, such as `WorkingDir` or `User`; removes the key when `value` is empty.
    pub fn set_process_text(&mut self, key: &str, value: &str) {
        set_or_remove(&mut self.process, key, value);
        self.edited.process = true;
    }

    /// Sets a value of the process, such as `Shell`.
    pub fn set_process_value<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.process.set(key, value);
        self.edited.process = true;
    }

    /// Sets `Entrypoint` and, since it belonged to the old one, removes `Cmd`.
    pub fn set_entrypoint(&mut self, words: &[&str]) {
        self.process.set("Entrypoint", words);
        self.process.remove("Cmd");
        self.edited.process = true;
    }

    /// Sets a variable: in place where it is already set, else at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let mut env = self.env();
        let entry = format!("{name}={value}");
        match env.iter_mut().find(|entry| entry.split('=').next() == Some(name)) {
            Some(old) => *old = entry,
            None => env.push(entry),
        }
        self.process.set("Env", &env);
        self.edited.process = true;
    }

    /// Sets a label.
    pub fn set_label(&mut self, name: &str, value: &str) {
        self.labels.insert(name.to_owned(), value.to_owned());
        self.edited.labels = true;
    }

    /// Removes a label if it is there.
    pub fn remove_label(&mut self, name: &str) {
        self.edited.labels |= self.labels.remove(name).is_some();
    }

    /// Takes over the process (environment, user, entrypoint) and the labels of `other`.
    pub fn take_process(&mut self, other: &Self) {
        self.process = other.process.clone();
        self.labels.clone_from(&other.labels);
        (self.edited.process, self.edited.labels) = (true, true);
    }

    /// Adds a layer on top, with how it was made.
    pub fn push_layer(&mut self, diff_id: DiffId, created_by: &str) {
        let mut entry = JsonObject::default();
        if !created_by.is_empty() {
            entry.set("created_by", created_by);
        }
        self.diff_ids.push(diff_id);
        self.history.push(entry);
        self.edited.layers = true;
    }

    /// Puts the layers of `base`, with their history, in the place of the first `count`.
    pub fn replace_base(&mut self, count: usize, base: &Self) {
        let count = count.min(self.diff_ids.len());
        self.diff_ids.splice(..count, base.diff_ids.iter().copied());
        self.history.splice(..count, base.history.iter().cloned());
        self.edited.layers = true;
    }

    /// Takes what an image runs on from `base`. Its architecture's variant stays where `base` says none
    /// and the architecture is the same.
    pub fn take_platform(&mut self, base: &Self) {
        let is_same = self.os() == base.os() && self.architecture() == base.architecture();
        for key in ["os", "architecture", "variant", "os.version", "os.features"] {
            match base.document.iter().find(|(name, _)| *name == key) {
                Some((_, value)) => self.document.set(key, value),
                None if key == "variant" && is_same => {}
                None => self.document.remove(key),
            }
        }
    }

    /// Gives the image and each of its layers the creation time `created` (none when empty), so that the
    /// same inputs give the same config.
    pub fn stamp(&mut self, created: &str, rule: HistoryRule) {
        self.set_text("created", created);
        self.document.remove("container");
        for entry in &mut self.history {
            if rule == HistoryRule::Blank {
                *entry = JsonObject::default();
            }
            if created.is_empty() {
                entry.remove("created");
            } else {
                entry.set_first("created", created);
            }
        }
        self.edited.layers = true;
    }
}

impl PartialEq for ImageConfig {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

impl std::fmt::Debug for ImageConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_json())
    }
}

fn bionic(target: Target) -> Target {
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let distro = Distro { name: "ubuntu".to_owned(), version: "18.04".to_owned() };
    Target { os: or(target.os, "linux"), arch: or(target.arch, "amd64"), distro: Some(distro), ..target }
}

/// The value of `name`, its default when it is absent or null.
fn key<T: DeserializeOwned + Default>(
    object: &JsonObject,
    name: &str,
    key: &'static str,
) -> Result<T, ConfigError> {
    let value = object.get(name).map_err(|error| ConfigError::Key { key, error })?;
    Ok(value.unwrap_or_default())
}

/// The value of a key that [`ImageConfig::parse`] has checked.
fn known<T: DeserializeOwned + Default>(object: &JsonObject, name: &str) -> T {
    object.get(name).ok().flatten().unwrap_or_default()
}

fn set_or_remove(object: &mut JsonObject, key: &str, value: &str) {
    if value.is_empty() {
        object.remove(key);
    } else {
        object.set(key, value);
    }
}

/// As many entries as layers: those that made one, or empty ones where their number differs.
fn normalised(history: Vec<JsonObject>, layers: usize) -> Result<Vec<JsonObject>, ConfigError> {
    let mut kept = Vec::with_capacity(history.len());
    for entry in history {
        if !key::<bool>(&entry, "empty_layer", "history.empty_layer")? {
            kept.push(entry);
        }
    }
    if kept.len() != layers {
        kept = vec![JsonObject::default(); layers];
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
