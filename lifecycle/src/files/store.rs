//! `store.toml`: data that a buildpack keeps from one build to the next.
//!
//! Spec: buildpack.md "store.toml".

use serde::Deserialize;
use toml::{Table, Value};

use super::{SpecFile, SyntaxError, parse_toml};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct StoreFile {
    /// The buildpack's own data; `None` when there is none.
    pub metadata: Option<Table>,
}

impl StoreFile {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        let metadata = self.metadata.iter().map(|table| ("metadata".to_owned(), Value::Table(table.clone())));
        metadata.collect::<Table>().to_string()
    }
}

impl SpecFile for StoreFile {
    const NAME: &'static str = "store";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stores_survive_writing_and_reading() {
        let text = "[metadata]\nkept = \"between builds\"\nnumber = 7\n";
        let store = StoreFile::parse(text).expect("valid");
        assert_eq!(store.to_toml(), text);
        assert_eq!(StoreFile::parse("unknown = 1"), Ok(StoreFile::default()));
        assert_eq!(StoreFile::default().to_toml(), "");
        assert!(StoreFile::parse("metadata = 1").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_written_or_refused(
            text in "(\\[\\[?metadata(.a)?\\]?\\]\n|(metadata|x) = (true|'a'|1.5|\\[1, 'a'\\]|\\{ y = 2 \\})\n){0,6}",
        ) {
            if let Ok(store) = StoreFile::parse(&text) {
                prop_assert_eq!(StoreFile::parse(&store.to_toml()), Ok(store));
            }
        }
    }
}
