//! The log as one JSON object a line, for programs that collect logs.
//!
//! ```text
//! {"time":"…","level":"info","phase":"export","message":"Saving r.io/app..."}
//! {"time":"…","level":"info","phase":"build","stream":"stdout","message":"what a buildpack wrote"}
//! {"time":"…","level":"info","phase":"export","message":"export took 1.204 s","span":"export","duration_ms":1204,…}
//! {"time":"…","level":"error","phase":"export","message":"…","error":{"id":"export-failed","reason":"disk-full",…}}
//! ```
//!
//! Warnings and errors go to the second stream, as in text.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use crate::log::{Event, Fault, Level, Listener, Outcome, Span, Stream};
use crate::time;

/// The most bytes of a process's line that wait for its end.
const MAX_LINE_BYTES: usize = 64 << 10;

/// One line. Keys keep their meaning; more may come.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    time: String,
    level: &'static str,
    phase: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

#[derive(Debug, Serialize)]
struct Error<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    exit_code: u8,
    causes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

/// Where lines go, and what is not a line yet.
struct Lines<Out, Err> {
    phase: String,
    out: Out,
    err: Err,
    /// What processes wrote to their two streams since the last line's end.
    begun: [Vec<u8>; 2],
}

/// Writes the events of a log as JSON; `phase` is where it begins.
pub fn writer(phase: &str, out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Listener {
    let lines = Mutex::new(Lines { phase: phase.to_owned(), out, err, begun: Default::default() });
    Arc::new(move |event| lines.lock().unwrap_or_else(PoisonError::into_inner).tell(event))
}

impl<Out: Write, Err: Write> Lines<Out, Err> {
    fn tell(&mut self, event: &Event<'_>) {
        if let Event::Output(stream, bytes) = event {
            return self.output(*stream, bytes);
        }
        for stream in [Stream::Out, Stream::Err] {
            self.end_line(stream);
        }
        match event {
            Event::Output(..) => {}
            Event::Line(level, text) => {
                self.put(*level, Line { message: text.trim(), ..Line::default() });
            }
            Event::Heading(name) => {
                self.phase = super::timing::verb_of(name);
                self.put(Level::Info, Line { message: name, ..Line::default() });
            }
            Event::Span(span) => self.span(span),
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn span(&mut self, span: &Span<'_>) {
        let took = span.end.duration_since(span.start).unwrap_or_default();
        let message = format!("{} took {:.3} s", span.name, took.as_secs_f64());
        self.put(
            Level::Info,
            Line {
                message: &message,
                span: Some(span.name),
                duration_ms: u64::try_from(took.as_millis()).ok(),
                outcome: Some(if span.outcome == Outcome::Success { "success" } else { "failure" }),
                attributes: span.attributes.iter().map(|(key, value)| (*key, value.as_str())).collect(),
                ..Line::default()
            },
        );
    }

    fn fault(&mut self, fault: &Fault<'_>) {
        let Fault { text, id, reason, exit_code, causes, hint } = *fault;
        let error = Some(Error { id, reason, exit_code, causes, hint });
        let message = hint.and_then(|hint| text.strip_suffix(hint)).unwrap_or(text).trim();
        self.put(Level::Error, Line { message, error, ..Line::default() });
    }

    /// Collects what a process wrote until its line ends.
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let begun = &mut self.begun[stream as usize];
            begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || begun.len() >= MAX_LINE_BYTES {
                self.end_line(stream);
            }
        }
    }

    fn end_line(&mut self, stream: Stream) {
        let bytes = mem::take(&mut self.begun[stream as usize]);
        if bytes.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        let name = match stream {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        };
        self.put(Level::Info, Line { message: text.trim_end(), stream: Some(name), ..Line::default() });
    }

    /// A reader that went away must not end a build: failures are ignored.
    fn put(&mut self, level: Level, line: Line<'_>) {
        let line = Line { time: now(), level: name(level), phase: &self.phase, ..line };
        let mut text = serde_json::to_vec(&line).expect("texts and numbers are JSON");
        text.push(b'\n');
        let _: io::Result<()> = match level {
            Level::Debug | Level::Info => self.out.write_all(&text).and_then(|()| self.out.flush()),
            Level::Warn | Level::Error => self.err.write_all(&text).and_then(|()| self.err.flush()),
        };
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// Now, to the millisecond.
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = i64::try_from(since.as_secs()).ok().and_then(time::rfc3339).unwrap_or_default();
    format!("{}.{:03}Z", text.trim_end_matches('Z'), since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use serde_json::Value;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn lines(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).expect("JSON is UTF-8");
            text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
        }
    }

    fn log() -> (Log, Shared, Shared) {
        let (out, err) = (Shared::default(), Shared::default());
        let log = Log::buffer(Level::Info).0.written_by(writer("create", out.clone(), err.clone()));
        (log, out, err)
    }

    #[test]
    fn every_line_is_an_object_with_level_and_phase() {
        let (log, out, err) = log();
        log.info("one\ntwo");
        log.debug("hidden");
        log.phase("EXPORTING");
        log.warn("careful");
        let lines = out.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["message"], &lines[0]["phase"]), (&"one\ntwo".into(), &"create".into()));
        assert!(lines[0]["time"].as_str().is_some_and(|time| time.len() == 24), "{}", lines[0]);
        let warning = &err.lines()[0];
        assert_eq!((&warning["level"], &warning["phase"]), (&"warn".into(), &"export".into()));
    }

    #[test]
    fn what_processes_write_is_put_together_to_lines() {
        let (log, out, _) = log();
        log.raw(Level::Info, Stream::Out, b"ab");
        log.raw(Level::Info, Stream::Err, b"x\n");
        log.raw(Level::Info, Stream::Out, b"c\n\xffd");
        log.info("end");
        let found: Vec<(String, String)> = out
            .lines()
            .iter()
            .map(|line| (line["stream"].to_string(), line["message"].as_str().unwrap_or_default().to_owned()))
            .collect();
        let expected =
            [("\"stderr\"", "x"), ("\"stdout\"", "abc"), ("\"stdout\"", "\u{fffd}d"), ("null", "end")];
        assert_eq!(found, expected.map(|(stream, text)| (stream.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_line_without_end_is_not_kept_for_ever() {
        let (log, out, _) = log();
        log.raw(Level::Info, Stream::Out, &vec![b'x'; MAX_LINE_BYTES]);
        assert_eq!(out.lines().len(), 1);
    }

    #[test]
    fn a_fault_says_what_programs_can_act_on() {
        let (log, _, err) = log();
        let causes = ["export".to_owned(), "no space".to_owned()];
        let (text, hint) = ("failed to export: no space\n  Free some.", Some("Free some."));
        log.fault(&Fault {
            text,
            id: "export-failed",
            reason: Some("disk-full"),
            exit_code: 62,
            causes: &causes,
            hint,
        });
        let line = &err.lines()[0];
        assert_eq!(line["message"], "failed to export: no space");
        let error = &line["error"];
        assert_eq!((&error["id"], &error["reason"]), (&"export-failed".into(), &"disk-full".into()));
        assert_eq!((&error["exit_code"], &error["causes"][1]), (&62.into(), &"no space".into()));
        assert_eq!(error["hint"], "Free some.");
    }

    #[test]
    fn spans_tell_how_long_and_of_what() {
        let (log, out, _) = log();
        let start = SystemTime::UNIX_EPOCH;
        let end = start + std::time::Duration::from_millis(1500);
        let attributes = [("buildpack-id", "a/b".to_owned())];
        log.span(&Span {
            name: "buildpack-build",
            start,
            end,
            outcome: Outcome::Failure,
            attributes: &attributes,
        });
        let line = &out.lines()[0];
        assert_eq!((&line["duration_ms"], &line["outcome"]), (&1500.into(), &"failure".into()));
        assert_eq!(line["attributes"]["buildpack-id"], "a/b");
    }
}
