//! Rebase: an app image on another base, everything else as it was.
//!
//! ```text
//!  app image          new base            rebased
//!  ┌────────────┐                        ┌────────────┐
//!  │ app layers │                        │ app layers │  the same blobs, the same config keys
//!  ├────────────┤     ┌──────────┐       ├────────────┤
//!  │ base       │     │ new base │       │ new base   │  its layers, history, target and labels
//!  └────────────┘     └──────────┘       └────────────┘
//! ```
//!
//! A pure function: nothing is read or written, so a refused rebase has changed nothing.
//!
//! Spec: platform.md "rebaser", Outputs; spec-notes/decisions.md#rebase.

mod checks;

use crate::api::{ApiError, PlatformApi};
use crate::digest::{DiffId, chain_id};
use serde_json::Value;

use crate::files::footprints::{self, Footprints};
use crate::files::labels::{self, RunImageMetadata};
use crate::files::run::MirroredImage;
use crate::files::stack::Stack;
use crate::image::{HistoryRule, Image};
use crate::json::{JsonError, JsonObject, go_json};
use crate::target::Target;

/// So many layers with the diffID of the old base's top layer are looked at.
const MAX_TOP_LAYERS: usize = 100;

/// What is put on what.
#[derive(Debug, Clone, Copy)]
pub struct Rebase<'a> {
    /// The app image.
    pub app: &'a Image,
    /// The new base; it must have been found in a store, which names exactly it.
    pub base: &'a Image,
    /// The new base as the user, or the app image's label, names it.
    pub base_name: &'a str,
    /// The Platform API of the caller.
    pub platform: PlatformApi,
    /// Whether to go on where a check says no.
    pub force: Force,
}

/// Whether to go on where a check says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Fail.
    No,
    /// Warn.
    Yes,
}

/// A rebased image, and what the user should know of it.
#[derive(Debug, Clone)]
pub struct Rebased {
    /// The image; no store has it yet.
    pub image: Image,
    /// What would have failed without [`Force::Yes`].
    pub warnings: Vec<String>,
    /// How many layers of the app image were its old base's.
    pub old_base: usize,
}

/// Why an image cannot be rebased.
#[derive(Debug, thiserror::Error)]
pub enum RebaseError {
    /// `CNB_PLATFORM_API` of the app image is no version.
    #[error("get app image platform API: {0}")]
    AppPlatformApi(ApiError),
    /// The app image says that it is not rebasable.
    #[error("app image is not marked as rebasable; please provide -force to override")]
    NotRebasable,
    /// The new base runs on something else.
    #[error(
        "unable to satisfy target os/arch constraints; new run image: {}, old run image: {}; please provide -force to override",
        go_json(base),
        go_json(app)
    )]
    Target {
        /// What the new base runs on.
        base: Box<Target>,
        /// What the app was built for.
        app: Box<Target>,
    },
    /// An image built before Platform API 0.12 names no stack.
    #[error("stack not defined on {0}")]
    NoStack(&'static str),
    /// The stacks differ.
    #[error("incompatible stack: '{base}' is not compatible with '{app}'")]
    Stack {
        /// The stack of the new base.
        base: String,
        /// The stack the app was built for.
        app: String,
    },
    /// The new base lacks mixins.
    #[error("missing required mixin(s): {}", .0.join(", "))]
    Mixins(Vec<String>),
    /// A label is not the JSON it must be.
    #[error("failed to unmarshal context of label '{label}' of the {image}: {error}")]
    Label {
        /// The label.
        label: &'static str,
        /// Whose.
        image: &'static str,
        /// What is wrong.
        error: JsonError,
    },
    /// The app image has no lifecycle metadata.
    #[error("app image has no label '{}': it was not built by a lifecycle", labels::LIFECYCLE_METADATA)]
    NoMetadata,
    /// The old base's top layer is not among the layers.
    #[error("rebase app image: could not find base layer '{0}' in image")]
    NoTopLayer(String),
    /// The new base has no layers, or was not found in a store.
    #[error("get rebase run image top layer SHA: image has no layers")]
    EmptyBase,
    /// The new base is not one of those that the app image lists.
    #[error(
        "rebase app image: new base image '{base}' not found in existing run image metadata: {listed}; please provide -force to override"
    )]
    NotListed {
        /// The new base's name.
        base: String,
        /// The run image metadata of the app image.
        listed: String,
    },
}

/// Puts an app image on a new base.
pub fn rebase(request: &Rebase<'_>) -> Result<Rebased, RebaseError> {
    let mut warnings = Vec::new();
    let built_for = checks::check(request, &mut warnings)?;
    let value = request.app.config.label(labels::LIFECYCLE_METADATA).ok_or(RebaseError::NoMetadata)?;
    let metadata = Metadata::parse(value)?;
    let count = base_length(request.app, &metadata)?;
    let names = checks::check_listed(request, &metadata, &mut warnings)?;
    let metadata = metadata.with_base(request, names.as_ref())?;

    let mut image = request.app.clone();
    let mut base = request.base.config.clone();
    base.stamp(&image.config.created(), history_rule(built_for));
    image.config.replace_base(count, &base);
    let base_layers = request.base.layers.iter().cloned().map(|mut layer| {
        layer.blob = layer.blob.map(|blob| blob.in_family(image.family));
        layer
    });
    image.layers.splice(..count, base_layers);
    image.config.take_platform(&request.base.config);
    sync_labels(request, &mut image);
    image.config.set_label(labels::LIFECYCLE_METADATA, &metadata);
    image.name = None;
    Ok(Rebased { image, warnings, old_base: count })
}

/// The run images that an app image names: from Platform API 0.12 those of `runImage`, else those of
/// `stack`. `None` when it names none.
///
/// Spec: platform.md "rebaser", Inputs.
pub fn recorded_run_images(app: &Image, platform: PlatformApi) -> Result<Option<MirroredImage>, RebaseError> {
    let value = app.config.label(labels::LIFECYCLE_METADATA).ok_or(RebaseError::NoMetadata)?;
    let metadata = Metadata::parse(value)?;
    let current = platform.has_targets().then(|| metadata.names());
    let legacy = metadata.stack.map(|stack| stack.run_image);
    Ok(current.into_iter().chain(legacy).find(|names| !names.image.is_empty()))
}

/// What an app was built for: it decides which checks apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BuiltFor {
    Target,
    Stack,
}

/// As at the export: the history of app images is kept since images are built for targets.
fn history_rule(built_for: BuiltFor) -> HistoryRule {
    match built_for {
        BuiltFor::Target => HistoryRule::Keep,
        BuiltFor::Stack => HistoryRule::Blank,
    }
}

fn metadata_error(error: JsonError) -> RebaseError {
    RebaseError::Label { label: labels::LIFECYCLE_METADATA, image: "app image", error }
}

/// The lifecycle metadata: what a rebase reads of it, and all of it. Old lifecycles wrote some of the
/// rest in other forms.
struct Metadata {
    document: JsonObject,
    run_image: RunImageMetadata,
    stack: Option<Stack>,
}

impl Metadata {
    fn parse(value: &str) -> Result<Self, RebaseError> {
        let document = JsonObject::parse(value).map_err(metadata_error)?;
        let run_image = document.get("runImage").map_err(metadata_error)?.unwrap_or_default();
        let stack = document.get("stack").map_err(metadata_error)?;
        Ok(Self { document, run_image, stack })
    }

    /// The old base's names, not those of `stack`.
    fn names(&self) -> MirroredImage {
        let RunImageMetadata { image, mirrors, .. } = self.run_image.clone();
        MirroredImage { image, mirrors }
    }

    /// How many layers it names.
    fn layers(&self) -> usize {
        let value = |key| self.document.get::<Value>(key).ok().flatten().unwrap_or_default();
        let singles = ["sbom", "config", "launcher", "process-types"].map(value);
        let (app, buildpacks) = (value("app"), value("buildpacks"));
        let of_buildpacks = buildpacks
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|buildpack| buildpack.get("layers")?.as_object().map(|layers| layers.values()));
        let all = app.as_array().into_iter().flatten().chain(&singles).chain(of_buildpacks.flatten());
        let has_sha =
            |layer: &&Value| layer.get("sha").and_then(Value::as_str).is_some_and(|sha| !sha.is_empty());
        all.filter(has_sha).count()
    }

    /// The label's value with the new base, every other key as it was. `names` replace the base's names.
    fn with_base(
        mut self,
        request: &Rebase<'_>,
        names: Option<&MirroredImage>,
    ) -> Result<String, RebaseError> {
        let top = request.base.config.diff_ids().last().ok_or(RebaseError::EmptyBase)?;
        let reference = request.base.name.as_ref().ok_or(RebaseError::EmptyBase)?;
        let mut run_image = self.object("runImage")?;
        run_image.set("topLayer", top);
        run_image.set("reference", &reference.to_string());
        if let Some(names) = names {
            run_image.set("image", &names.image);
            run_image.remove("mirrors");
            let mut stack = self.object("stack")?;
            stack.set("runImage", names);
            self.document.set("stack", &stack);
        }
        self.document.set("runImage", &run_image);
        Ok(go_json(&self.document))
    }

    fn object(&self, key: &str) -> Result<JsonObject, RebaseError> {
        Ok(self.document.get(key).map_err(metadata_error)?.unwrap_or_default())
    }
}

/// How many layers at the bottom are the old base's: up to and including `runImage.topLayer`.
///
/// That diffID may occur more than once, because all empty layers have the same. The footprints of
/// extensions name the base exactly. Unless extensions put layers between, the base ends where the layers
/// begin that the label names; else the first counts.
fn base_length(app: &Image, metadata: &Metadata) -> Result<usize, RebaseError> {
    let top = &metadata.run_image.top_layer;
    let missing = || RebaseError::NoTopLayer(top.clone());
    let wanted: DiffId = top.parse().map_err(|_| missing())?;
    let diff_ids = app.config.diff_ids();
    let first = diff_ids.iter().position(|diff_id| *diff_id == wanted).ok_or_else(missing)?;
    if let Some(named) = named_by_footprints(app, wanted) {
        return Ok(named);
    }
    let counted = diff_ids.len().checked_sub(metadata.layers() + 1);
    let last = counted.filter(|last| diff_ids[*last] == wanted && !is_extended(app));
    Ok(last.unwrap_or(first) + 1)
}

/// How many layers at the bottom, the last of them `top`, are those that the footprints of extensions are
/// about.
fn named_by_footprints(app: &Image, top: DiffId) -> Option<usize> {
    let base = Footprints::parse(app.config.label(footprints::LABEL)?).ok()?.base?;
    let diff_ids = app.config.diff_ids();
    let ends = (1..=diff_ids.len()).filter(|end| diff_ids[end - 1] == top);
    // A hostile image may have the layer ten thousand times.
    ends.take(MAX_TOP_LAYERS).find(|end| chain_id(&diff_ids[..*end]) == Some(base))
}

/// Whether extensions took part in the build.
fn is_extended(app: &Image) -> bool {
    let label = app.config.label(labels::BUILD_METADATA).and_then(|value| JsonObject::parse(value).ok());
    let extensions = label.and_then(|label| label.get::<Vec<JsonObject>>("extensions").ok().flatten());
    extensions.is_some_and(|extensions| !extensions.is_empty())
}

/// Labels of the base become those of the new one: added, changed, removed.
fn sync_labels(request: &Rebase<'_>, image: &mut Image) {
    let is_of_base = |label: &str| {
        label.starts_with(labels::STACK_PREFIX)
            || request.platform.has_targets() && label.starts_with(labels::BASE_PREFIX)
    };
    let old: Vec<String> = image.config.labels().keys().filter(|label| is_of_base(label)).cloned().collect();
    for label in old {
        image.config.remove_label(&label);
    }
    for (label, value) in request.base.config.labels().iter().filter(|(label, _)| is_of_base(label)) {
        image.config.set_label(label, value);
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
