//! What a rebase is told.

use crate::cli::exit::{Exit, Failure};
use crate::cli::values::{InputError, Inputs};
use crate::cli::{images, inputs, setup};
use crate::files;
use crate::files::report::Report;
use crate::image::rebase::Force;
use crate::image::store::ImageStore;
use crate::log::Log;
use crate::phase::rebase::{self, RebaseError, ShadowCheck};
use crate::reference::{Reference, StoreKind};

/// What to do about files that stay hidden.
const SHADOW_HINT: &str = "Build the image again on the new run image, or rebase it as it is with -force or CNB_REBASE_SHADOW=warn.";

/// What a rebase is told, owned.
#[derive(Debug)]
pub struct RebaseInputs {
    app: Reference,
    images: Vec<Reference>,
    run_image: Option<String>,
    force: Force,
    shadow: ShadowCheck,
}

impl RebaseInputs {
    /// Checks and gathers it.
    pub fn new(inputs: &Inputs, kind: StoreKind) -> Result<Self, Failure> {
        let invalid = |error| Failure::new(Exit::Arguments, "resolve inputs", error);
        let images = images::destinations(inputs, kind)?;
        let previous = inputs.text(inputs::PREVIOUS_IMAGE).map(|name| Reference::parse(&name));
        let app = previous.transpose().map_err(invalid)?.unwrap_or_else(|| images[0].clone());
        let run_image = run_image(inputs)?;
        run_image.as_deref().map(Reference::parse).transpose().map_err(invalid)?;
        let force = if inputs.switch(inputs::FORCE) { Force::Yes } else { Force::No };
        Ok(Self { app, images, run_image, force, shadow: shadow(inputs)? })
    }

    /// Runs the rebase and writes the report, for which there is a place before anything is saved.
    pub fn run(&self, inputs: &Inputs, store: &dyn ImageStore, log: &Log) -> Result<(), Failure> {
        let failed = |error| Failure::new(Exit::Rebase, "rebase", error);
        let report = files::reserve(Report::NAME, &inputs.path_of(inputs::REPORT)).map_err(|error| {
            Failure::new(Exit::Rebase, "rebase", error)
                .hint("-report or CNB_REPORT_PATH says where the report is written; nothing was rebased.")
        })?;
        let rebased = rebase::rebase(
            &rebase::Inputs {
                store,
                app: &self.app,
                images: &self.images,
                run_image: self.run_image.as_deref(),
                platform: inputs.api,
                force: self.force,
                shadow: self.shadow,
            },
            log,
        );
        let rebased = rebased.map_err(|error| {
            let shadowed = matches!(error, RebaseError::Shadow(_));
            let failure = Failure::new(Exit::Rebase, "rebase", error);
            if shadowed { failure.hint(SHADOW_HINT) } else { failure }
        })?;
        report.write(&setup::report(inputs, rebased)).map_err(failed)
    }
}

/// What happens when extensions hide files that the new run image has changed.
fn shadow(inputs: &Inputs) -> Result<ShadowCheck, Failure> {
    let text = inputs.text(inputs::REBASE_SHADOW).unwrap_or_default();
    match text.as_str() {
        "" | "warn" => Ok(ShadowCheck::Warn),
        "fail" => Ok(ShadowCheck::Fail),
        "off" => Ok(ShadowCheck::Off),
        _ => {
            let name = inputs::REBASE_SHADOW.name();
            let error = InputError::Value { name, value: text, wanted: "warn, fail or off" };
            Err(Failure::new(Exit::Arguments, "resolve inputs", error))
        }
    }
}

/// The run image that the platform names, under either of its flags.
fn run_image(inputs: &Inputs) -> Result<Option<String>, Failure> {
    match (inputs.flag(inputs::RUN_IMAGE), inputs.flag(inputs::IMAGE)) {
        (Some(_), Some(_)) => {
            let error = InputError::Unsupported(inputs::IMAGE.name(), " together with -run-image");
            Err(Failure::new(Exit::Arguments, "resolve inputs", error))
        }
        (None, Some(deprecated)) => Ok(Some(deprecated)),
        (_, None) => Ok(inputs.text(inputs::RUN_IMAGE)),
    }
}
