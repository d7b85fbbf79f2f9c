//! The build plan: what one component provides and requires, as its `bin/detect` wrote it.
//!
//! Spec: buildpack.md "Build Plan".

use serde::Deserialize;
use toml::Table;

use super::plan::Require;
use super::{SpecFile, SyntaxError, parse_toml};

/// The whole file: the alternatives, first to be tried first. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPlan(Vec<Sections>);

/// One alternative.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sections {
    /// What is required, with data for whoever provides it.
    pub requires: Vec<Require>,
    /// What is provided, by name.
    pub provides: Vec<String>,
}

impl Eq for Sections {}

impl Default for BuildPlan {
    fn default() -> Self {
        Self(vec![Sections::default()])
    }
}

impl BuildPlan {
    /// The alternatives, first to be tried first; at least one.
    pub fn alternatives(&self) -> &[Sections] {
        &self.0
    }

    /// Whether any alternative requires something, which extensions must not.
    pub fn requires_anything(&self) -> bool {
        self.0.iter().any(|sections| !sections.requires.is_empty())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    requires: Vec<RequireEntry>,
    provides: Vec<ProvideEntry>,
    or: Vec<SectionsEntry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SectionsEntry {
    requires: Vec<RequireEntry>,
    provides: Vec<ProvideEntry>,
}

#[derive(Deserialize)]
struct RequireEntry {
    name: String,
    #[serde(default)]
    version: String,
    metadata: Option<Table>,
}

#[derive(Deserialize)]
struct ProvideEntry {
    name: String,
}

impl SpecFile for BuildPlan {
    const NAME: &'static str = "build plan";

    /// Fails also on `version` beside the name of a requirement, whose place is in its metadata
    /// (spec-notes/decisions.md, "Version of a requirement").
    fn parse(text: &str) -> Result<Self, SyntaxError> {
        let File { requires, provides, or } = parse_toml(text)?;
        let first = SectionsEntry { requires, provides };
        let all = [first].into_iter().chain(or);
        all.map(SectionsEntry::check).collect::<Result<_, _>>().map(Self)
    }
}

impl SectionsEntry {
    fn check(self) -> Result<Sections, SyntaxError> {
        let requires = self.requires.into_iter().map(RequireEntry::check).collect::<Result<_, _>>()?;
        Ok(Sections { requires, provides: self.provides.into_iter().map(|provide| provide.name).collect() })
    }
}

impl RequireEntry {
    fn check(self) -> Result<Require, SyntaxError> {
        if self.version.is_empty() {
            return Ok(Require { name: self.name, metadata: self.metadata });
        }
        let both = self.metadata.is_some_and(|metadata| metadata.contains_key("version"));
        Err(SyntaxError::rule(if both {
            "the build plan has a \"version\" key and a \"metadata.version\" which cannot be specified together. \
             \"metadata.version\" should be used instead"
        } else {
            "the build plan has a \"version\" key which is not supported. \"metadata.version\" should be used instead"
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[track_caller]
    fn check(text: &str, expected: &[(&[&str], &[&str])]) {
        let plan = BuildPlan::parse(text).unwrap();
        let found: Vec<(Vec<&str>, Vec<&str>)> = plan
            .alternatives()
            .iter()
            .map(|sections| {
                let requires = sections.requires.iter().map(|require| require.name.as_str()).collect();
                (requires, sections.provides.iter().map(String::as_str).collect())
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(r, p)| (r.to_vec(), p.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn empty_file_is_one_empty_alternative() {
        check("", &[(&[], &[])]);
        assert_eq!(BuildPlan::parse("").unwrap(), BuildPlan::default());
    }

    #[test]
    fn top_level_comes_before_the_alternatives() {
        check(
            "[[or]]\n[[or.requires]]\nname = 'c'\n[[or]]\n[[requires]]\nname = 'a'\n[[provides]]\nname = 'b'\n",
            &[(&["a"], &["b"]), (&["c"], &[]), (&[], &[])],
        );
    }

    #[test]
    fn metadata_is_kept_whatever_it_holds() {
        let plan = BuildPlan::parse(
            "[[requires]]\nname = 'a'\n[requires.metadata]\nversion = 3\n[requires.metadata.deep]\nx = [1]\n",
        );
        let metadata = plan.unwrap().alternatives()[0].requires[0].metadata.clone().unwrap();
        assert_eq!(metadata["version"].as_integer(), Some(3));
        assert_eq!(metadata["deep"]["x"][0].as_integer(), Some(1));
    }

    #[test]
    fn version_beside_the_name_is_refused_everywhere() {
        let message = |text: &str| BuildPlan::parse(text).unwrap_err().message;
        assert!(message("[[requires]]\nname = 'a'\nversion = '1'\n").contains("not supported"));
        assert!(message("[[or]]\n[[or.requires]]\nname = 'a'\nversion = '1'\n").contains("not supported"));
        let both = "[[requires]]\nname = 'a'\nversion = '1'\n[requires.metadata]\nversion = '1'\n";
        assert!(message(both).contains("cannot be specified together"));
    }

    const SAMPLE: &str = "[[provides]]\nname = \"a\"\n\
        [[requires]]\nname = \"b\"\n\
        [requires.metadata]\nversion = \"1\"\nn = { x = [1, 2.5] }\n\
        [[or]]\n\
        [[or.requires]]\nname = \"c\"\n\
        [[or.provides]]\nname = \"d\"\n";

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(SAMPLE)) {
            if let Ok(plan) = BuildPlan::parse(&text) {
                proptest::prop_assert!(!plan.alternatives().is_empty());
            }
        }
    }
}
