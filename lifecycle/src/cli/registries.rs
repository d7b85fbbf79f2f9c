//! Which registries a phase is going to ask: credentials for them must be at hand before privileges
//! are dropped.

use std::collections::BTreeSet;

use super::inputs;
use super::values::Inputs;
use crate::files;
use crate::files::analyzed::Analyzed;
use crate::files::run::Run;
use crate::files::stack::Stack;
use crate::reference::Reference;

/// The registries of all images that are named by arguments, variables or files; what is not a reference
/// is left to whoever needs it to complain.
pub fn named(inputs: &Inputs) -> Vec<String> {
    let mut names: Vec<String> = inputs.images.clone();
    names.extend(inputs.list(inputs::TAG));
    let single = [inputs::PREVIOUS_IMAGE, inputs::CACHE_IMAGE, inputs::RUN_IMAGE, inputs::BUILD_IMAGE];
    names.extend(single.iter().filter_map(|input| inputs.text(input)));
    names.extend(in_files(inputs));
    let registries = names.iter().filter_map(|name| Reference::parse(name).ok()).map(|name| name.registry);
    registries.collect::<BTreeSet<_>>().into_iter().collect()
}

fn in_files(inputs: &Inputs) -> Vec<String> {
    let mut names = Vec::new();
    let run = inputs.path(inputs::RUN).and_then(|path| files::read_if_present::<Run>(&path).ok().flatten());
    let stack =
        inputs.path(inputs::STACK).and_then(|path| files::read_if_present::<Stack>(&path).ok().flatten());
    let listed = run.map(|run| run.images).into_iter().flatten().chain(stack.map(|stack| stack.run_image));
    for images in listed {
        names.push(images.image);
        names.extend(images.mirrors);
    }
    let analyzed = inputs
        .path(inputs::ANALYZED)
        .and_then(|path| files::read_if_present::<Analyzed>(&path).ok().flatten());
    if let Some(analyzed) = analyzed {
        names.extend(analyzed.previous_image);
        names.extend(analyzed.run_image.map(|image| image.reference));
        names.extend(analyzed.build_image.map(|image| image.reference));
    }
    names
}
