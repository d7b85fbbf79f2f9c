//! `<layer>.toml`, the layer content metadata: what a layer is for, and data of its buildpack.
//!
//! Spec: buildpack.md "Layer Content Metadata", "Layer Types".

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{SpecFile, SyntaxError, parse_toml};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerFile {
    /// What the layer is for.
    pub types: LayerTypes,
    /// The buildpack's own data; `None` when there is none.
    pub metadata: Option<Value>,
}

/// What a layer is for; for nothing, it is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LayerTypes {
    /// The app image.
    pub launch: bool,
    /// The buildpacks that come later.
    pub build: bool,
    /// The next build.
    pub cache: bool,
}

impl LayerTypes {
    /// Whether the layer is for nothing but its own buildpack, now.
    pub fn is_ignored(self) -> bool {
        self == Self::default()
    }
}

impl LayerFile {
    /// The text of a restored file: the data without the types, which the buildpack must set again.
    ///
    /// Spec: buildpack.md "Reusing Layers".
    pub fn restored_toml(&self) -> String {
        let metadata = self.metadata.iter().map(|metadata| ("metadata".to_owned(), metadata.clone()));
        metadata.collect::<Table>().to_string()
    }
}

impl SpecFile for LayerFile {
    const NAME: &'static str = "layer";

    /// Fails also on types outside `[types]`, as buildpacks before API 0.6 wrote them: to take such
    /// a layer for ignored would lose it without a word.
    fn parse(text: &str) -> Result<Self, SyntaxError> {
        #[derive(Deserialize)]
        struct Written {
            #[serde(default)]
            types: LayerTypes,
            metadata: Option<Value>,
            launch: Option<Value>,
            build: Option<Value>,
            cache: Option<Value>,
        }
        let written: Written = parse_toml(text)?;
        if written.launch.is_some() || written.build.is_some() || written.cache.is_some() {
            return Err(SyntaxError::rule("the launch, cache and build flags should be in the types table"));
        }
        Ok(Self { types: written.types, metadata: written.metadata })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(bool, bool, bool), &str>) {
        let found =
            LayerFile::parse(text).map(|file| (file.types.launch, file.types.build, file.types.cache));
        assert_eq!(found.map_err(|error| error.message), expected.map_err(str::to_owned));
    }

    #[test]
    fn types_stand_in_their_table_and_are_false_by_default() {
        check("", Ok((false, false, false)));
        check("[types]", Ok((false, false, false)));
        check("[types]\nlaunch = true", Ok((true, false, false)));
        check("[types]\nbuild = true\ncache = true\nother = 1\n[more]", Ok((false, true, true)));
        let wrong = "the launch, cache and build flags should be in the types table";
        check("launch = true", Err(wrong));
        check("cache = false\n[types]\nlaunch = true", Err(wrong));
        check("build = 'x'", Err(wrong));
        check("[types]\nlaunch = 'yes'", Err("invalid type: string \"yes\", expected a boolean"));
    }

    #[test]
    fn restored_metadata_is_what_was_written_without_types() {
        let text = "[types]\nlaunch = true\n[metadata]\nversion = \"1\"\ncount = 3\nbig = 9007199254740993\n\
                    ratio = 1.0\nwhen = 2020-01-02T03:04:05Z\n[metadata.nested]\nkey = true\n";
        let file = LayerFile::parse(text).expect("valid");
        let restored = LayerFile::parse(&file.restored_toml()).expect("valid");
        assert_eq!(restored, LayerFile { types: LayerTypes::default(), metadata: file.metadata });
        assert_eq!(LayerFile::default().restored_toml(), "");
        assert!(LayerTypes::default().is_ignored());
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_restored_or_refused(
            text in "(\\[\\[?(types|metadata|metadata.a)\\]?\\]\n|(launch|cache|metadata|x) = (true|'a'|1.5|\\[1, 'a'\\]|\\{ y = 2 \\})\n){0,6}",
        ) {
            if let Ok(file) = LayerFile::parse(&text) {
                let restored = LayerFile::parse(&file.restored_toml()).expect("valid");
                prop_assert_eq!(restored.metadata, file.metadata);
                prop_assert!(restored.types.is_ignored());
            }
        }
    }
}
