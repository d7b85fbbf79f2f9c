//! `group.toml`: the buildpacks, and extensions, that build the app.
//!
//! Spec: platform.md "group.toml".

use serde::{Deserialize, Serialize};

use super::component_id::{ComponentApiError, ComponentId, ComponentVersion, Kind, parse_api};
use super::{SpecFile, SyntaxError, parse_toml};
use crate::api::BuildpackApi;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Group {
    /// The buildpacks in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<GroupElement>,
    /// The extensions in order; they come before the buildpacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_extensions: Vec<GroupElement>,
}

/// A buildpack or an extension of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupElement {
    /// Its ID.
    pub id: ComponentId,
    /// Its version.
    pub version: ComponentVersion,
    /// Its Buildpack API as written; empty when the file names none.
    #[serde(default)]
    pub api: String,
    /// Its homepage; empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
}

impl Group {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a group is a table of texts")
    }
}

impl GroupElement {
    /// The Buildpack API. Fails on a version that is malformed or not supported.
    pub fn api(&self, kind: Kind) -> Result<BuildpackApi, ComponentApiError> {
        parse_api(kind, &self.to_string(), &self.api)
    }
}

impl std::fmt::Display for GroupElement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

impl SpecFile for Group {
    const NAME: &'static str = "group";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    const TEXT: &str = "[[group]]\nid = \"a/b\"\nversion = \"1.0\"\napi = \"0.10\"\nhomepage = \"https://a\"\n\n\
                        [[group-extensions]]\nid = \"e\"\nversion = \"2\"\napi = \"0.12\"\n";

    #[test]
    fn groups_survive_writing_and_reading() {
        let group = Group::parse(TEXT).unwrap();
        assert_eq!(group.to_toml(), TEXT);
        assert_eq!(group.group[0].to_string(), "a/b@1.0");
        assert_eq!(group.group[0].api(Kind::Buildpack), Ok(BuildpackApi::V0_10));
        assert_eq!(Group::default().to_toml(), "");
    }

    #[test]
    fn platforms_may_leave_the_api_out_and_add_keys() {
        let group =
            Group::parse("[[group]]\nid = 'a'\nversion = '1'\noptional = true\nextension = false").unwrap();
        assert!(group.group[0].api(Kind::Buildpack).is_err());
    }

    #[test]
    fn hostile_names_are_refused() {
        assert!(Group::parse("[[group]]\nid = '../x'\nversion = '1'\n").is_err());
        assert!(Group::parse("[[group-extensions]]\nid = 'x'\nversion = '..'\n").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(TEXT)) {
            if let Ok(group) = Group::parse(&text) {
                proptest::prop_assert_eq!(Group::parse(&group.to_toml()), Ok(group));
            }
        }
    }
}
