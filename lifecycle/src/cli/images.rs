//! The images that a phase is told of: where the app image goes, and which run image is taken.

use super::exit::{Exit, Failure};
use super::inputs;
use super::stores;
use super::values::{InputError, Inputs};
use crate::files::run::{Extensions, MirroredImage, Run};
use crate::files::stack::Stack;
use crate::files::{self, FileError};
use crate::phase::analyze::RunImageChoice;
use crate::reference::{ImageName, Reference, ReferenceError, StoreKind};

/// The names under which the app image is saved, the first one first; at least one.
///
/// # Errors
/// When a name is not a reference, and when they are on several registries although a registry is
/// where they go: one build has one set of credentials and one place for its layers.
pub fn destinations(inputs: &Inputs, kind: StoreKind) -> Result<Vec<Reference>, Failure> {
    let mut names: Vec<Reference> = Vec::new();
    for text in inputs.images.iter().chain(&inputs.list(inputs::TAG)) {
        let reference = Reference::parse(text).map_err(invalid)?;
        if !names.iter().any(|name| name.written == reference.written) {
            names.push(reference);
        }
    }
    let registry = names.first().map(|name| name.registry.clone());
    if kind != StoreKind::Daemon && names.iter().any(|name| Some(&name.registry) != registry.as_ref()) {
        return Err(Failure::new(
            Exit::Arguments,
            "resolve inputs",
            "writing to multiple registries is unsupported",
        ));
    }
    Ok(names)
}

/// The image of the build before: `-previous-image`, else the app image.
pub fn previous_image(inputs: &Inputs, kind: StoreKind) -> Result<ImageName, Failure> {
    let given = inputs.text(inputs::PREVIOUS_IMAGE);
    let text = given.as_ref().or(inputs.images.first()).expect("the phase has at least one image");
    ImageName::given(kind, text).map_err(invalid)
}

/// The run image that the platform names, or those it lets us choose from.
///
/// # Errors
/// When none is named at all, and when the name is not a reference.
pub fn run_image(inputs: &Inputs, app: &Reference) -> Result<RunImageChoice, Failure> {
    let named = inputs.text(inputs::RUN_IMAGE);
    if let Some(name) = named {
        ImageName::given(stores::kind(inputs)?, &name).map_err(invalid)?;
        return Ok(RunImageChoice::Named(name));
    }
    let listed = if inputs.api.has_targets() { listed_in_run(inputs) } else { listed_in_stack(inputs) };
    let images = listed.map_err(|error| Failure::new(Exit::Arguments, "resolve inputs", error))?;
    if let Some(images) = images.filter(|images| !images.image.is_empty()) {
        return Ok(RunImageChoice::OneOf { images, registry: app.registry.clone() });
    }
    let missing = InputError::Missing(inputs::RUN_IMAGE.name(), " when there is no run metadata available");
    let file = if inputs.api.has_targets() { inputs::RUN } else { inputs::STACK };
    let hint =
        format!("Name a run image with -run-image, or list one in `{}`.", inputs.path_of(file).display());
    Err(Failure::new(Exit::Arguments, "resolve inputs", missing).hint(hint))
}

fn listed_in_run(inputs: &Inputs) -> Result<Option<MirroredImage>, FileError> {
    let run = files::read_if_present::<Run>(&inputs.path_of(inputs::RUN))?;
    Ok(run.and_then(|run| run.images.into_iter().next()))
}

fn listed_in_stack(inputs: &Inputs) -> Result<Option<MirroredImage>, FileError> {
    let stack = files::read_if_present::<Stack>(&inputs.path_of(inputs::STACK))?;
    Ok(stack.map(|stack| stack.run_image))
}

/// What the app image's label says about its run image, of which `name` is the name in `analyzed.toml`.
pub fn run_image_for_label(
    inputs: &Inputs,
    name: &str,
    extensions: Extensions,
) -> Result<Option<MirroredImage>, FileError> {
    if !inputs.api.has_targets() {
        return listed_in_stack(inputs);
    }
    let run = files::read_if_present::<Run>(&inputs.path_of(inputs::RUN))?;
    Ok(run.and_then(|run| run.entry_for(name, extensions)))
}

fn invalid(error: ReferenceError) -> Failure {
    Failure::new(Exit::Arguments, "resolve inputs", error)
}
