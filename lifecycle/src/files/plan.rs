//! `plan.toml`: what the group requires and who provides it; and the part of it that one
//! component gets to see.
//!
//! Spec: platform.md "plan.toml", buildpack.md "Buildpack Plan".

use serde::{Deserialize, Serialize};
use toml::Table;

use super::component_id::{ComponentId, ComponentVersion};
use super::{SpecFile, SyntaxError, parse_toml};

/// The whole file. No order is told by the specification; it is that of the first provider.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// One entry for each name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<PlanEntry>,
}

/// What is required under one name, and who provides it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanEntry {
    /// Who provides it, in the order of the group.
    pub providers: Vec<Provider>,
    /// The requirements, in the order of the group, all of one name.
    pub requires: Vec<Require>,
}

/// A component that provides something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its ID.
    pub id: ComponentId,
    /// Its version.
    pub version: ComponentVersion,
    /// Whether it is an extension.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extension: bool,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Require {
    /// What is required.
    pub name: String,
    /// Data of the buildpack that requires it, for whoever provides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Table>,
}

/// The part of a plan that one component is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildpackPlan {
    /// The requirements that it is expected to meet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Require>,
}

impl Plan {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan is a table of tables")
    }

    /// What the buildpack `id` is expected to meet.
    pub fn for_buildpack(&self, id: &ComponentId) -> BuildpackPlan {
        self.provided_by(|provider| provider.id == *id && !provider.extension)
    }

    /// What the extension `id` is expected to meet.
    pub fn for_extension(&self, id: &ComponentId) -> BuildpackPlan {
        self.provided_by(|provider| provider.id == *id && provider.extension)
    }

    fn provided_by(&self, is_it: impl Fn(&Provider) -> bool) -> BuildpackPlan {
        let entries = self.entries.iter().filter(|entry| entry.providers.iter().any(&is_it));
        BuildpackPlan { entries: entries.flat_map(|entry| entry.requires.clone()).collect() }
    }

    /// The plan without the entries under the names that were met.
    #[must_use]
    pub fn without<'a>(&self, met: impl IntoIterator<Item = &'a str>) -> Self {
        let met: std::collections::BTreeSet<&str> = met.into_iter().collect();
        let is_met =
            |entry: &&PlanEntry| entry.requires.iter().any(|require| met.contains(require.name.as_str()));
        Self { entries: self.entries.iter().filter(|entry| !is_met(entry)).cloned().collect() }
    }
}

impl BuildpackPlan {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan is a table of tables")
    }
}

impl SpecFile for Plan {
    const NAME: &'static str = "plan";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    const TEXT: &str = "[[entries]]\n\n[[entries.providers]]\nid = \"a\"\nversion = \"1\"\nextension = true\n\n\
         [[entries.providers]]\nid = \"b\"\nversion = \"1\"\n\n[[entries.requires]]\nname = \"x\"\n\n\
         [entries.requires.metadata]\nversion = \"2\"\n\n[[entries.requires]]\nname = \"x\"\n\n\
         [[entries]]\n\n[[entries.providers]]\nid = \"b\"\nversion = \"1\"\n\n[[entries.requires]]\nname = \"y\"\n";

    #[test]
    fn plans_survive_writing_and_reading() {
        let plan = Plan::parse(TEXT).unwrap();
        assert_eq!(Plan::parse(&plan.to_toml()).unwrap(), plan);
        assert_eq!(plan.to_toml(), TEXT);
        assert_eq!(Plan::default().to_toml(), "");
    }

    #[test]
    fn components_see_what_they_provide_by_kind() {
        let plan = Plan::parse(TEXT).unwrap();
        let names =
            |plan: BuildpackPlan| plan.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>();
        assert_eq!(names(plan.for_extension(&"a".parse().unwrap())), ["x", "x"]);
        assert_eq!(names(plan.for_buildpack(&"a".parse().unwrap())), [""; 0]);
        assert_eq!(names(plan.for_buildpack(&"b".parse().unwrap())), ["x", "x", "y"]);
    }

    #[test]
    fn what_was_met_is_left_out() {
        let plan = Plan::parse(TEXT).unwrap();
        assert_eq!(plan.without(["x"]).entries.len(), 1);
        assert_eq!(plan.without(["x", "y", "z"]), Plan::default());
        assert_eq!(plan.without([]), plan);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(TEXT)) {
            if let Ok(plan) = Plan::parse(&text) {
                let written = plan.to_toml();
                proptest::prop_assert_eq!(Plan::parse(&written).map(|plan| plan.to_toml()), Ok(written));
            }
        }
    }
}
