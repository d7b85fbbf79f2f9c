//! `build.toml`: what a buildpack did not provide.
//!
//! Spec: buildpack.md "build.toml".

use serde::Deserialize;

use super::bom::LegacyBom;
use super::plan::BuildpackPlan;
use super::{SpecFile, SyntaxError, parse_toml};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct BuildFile {
    /// The legacy bill of materials of the build.
    pub bom: LegacyBom,
    unmet: Vec<Unmet>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct Unmet {
    name: String,
}

/// Why an entry of `unmet` means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnmetError {
    /// It has no name.
    #[error("unmet.name is required")]
    NoName,
    /// Its name is not in the buildpack's plan.
    #[error("unmet.name '{0}' must match a requested dependency")]
    NotRequested(String),
}

impl BuildFile {
    /// The names of `plan` that the buildpack has met: all but those that it calls unmet.
    pub fn met<'plan>(&self, plan: &'plan BuildpackPlan) -> Result<Vec<&'plan str>, UnmetError> {
        for unmet in &self.unmet {
            if unmet.name.is_empty() {
                return Err(UnmetError::NoName);
            }
            if !plan.entries.iter().any(|entry| entry.name == unmet.name) {
                return Err(UnmetError::NotRequested(unmet.name.clone()));
            }
        }
        let is_met = |name: &&str| !self.unmet.iter().any(|unmet| unmet.name == *name);
        Ok(plan.entries.iter().map(|entry| entry.name.as_str()).filter(is_met).collect())
    }
}

impl SpecFile for BuildFile {
    const NAME: &'static str = "build";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::plan::Require;
    use proptest::prelude::*;

    fn plan(names: &[&str]) -> BuildpackPlan {
        let require = |name: &&str| Require { name: (*name).to_owned(), metadata: None };
        BuildpackPlan { entries: names.iter().map(require).collect() }
    }

    #[track_caller]
    fn check(unmet: &[&str], names: &[&str], expected: Result<&[&str], &str>) {
        let text =
            unmet.iter().map(|name| format!("[[unmet]]\nname = '{name}'\n")).collect::<Vec<_>>().concat();
        let found = BuildFile::parse(&text).expect("valid");
        let plan = plan(names);
        let found = found.met(&plan).map_err(|error| error.to_string());
        assert_eq!(found, expected.map(<[&str]>::to_vec).map_err(str::to_owned));
    }

    #[test]
    fn what_is_not_called_unmet_is_met() {
        check(&[], &["a", "b", "a"], Ok(&["a", "b", "a"]));
        check(&["a"], &["a", "b", "a"], Ok(&["b"]));
        check(&["a", "a", "b"], &["a", "b"], Ok(&[]));
        check(&[], &[], Ok(&[]));
    }

    #[test]
    fn only_what_is_planned_can_be_unmet() {
        check(&["c"], &["a"], Err("unmet.name 'c' must match a requested dependency"));
        check(&[""], &["a"], Err("unmet.name is required"));
        check(&["a"], &[], Err("unmet.name 'a' must match a requested dependency"));
    }

    #[test]
    fn a_bom_with_versions_outside_metadata_is_refused() {
        let text = "[[bom]]\nname = 'dep'\nversion = '1'\n";
        let error = BuildFile::parse(text).expect_err("refused").to_string();
        assert!(error.contains("bom entry 'dep' has a top level version which is not allowed"), "{error}");
        let found =
            BuildFile::parse("[[bom]]\nname = 'dep'\n[bom.metadata]\nversion = '1'\n").expect("valid");
        assert_eq!(found.bom.entries(), ["dep"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[\\[?(unmet|bom|bom.metadata)\\]?\\]\n|(name|version) = ['a-z0-9]{1,5}\n){0,6}") {
            let _ = BuildFile::parse(&text).map(|file| file.met(&plan(&["a"])).is_ok());
        }
    }
}
