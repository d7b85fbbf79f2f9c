//! Which arguments exist: those supplied, those declared above FROM, and those every build has.

use std::collections::{BTreeMap, BTreeSet};

use super::{BUILD_ID, StepError, ValueError};
use crate::dockerfile::{Declaration, Directives, From, Instruction, Kind};
use crate::expand;

/// The names that reach RUN without being declared.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Build arguments from outside the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments {
    /// What the lifecycle and extend-config.toml supply: `base_image`, `build_id`, `user_id`,
    /// `group_id` and the extension's own. One that no ARG declares has no effect.
    pub supplied: BTreeMap<String, String>,
    /// What FROM sees, and ARG without a default takes: `TARGETARCH` and the like.
    pub platform: BTreeMap<String, String>,
    /// Proxies of the platform, under either case of their names: they reach RUN, and no key.
    pub proxies: BTreeMap<String, String>,
}

/// The arguments of one Dockerfile: supplied, and declared above FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    escape: char,
    arguments: Arguments,
    /// The arguments that only FROM sees, until ARG declares them again.
    globals: BTreeMap<String, String>,
    volatile: BTreeSet<String>,
}

impl Scope {
    /// Evaluates the ARG instructions above FROM.
    ///
    /// # Errors
    /// A default that cannot be expanded.
    pub fn new(
        directives: &Directives,
        meta_args: &[Instruction],
        arguments: Arguments,
    ) -> Result<Self, StepError> {
        let mut globals = arguments.platform.clone();
        for (name, value) in &mut globals {
            if let Some(supplied) = arguments.supplied.get(name) {
                value.clone_from(supplied);
            }
        }
        let escape = directives.escape;
        let mut scope = Self { escape, arguments, globals, volatile: BTreeSet::new() };
        for instruction in meta_args {
            let Kind::Arg(declarations) = &instruction.kind else { continue };
            for declaration in declarations {
                scope.declare(declaration).map_err(|error| StepError {
                    instruction: "ARG",
                    span: instruction.span,
                    error,
                })?;
            }
        }
        Ok(scope)
    }

    fn declare(&mut self, declaration: &Declaration) -> Result<(), ValueError> {
        let name = &declaration.name;
        if let Some((value, volatile)) = self.supplied(name) {
            self.globals.insert(name.clone(), value);
            self.mark(name, volatile);
        } else if let Some(default) = &declaration.default {
            let lookup = |name: &str| self.globals.get(name).cloned();
            let expansion = expand::word(default, self.escape, &lookup)?;
            let volatile = !expansion.used.is_disjoint(&self.volatile);
            self.globals.insert(name.clone(), expansion.text);
            self.mark(name, volatile);
        }
        Ok(())
    }

    fn mark(&mut self, name: &str, volatile: bool) {
        if volatile {
            self.volatile.insert(name.to_owned());
        } else {
            self.volatile.remove(name);
        }
    }

    /// Expands the image of FROM.
    ///
    /// # Errors
    /// An image that cannot be expanded, or that is then empty.
    pub fn image(&self, from: &From) -> Result<String, StepError> {
        let lookup = |name: &str| self.globals.get(name).cloned();
        let invalid = |error: ValueError| StepError { instruction: "FROM", span: from.span, error };
        match expand::word(&from.image, self.escape, &lookup) {
            Ok(image) if image.text.is_empty() => {
                Err(invalid(ValueError::Invalid { what: "base image", value: from.image.clone() }))
            }
            Ok(image) => Ok(image.text),
            Err(error) => Err(invalid(error.into())),
        }
    }

    pub(super) fn escape(&self) -> char {
        self.escape
    }

    /// Returns a supplied argument, and whether it depends on `build_id`. A declared proxy is one.
    pub(super) fn supplied(&self, name: &str) -> Option<(String, bool)> {
        let Arguments { supplied, proxies, .. } = &self.arguments;
        let value = supplied.get(name).or_else(|| proxies.get(name))?;
        Some((value.clone(), name == BUILD_ID))
    }

    /// Returns an argument from above FROM, and whether it depends on `build_id`.
    pub(crate) fn global(&self, name: &str) -> Option<(String, bool)> {
        let value = self.globals.get(name)?;
        Some((value.clone(), self.volatile.contains(name)))
    }

    /// Returns the proxies under both cases of their names; supplied ones before the platform's.
    pub(super) fn proxies(&self) -> BTreeMap<String, String> {
        let mut proxies = BTreeMap::new();
        for name in PROXIES {
            let spellings = [name.to_owned(), name.to_lowercase()];
            let given =
                |from: &BTreeMap<String, String>| spellings.iter().find_map(|name| from.get(name).cloned());
            let value = given(&self.arguments.supplied).or_else(|| given(&self.arguments.proxies));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                proxies.extend(spellings.map(|name| (name, value.clone())));
            }
        }
        proxies
    }
}
