//! From an order to the groups it stands for, one after another.
//!
//! Composite buildpacks are expanded in place, depth first, left to right; the groups are never all
//! there at once, because nested orders multiply. Which of them is viable is not decided here.
//!
//! Spec: buildpack.md "Order Resolution", platform.md "detector" for system buildpacks.

mod candidates;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use crate::files::component_id::{ComponentId, ComponentVersion, Kind};
use crate::files::order::{OrderElement, OrderFile, OrderGroup};
use crate::files::system::System;

pub use candidates::{Candidate, Candidates, Element, Note, OrderError};

/// An order, ready to be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {
    groups: Rc<[Rc<[Entry]>]>,
}

/// What stands in a group before it is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// A buildpack, component or composite, or an extension.
    Reference(Reference),
    /// Groups of extensions, of which one may take this place.
    Extensions(Rc<[Rc<[Entry]>]>),
}

/// What an order says about a component.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    kind: Kind,
    id: ComponentId,
    version: ComponentVersion,
    optional: bool,
    exec_env: Vec<String>,
}

impl Order {
    /// The order of `file` with the system's buildpacks around each group and the extensions in
    /// front of it.
    ///
    /// A system buildpack whose ID the group itself names, at any version, is not added to it.
    pub fn new(file: &OrderFile, system: &System) -> Self {
        let extensions = groups(&file.order_extensions, Kind::Extension);
        let group = |group: &OrderGroup| {
            let fits = |added: &&OrderElement| group.group.iter().all(|element| element.id != added.id);
            let pre = system.pre.buildpacks.iter().filter(fits);
            let post = system.post.buildpacks.iter().filter(fits);
            let buildpacks =
                pre.chain(&group.group).chain(post).map(|element| entry(element, Kind::Buildpack));
            let extensions = (!extensions.is_empty()).then(|| Entry::Extensions(extensions.clone()));
            extensions.into_iter().chain(buildpacks).collect()
        };
        Self { groups: file.order.iter().map(group).collect() }
    }

    /// Everything that the order names itself, in its order, each once. What composites name is not among it.
    pub fn named(&self) -> Vec<(Kind, &ComponentId, &ComponentVersion)> {
        let mut named = Vec::new();
        for entry in self.groups.iter().flat_map(|group| group.iter()) {
            match entry {
                Entry::Reference(reference) => named.push(reference),
                Entry::Extensions(groups) => named.extend(
                    groups.iter().flat_map(|group| group.iter()).filter_map(|entry| match entry {
                        Entry::Reference(reference) => Some(reference),
                        Entry::Extensions(_) => None,
                    }),
                ),
            }
        }
        let mut seen = std::collections::HashSet::new();
        let keys = named.into_iter().map(|reference| (reference.kind, &reference.id, &reference.version));
        keys.filter(|key| seen.insert(*key)).collect()
    }
}

fn groups(groups: &[OrderGroup], kind: Kind) -> Rc<[Rc<[Entry]>]> {
    groups.iter().map(|group| group.group.iter().map(|element| entry(element, kind)).collect()).collect()
}

/// Extensions are optional whatever the order says.
fn entry(element: &OrderElement, kind: Kind) -> Entry {
    Entry::Reference(Reference {
        kind,
        id: element.id.clone(),
        version: element.version.clone(),
        optional: element.optional || kind == Kind::Extension,
        exec_env: element.exec_env.clone(),
    })
}
