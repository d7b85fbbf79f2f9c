//! What a phase tells its user, line by line.
//!
//! A value, not a global: `cli` makes one from `-log-level` and `-no-color`, phases receive it,
//! tests read it back. Lines go to stdout, warnings and errors to stderr
//! (spec-notes/decisions.md, "Streams"). Forms and colours are those that platforms show
//! and test: `===> ANALYZING`, `Warning: …`, `ERROR: …`.
//!
//! Whoever wants another form, or to know how long something took, listens to [`Event`]s.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// How much is shown; each level shows those after it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Debug,
    /// The usual course of things.
    Info,
    /// What the user should look at.
    Warn,
    /// Why the phase failed.
    Error,
}

/// Where lines go, from which level on, and whether in colour.
#[derive(Clone)]
pub struct Log {
    level: Level,
    color: bool,
    out: Shared,
    err: Shared,
    writer: Option<Listener>,
    observer: Option<Listener>,
}

type Shared = Arc<Mutex<dyn Write + Send>>;

/// Who is told of events.
pub type Listener = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// What a log is told.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A line.
    Line(Level, &'a str),
    /// Bytes as a process wrote them.
    Output(Stream, &'a [u8]),
    /// A part of the phase begins under this heading.
    Heading(&'a str),
    /// Something that took time has ended.
    Span(&'a Span<'a>),
    /// The program ends with an error.
    Fault(&'a Fault<'a>),
}

/// Why a program ends, for people and for programs.
#[derive(Debug, Clone, Copy)]
pub struct Fault<'a> {
    /// All that a person is told.
    pub text: &'a str,
    /// What kind of failure it is; never changes its meaning.
    pub id: &'a str,
    /// What lies at the root of it, where that is known; never changes its meaning.
    pub reason: Option<&'a str>,
    /// The exit code.
    pub exit_code: u8,
    /// The error and what caused it, the last one first.
    pub causes: &'a [String],
    /// What to do about it.
    pub hint: Option<&'a str>,
}

/// Something that took time.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// What: `buildpack-build`.
    pub name: &'a str,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// How it ended.
    pub outcome: Outcome,
    /// What it was about; nothing that is secret or says who builds what.
    pub attributes: &'a [(&'a str, String)],
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Success,
    /// With an error.
    Failure,
}

impl<T, E> From<&Result<T, E>> for Outcome {
    fn from(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Success } else { Self::Failure }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("level", &self.level).field("color", &self.color).finish_non_exhaustive()
    }
}

impl Log {
    /// A log that writes to `out`, warnings and errors to `err`.
    pub fn new(
        level: Level,
        color: bool,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        let (out, err) = (Arc::new(Mutex::new(out)), Arc::new(Mutex::new(err)));
        Self { level, color, out, err, writer: None, observer: None }
    }

    /// The same log, written by `writer` alone: it gets every event of the log's level.
    #[must_use]
    pub fn written_by(self, writer: Listener) -> Self {
        Self { writer: Some(writer), ..self }
    }

    /// Whether it is written in a form of its own.
    pub fn has_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// The same log; `observer` hears of headings and spans whatever the level.
    #[must_use]
    pub fn observed_by(self, observer: Listener) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// A log that is kept in memory, colourless, with both streams in one text; for tests and for
    /// output that is shown only in some cases.
    pub fn buffer(level: Level) -> (Self, LogBuffer) {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (out, err) = (bytes.clone(), bytes.clone());
        let log = Self { level, color: false, out, err, writer: None, observer: None };
        (log, LogBuffer(bytes))
    }

    /// Whether lines of `level` are shown.
    pub fn shows(&self, level: Level) -> bool {
        level >= self.level
    }

    /// The name of a phase as a heading, in the form that `creator` prints.
    pub fn phase(&self, name: &str) {
        self.observe(&Event::Heading(name));
        match &self.writer {
            Some(writer) => writer(&Event::Heading(name)),
            None => self.line(Level::Info, &format!("===> {name}"), Some("36")),
        }
    }

    /// Something that took time; only for those who listen.
    pub fn span(&self, span: &Span<'_>) {
        self.observe(&Event::Span(span));
        if let Some(writer) = &self.writer {
            writer(&Event::Span(span));
        }
    }

    /// A line for those who look for a fault.
    pub fn debug(&self, text: impl AsRef<str>) {
        self.line(Level::Debug, text.as_ref(), None);
    }

    /// A line for everyone.
    pub fn info(&self, text: impl AsRef<str>) {
        self.line(Level::Info, text.as_ref(), None);
    }

    /// A line headed `Warning: `.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.headed(Level::Warn, "Warning: ", "33;1", text.as_ref());
    }

    /// A line headed `ERROR: `.
    pub fn error(&self, text: impl AsRef<str>) {
        self.headed(Level::Error, "ERROR: ", "31;1", text.as_ref());
    }

    /// Why the program ends, as an error.
    pub fn fault(&self, fault: &Fault<'_>) {
        match &self.writer {
            Some(writer) => writer(&Event::Fault(fault)),
            None => self.error(fault.text),
        }
    }

    /// Bytes as a process wrote them, to the stream it wrote them to, if `level` is shown.
    pub fn raw(&self, level: Level, stream: Stream, bytes: &[u8]) {
        if !self.shows(level) {
            return;
        }
        match (&self.writer, stream) {
            (Some(writer), _) => writer(&Event::Output(stream, bytes)),
            (None, Stream::Out) => put(&self.out, bytes),
            (None, Stream::Err) => put(&self.err, bytes),
        }
    }

    fn observe(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    fn headed(&self, level: Level, head: &str, color: &str, text: &str) {
        if !self.shows(level) {
            return;
        }
        if let Some(writer) = &self.writer {
            return writer(&Event::Line(level, text));
        }
        let head = if self.color { format!("\x1b[{color}m{head}\x1b[0m") } else { head.to_owned() };
        put(&self.err, format!("{head}{text}\n").as_bytes());
    }

    fn line(&self, level: Level, text: &str, color: Option<&str>) {
        if !self.shows(level) {
            return;
        }
        if let Some(writer) = &self.writer {
            return writer(&Event::Line(level, text));
        }
        let line = match color {
            Some(color) if self.color => format!("\x1b[{color}m{text}\x1b[0m\n"),
            _ => format!("{text}\n"),
        };
        put(&self.out, line.as_bytes());
    }
}

/// A stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What a [`Log::buffer`] has collected.
#[derive(Debug, Clone)]
pub struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl LogBuffer {
    /// All bytes so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All lines so far, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// The texts of `error` and its causes, those left out that an error repeats in its own text.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !texts.last().is_some_and(|last| last.ends_with(&text)) {
            texts.push(text);
        }
        source = cause.source();
    }
    texts
}

/// `error` and its causes in one line. A cause that an error repeats in its own text is left out.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).join(": ")
}

/// Writes and flushes. A reader that went away must not end a build: failures are ignored.
fn put(target: &Shared, bytes: &[u8]) {
    let mut writer = target.lock().unwrap_or_else(PoisonError::into_inner);
    let _: io::Result<()> = writer.write_all(bytes).and_then(|()| writer.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_hide_what_is_below_them() {
        let (log, buffer) = Log::buffer(Level::Warn);
        log.debug("a");
        log.info("b");
        log.warn("c");
        log.error("d");
        assert_eq!(buffer.text(), "Warning: c\nERROR: d\n");
    }

    #[test]
    fn warnings_and_errors_go_to_the_second_stream() {
        let (mut log, out) = Log::buffer(Level::Debug);
        let (other, err) = Log::buffer(Level::Debug);
        log.err = other.err;
        log.phase("ANALYZING");
        log.debug("d");
        log.info("i");
        log.warn("w");
        log.error("e");
        log.raw(Level::Info, Stream::Out, b"o");
        log.raw(Level::Info, Stream::Err, b"r");
        assert_eq!(out.text(), "===> ANALYZING\nd\ni\no");
        assert_eq!(err.text(), "Warning: w\nERROR: e\nr");
    }

    #[test]
    fn writer_takes_the_place_of_the_text_and_the_observer_does_not() {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = |name: &'static str| {
            let heard = heard.clone();
            let hear = move |event: &Event<'_>| {
                let text = match event {
                    Event::Line(_, text) | Event::Heading(text) => (*text).to_owned(),
                    Event::Output(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Event::Span(span) => span.name.to_owned(),
                    Event::Fault(fault) => fault.id.to_owned(),
                };
                heard.lock().unwrap().push(format!("{name} {text}"));
            };
            Arc::new(hear) as Listener
        };
        let (log, buffer) = Log::buffer(Level::Info);
        let observed = log.observed_by(listener("observer"));
        let now = SystemTime::UNIX_EPOCH;
        let span = Span { name: "s", start: now, end: now, outcome: Outcome::Success, attributes: &[] };
        for log in [observed.clone(), observed.written_by(listener("writer"))] {
            log.phase("P");
            log.debug("hidden");
            log.warn("w");
            log.raw(Level::Info, Stream::Out, b"o");
            log.span(&span);
        }
        assert_eq!(buffer.text(), "===> P\nWarning: w\no");
        let expected = ["observer P", "observer s", "observer P", "writer P", "writer w", "writer o"];
        assert_eq!(heard.lock().unwrap()[..6], expected);
    }

    #[test]
    fn headings_are_coloured_as_platforms_show_them() {
        let (mut log, buffer) = Log::buffer(Level::Info);
        log.color = true;
        log.phase("ANALYZING");
        log.warn("w");
        assert_eq!(buffer.text(), "\x1b[36m===> ANALYZING\x1b[0m\n\x1b[33;1mWarning: \x1b[0mw\n");
    }
}
