//! From what the components of a group provide and require to the plan of the group.
//!
//! Each component may offer alternatives. The alternatives chosen are those of the first trial that
//! fits, trials in depth-first order: the last component's alternatives vary first. How that trial
//! is found without making them all is the matter of `search`.
//!
//! Spec: buildpack.md "Phase #1: Detection"; an optional component counts as required in all but
//! the last of its alternatives: spec-notes/decisions.md, "Optional alternatives".

mod search;
#[cfg(test)]
mod tests;
mod trial;

use crate::files::build_plan::{BuildPlan, Sections};
use crate::files::component_id::Kind;
use crate::files::plan::Require;

/// The first trials are reported one by one, so that small plans can be followed by eye.
const REPORTED_TRIALS: usize = 10;

/// A component that passed detection.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Buildpack or extension.
    pub kind: Kind,
    /// Whether the group can do without it.
    pub optional: bool,
    /// What it provides and requires.
    pub plan: &'a BuildPlan,
}

/// What one trial says of one component, by its place in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The component.
    pub member: usize,
    /// Whether the group can do without it.
    pub optional: bool,
    /// What is wrong.
    pub lack: Lack,
}

/// What is wrong with a component in a trial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// It requires this, which neither it nor one before it provides.
    Requires(String),
    /// It provides this, which neither it nor one after it requires.
    Provides(String),
}

/// A trial, as it is told to the user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Its place among all trials, from 1.
    pub number: u128,
    /// What was found, in the order found; the last may be why it failed.
    pub verdicts: Vec<Verdict>,
    /// Nothing is left of the group but extensions, or nothing at all.
    pub is_empty: bool,
}

/// What is required under one name, and who provides it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The providers, by their places in the group.
    pub providers: Vec<usize>,
    /// The requirements, in the order of the group.
    pub requires: Vec<Require>,
}

/// The plan of a group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resolution {
    /// The components that are left, by their places in the group.
    pub members: Vec<usize>,
    /// One entry for each name, in the order of the first providers.
    pub entries: Vec<Entry>,
    /// The first trials and the one that fits.
    pub reports: Vec<Report>,
}

/// A group that has no plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unresolved {
    /// The first trials.
    pub reports: Vec<Report>,
    /// How many trials there are.
    pub trials: u128,
    /// What stands in the way: what no choice of alternatives can give a required component, or, if
    /// there is no such thing, what is lacking in the trial that came closest.
    pub lacks: Vec<Verdict>,
}

/// Finds the plan of a group.
pub fn resolve(members: &[Member<'_>]) -> Result<Resolution, Unresolved> {
    let sizes: Vec<usize> = members.iter().map(|member| member.plan.alternatives().len()).collect();
    let mut reports = Vec::new();
    let mut closest: Option<Vec<Verdict>> = None;
    let mut choice = Some(vec![0; members.len()]);
    while let Some(current) = choice.take_if(|_| reports.len() < REPORTED_TRIALS) {
        let trial = trial::run(&options(members, &current));
        reports.push(Report { number: number(&current, &sizes), ..trial.report });
        if let Some(kept) = trial.kept {
            return Ok(resolution(members, &current, kept, reports));
        }
        if closest.as_ref().is_none_or(|lacks| trial.lacks.len() < lacks.len()) {
            closest = Some(trial.lacks);
        }
        choice = successor(current, &sizes);
    }
    let winner = choice.and_then(|_| search::first_fit(members));
    let Some(winner) = winner else {
        let trials = sizes.iter().fold(1_u128, |product, size| product.saturating_mul(*size as u128));
        return Err(Unresolved { reports, trials, lacks: decisive(members, closest.unwrap_or_default()) });
    };
    let trial = trial::run(&options(members, &winner));
    reports.push(Report { number: number(&winner, &sizes), ..trial.report });
    Ok(resolution(members, &winner, trial.kept.expect("the search keeps to the trial's rules"), reports))
}

/// Of what is lacking in one trial that which is lacking in all, if any is.
fn decisive(members: &[Member<'_>], lacks: Vec<Verdict>) -> Vec<Verdict> {
    let sections = |from: usize, until: usize| {
        members[from..until].iter().flat_map(|member| member.plan.alternatives().iter())
    };
    let never = |verdict: &&Verdict| match &verdict.lack {
        Lack::Requires(name) => !sections(0, verdict.member + 1).any(|one| one.provides.contains(name)),
        Lack::Provides(name) => {
            let mut requires = sections(verdict.member, members.len()).flat_map(|one| &one.requires);
            !requires.any(|require| require.name == *name)
        }
    };
    let decisive: Vec<Verdict> = lacks.iter().filter(never).cloned().collect();
    if decisive.is_empty() { lacks } else { decisive }
}

/// A component with one of its alternatives.
#[derive(Debug, Clone, Copy)]
struct Choice<'a> {
    kind: Kind,
    /// Whether it may be left out: only in the last of its alternatives.
    optional: bool,
    sections: &'a Sections,
}

fn options<'a>(members: &[Member<'a>], choice: &[usize]) -> Vec<Choice<'a>> {
    let option = |(member, at): (&Member<'a>, &usize)| option(member, *at);
    members.iter().zip(choice).map(option).collect()
}

fn option<'a>(member: &Member<'a>, at: usize) -> Choice<'a> {
    let alternatives = member.plan.alternatives();
    let optional = member.optional && at + 1 == alternatives.len();
    Choice { kind: member.kind, optional, sections: &alternatives[at] }
}

/// The next trial: the last component's alternatives vary first.
fn successor(mut choice: Vec<usize>, sizes: &[usize]) -> Option<Vec<usize>> {
    let at = (0..choice.len()).rev().find(|at| choice[*at] + 1 < sizes[*at])?;
    choice[at] += 1;
    choice[at + 1..].fill(0);
    Some(choice)
}

/// The place of a trial among all, from 1; the largest number there is when it is larger.
fn number(choice: &[usize], sizes: &[usize]) -> u128 {
    let step = |number: u128, (at, size): (&usize, &usize)| {
        number.saturating_mul(*size as u128).saturating_add(*at as u128)
    };
    choice.iter().zip(sizes).fold(0, step).saturating_add(1)
}

fn resolution(
    members: &[Member<'_>],
    choice: &[usize],
    kept: Vec<usize>,
    reports: Vec<Report>,
) -> Resolution {
    let chosen = options(members, choice);
    let sections: Vec<(usize, &Sections)> =
        kept.iter().map(|member| (*member, chosen[*member].sections)).collect();
    Resolution { entries: trial::entries(&sections), members: kept, reports }
}
