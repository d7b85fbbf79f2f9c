//! What is told of the groups tried, collected until it is known how detection ends.
//!
//! The texts are those that platforms and their users know.

use std::collections::HashSet;
use std::sync::Arc;

use super::run::{Outcome, Run};
use crate::log::{Level, Log, Stream};
use crate::resolve::order::Element;
use crate::resolve::plan::{self, Lack, Unresolved, Verdict};

/// Lines and output, in order.
#[derive(Debug, Default)]
pub struct Report {
    entries: Vec<Entry>,
    /// Whose output is among them.
    shown: HashSet<String>,
    closed: bool,
}

#[derive(Debug)]
enum Entry {
    Line(Level, String),
    Output(Level, Arc<Run>),
}

impl Report {
    /// Adds a line.
    pub fn line(&mut self, level: Level, text: impl Into<String>) {
        if !self.closed {
            self.always(level, text);
        }
    }

    /// Leaves out from now on all but errors and who takes part in the end.
    pub fn close(&mut self) {
        self.line(Level::Debug, "There are more groups than are told of here.");
        self.closed = true;
    }

    fn always(&mut self, level: Level, text: impl Into<String>) {
        self.entries.push(Entry::Line(level, text.into()));
    }

    /// Adds what a component wrote, and why it could not say; once, in however many groups it is.
    pub fn output(&mut self, element: &Element, run: &Arc<Run>) {
        let is_error = matches!(run.outcome, Outcome::Error(_));
        let is_new = self.shown.insert(format!("{} {element}", element.component.kind));
        if !is_new || (self.closed && !is_error) {
            return;
        }
        let level = if is_error { Level::Info } else { Level::Debug };
        if !run.output.is_empty() {
            self.always(level, format!("======== Output: {element} ========"));
            self.entries.push(Entry::Output(level, run.clone()));
        }
        if let Some(error) = run.error.as_ref().filter(|_| is_error) {
            self.always(level, format!("======== Error: {element} ========"));
            self.always(level, error);
        }
    }

    /// Adds how detection of a component ended.
    pub fn result(&mut self, element: &Element, run: &Run) {
        match run.outcome {
            Outcome::Pass => self.line(Level::Debug, format!("pass: {element}")),
            Outcome::Fail if element.optional => self.line(Level::Debug, format!("skip: {element}")),
            Outcome::Fail => self.line(Level::Debug, format!("fail: {element}")),
            Outcome::OtherTarget => {
                let reason = run.error.as_deref().unwrap_or_default();
                self.line(Level::Info, format!("skip: {element}: {reason}"));
            }
            Outcome::Error(None) => self.line(Level::Info, format!("err:  {element}")),
            Outcome::Error(Some(status)) => self.line(Level::Info, format!("err:  {element} ({status})")),
        }
    }

    /// Adds the trials of a plan; `names` are those of the components by their places.
    pub fn trials(&mut self, names: &[String], reports: &[plan::Report]) {
        for report in reports {
            self.line(Level::Debug, format!("Resolving plan... (try #{})", report.number));
            for verdict in &report.verdicts {
                self.line(Level::Debug, describe(names, verdict));
            }
            if report.is_empty {
                self.line(Level::Debug, "fail: no viable buildpacks in group");
            }
        }
    }

    /// Adds the trials of a group that has no plan.
    pub fn unresolved(&mut self, names: &[String], unresolved: &Unresolved) {
        self.trials(names, &unresolved.reports);
        let more = unresolved.trials.saturating_sub(unresolved.reports.len() as u128);
        if more > 0 {
            self.line(
                Level::Debug,
                format!("fail: none of {more} more combinations of alternatives fits either"),
            );
        }
    }

    /// Adds who takes part, of how many.
    pub fn participants(&mut self, asked: usize, kept: &[&Element]) {
        if asked != kept.len() {
            self.always(Level::Info, format!("{} of {asked} buildpacks participating", kept.len()));
        }
        let width = kept.iter().map(|element| element.component.id.as_str().len()).max().unwrap_or_default();
        for element in kept {
            let (id, version) = (element.component.id.as_str(), &element.component.version);
            self.always(Level::Info, format!("{id:width$} {version}"));
        }
    }

    /// Shows it: by its levels, or, when detection `failed`, in full whatever the log's level.
    pub fn show(&self, log: &Log, failed: bool) {
        for entry in &self.entries {
            match entry {
                Entry::Line(level, text) => {
                    log.raw(
                        if failed { Level::Error } else { *level },
                        Stream::Out,
                        format!("{text}\n").as_bytes(),
                    );
                }
                Entry::Output(level, run) => run.output.show(log, if failed { Level::Error } else { *level }),
            }
        }
    }
}

fn describe(names: &[String], verdict: &Verdict) -> String {
    let outcome = if verdict.optional { "skip" } else { "fail" };
    let name = &names[verdict.member];
    match &verdict.lack {
        Lack::Requires(what) => format!("{outcome}: {name} requires {what}"),
        Lack::Provides(what) => format!("{outcome}: {name} provides unused {what}"),
    }
}
