//! What names a buildpack or an extension: kind, ID and version, checked where they are read; and
//! the Buildpack API that it declares.
//!
//! Both become names of directories, so nothing that could lead elsewhere gets this far.
//!
//! Spec: buildpack.md "buildpack.toml"; readings: spec-notes/decisions.md, "Component names".

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::{ApiError, BuildpackApi};

/// IDs whose layers directory would be the lifecycle's own.
const RESERVED: [&str; 4] = ["app", "config", "generated", "sbom"];

/// The most bytes of an ID or a version: file systems refuse more in one name.
const MAX_BYTES: usize = 250;

/// Which of the two kinds of component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A buildpack, component or composite.
    Buildpack,
    /// An image extension.
    Extension,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buildpack => "buildpack",
            Self::Extension => "extension",
        })
    }
}

/// A Buildpack API that is malformed, not given, or not supported: exit code 12. The texts are
/// those that platforms' tests quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComponentApiError {
    /// Not a version.
    #[error("parse buildpack API '<nil>' for {kind} '{component}': {source}")]
    Malformed {
        /// Buildpack or extension.
        kind: Kind,
        /// `id@version`.
        component: String,
        /// What is wrong with it.
        source: ApiError,
    },
    /// A version that is not supported.
    #[error(
        "set API for {kind} '{component}': \
         buildpack API version '{found}' is incompatible with the lifecycle; {source}"
    )]
    Unsupported {
        /// Buildpack or extension.
        kind: Kind,
        /// `id@version`.
        component: String,
        /// The version as declared.
        found: String,
        /// Which are supported.
        source: ApiError,
    },
}

/// The Buildpack API that `component` declares as `text`.
pub fn parse_api(kind: Kind, component: &str, text: &str) -> Result<BuildpackApi, ComponentApiError> {
    let component = component.to_owned();
    text.parse().map_err(|source| match source {
        ApiError::Malformed(_) => ComponentApiError::Malformed { kind, component, source },
        ApiError::Unsupported { .. } => {
            ComponentApiError::Unsupported { kind, component, found: text.to_owned(), source }
        }
    })
}

/// Why an ID or a version was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It holds what a name of a component must not.
    #[error("`{0}` is not a component ID: letters, digits, `.`, `-`, `_`, and `/` between parts")]
    Id(String),
    /// It names a directory of the lifecycle.
    #[error("component ID `{0}` is reserved")]
    Reserved(String),
    /// It cannot be the name of a directory.
    #[error("`{0}` is not a component version: no spaces, no `/`, not `.` or `..`")]
    Version(String),
}

/// The ID of a buildpack or an extension, for example `samples/java-maven`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComponentId(String);

/// The version of a buildpack or an extension, an opaque text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComponentVersion(String);

impl ComponentId {
    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the component's directories: `/` becomes `_`.
    pub fn escaped(&self) -> String {
        self.0.replace('/', "_")
    }
}

impl ComponentVersion {
    /// The version as text, and as the name of a directory.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ComponentId {
    type Error = NameError;

    fn try_from(id: String) -> Result<Self, NameError> {
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(letter);
        if RESERVED.contains(&id.as_str()) {
            Err(NameError::Reserved(id))
        } else if id.len() > MAX_BYTES || !id.split('/').all(part) {
            Err(NameError::Id(id))
        } else {
            Ok(Self(id))
        }
    }
}

impl TryFrom<String> for ComponentVersion {
    type Error = NameError;

    fn try_from(version: String) -> Result<Self, NameError> {
        let letter = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != '\\';
        let fits = !matches!(version.as_str(), "" | "." | "..") && version.len() <= MAX_BYTES;
        if fits && version.chars().all(letter) { Ok(Self(version)) } else { Err(NameError::Version(version)) }
    }
}

macro_rules! text {
    ($name:ident) => {
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }
    };
}

text!(ComponentId);
text!(ComponentVersion);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: &str, escaped: Option<&str>) {
        assert_eq!(id.parse::<ComponentId>().ok().map(|id| id.escaped()).as_deref(), escaped, "{id:?}");
    }

    #[test]
    fn ids_become_directory_names() {
        check("samples/java-maven", Some("samples_java-maven"));
        check("hello_world", Some("hello_world"));
        check("io.buildpacks.Ruby", Some("io.buildpacks.Ruby"));
        check("a/config", Some("a_config"));
        check("..a", Some("..a"));
    }

    #[test]
    fn ids_that_lead_elsewhere_are_refused() {
        for id in
            ["", ".", "..", "../x", "a/../b", "/a", "a/", "a//b", "a b", "a\0", "a\n", "ä", "a\\b", "$a"]
        {
            check(id, None);
        }
        check(&"a".repeat(MAX_BYTES + 1), None);
    }

    #[test]
    fn reserved_ids_are_refused() {
        for id in RESERVED {
            assert_eq!(id.parse::<ComponentId>(), Err(NameError::Reserved(id.to_owned())));
        }
    }

    #[test]
    fn apis_are_refused_in_the_words_that_platforms_quote() {
        let message = |text| parse_api(Kind::Buildpack, "hello_world@0.0.1", text).unwrap_err().to_string();
        assert!(message("").starts_with("parse buildpack API '<nil>' for buildpack 'hello_world@0.0.1'"));
        assert!(message("0.6").starts_with(
            "set API for buildpack 'hello_world@0.0.1': buildpack API version '0.6' is incompatible with the lifecycle"
        ));
        assert_eq!(parse_api(Kind::Extension, "e@1", "0.9"), Ok(BuildpackApi::V0_9));
    }

    #[test]
    fn versions_are_single_names() {
        for version in ["1", "1.2.3", "v1-rc+2", "<any>"] {
            assert!(version.parse::<ComponentVersion>().is_ok(), "{version}");
        }
        for version in ["", ".", "..", "../1", "1/2", "1 2", "1\0", "a\\b"] {
            assert!(version.parse::<ComponentVersion>().is_err(), "{version:?}");
        }
    }
}
