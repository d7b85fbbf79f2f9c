//! What a phase tells its user, line by line.
//!
//! A value, not a global: `cli` makes one from `-log-level` and `-no-color`, phases receive it,
//! tests read it back. Lines go to stdout, warnings and errors to stderr
//! (spec-notes/decisions.md, "Streams"). Forms and colours are those that platforms show
//! and test: `===> ANALYZING`, `Warning: …`, `ERROR: …`.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

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
}

type Shared = Arc<Mutex<dyn Write + Send>>;

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
        Self { level, color, out: Arc::new(Mutex::new(out)), err: Arc::new(Mutex::new(err)) }
    }

    /// A log that is kept in memory, colourless, with both streams in one text; for tests and for
    /// output that is shown only in some cases.
    pub fn buffer(level: Level) -> (Self, LogBuffer) {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let log = Self { level, color: false, out: bytes.clone(), err: bytes.clone() };
        (log, LogBuffer(bytes))
    }

    /// Whether lines of `level` are shown.
    pub fn shows(&self, level: Level) -> bool {
        level >= self.level
    }

    /// The name of a phase as a heading, in the form that `creator` prints.
    pub fn phase(&self, name: &str) {
        self.line(Level::Info, &format!("===> {name}"), Some("36"));
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

    /// Bytes as a process wrote them, to the stream it wrote them to, if `level` is shown.
    pub fn raw(&self, level: Level, stream: Stream, bytes: &[u8]) {
        if self.shows(level) {
            let target = match stream {
                Stream::Out => &self.out,
                Stream::Err => &self.err,
            };
            put(target, bytes);
        }
    }

    fn headed(&self, level: Level, head: &str, color: &str, text: &str) {
        if self.shows(level) {
            let head = if self.color { format!("\x1b[{color}m{head}\x1b[0m") } else { head.to_owned() };
            put(&self.err, format!("{head}{text}\n").as_bytes());
        }
    }

    fn line(&self, level: Level, text: &str, color: Option<&str>) {
        if self.shows(level) {
            let line = match color {
                Some(color) if self.color => format!("\x1b[{color}m{text}\x1b[0m\n"),
                _ => format!("{text}\n"),
            };
            put(&self.out, line.as_bytes());
        }
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

/// `error` and its causes in one line. A cause that an error repeats in its own text is left out.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
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
    fn headings_are_coloured_as_platforms_show_them() {
        let (mut log, buffer) = Log::buffer(Level::Info);
        log.color = true;
        log.phase("ANALYZING");
        log.warn("w");
        assert_eq!(buffer.text(), "\x1b[36m===> ANALYZING\x1b[0m\n\x1b[33;1mWarning: \x1b[0mw\n");
    }
}
