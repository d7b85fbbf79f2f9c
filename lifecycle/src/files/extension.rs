//! `extension.toml`: the descriptor of an image extension.
//!
//! Spec: image_extension.md "extension.toml".

use serde::Deserialize;

use super::{SpecFile, SyntaxError, parse_toml};
use crate::target::DeclaredTarget;

/// The whole file. ID and version are those under which it was looked up, not the file's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ExtensionFile {
    /// The Buildpack API as written; empty when there is none.
    pub api: String,
    /// What describes the extension.
    pub extension: ExtensionInfo,
    /// What it runs on.
    pub targets: Vec<DeclaredTarget>,
}

/// The table `[extension]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ExtensionInfo {
    /// Its homepage; empty when it has none.
    pub homepage: String,
    /// Whether it does without the user's variables in its environment.
    pub clear_env: bool,
    /// The execution environments that it supports; empty is no limit.
    #[serde(deserialize_with = "crate::exec_env::deserialize_list")]
    pub exec_env: Vec<String>,
}

impl SpecFile for ExtensionFile {
    const NAME: &'static str = "extension";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[test]
    fn keys_are_read_and_unknown_ones_ignored() {
        let file = ExtensionFile::parse(
            "api = '0.12'\n[extension]\nid = 'e'\nname = 'E'\nclear-env = true\nexec-env = ['test']\n\
             [[targets]]\nos = 'linux'\n[[targets.distros]]\nname = 'ubuntu'\n",
        )
        .unwrap();
        assert!(file.extension.clear_env);
        assert_eq!((file.extension.exec_env, file.targets.len()), (vec!["test".to_owned()], 1));
    }

    const SAMPLE: &str = "api = \"0.12\"\n\
        [extension]\nclear-env = true\nhomepage = \"h\"\nexec-env = [\"test\"]\n\
        [[targets]]\nos = \"linux\"\nvariant = \"v8\"\n\
        [[targets.distros]]\nname = \"u\"\n";

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(SAMPLE)) {
            let _ = ExtensionFile::parse(&text);
        }
    }
}
