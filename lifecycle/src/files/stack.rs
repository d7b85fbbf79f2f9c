//! `stack.toml`: the run image before Platform API 0.12.
//!
//! Spec: platform.md 0.11 "stack.toml".

use serde::{Deserialize, Serialize};

use super::run::MirroredImage;
use super::{SpecFile, SyntaxError, parse_toml};

/// The run image and its mirrors; also the `stack` key of the lifecycle metadata label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stack {
    /// The run image.
    #[serde(rename = "runImage", alias = "run-image")]
    pub run_image: MirroredImage,
}

impl SpecFile for Stack {
    const NAME: &'static str = "stack";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[test]
    fn the_run_image_and_its_mirrors_are_read() {
        let text = "[build-image]\nimage = \"b\"\n[run-image]\nimage = \"a\"\nmirrors = [\"m\"]\n";
        let stack = Stack::parse(text).expect("a stack.toml");
        assert_eq!(stack.run_image.names().collect::<Vec<_>>(), ["a", "m"]);
        assert_eq!(Stack::parse("").expect("empty"), Stack::default());
        assert!(Stack::parse("[run-image]\nimage = 1").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged("[run-image]\nimage = \"a\"\nmirrors = [\"m\"]\n")) {
            let _ = Stack::parse(&text);
        }
    }
}
