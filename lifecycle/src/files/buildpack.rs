//! `buildpack.toml`: the descriptor of a buildpack.
//!
//! Spec: buildpack.md "buildpack.toml".

use serde::Deserialize;

use super::order::OrderGroup;
use super::{SpecFile, SyntaxError, parse_toml};
use crate::target::DeclaredTarget;

/// The whole file. ID and version are those under which it was looked up, not the file's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct BuildpackFile {
    /// The Buildpack API as written; empty when there is none.
    pub api: String,
    /// What describes the buildpack.
    pub buildpack: BuildpackInfo,
    /// The groups of a composite buildpack; empty for a component.
    pub order: Vec<OrderGroup>,
    /// What it runs on.
    pub targets: Vec<DeclaredTarget>,
    /// What it ran on before there were targets.
    pub stacks: Vec<StackEntry>,
}

/// The table `[buildpack]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BuildpackInfo {
    /// Its homepage; empty when it has none.
    pub homepage: String,
    /// Whether it does without the user's variables in its environment.
    pub clear_env: bool,
    /// Media types of the SBOM files that it writes.
    pub sbom_formats: Vec<String>,
    /// The execution environments that it supports; empty is no limit.
    #[serde(deserialize_with = "crate::exec_env::deserialize_list")]
    pub exec_env: Vec<String>,
}

/// An entry of the deprecated `stacks`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct StackEntry {
    /// The stack's ID, or `*`.
    pub id: String,
}

impl SpecFile for BuildpackFile {
    const NAME: &'static str = "buildpack";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[test]
    fn unknown_keys_and_free_metadata_are_ignored() {
        let file = BuildpackFile::parse(
            "api = '0.10'\nextra = 1\n[buildpack]\nid = 'a'\nkeywords = ['k']\nclear-env = true\n\
             sbom-formats = ['application/spdx+json']\nhomepage = 'https://a'\n\
             [[buildpack.licenses]]\ntype = 'MIT'\n[metadata]\nany = { thing = 1 }\n",
        )
        .unwrap();
        assert_eq!((file.api.as_str(), file.buildpack.clear_env), ("0.10", true));
        assert_eq!(file.buildpack.sbom_formats, ["application/spdx+json"]);
        assert!(file.order.is_empty() && file.targets.is_empty() && file.buildpack.exec_env.is_empty());
    }

    #[track_caller]
    fn check_exec_env(text: &str, expected: &[&str]) {
        let file = BuildpackFile::parse(&format!("[buildpack]\n{text}")).unwrap();
        assert_eq!(file.buildpack.exec_env, expected);
    }

    #[test]
    fn exec_env_is_read_in_both_forms() {
        check_exec_env("exec-env = ['production', 'test']\n", &["production", "test"]);
        check_exec_env(
            "[[buildpack.exec-env]]\nname = 'test'\n[[buildpack.exec-env]]\nname = '*'\n",
            &["test", "*"],
        );
        for wrong in ["exec-env = [1]", "exec-env = 'test'", "[[buildpack.exec-env]]\nnames = 'x'"] {
            assert!(BuildpackFile::parse(&format!("[buildpack]\n{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn members_of_a_composite_need_a_version() {
        let text = "[[order]]\n[[order.group]]\nid = 'a'\n";
        assert!(BuildpackFile::parse(text).unwrap_err().message.contains("missing field `version`"));
    }

    const SAMPLE: &str = "api = \"0.12\"\n\
        [buildpack]\nclear-env = true\nsbom-formats = [\"a\"]\n\
        [[buildpack.exec-env]]\nname = \"test\"\n\
        [[order]]\n\
        [[order.group]]\nid = \"a\"\nversion = \"1\"\n\
        [[targets]]\nos = \"linux\"\n\
        [[targets.distros]]\nname = \"u\"\nversion = \"1\"\n\
        [[stacks]]\nid = \"*\"\n";

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(SAMPLE)) {
            let _ = BuildpackFile::parse(&text);
        }
    }
}
