//! Why groups failed whose components passed, or ended with an error: what stood in the way, and
//! who could have helped.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Key;
use super::run::{Outcome, Run};
use crate::resolve::order::Element;
use crate::resolve::plan::Lack;

/// So many groups are explained, and so many of a group's reasons; more would hide the first.
const MAX_GROUPS: usize = 10;
const MAX_REASONS: usize = 10;

/// A group that failed.
#[derive(Debug)]
pub struct GroupFailure {
    /// Its elements, as `id@version`.
    elements: Vec<String>,
    reasons: Vec<Reason>,
}

/// What stood in the way of a group.
#[derive(Debug)]
pub enum Reason {
    /// A component that it cannot do without did not pass.
    Detect {
        /// `id@version`.
        element: String,
        /// How it ended.
        outcome: Outcome,
    },
    /// A component that it cannot do without does not fit the others.
    Plan {
        /// `id@version`.
        element: String,
        /// What it lacks.
        lack: Lack,
    },
    /// Nothing is left of it that could build.
    Nothing,
}

impl GroupFailure {
    /// The failure of the group that `elements` make up.
    pub fn new(elements: &[Element], reasons: Vec<Reason>) -> Self {
        Self { elements: elements.iter().map(ToString::to_string).collect(), reasons }
    }

    /// Whether its own components would have liked to take part.
    fn is_worth_telling(&self) -> bool {
        self.reasons.iter().any(|reason| match reason {
            Reason::Plan { .. } => true,
            Reason::Detect { outcome, .. } => matches!(outcome, Outcome::Error(_)),
            Reason::Nothing => false,
        })
    }
}

/// The explanation, line by line; groups of which nothing passed need none.
pub fn lines(failures: &[GroupFailure], runs: &HashMap<Key, Arc<Run>>) -> Vec<String> {
    let told: Vec<&GroupFailure> = failures.iter().filter(|failure| failure.is_worth_telling()).collect();
    let mut lines = Vec::new();
    for failure in told.iter().take(MAX_GROUPS) {
        let reasons = failure.reasons.iter().take(MAX_REASONS).map(|reason| describe(reason, failure, runs));
        lines.push(format!(
            "Group {}: {}",
            failure.elements.join(", "),
            reasons.collect::<Vec<_>>().join("; ")
        ));
    }
    if told.len() > MAX_GROUPS {
        lines.push(format!("{} more groups failed likewise", told.len() - MAX_GROUPS));
    }
    lines
}

fn describe(reason: &Reason, failure: &GroupFailure, runs: &HashMap<Key, Arc<Run>>) -> String {
    match reason {
        Reason::Detect { element, outcome: Outcome::Error(Some(status)) } => {
            format!("{element} failed with exit status {status}, where 100 means that it does not apply")
        }
        Reason::Detect { element, outcome: Outcome::Error(None) } => format!("{element} failed, see above"),
        Reason::Detect { element, .. } => format!("{element} does not apply"),
        Reason::Plan { element, lack: Lack::Provides(name) } => {
            format!("{element} provides \"{name}\", which nothing after it requires")
        }
        Reason::Plan { element, lack: Lack::Requires(name) } => {
            let helpers = helpers(name, element, failure, runs);
            let helpers = if helpers.is_empty() {
                "; nothing in the order provides it".to_owned()
            } else {
                format!(" ({helpers})")
            };
            format!("{element} requires \"{name}\", which nothing before it provides{helpers}")
        }
        Reason::Nothing => "no buildpack is left in it".to_owned(),
    }
}

/// Who provides `name`, or might have, and why that does not help `element`.
fn helpers(name: &str, element: &str, failure: &GroupFailure, runs: &HashMap<Key, Arc<Run>>) -> String {
    let place = |name: &str| failure.elements.iter().position(|other| other == name);
    let mut helpers = BTreeSet::new();
    for ((_, id, version), run) in runs {
        let helper = format!("{id}@{version}");
        let provides =
            run.plan.alternatives().iter().any(|one| one.provides.iter().any(|provide| provide == name));
        let why = match (place(&helper), run.outcome) {
            (at, Outcome::Pass) if provides => match at {
                None => "provides it, but is not in this group",
                Some(at) if Some(at) > place(element) => "provides it, but comes later",
                Some(_) => "provides it, but was left out, or only as an alternative that does not fit",
            },
            (Some(at), outcome) if Some(at) < place(element) && outcome != Outcome::Pass => {
                "did not pass, and might provide it"
            }
            _ => continue,
        };
        helpers.insert(format!("{helper} {why}"));
    }
    helpers.into_iter().take(MAX_REASONS).collect::<Vec<_>>().join(", ")
}
