//! The groups that an order stands for, one at a time.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::{Entry, Order, Reference, groups};
use crate::component::catalog::Component;
use crate::exec_env::ExecEnv;
use crate::files::component_id::{ComponentId, ComponentVersion, Kind};

/// Why an order cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum OrderError<E> {
    /// A composite buildpack contains itself.
    #[error("resolve order: composite buildpacks form a cycle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// A component was not found, or cannot be used.
    #[error(transparent)]
    Lookup(E),
}

/// An element of a group: never a composite.
#[derive(Debug, Clone)]
pub struct Element {
    /// What it is.
    pub component: Arc<Component>,
    /// Whether the group can do without it.
    pub optional: bool,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.component.fmt(f)
    }
}

/// Something that was left out of a group, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Note {
    /// Not meant for this execution environment.
    ExecEnv {
        /// `id@version`.
        left_out: String,
        /// What it supports.
        supported: Vec<String>,
    },
    /// Another version of it, or an optional entry for it, stands before it.
    Duplicate {
        /// `id@version`.
        left_out: String,
        /// `id@version`.
        kept: String,
    },
    /// The same stands before it.
    Repetition {
        /// `id@version`.
        left_out: String,
    },
}

/// A group to try.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    /// Its elements in order; no two have kind and ID in common.
    pub elements: Vec<Element>,
    /// What was left out.
    pub notes: Vec<Note>,
}

/// The groups of an order, lazily. `L` finds components; each is looked up once.
#[derive(Debug)]
pub struct Candidates<'a, L> {
    lookup: L,
    /// What to build for; `None` where execution environments do not count.
    exec_env: Option<&'a ExecEnv>,
    found: HashMap<Key, Arc<Component>>,
    pub(super) choices: Vec<Choice>,
    failed: HashSet<Key>,
    reachable: HashMap<(ComponentId, ComponentVersion), Option<Rc<HashSet<ComponentId>>>>,
}

/// What names a component.
type Key = (Kind, ComponentId, ComponentVersion);

/// A place where a group can go on in several ways.
#[derive(Debug)]
pub(super) struct Choice {
    before: Candidate,
    /// What follows, the next last.
    after: Vec<Segment>,
    groups: Rc<[Rc<[Entry]>]>,
    next: usize,
    /// Whether it can also go on with none of the groups.
    optional: bool,
    within: Within,
}

/// The rest of a group: entries from `at` on.
#[derive(Debug, Clone)]
struct Segment {
    group: Rc<[Entry]>,
    at: usize,
    within: Within,
}

/// The composites around an entry, outermost first.
type Within = Rc<[Arc<Component>]>;

impl<'a, E, L> Candidates<'a, L>
where
    L: FnMut(Kind, &ComponentId, &ComponentVersion) -> Result<Component, E>,
{
    /// The groups of `order`.
    pub fn new(order: &Order, exec_env: Option<&'a ExecEnv>, lookup: L) -> Self {
        let root = Choice {
            before: Candidate::default(),
            after: Vec::new(),
            groups: order.groups.clone(),
            next: 0,
            optional: false,
            within: Rc::new([]),
        };
        let (found, failed, reachable) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { lookup, exec_env, found, choices: vec![root], failed, reachable }
    }

    /// Leaves out, from now on, all groups that cannot do without this component.
    pub fn reject(&mut self, component: &Component) {
        self.failed.insert(key(component));
    }

    /// The next group; `None` after the last. Fails on a component that is not to be had, and on
    /// composites that contain themselves.
    pub fn next_group(&mut self) -> Result<Option<Candidate>, OrderError<E>> {
        while let Some(choice) = self.choices.last_mut() {
            let Some((before, after)) = choice.take() else {
                self.choices.pop();
                continue;
            };
            if self.is_doomed(&before, &after) {
                continue;
            }
            match self.walk(before, after)? {
                Walk::Complete(candidate) => return Ok(Some(candidate)),
                Walk::Choice(choice) => self.choices.push(choice),
                Walk::DeadEnd => {}
            }
        }
        Ok(None)
    }

    /// Goes on with a group until it is complete or can go on in several ways.
    fn walk(&mut self, mut before: Candidate, mut after: Vec<Segment>) -> Result<Walk, OrderError<E>> {
        while let Some((entry, within)) = pop(&mut after) {
            let reference = match entry {
                Entry::Extensions(groups) => {
                    return Ok(Walk::Choice(Choice {
                        before,
                        after,
                        groups,
                        next: 0,
                        optional: true,
                        within,
                    }));
                }
                Entry::Reference(reference) => reference,
            };
            let component = self.find(&reference)?;
            if let Some(note) = self.left_out(&reference, &component, &within, &before) {
                before.notes.push(note);
            } else if component.is_composite() {
                return Ok(Walk::Choice(expand(component, before, after, &within, reference.optional)?));
            } else if !reference.optional && self.failed.contains(&reference.key()) {
                return Ok(Walk::DeadEnd);
            } else {
                before.elements.push(Element { component, optional: reference.optional });
            }
        }
        Ok(Walk::Complete(before))
    }

    fn find(&mut self, reference: &Reference) -> Result<Arc<Component>, OrderError<E>> {
        let key = reference.key();
        if let Some(found) = self.found.get(&key) {
            return Ok(found.clone());
        }
        let component = (self.lookup)(key.0, &key.1, &key.2).map_err(OrderError::Lookup)?;
        Ok(self.found.entry(key).or_insert_with(|| Arc::new(component)).clone())
    }

    /// Whether a component is left out of a group: the note to make of it.
    fn left_out(
        &self,
        reference: &Reference,
        component: &Component,
        within: &Within,
        before: &Candidate,
    ) -> Option<Note> {
        let twin = |element: &&Element| {
            element.component.kind == component.kind && element.component.id == component.id
        };
        if let Some(kept) = before.elements.iter().find(twin) {
            let differs =
                kept.component.version != component.version || (kept.optional && !reference.optional);
            let (left_out, kept) = (component.to_string(), kept.to_string());
            return Some(if differs {
                Note::Duplicate { left_out, kept }
            } else {
                Note::Repetition { left_out }
            });
        }
        let exec_env = self.exec_env?;
        let limits_entries = within.last().is_none_or(|composite| composite.api.has_exec_env());
        let entry = if limits_entries { reference.exec_env.as_slice() } else { &[] };
        let supported =
            [entry, &component.exec_env].into_iter().find(|list| !exec_env.is_supported_by(list))?;
        Some(Note::ExecEnv { left_out: component.to_string(), supported: supported.to_vec() })
    }

    /// Whether every group that begins and goes on like this holds a rejected component that it
    /// cannot do without. May say no too often.
    fn is_doomed(&mut self, before: &Candidate, after: &[Segment]) -> bool {
        if self.failed.is_empty() {
            return false;
        }
        let failed = |element: &Element| !element.optional && self.failed.contains(&key(&element.component));
        if before.elements.iter().any(failed) {
            return true;
        }
        let mut earlier: HashSet<ComponentId> =
            before.elements.iter().map(|element| element.component.id.clone()).collect();
        let entries: Vec<Entry> =
            after.iter().rev().flat_map(|segment| segment.group[segment.at..].iter().cloned()).collect();
        for entry in entries {
            let Entry::Reference(reference) = entry else { continue };
            let fails = !reference.optional && self.failed.contains(&reference.key());
            if fails && reference.exec_env.is_empty() && !earlier.contains(&reference.id) {
                return true;
            }
            match self.reachable(&reference) {
                Some(reachable) => earlier.extend(reachable.iter().cloned()),
                None => return false,
            }
        }
        false
    }

    /// The IDs that `reference` can bring into a group; `None` if that is not known.
    fn reachable(&mut self, reference: &Reference) -> Option<Rc<HashSet<ComponentId>>> {
        let key = (reference.id.clone(), reference.version.clone());
        if let Some(known) = self.reachable.get(&key) {
            return known.clone();
        }
        let (mut ids, mut left) = (HashSet::new(), vec![reference.clone()]);
        let mut seen = HashSet::new();
        let mut complete = true;
        while let Some(reference) = left.pop() {
            if !seen.insert(reference.key()) {
                continue;
            }
            let Ok(component) = self.find(&reference) else {
                complete = false;
                break;
            };
            ids.insert(reference.id);
            let nested = groups(&component.order, Kind::Buildpack);
            left.extend(nested.iter().flat_map(|group| group.iter()).filter_map(Entry::reference).cloned());
        }
        let reachable = complete.then(|| Rc::new(ids));
        self.reachable.insert(key, reachable.clone());
        reachable
    }
}

fn key(component: &Component) -> Key {
    (component.kind, component.id.clone(), component.version.clone())
}

/// How far a group got.
enum Walk {
    Complete(Candidate),
    Choice(Choice),
    DeadEnd,
}

impl Choice {
    /// The next way to go on: the elements so far and what follows.
    fn take(&mut self) -> Option<(Candidate, Vec<Segment>)> {
        let way = self.next;
        self.next += 1;
        let mut after = self.after.clone();
        if let Some(group) = self.groups.get(way) {
            after.push(Segment { group: group.clone(), at: 0, within: self.within.clone() });
        } else if way > self.groups.len() || !self.optional {
            return None;
        }
        Some((self.before.clone(), after))
    }
}

/// The next entry, removed from what follows.
fn pop(after: &mut Vec<Segment>) -> Option<(Entry, Within)> {
    while let Some(segment) = after.last_mut() {
        if let Some(entry) = segment.group.get(segment.at) {
            segment.at += 1;
            return Some((entry.clone(), segment.within.clone()));
        }
        after.pop();
    }
    None
}

/// The choice that a composite stands for. Fails if it stands within itself.
fn expand<E>(
    composite: Arc<Component>,
    before: Candidate,
    after: Vec<Segment>,
    within: &Within,
    optional: bool,
) -> Result<Choice, OrderError<E>> {
    let same = |outer: &Arc<Component>| outer.id == composite.id && outer.version == composite.version;
    if let Some(start) = within.iter().position(same) {
        let names = within[start..].iter().chain([&composite]).map(ToString::to_string);
        return Err(OrderError::Cycle(names.collect()));
    }
    let groups = groups(&composite.order, Kind::Buildpack);
    let within = within.iter().cloned().chain([composite]).collect();
    Ok(Choice { before, after, groups, next: 0, optional, within })
}

impl Reference {
    fn key(&self) -> Key {
        (self.kind, self.id.clone(), self.version.clone())
    }
}

impl Entry {
    fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Reference(reference) => Some(reference),
            Self::Extensions(_) => None,
        }
    }
}
