//! How a phase ends: every exit code, and what the user reads when it is not 0.
//!
//! Spec: platform.md, the exit code tables under "Usage".

use std::error::Error;
use std::io::{self, Write};

use super::inputs::Phase;
use super::reason::reason;
use crate::log::{Fault, Log, causes, chain};
use crate::phase::build::BuildError;
use crate::phase::detect::DetectError;
use crate::phase::generate::GenerateError;

/// Why a phase ends, as the platform is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It failed before its work began: privileges, log level.
    Failed,
    /// A flag does not exist or is malformed.
    Usage,
    /// The inputs do not fit together.
    Arguments,
    /// `CNB_PLATFORM_API` is not supported.
    PlatformApi,
    /// A buildpack or extension speaks a Buildpack API that is not supported.
    BuildpackApi,
    /// No group passed detection.
    NotDetected,
    /// No group passed detection, and at least one buildpack failed with an error.
    NotDetectedWithErrors,
    /// Detection failed otherwise.
    Detect,
    /// Analysis failed.
    Analyze,
    /// Restoration failed.
    Restore,
    /// A buildpack's `bin/build` failed.
    BuildpackFailed,
    /// Building failed otherwise.
    Build,
    /// Exporting failed.
    Export,
    /// Rebasing failed.
    Rebase,
    /// The launcher failed.
    Launch,
    /// An extension's `bin/generate` failed.
    GenerateFailed,
    /// Generating failed otherwise.
    Generate,
    /// Extending failed.
    Extend,
}

impl Exit {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Arguments => 3,
            Self::PlatformApi => 11,
            Self::BuildpackApi => 12,
            Self::NotDetected => 20,
            Self::NotDetectedWithErrors => 21,
            Self::Detect => 22,
            Self::Analyze => 32,
            Self::Restore => 42,
            Self::BuildpackFailed => 51,
            Self::Build => 52,
            Self::Export => 62,
            Self::Rebase => 72,
            Self::Launch => 82,
            Self::GenerateFailed => 91,
            Self::Generate => 92,
            Self::Extend => 102,
        }
    }
}

impl Exit {
    /// A name for programs that read logs. It stays the same for good, whatever becomes of the texts.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Arguments => "inputs",
            Self::PlatformApi => "platform-api-unsupported",
            Self::BuildpackApi => "buildpack-api-unsupported",
            Self::NotDetected => "not-detected",
            Self::NotDetectedWithErrors => "not-detected-with-errors",
            Self::Detect => "detect-failed",
            Self::Analyze => "analyze-failed",
            Self::Restore => "restore-failed",
            Self::BuildpackFailed => "buildpack-failed",
            Self::Build => "build-failed",
            Self::Export => "export-failed",
            Self::Rebase => "rebase-failed",
            Self::Launch => "launch-failed",
            Self::GenerateFailed => "extension-failed",
            Self::Generate => "generate-failed",
            Self::Extend => "extend-failed",
        }
    }
}

impl Exit {
    /// What it means, for the help.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "failed before the work began: privileges, log level",
            Self::Usage => "a flag does not exist or is malformed",
            Self::Arguments => "the inputs do not fit together",
            Self::PlatformApi => "CNB_PLATFORM_API is not supported",
            Self::BuildpackApi => "a buildpack or extension speaks a Buildpack API that is not supported",
            Self::NotDetected => "no group of buildpacks fits the application",
            Self::NotDetectedWithErrors => "no group fits, and at least one buildpack failed with an error",
            Self::Detect => "detection failed otherwise",
            Self::Analyze => "analysis failed",
            Self::Restore => "restoration failed",
            Self::BuildpackFailed => "a buildpack's bin/build failed",
            Self::Build => "building failed otherwise",
            Self::Export => "exporting failed",
            Self::Rebase => "rebasing failed",
            Self::Launch => "launching failed",
            Self::GenerateFailed => "an extension's bin/generate failed",
            Self::Generate => "generating failed otherwise",
            Self::Extend => "extending failed",
        }
    }

    /// The codes that `phase` can end with beside 0, ascending.
    pub fn of_phase(phase: Phase) -> Vec<Self> {
        let own: &[Self] = match phase {
            Phase::Analyzer => &[Self::Analyze],
            Phase::Detector => &[
                Self::BuildpackApi,
                Self::NotDetected,
                Self::NotDetectedWithErrors,
                Self::Detect,
                Self::GenerateFailed,
                Self::Generate,
            ],
            Phase::Restorer => &[Self::BuildpackApi, Self::Restore],
            Phase::Extender => &[Self::BuildpackApi, Self::BuildpackFailed, Self::Build, Self::Extend],
            Phase::Builder => &[Self::BuildpackApi, Self::BuildpackFailed, Self::Build],
            Phase::Exporter => &[Self::BuildpackApi, Self::Export],
            Phase::Creator => &[
                Self::BuildpackApi,
                Self::NotDetected,
                Self::NotDetectedWithErrors,
                Self::Detect,
                Self::Analyze,
                Self::Restore,
                Self::BuildpackFailed,
                Self::Build,
                Self::Export,
                Self::GenerateFailed,
                Self::Generate,
                Self::Extend,
            ],
            Phase::Rebaser => &[Self::Rebase],
        };
        [&[Self::Failed, Self::Usage, Self::Arguments, Self::PlatformApi], own].concat()
    }
}

impl From<Phase> for Exit {
    /// The code of a failure in `phase` that has none of its own.
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Analyzer => Self::Analyze,
            Phase::Detector => Self::Detect,
            Phase::Restorer => Self::Restore,
            Phase::Extender => Self::Extend,
            Phase::Builder => Self::Build,
            Phase::Exporter => Self::Export,
            Phase::Creator => Self::Failed,
            Phase::Rebaser => Self::Rebase,
        }
    }
}

impl From<&DetectError> for Exit {
    fn from(error: &DetectError) -> Self {
        match error {
            DetectError::NoGroup => Self::NotDetected,
            DetectError::NoGroupWithErrors => Self::NotDetectedWithErrors,
            _ if error.is_api_mismatch() => Self::BuildpackApi,
            DetectError::Component(_) | DetectError::Order(_) => Self::Detect,
        }
    }
}

impl From<&GenerateError> for Exit {
    fn from(error: &GenerateError) -> Self {
        match error {
            _ if error.is_api_mismatch() => Self::BuildpackApi,
            _ if error.is_extension_failure() => Self::GenerateFailed,
            _ => Self::Generate,
        }
    }
}

impl From<&BuildError> for Exit {
    fn from(error: &BuildError) -> Self {
        match error {
            _ if error.is_buildpack_api() => Self::BuildpackApi,
            _ if error.is_failed_buildpack() => Self::BuildpackFailed,
            _ => Self::Build,
        }
    }
}

/// A failure as the user is told of it: what could not be done, why, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// Which code the process ends with.
    pub exit: Exit,
    /// What failed, after "failed to"; empty where the error says it.
    doing: String,
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl Failure {
    /// `doing` (after "failed to") did not succeed because of `error`.
    pub fn new(exit: Exit, doing: impl Into<String>, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, doing: doing.into(), error: error.into(), hint: None }
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Tells `log` of it.
    pub fn tell(&self, log: &Log) {
        log.fault(&Fault {
            text: &self.text(),
            id: self.exit.id(),
            reason: reason(self.error.as_ref()),
            exit_code: self.exit.code(),
            causes: &causes(self.error.as_ref()),
            hint: self.hint.as_deref(),
        });
    }

    /// The whole text: `failed to <doing>: <error>: <its cause>…`, and the hint on a line of its own.
    pub fn text(&self) -> String {
        let mut text = chain(self.error.as_ref());
        if !self.doing.is_empty() {
            text = format!("failed to {}: {text}", self.doing);
        }
        if let Some(hint) = &self.hint {
            text.push_str("\n  ");
            text.push_str(hint);
        }
        text
    }
}

/// Makes a panic, which is a fault of ours, end the process with `exit` and a report of where it was.
pub fn on_panic(phase: &'static str, exit: Exit) {
    std::panic::set_hook(Box::new(move |panic| {
        // Nobody may be there to read it; that must not be a second panic.
        let _: io::Result<()> = writeln!(
            io::stderr(),
            "ERROR: {phase} {panic}\n  This is a fault in the lifecycle, not in your build: please report it."
        );
        std::process::exit(exit.code().into());
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read `/a`")]
    struct Read(#[source] std::io::Error);

    #[test]
    fn failure_reads_from_what_to_why_to_what_to_do() {
        let error = Read(std::io::Error::other("disk on fire"));
        let failure = Failure::new(Exit::Export, "export", error).hint("Call the fire brigade.");
        assert_eq!(failure.text(), "failed to export: read `/a`: disk on fire\n  Call the fire brigade.");
    }

    #[test]
    fn repeated_causes_are_left_out() {
        #[derive(Debug, thiserror::Error)]
        #[error("read: {0}")]
        struct Twice(#[source] std::io::Error);
        assert_eq!(Failure::new(Exit::Failed, "", Twice(std::io::Error::other("no"))).text(), "read: no");
    }

    #[test]
    fn codes_of_a_phase_ascend_and_hold_its_own() {
        use Phase::{Analyzer, Builder, Creator, Detector, Exporter, Extender, Rebaser, Restorer};
        for phase in [Analyzer, Builder, Creator, Detector, Exporter, Extender, Rebaser, Restorer] {
            let exits = Exit::of_phase(phase);
            assert!(exits.is_sorted_by_key(|exit| exit.code()), "{phase:?}: {exits:?}");
            assert!(exits.contains(&phase.into()), "{phase:?}");
        }
    }

    #[test]
    fn every_phase_fails_in_its_own_range() {
        let code = |phase: Phase| Exit::from(phase).code();
        assert_eq!(code(Phase::Detector) / 10, 2);
        assert_eq!(code(Phase::Analyzer) / 10, 3);
        assert_eq!(code(Phase::Restorer) / 10, 4);
        assert_eq!(code(Phase::Builder) / 10, 5);
        assert_eq!(code(Phase::Exporter) / 10, 6);
        assert_eq!(code(Phase::Rebaser) / 10, 7);
        assert_eq!(code(Phase::Extender) / 10, 10);
    }
}
