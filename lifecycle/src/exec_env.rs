//! Execution environments: where an app image is meant to run, and what is limited to some of them.
//!
//! Spec: buildpack.md "Execution Environments".

use serde::Deserialize;
use toml::Value;

/// The environment of a build that names none.
pub const DEFAULT: &str = "production";

/// Means every environment in a list.
const ANY: &str = "*";

/// A name that cannot be an execution environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("execution environment `{0}` contains `/`, which is reserved")]
pub struct ExecEnvError(String);

/// The execution environment of a build or a launch, such as `production` or `test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecEnv(String);

impl Default for ExecEnv {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl ExecEnv {
    /// Takes `name`; empty means the default. Fails on a name that contains `/`.
    pub fn new(name: &str) -> Result<Self, ExecEnvError> {
        match name {
            "" => Ok(Self::default()),
            name if name.contains('/') => Err(ExecEnvError(name.to_owned())),
            name => Ok(Self(name.to_owned())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether something limited to `supported` counts here. An empty list is no limit, and so is
    /// one that holds `*`.
    pub fn is_supported_by(&self, supported: &[String]) -> bool {
        supported.is_empty() || supported.iter().any(|name| *name == self.0 || name == ANY)
    }
}

impl std::fmt::Display for ExecEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads `exec-env` as tables with `name`, which is the specification's form in descriptors, or as
/// a list of names, which is its form everywhere else and the reference implementation's here.
pub(crate) fn deserialize_list<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let name = |value: Value| match value {
        Value::String(name) => Some(name),
        Value::Table(mut table) => match table.remove("name") {
            Some(Value::String(name)) => Some(name),
            _ => None,
        },
        _ => None,
    };
    let names: Option<Vec<String>> = Vec::<Value>::deserialize(from)?.into_iter().map(name).collect();
    names.ok_or_else(|| serde::de::Error::custom("exec-env must be names or tables with a `name`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(supported: &[&str], expected: bool) {
        let supported: Vec<String> = supported.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(ExecEnv::new("test").unwrap().is_supported_by(&supported), expected);
    }

    #[test]
    fn lists_limit_unless_empty_or_open() {
        check(&[], true);
        check(&["test"], true);
        check(&["production", "*"], true);
        check(&["production", "testing"], false);
    }

    #[test]
    fn empty_means_production_and_slashes_are_refused() {
        assert_eq!(ExecEnv::new("").unwrap().as_str(), "production");
        assert!(ExecEnv::new("a/b").unwrap_err().to_string().contains("`a/b`"));
    }
}
