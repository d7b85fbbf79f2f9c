//! What a build.Dockerfile or a run.Dockerfile may hold.
//!
//! [`permit`] is the only way to a [`Permitted`], and everything that applies a Dockerfile takes one.
//! What the specification forbids, and what we parse but do not carry out, is an error here: nothing is
//! passed over with a warning. Warnings are for what the specification advises against.

mod rebasable;
mod rules;
mod survey;
mod unsupported;

use std::fmt;

use crate::dockerfile::{Directives, Dockerfile, From, Instruction, Kind, Location, Span};
use crate::expand;
use crate::state::{Arguments, Scope, StepError};

pub use rebasable::{Claim, LABEL, RunDockerfile, Verdict, claim, verdict};
pub use rules::{Deny, PolicyRules, Refusal};
pub use survey::{Survey, Surveyed, is_root};
pub use unsupported::{SourceKind, source_kind};

/// The argument that holds the image a Dockerfile extends.
pub const BASE_IMAGE: &str = "base_image";

/// A value that no image has, to recognise the argument in an expanded FROM.
const BASE_MARK: &str = "\u{1}base_image\u{1}";

/// Which image a Dockerfile is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// build.Dockerfile.
    Build,
    /// run.Dockerfile.
    Run,
}

impl fmt::Display for Target {
    /// Writes `build` or `run`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Build => "build",
            Self::Run => "run",
        })
    }
}

/// What FROM says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// The image given as `base_image`, however it is spelled.
    Given,
    /// Another image: the run image is switched.
    Switched {
        /// Its reference, arguments expanded.
        image: String,
    },
}

/// Something the specification advises against, or that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The line it is about, from 1.
    pub line: usize,
    /// The message.
    pub message: String,
}

/// A Dockerfile that may not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {violation}")]
pub struct PolicyError {
    /// Where.
    pub location: Box<Location>,
    /// Why.
    #[source]
    pub violation: Violation,
}

/// Why a Dockerfile may not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// There is a second FROM.
    #[error("{0}.Dockerfile is not permitted to use multistage build")]
    Multistage(Target),
    /// A build.Dockerfile does not begin with `ARG base_image`.
    #[error("build.Dockerfile did not start with required ARG command")]
    NoBaseArgument,
    /// A build.Dockerfile is not `FROM ${base_image}`.
    #[error("build.Dockerfile did not contain required FROM ${{base_image}} command")]
    NotTheBase,
    /// A run.Dockerfile of an extension that may only switch does more.
    #[error("run.Dockerfile is not permitted to have instructions other than FROM")]
    OnlySwitch,
    /// FROM is no image.
    #[error("FROM `{image}`: {reason}")]
    NoImage {
        /// What stands there.
        image: String,
        /// Why it is none.
        reason: String,
    },
    /// A part of an instruction that is not supported.
    #[error("{feature} is not supported{reason}")]
    Unsupported {
        /// The flag or the source.
        feature: String,
        /// Why, with a leading separator; empty where the feature says it.
        reason: &'static str,
    },
    /// An argument above FROM cannot be evaluated.
    #[error(transparent)]
    Argument(Box<StepError>),
}

/// A Dockerfile that may be applied. Only [`permit`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    target: Target,
    dockerfile: Dockerfile,
    base: Base,
    warnings: Vec<Warning>,
    survey: Survey,
}

/// Checks a Dockerfile. `arguments` are those known before the build: from extend-config.toml, and the
/// platform's; not those the extender adds.
///
/// # Errors
/// The first violation, in the order: stages, `ARG` and `FROM`, instructions.
///
/// Spec: `image_extension.md`, "Dockerfile Requirements". Differs from the peer in accepting every
/// spelling of the base image argument, in expanding arguments of FROM, and in refusing what it would
/// ignore: spec-notes/decisions.md#dockerfile-policy.
pub fn permit(
    dockerfile: Dockerfile,
    target: Target,
    arguments: &Arguments,
) -> Result<Permitted, PolicyError> {
    if let [_, second, ..] = dockerfile.stages.as_slice() {
        let span = second.from.span;
        return Err(refuse(&dockerfile, span, "", Violation::Multistage(target)));
    }
    let from = &dockerfile.stages[0].from;
    if target == Target::Build && !begins_with_base(&dockerfile.meta_args) {
        let span = dockerfile.meta_args.first().map_or(from.span, |first| first.span);
        return Err(refuse(&dockerfile, span, "", Violation::NoBaseArgument));
    }
    let base = base(&dockerfile, arguments)
        .map_err(|violation| refuse(&dockerfile, from.span, &from.image, violation))?;
    if target == Target::Build && base != Base::Given {
        return Err(refuse(&dockerfile, from.span, &from.image, Violation::NotTheBase));
    }
    for instruction in &dockerfile.stages[0].instructions {
        unsupported::check(instruction)
            .map_err(|(needle, violation)| refuse(&dockerfile, instruction.span, &needle, violation))?;
    }
    let warnings = warnings(&dockerfile, target, &base);
    let survey = Survey::of(&dockerfile, arguments);
    Ok(Permitted { target, dockerfile, base, warnings, survey })
}

impl Permitted {
    /// Returns which image it is for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Returns what FROM says.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Returns whether it does more than to name its base.
    pub fn extends(&self) -> bool {
        !self.instructions().is_empty()
    }

    /// Returns its first instruction that has to do with files, which takes root's rights.
    pub fn first_of_files(&self) -> Option<&Instruction> {
        let has_files =
            |kind: &Kind| matches!(kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_));
        self.instructions().iter().find(|instruction| has_files(&instruction.kind))
    }

    /// Fails if it does more than to switch the base: extensions before Buildpack API 0.10 may not.
    ///
    /// # Errors
    /// [`Violation::OnlySwitch`] at the first instruction.
    pub fn only_switches(&self) -> Result<(), PolicyError> {
        match self.instructions().first() {
            None => Ok(()),
            Some(first) => Err(refuse(&self.dockerfile, first.span, "", Violation::OnlySwitch)),
        }
    }

    /// Returns the parser directives.
    pub fn directives(&self) -> &Directives {
        &self.dockerfile.directives
    }

    /// Returns the ARG instructions above FROM.
    pub fn meta_args(&self) -> &[Instruction] {
        &self.dockerfile.meta_args
    }

    /// Returns FROM.
    pub fn from(&self) -> &From {
        &self.dockerfile.stages[0].from
    }

    /// Returns the instructions below FROM.
    pub fn instructions(&self) -> &[Instruction] {
        &self.dockerfile.stages[0].instructions
    }

    /// Returns what to tell the user, in order of the file.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Returns what can be known of the instructions before they are applied.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Finds the place of a text in an instruction, for a message.
    pub fn locate(&self, span: Span, text: &str) -> Location {
        self.dockerfile.locate(span, text)
    }
}

fn refuse(dockerfile: &Dockerfile, span: Span, needle: &str, violation: Violation) -> PolicyError {
    PolicyError { location: Box::new(dockerfile.locate(span, needle)), violation }
}

/// Returns whether there is one ARG above FROM whose first name is `base_image`.
fn begins_with_base(meta_args: &[Instruction]) -> bool {
    let [Instruction { kind: Kind::Arg(declarations), .. }] = meta_args else {
        return false;
    };
    declarations.first().is_some_and(|first| first.name == BASE_IMAGE)
}

/// Decides what FROM says, with `base_image` known even where no ARG declares it.
fn base(dockerfile: &Dockerfile, arguments: &Arguments) -> Result<Base, Violation> {
    let mut arguments = arguments.clone();
    arguments.supplied.insert(BASE_IMAGE.to_owned(), BASE_MARK.to_owned());
    arguments.platform.insert(BASE_IMAGE.to_owned(), BASE_MARK.to_owned());
    let scope = Scope::new(&dockerfile.directives, &dockerfile.meta_args, arguments)
        .map_err(|error| Violation::Argument(Box::new(error)))?;
    let from = &dockerfile.stages[0].from;
    let no_image = |reason: String| Violation::NoImage { image: from.image.clone(), reason };
    if let Some(name) = unset(from, &scope, dockerfile.directives.escape) {
        return Err(no_image(format!("the argument `{name}` has no value")));
    }
    let image = scope.image(from).map_err(|error| no_image(error.error.to_string()))?;
    if image == BASE_MARK {
        return Ok(Base::Given);
    }
    if image.contains(BASE_MARK) {
        return Err(no_image("the base image can only be used as a whole".to_owned()));
    }
    if image == "scratch" || image.contains(char::is_whitespace) {
        return Err(no_image("it is not an image".to_owned()));
    }
    Ok(Base::Switched { image })
}

/// Finds an argument that FROM needs and that has no value: an image with a part left out by accident
/// is another image.
fn unset(from: &From, scope: &Scope, escape: char) -> Option<String> {
    let lookup = |name: &str| scope.global(name).map(|(value, _)| value);
    let unset = expand::word(&from.image, escape, &lookup).ok()?.unset;
    let plain = |name: &String| {
        let rest = |start: &str| from.image.find(start).map(|at| &from.image[at + start.len()..]);
        let ends = |text: &str| !text.starts_with(|ch: char| ch.is_alphanumeric() || ch == '_');
        from.image.contains(&format!("${{{name}}}")) || rest(&format!("${name}")).is_some_and(ends)
    };
    unset.into_iter().find(plain)
}

fn warnings(dockerfile: &Dockerfile, target: Target, base: &Base) -> Vec<Warning> {
    let from = &dockerfile.stages[0].from;
    let mut warnings: Vec<Warning> = dockerfile
        .warnings
        .iter()
        .map(|warning| Warning { line: warning.line, message: warning.message.clone() })
        .collect();
    let mut warn = |line: usize, message: String| warnings.push(Warning { line, message });
    if *base == Base::Given && !declares(&dockerfile.meta_args, BASE_IMAGE) {
        let message = format!("{target}.Dockerfile uses {BASE_IMAGE} without declaring it by ARG above FROM");
        warn(from.span.line, message);
    }
    if from.platform.is_some() {
        let message = format!("--platform of FROM on line {} is ignored", from.span.line);
        warn(from.span.line, message);
    }
    for instruction in &dockerfile.stages[0].instructions {
        if let Kind::Recorded(recorded) = &instruction.kind {
            let (name, line) = (recorded.name(), instruction.span.line);
            let message = format!("{target}.Dockerfile command {name} on line {line} is not recommended");
            warn(line, message);
        }
    }
    warnings.sort_by_key(|warning| warning.line);
    warnings
}

fn declares(meta_args: &[Instruction], name: &str) -> bool {
    meta_args.iter().any(|instruction| match &instruction.kind {
        Kind::Arg(declarations) => declarations.iter().any(|declaration| declaration.name == name),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
