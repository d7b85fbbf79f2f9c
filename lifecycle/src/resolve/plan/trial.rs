//! One trial: every component with one of its alternatives.

use std::collections::{HashMap, HashSet};

use super::{Choice, Entry, Lack, Report, Verdict};
use crate::files::build_plan::Sections;
use crate::files::component_id::Kind;

/// How a trial went.
pub struct Trial {
    /// The components that are left; `None` if it failed.
    pub kept: Option<Vec<usize>>,
    /// What is told of it; the number is the caller's matter.
    pub report: Report,
    /// All that its required components lack in the end.
    pub lacks: Vec<Verdict>,
}

/// Leaves out optional components that lack something until none does, or a required one does.
pub fn run(chosen: &[Choice<'_>]) -> Trial {
    let mut kept: Vec<usize> = (0..chosen.len()).collect();
    let mut report = Report::default();
    let mut failed = false;
    loop {
        let lacks = lacks(chosen, &kept);
        if lacks.is_empty() {
            break;
        }
        if !failed {
            let first = lacks.iter().position(|verdict| !verdict.optional);
            failed = first.is_some();
            report.verdicts.extend_from_slice(&lacks[..first.map_or(lacks.len(), |first| first + 1)]);
        }
        let out: HashSet<usize> = lacks.iter().filter(|lack| lack.optional).map(|lack| lack.member).collect();
        if out.is_empty() {
            return Trial { kept: None, report, lacks };
        }
        kept.retain(|member| !out.contains(member));
    }
    report.is_empty = !failed && !kept.iter().any(|member| chosen[*member].kind == Kind::Buildpack);
    let kept = (!failed && !report.is_empty).then_some(kept);
    Trial { kept, report, lacks: Vec::new() }
}

/// What the components in `kept` lack, first requirements, then unused provisions, in their order.
fn lacks(chosen: &[Choice<'_>], kept: &[usize]) -> Vec<Verdict> {
    let sections = |member: &usize| chosen[*member].sections;
    let mut lacks = Vec::new();
    let mut add = |member: &usize, lack: Lack| {
        lacks.push(Verdict { member: *member, optional: chosen[*member].optional, lack });
    };
    let mut provided: HashSet<&str> = HashSet::new();
    for member in kept {
        provided.extend(sections(member).provides.iter().map(String::as_str));
        for require in &sections(member).requires {
            if !provided.contains(require.name.as_str()) {
                add(member, Lack::Requires(require.name.clone()));
            }
        }
    }
    let last = kept
        .iter()
        .flat_map(|member| sections(member).requires.iter().map(move |r| (r.name.as_str(), *member)));
    let last: HashMap<&str, usize> = last.collect();
    for member in kept {
        for provide in &sections(member).provides {
            if last.get(provide.as_str()).is_none_or(|last| last < member) {
                add(member, Lack::Provides(provide.clone()));
            }
        }
    }
    lacks
}

/// The entries of a plan: `kept` are the components that are left, each with its alternative.
pub fn entries(kept: &[(usize, &Sections)]) -> Vec<Entry> {
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut entries: Vec<Entry> = Vec::new();
    for (member, sections) in kept {
        for provide in &sections.provides {
            let at = *names.entry(provide).or_insert(entries.len());
            if at == entries.len() {
                entries.push(Entry { providers: Vec::new(), requires: Vec::new() });
            }
            if entries[at].providers.last() != Some(member) {
                entries[at].providers.push(*member);
            }
        }
        for require in &sections.requires {
            let at = names[require.name.as_str()];
            entries[at].requires.push(require.clone());
        }
    }
    entries
}
