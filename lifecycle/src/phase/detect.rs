//! Detection: finds the first group of an order whose components accept the app and each other.
//!
//! What a component said is remembered for all groups; within a group those not asked yet are asked
//! in parallel. Neither log nor result depends on who answers first.
//!
//! Spec: buildpack.md "Phase #1: Detection", platform.md "detector".

mod explain;
mod report;
mod run;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::api::PlatformApi;
use crate::component::catalog::{Catalog, CatalogError, Component};
use crate::component::run::Surroundings;
use crate::env::Env;
use crate::files::component_id::{ComponentId, ComponentVersion, Kind};
use crate::files::group::{Group, GroupElement};
use crate::files::order::OrderFile;
use crate::files::plan::{Plan, PlanEntry, Provider};
use crate::files::system::System;
use crate::log::{Level, Log};
use crate::resolve::order::{Candidate, Candidates, Element, Note, Order, OrderError};
use crate::resolve::plan::{self, Member, Resolution, Unresolved};

use explain::{GroupFailure, Reason};
use report::Report;
use run::{Outcome, Run};

/// Up to so many groups are tried as they come, and told in full. Nested orders can multiply to any
/// number; beyond this, groups that must fail like an earlier one are left out, and none is told.
const DETAILED_GROUPS: usize = 100;

/// What detection works on.
#[derive(Debug)]
pub struct DetectInputs<'a> {
    /// The Platform API of the build.
    pub platform_api: PlatformApi,
    /// `order.toml`.
    pub order: &'a OrderFile,
    /// `system.toml`; counts only where the Platform API has it.
    pub system: &'a System,
    /// Where components lie.
    pub catalog: &'a Catalog,
    /// What surrounds every executable.
    pub surroundings: Surroundings<'a>,
    /// What components inherit.
    pub env: &'a Env,
}

/// A group that was detected, and its plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detected {
    /// The components, in order.
    pub group: Group,
    /// What they require of each other.
    pub plan: Plan,
}

/// Why no group was detected.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// A component that the order itself names is not to be had.
    #[error(transparent)]
    Component(CatalogError),
    /// Resolving the order failed on the way.
    #[error(transparent)]
    Order(OrderError<CatalogError>),
    /// No group passed, and no buildpack failed with an error: exit code 20.
    #[error("no buildpacks participating")]
    NoGroup,
    /// No group passed, and at least one buildpack failed with an error: exit code 21.
    #[error("buildpack(s) failed with err")]
    NoGroupWithErrors,
}

impl DetectError {
    /// Whether a component speaks an API that is not supported: exit code 12.
    pub fn is_api_mismatch(&self) -> bool {
        matches!(
            self,
            Self::Component(CatalogError::Api(_)) | Self::Order(OrderError::Lookup(CatalogError::Api(_)))
        )
    }
}

/// Detects. What is told of the groups is told in the end: in full when none passes.
pub fn detect(inputs: &DetectInputs<'_>, log: &Log) -> Result<Detected, DetectError> {
    let order = prepare(inputs, log)?;
    let mut detection = Detection::new(inputs);
    let found = detection.try_groups(&order, log);
    let failed = !matches!(found, Ok(Some(_)));
    detection.report.show(log, failed);
    match found? {
        Some(detected) => Ok(detected),
        None => Err(detection.no_group(log)),
    }
}

/// The order to resolve. All that it names itself must be there, whether it is reached or not.
fn prepare(inputs: &DetectInputs<'_>, log: &Log) -> Result<Order, DetectError> {
    let api = inputs.platform_api;
    let mut file = inputs.order.clone();
    if !api.has_extensions() && !file.order_extensions.is_empty() {
        log.warn(format!("Ignoring order-extensions: Platform API {api} has no image extensions"));
        file.order_extensions.clear();
    }
    let none = System::default();
    let order = Order::new(&file, if api.has_system_buildpacks() { inputs.system } else { &none });
    for (kind, id, version) in order.named() {
        inputs.catalog.find(kind, id, version).map_err(DetectError::Component)?;
    }
    Ok(order)
}

type Key = (Kind, ComponentId, ComponentVersion);

fn key(component: &Component) -> Key {
    (component.kind, component.id.clone(), component.version.clone())
}

/// What is known so far.
struct Detection<'a> {
    inputs: &'a DetectInputs<'a>,
    runs: HashMap<Key, Arc<Run>>,
    report: Report,
    noted: HashSet<Note>,
    failures: Vec<GroupFailure>,
    groups: usize,
    /// Whether a component failed with an error, in any group.
    errors: bool,
}

impl<'a> Detection<'a> {
    fn new(inputs: &'a DetectInputs<'a>) -> Self {
        Self {
            inputs,
            runs: HashMap::new(),
            report: Report::default(),
            noted: HashSet::new(),
            failures: Vec::new(),
            groups: 0,
            errors: false,
        }
    }

    /// Tries one group after another; `None` if none passes.
    fn try_groups(&mut self, order: &Order, log: &Log) -> Result<Option<Detected>, DetectError> {
        let api = self.inputs.platform_api;
        let exec_env = api.has_exec_env().then_some(self.inputs.surroundings.exec_env);
        let catalog = self.inputs.catalog;
        let find = |kind, id: &ComponentId, version: &ComponentVersion| catalog.find(kind, id, version);
        let mut candidates = Candidates::new(order, exec_env, find);
        while let Some(candidate) = candidates.next_group().map_err(DetectError::Order)? {
            self.groups += 1;
            self.note(&candidate, log);
            let runs = self.ask(&candidate.elements, log);
            match self.judge(&candidate.elements, &runs) {
                Ok(detected) => return Ok(Some(detected)),
                Err(failure) if self.groups <= DETAILED_GROUPS => self.failures.push(failure),
                Err(_) => {}
            }
            if self.groups >= DETAILED_GROUPS {
                self.report.close();
                let failed =
                    candidate.elements.iter().zip(&runs).filter(|(_, run)| run.outcome != Outcome::Pass);
                failed.for_each(|(element, _)| candidates.reject(&element.component));
            }
        }
        Ok(None)
    }

    /// Tells what was left out of a group, each thing once.
    fn note(&mut self, candidate: &Candidate, log: &Log) {
        for note in &candidate.notes {
            if !self.noted.insert(note.clone()) {
                continue;
            }
            match note {
                Note::ExecEnv { left_out, supported } => log.debug(format!(
                    "Skipping {left_out} due to execution environment mismatch; \
                     current: {}, buildpack supports: [{}]",
                    self.inputs.surroundings.exec_env,
                    supported.join(" ")
                )),
                Note::Duplicate { left_out, kept } => log.warn(format!(
                    "{left_out} is left out of its group, because {kept} stands before it; \
                     only the first of one ID takes part"
                )),
                Note::Repetition { .. } => {}
            }
        }
    }

    /// What each element says, asking those that were not asked yet.
    fn ask(&mut self, elements: &[Element], log: &Log) -> Vec<Arc<Run>> {
        let new: Vec<&Element> = elements
            .iter()
            .filter(|element| {
                self.mismatch(element).is_none() && !self.runs.contains_key(&key(&element.component))
            })
            .collect();
        let runs = run::all(&new, &self.inputs.surroundings, self.inputs.env);
        for (element, run) in new.iter().zip(runs) {
            run.tell(&element.component, log);
            self.runs.insert(key(&element.component), Arc::new(run));
        }
        let answer = |element: &Element| match self.mismatch(element) {
            Some(mismatch) => Arc::new(mismatch),
            None => self.runs[&key(&element.component)].clone(),
        };
        elements.iter().map(answer).collect()
    }

    /// The answer of an element that does not run on the run image: it is not asked.
    fn mismatch(&self, element: &Element) -> Option<Run> {
        let targets = &element.component.targets;
        let image = self.inputs.surroundings.target;
        let fits = targets.is_empty() || targets.iter().any(|target| image.satisfies(target));
        (self.inputs.platform_api.has_targets() && !fits)
            .then(|| Run::mismatch(image, targets, element.optional))
    }

    /// Decides whether a group passes.
    fn judge(&mut self, elements: &[Element], runs: &[Arc<Run>]) -> Result<Detected, GroupFailure> {
        for (element, run) in elements.iter().zip(runs) {
            self.report.output(element, run);
        }
        self.report.line(Level::Debug, "======== Results ========");
        for (element, run) in elements.iter().zip(runs) {
            self.report.result(element, run);
            self.errors |= matches!(run.outcome, Outcome::Error(_));
        }
        let group: Vec<(&Element, &Arc<Run>)> = elements.iter().zip(runs).collect();
        let failed: Vec<Reason> = group
            .iter()
            .filter(|(element, run)| !element.optional && run.outcome != Outcome::Pass)
            .map(|(element, run)| Reason::Detect { element: element.to_string(), outcome: run.outcome })
            .collect();
        if !failed.is_empty() {
            return Err(GroupFailure::new(elements, failed));
        }
        let passed: Vec<(&Element, &Arc<Run>)> =
            group.into_iter().filter(|(_, run)| run.outcome == Outcome::Pass).collect();
        if !passed.iter().any(|(element, _)| element.component.kind == Kind::Buildpack) {
            self.report.line(Level::Debug, "fail: no viable buildpacks in group");
            return Err(GroupFailure::new(elements, vec![Reason::Nothing]));
        }
        self.plan(elements, &passed)
    }

    /// Finds the plan of those that passed.
    fn plan(
        &mut self,
        elements: &[Element],
        passed: &[(&Element, &Arc<Run>)],
    ) -> Result<Detected, GroupFailure> {
        let members: Vec<Member<'_>> = passed
            .iter()
            .map(|(element, run)| Member {
                kind: element.component.kind,
                optional: element.optional,
                plan: &run.plan,
            })
            .collect();
        let names: Vec<String> = passed.iter().map(|(element, _)| element.to_string()).collect();
        match plan::resolve(&members) {
            Ok(resolution) => {
                self.report.trials(&names, &resolution.reports);
                let kept: Vec<&Element> = resolution.members.iter().map(|member| passed[*member].0).collect();
                self.report.participants(elements.len(), &kept);
                Ok(detected(passed, &resolution))
            }
            Err(unresolved) => {
                self.report.unresolved(&names, &unresolved);
                let Unresolved { lacks, .. } = unresolved;
                let reason = |verdict: plan::Verdict| Reason::Plan {
                    element: names[verdict.member].clone(),
                    lack: verdict.lack,
                };
                let reasons: Vec<Reason> = lacks.into_iter().map(reason).collect();
                Err(GroupFailure::new(
                    elements,
                    if reasons.is_empty() { vec![Reason::Nothing] } else { reasons },
                ))
            }
        }
    }

    /// Tells why no group passed, as far as that is not in the report.
    fn no_group(&self, log: &Log) -> DetectError {
        log.error("No buildpack groups passed detection.");
        if !self.errors {
            log.error("Please check that you are running against the correct path.");
        }
        for line in explain::lines(&self.failures, &self.runs) {
            log.error(line);
        }
        if self.errors { DetectError::NoGroupWithErrors } else { DetectError::NoGroup }
    }
}

/// The files' contents for a group whose plan is resolved.
fn detected(passed: &[(&Element, &Arc<Run>)], resolution: &Resolution) -> Detected {
    let of_kind = |kind: Kind| {
        let components = resolution.members.iter().map(|member| &passed[*member].0.component);
        let element = |component: &Arc<Component>| GroupElement {
            id: component.id.clone(),
            version: component.version.clone(),
            api: component.api.to_string(),
            homepage: component.homepage.clone(),
        };
        components.filter(|component| component.kind == kind).map(element).collect()
    };
    let provider = |member: &usize| {
        let component = &passed[*member].0.component;
        let extension = component.kind == Kind::Extension;
        Provider { id: component.id.clone(), version: component.version.clone(), extension }
    };
    let entry = |entry: &plan::Entry| PlanEntry {
        providers: entry.providers.iter().map(provider).collect(),
        requires: entry.requires.clone(),
    };
    Detected {
        group: Group { group: of_kind(Kind::Buildpack), group_extensions: of_kind(Kind::Extension) },
        plan: Plan { entries: resolution.entries.iter().map(entry).collect() },
    }
}
