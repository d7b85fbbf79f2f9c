//! `run.toml`: the run images a platform offers, and which one is taken.
//!
//! Spec: platform.md "run.toml", "Run Image Resolution".

use serde::{Deserialize, Serialize};

use super::{SpecFile, SyntaxError, parse_toml};
use crate::reference::Reference;

/// The run images a platform offers, first choice first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Each with its mirrors.
    pub images: Vec<MirroredImage>,
}

/// An image and the other places where it can be had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MirroredImage {
    /// Its name; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Names of the same image elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "super::null_is_empty")]
    pub mirrors: Vec<String>,
}

/// No run image can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunImageError {
    /// No run image is known at all.
    #[error("missing run image metadata (-run-image)")]
    Unknown,
    /// None of those known can be read.
    #[error("failed to find accessible run image among {}", quoted(.0))]
    NoneReadable(Vec<String>),
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl SpecFile for Run {
    const NAME: &'static str = "run";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

impl Run {
    /// What the app image's label says about its run image: the first entry that has `run_image`;
    /// else the first entry, unless extensions took part, which may have switched the run image:
    /// then its name alone. `None` when the platform offers nothing.
    ///
    /// Spec: platform.md "Run Image Resolution"; for extensions spec-notes/decisions.md#run-image-of-the-label.
    pub fn entry_for(&self, run_image: &str, extensions: Extensions) -> Option<MirroredImage> {
        let first = self.images.first()?;
        let listed = self.images.iter().find(|entry| entry.contains(run_image));
        Some(match (listed, extensions) {
            (Some(entry), _) => entry.clone(),
            (None, Extensions::TookPart) => {
                MirroredImage { image: run_image.to_owned(), mirrors: Vec::new() }
            }
            (None, Extensions::None) => first.clone(),
        })
    }

    /// Whether `image` is one of those offered; digests are ignored.
    pub fn contains(&self, image: &str) -> bool {
        self.images.iter().any(|entry| entry.contains(image))
    }
}

/// Whether image extensions took part in a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extensions {
    /// The group has none.
    None,
    /// The group has some.
    TookPart,
}

impl MirroredImage {
    /// The image and its mirrors, in order; empty names left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = std::iter::once(&self.image).chain(&self.mirrors);
        all.map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether `name` is the image or a mirror; digests are ignored.
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|known| is_same_image(known, name))
    }

    /// The one to use for an app image on `registry`: the first on that registry that can be read, else
    /// the first that can be read; and what reading it gave. Each is read at most once.
    ///
    /// Spec: platform.md "Run Image Resolution".
    pub fn best_for<T>(
        &self,
        registry: &str,
        mut read: impl FnMut(&str) -> Option<T>,
    ) -> Result<(&str, T), RunImageError> {
        if self.image.is_empty() {
            return Err(RunImageError::Unknown);
        }
        let (near, far): (Vec<&str>, Vec<&str>) = self
            .names()
            .partition(|name| Reference::parse(name).is_ok_and(|found| found.registry == registry));
        near.into_iter()
            .chain(far)
            .find_map(|name| Some((name, read(name)?)))
            .ok_or_else(|| RunImageError::NoneReadable(self.names().map(str::to_owned).collect()))
    }
}

/// Whether two names mean the same image, digests ignored. Names that do not parse are compared as texts.
fn is_same_image(one: &str, other: &str) -> bool {
    match (Reference::parse(one), Reference::parse(other)) {
        (Ok(one), Ok(other)) => one.is_same_image(&other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    fn entry(names: &[&str]) -> MirroredImage {
        let mut names = names.iter().map(|&name| name.to_owned());
        MirroredImage { image: names.next().unwrap_or_default(), mirrors: names.collect() }
    }

    #[track_caller]
    fn check_best(names: &[&str], unreadable: &[&str], expected: Option<&str>) {
        let mut asked = Vec::new();
        let entry = entry(names);
        let found = entry.best_for("here.io", |name| {
            asked.push(name.to_owned());
            (!unreadable.contains(&name)).then_some(name.len())
        });
        assert_eq!(found.ok(), expected.map(|name| (name, name.len())));
        let questions = asked.len();
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), questions, "an image was asked for twice");
    }

    #[test]
    fn a_readable_image_on_the_same_registry_comes_first() {
        check_best(&["a.io/run", "here.io/run", "here.io/other"], &[], Some("here.io/run"));
        check_best(&["a.io/run", "here.io/run", "here.io/o"], &["here.io/run"], Some("here.io/o"));
        check_best(&["a.io/run", "here.io/run"], &["here.io/run"], Some("a.io/run"));
        check_best(&["a.io/run", "b.io/run"], &["a.io/run"], Some("b.io/run"));
        check_best(&["a.io/run"], &["a.io/run"], None);
        check_best(&[], &[], None);
    }

    #[test]
    fn docker_hub_is_a_registry_like_any_other() {
        let entry = entry(&["a.io/run", "my/run"]);
        assert_eq!(entry.best_for("index.docker.io", |_| Some(())), Ok(("my/run", ())));
    }

    #[track_caller]
    fn check_entry(run_image: &str, extensions: Extensions, expected: &[&str]) {
        let run = Run { images: vec![entry(&["a.io/run:1", "b.io/run:1"]), entry(&["c.io/run"])] };
        assert_eq!(run.entry_for(run_image, extensions), Some(entry(expected)));
    }

    #[test]
    fn the_label_gets_the_entry_that_has_the_run_image() {
        let digest = "@sha256:0000000000000000000000000000000000000000000000000000000000000000";
        check_entry("c.io/run:latest", Extensions::None, &["c.io/run"]);
        check_entry("b.io/run:1", Extensions::TookPart, &["a.io/run:1", "b.io/run:1"]);
        check_entry(&format!("c.io/run{digest}"), Extensions::None, &["c.io/run"]);
        check_entry("d.io/run", Extensions::None, &["a.io/run:1", "b.io/run:1"]);
        check_entry("d.io/run", Extensions::TookPart, &["d.io/run"]);
        assert_eq!(Run::default().entry_for("d.io/run", Extensions::None), None);
    }

    #[test]
    fn the_file_is_read_and_unknown_keys_are_tolerated() {
        let run = Run::parse("x = 1\n[[images]]\nimage = \"a\"\nmirrors = [\"b\"]\ny = 2\n[[images]]\n")
            .expect("a run.toml");
        assert_eq!(run.images, [entry(&["a", "b"]), entry(&[])]);
        assert_eq!(Run::parse("").expect("empty"), Run::default());
        assert!(Run::parse("images = 1").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged("[[images]]\nimage = \"a\"\nmirrors = [\"b\", \"c\"]\n")) {
            let _ = Run::parse(&text);
        }
    }
}
