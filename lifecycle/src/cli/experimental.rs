//! Whether a platform may use what the specification calls experimental.
//!
//! Spec: platform.md "Experimental Features".

use super::exit::{Exit, Failure};
use super::inputs::EXPERIMENTAL_MODE;
use super::values::Inputs;
use crate::log::Log;

/// Something experimental.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Images as OCI layout directories.
    Layout,
    /// Image extensions, before Platform API 0.13.
    Dockerfiles,
}

impl Feature {
    const fn name(self) -> &'static str {
        match self {
            Self::Layout => "export to OCI layout format",
            Self::Dockerfiles => "Dockerfiles",
        }
    }
}

/// Fails where experimental features are off, which is the default, and warns where the platform
/// wants to be warned. A mode that nobody knows is off (spec-notes/decisions.md, "Experimental mode").
pub fn guard(inputs: &Inputs, feature: Feature, log: &Log) -> Result<(), Failure> {
    let mode = inputs.text(EXPERIMENTAL_MODE).unwrap_or_default();
    let requested = format!("Platform requested experimental feature '{}'", feature.name());
    match mode.as_str() {
        "silent" | "quiet" => Ok(()),
        "warn" => {
            log.warn(requested);
            Ok(())
        }
        _ => {
            let error =
                format!("{requested}: experimental features are disabled by CNB_EXPERIMENTAL_MODE={mode}");
            Err(Failure::new(Exit::Failed, "", error)
                .hint("Set CNB_EXPERIMENTAL_MODE=warn to use it, or =silent to use it without this warning."))
        }
    }
}
