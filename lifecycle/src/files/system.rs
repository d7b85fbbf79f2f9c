//! `system.toml`: buildpacks that an operator adds to every group.
//!
//! Spec: platform.md "system.toml".

use serde::Deserialize;

use super::order::OrderElement;
use super::{SpecFile, SyntaxError, parse_toml};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SystemFile {
    /// Its only table.
    pub system: System,
}

/// What is added, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct System {
    /// At the beginning of every group.
    pub pre: SystemBuildpacks,
    /// At the end of every group.
    pub post: SystemBuildpacks,
}

/// What is added in one of the places.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SystemBuildpacks {
    /// The buildpacks in order; `optional` is false unless said.
    pub buildpacks: Vec<OrderElement>,
}

impl SpecFile for SystemFile {
    const NAME: &'static str = "system";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[test]
    fn both_places_are_read_with_optional() {
        let file = SystemFile::parse(
            "[[system.pre.buildpacks]]\nid = 'a'\nversion = '1'\n\
             [[system.post.buildpacks]]\nid = 'b'\nversion = '2'\noptional = true\n",
        )
        .unwrap();
        assert!(!file.system.pre.buildpacks[0].optional);
        assert!(file.system.post.buildpacks[0].optional);
        assert_eq!(SystemFile::parse("").unwrap(), SystemFile::default());
    }

    #[test]
    fn id_and_version_are_required() {
        let error = SystemFile::parse("[[system.pre.buildpacks]]\nid = 'a'\n").unwrap_err();
        assert!(error.to_string().contains("missing field `version`"), "{error}");
    }

    const SAMPLE: &str = "[[system.pre.buildpacks]]\nid = \"a\"\nversion = \"1\"\n\
        [[system.post.buildpacks]]\nid = \"b\"\nversion = \"2\"\noptional = true\n";

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(SAMPLE)) {
            let _ = SystemFile::parse(&text);
        }
    }
}
