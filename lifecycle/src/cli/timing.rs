//! How long phases took: told to the log, and written as telemetry where the platform wants it.
//!
//! A program is one phase, but for the creator, whose phases begin with their headings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::inputs::{self, Phase};
use super::telemetry::Telemetry;
use super::values::Inputs;
use crate::log::{Event, Listener, Log, Outcome, Span};
use crate::time;

/// Times the phases of one program.
pub struct Timing {
    log: Log,
    telemetry: Option<Telemetry>,
    current: Mutex<Option<Running>>,
}

/// A phase that has begun.
struct Running {
    verb: String,
    start: SystemTime,
}

impl Timing {
    /// Begins the program's phase, if it is one.
    pub fn begin(inputs: &Inputs, log: &Log) -> Arc<Self> {
        let telemetry = inputs.switch(inputs::TELEMETRY).then(|| Telemetry::new(inputs, log));
        let timing = Self { log: log.clone(), telemetry, current: Mutex::default() };
        if inputs.phase != Phase::Creator {
            timing.next(inputs.phase.verb().to_owned());
        }
        Arc::new(timing)
    }

    /// What the log is observed by.
    pub fn listener(self: &Arc<Self>) -> Listener {
        let timing = self.clone();
        Arc::new(move |event| match event {
            Event::Heading(name) => timing.heading(name),
            Event::Span(span) => {
                if let Some(telemetry) = &timing.telemetry {
                    telemetry.within(span);
                }
            }
            Event::Line(..) | Event::Output(..) | Event::Fault(_) => {}
        })
    }

    /// Ends the phase that runs, if one does.
    pub fn end(&self, outcome: Outcome) {
        let Some(Running { verb, start }) =
            self.current.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return;
        };
        let end = SystemTime::now();
        let span = Span { name: &verb, start, end, outcome, attributes: &[] };
        self.log.span(&span);
        if let Some(telemetry) = &self.telemetry {
            telemetry.phase(&span);
        }
    }

    /// A phase of the creator begins, so that the one before has ended.
    fn heading(&self, name: &str) {
        self.end(Outcome::Success);
        self.next(verb_of(name));
    }

    fn next(&self, verb: String) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.begin(&verb);
        }
        let running = Running { verb, start: SystemTime::now() };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }
}

/// The phase that a heading announces, as a verb: `export` of `EXPORTING`.
pub fn verb_of(heading: &str) -> String {
    let word = heading.split(' ').next().unwrap_or_default().to_lowercase();
    let stem = word.strip_suffix("ing").unwrap_or(&word);
    // The only verbs among them that lose a letter.
    match stem {
        "analyz" | "restor" | "generat" | "rebas" => format!("{stem}e"),
        _ => stem.to_owned(),
    }
}

/// `moment` as RFC 3339.
pub fn rfc3339(moment: SystemTime) -> String {
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).ok().and_then(time::rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_announce_phases() {
        let verbs =
            ["ANALYZING", "DETECTING", "RESTORING", "EXTENDING (RUN)", "BUILDING", "EXPORTING"].map(verb_of);
        assert_eq!(verbs, ["analyze", "detect", "restore", "extend", "build", "export"]);
    }
}
