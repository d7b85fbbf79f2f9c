//! `extend-config.toml`: the build arguments that an extension gives its Dockerfiles.
//!
//! Spec: image_extension.md "extend-config.toml".

use serde::Deserialize;

use super::{SpecFile, SyntaxError, parse_toml};

/// The arguments that the lifecycle gives itself; an extension must not.
const RESERVED: [&str; 3] = ["build_id", "user_id", "group_id"];

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ExtendConfig {
    /// For `build.Dockerfile`.
    pub build: Args,
    /// For `run.Dockerfile`.
    pub run: Args,
}

/// The arguments of one Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    /// In the order of the file.
    pub args: Vec<Arg>,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl SpecFile for ExtendConfig {
    const NAME: &'static str = "extend config";

    /// Fails also on an argument that the lifecycle gives itself.
    fn parse(text: &str) -> Result<Self, SyntaxError> {
        let config: Self = parse_toml(text)?;
        let mut names = config.build.args.iter().chain(&config.run.args).map(|arg| arg.name.as_str());
        match names.find(|name| RESERVED.contains(name)) {
            Some(name) => {
                Err(SyntaxError::rule(format!("invalid content: arg with name {name:?} is not allowed")))
            }
            None => Ok(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[test]
    fn arguments_of_both_kinds_are_read() {
        let text = "[[build.args]]\nname = 'a'\nvalue = '1'\n[[run.args]]\nname = 'b'\nvalue = '2'\n";
        let config = ExtendConfig::parse(text).unwrap();
        assert_eq!((config.build.args[0].name.as_str(), config.run.args[0].value.as_str()), ("a", "2"));
        assert_eq!(ExtendConfig::parse("").unwrap(), ExtendConfig::default());
    }

    #[test]
    fn the_lifecycles_own_arguments_are_refused() {
        for name in RESERVED {
            let error =
                ExtendConfig::parse(&format!("[[run.args]]\nname = '{name}'\nvalue = '1'")).unwrap_err();
            assert!(error.message.contains(&format!("arg with name \"{name}\" is not allowed")), "{error}");
        }
    }

    const SAMPLE: &str = "[[build.args]]\nname = \"a\"\nvalue = \"1\"\n\
        [[run.args]]\nname = \"b\"\nvalue = \"2\"\n";

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(SAMPLE)) {
            let _ = ExtendConfig::parse(&text);
        }
    }
}
