//! Whether the app image may be rebased, once its run image is extended.
//!
//! Spec: platform.md "extender"; readings: spec-notes/decisions.md, "Rebasable".

use std::collections::BTreeSet;

use extensions::policy::{self, RunDockerfile, Verdict};
use extensions::state::ConfigState;

use super::Applied;
use crate::files::labels::REBASABLE;
use crate::image::Image;
use crate::log::Log;

/// How many paths a warning names.
const MAX_PATHS: usize = 10;

/// Sets the label in `state`, of the run image after its extensions.
pub fn label(base: &Image, state: &mut ConfigState, applied: &[Applied], log: &Log) {
    let dockerfiles: Vec<RunDockerfile> = applied.iter().map(dockerfile).collect();
    let base_label = base.config.label(REBASABLE);
    let value = match policy::verdict(base_label, &dockerfiles) {
        Verdict::Inherited => base_label.map(str::to_owned),
        Verdict::Rebasable { shadowed } => {
            for (extension, paths) in shadowed {
                log.warn(warning(&extension, &paths));
            }
            Some("true".to_owned())
        }
        Verdict::NotRebasable { reason } => {
            log.debug(format!("The app image will not be rebasable: {reason}"));
            Some("false".to_owned())
        }
    };
    match value {
        Some(value) => drop(state.labels.insert(REBASABLE.to_owned(), value)),
        None => drop(state.labels.remove(REBASABLE)),
    }
}

fn dockerfile(applied: &Applied) -> RunDockerfile {
    let footprints = applied.steps.iter().map(|step| &step.footprint);
    let shadowed: BTreeSet<&String> =
        footprints.flat_map(|footprint| footprint.overwrites.keys().chain(&footprint.whiteouts)).collect();
    RunDockerfile {
        extension: applied.extension.to_string(),
        extends: applied.extends,
        claim: applied.claim,
        shadowed: shadowed.into_iter().cloned().collect(),
    }
}

fn warning(extension: &str, paths: &[String]) -> String {
    let mut named: Vec<String> = paths.iter().take(MAX_PATHS).map(|path| format!("/{path}")).collect();
    if paths.len() > MAX_PATHS {
        named.push(format!("and {} more", paths.len() - MAX_PATHS));
    }
    format!(
        "extension {extension} says that its layers are rebasable, but they replace or remove files of the run \
         image, which stay as they are now after a rebase: {}",
        named.join(", ")
    )
}
