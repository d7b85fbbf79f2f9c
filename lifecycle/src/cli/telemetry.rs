//! `<layers>/tracing/lifecycle/<phase>.jsonl`: how long everything took, as OpenTelemetry's file exporter
//! writes it, for platforms that collect traces.
//!
//! Only with `CNB_TELEMETRY`. Nothing in it says who builds what: no images, no paths, no texts of errors. Each
//! span is appended as soon as it ends, so that a build that is killed leaves what it had. A file that cannot
//! be written is worth one warning.
//!
//! Source: RFC 0131 of the buildpacks project.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::{CWD, Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::values::Inputs;
use super::{VERSION, inputs};
use crate::log::{Log, Outcome, Span};

/// Platforms and phases share a group, not always a user.
const DIR_MODE: u32 = 0o775;
/// As for directories.
const FILE_MODE: u32 = 0o664;

/// Writes the spans of one program.
pub struct Telemetry {
    layers: PathBuf,
    trace: Trace,
    current: Mutex<Current>,
    log: Log,
}

/// Which trace the spans belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    id: String,
    /// The platform's span, if it names one.
    parent: String,
}

/// The phase that runs, and its span.
#[derive(Debug, Default)]
struct Current {
    phase: String,
    span: String,
    /// A first failure has been told, and nothing more is tried.
    failed: bool,
}

impl Telemetry {
    /// Telemetry of a program that was told `inputs`.
    pub fn new(inputs: &Inputs, log: &Log) -> Self {
        let given = inputs.text(inputs::OTEL_TRACEPARENT);
        let trace = given.as_deref().and_then(Trace::parse);
        if trace.is_none() && given.is_some() {
            log.warn("Ignoring CNB_OTEL_TRACEPARENT: it is no W3C traceparent");
        }
        let trace = trace.unwrap_or_else(|| Trace { id: random(16), parent: String::new() });
        Self { layers: inputs.path_of(inputs::LAYERS), trace, current: Mutex::default(), log: log.clone() }
    }

    /// A phase begins.
    pub fn begin(&self, phase: &str) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        phase.clone_into(&mut current.phase);
        current.span = random(8);
    }

    /// The phase that runs has ended.
    pub fn phase(&self, span: &Span<'_>) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let id = current.span.clone();
        self.write(current, &self.line(span, &id, &self.trace.parent));
    }

    /// Something within the phase that runs has ended.
    pub fn within(&self, span: &Span<'_>) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = current.span.clone();
        self.write(current, &self.line(span, &random(8), &parent));
    }

    fn line(&self, span: &Span<'_>, id: &str, parent: &str) -> Value {
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| text(key, value)).collect();
        let code = if span.outcome == Outcome::Success { 1 } else { 2 };
        let span = json!({
            "traceId": self.trace.id,
            "spanId": id,
            "parentSpanId": parent,
            "name": span.name,
            "kind": 1,
            "startTimeUnixNano": nanoseconds(span.start),
            "endTimeUnixNano": nanoseconds(span.end),
            "attributes": attributes,
            "status": { "code": code },
        });
        json!({ "resourceSpans": [{
            "resource": { "attributes": [text("lifecycle.version", VERSION)] },
            "scopeSpans": [{ "scope": { "name": "lifecycle" }, "spans": [span] }],
        }] })
    }

    fn write(&self, mut current: std::sync::MutexGuard<'_, Current>, line: &Value) {
        if current.failed {
            return;
        }
        if let Err(error) = append(&self.layers, &current.phase, &format!("{line}\n")) {
            current.failed = true;
            self.log
                .warn(format!("Telemetry is not written to `{}/tracing`: {error}", self.layers.display()));
        }
    }
}

impl Trace {
    /// Reads `00-<trace>-<span>-<flags>`.
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.trim().split('-').collect();
        let [version, id, parent, flags, ..] = parts.as_slice() else { return None };
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_set = |text: &str| text.bytes().any(|byte| byte != b'0');
        let length = if *version == "00" { parts.len() == 4 } else { *version != "ff" };
        let valid = length
            && is_hex(version, 2)
            && is_hex(id, 32)
            && is_hex(parent, 16)
            && is_hex(flags, 2)
            && is_set(id)
            && is_set(parent);
        valid.then(|| Self { id: (*id).to_owned(), parent: (*parent).to_owned() })
    }
}

fn nanoseconds(moment: SystemTime) -> String {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

/// Appends to the phase's file. Buildpacks write to the same tree: no link is followed.
fn append(layers: &Path, phase: &str, line: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = File::from(openat(CWD, layers, flags, Mode::empty())?);
    for name in ["tracing", "lifecycle"] {
        let made = mkdirat(&dir, name, Mode::from_raw_mode(DIR_MODE));
        dir = File::from(openat(&dir, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
        match made {
            // The umask took a part of the mode away.
            Ok(()) => fchmod(&dir, Mode::from_raw_mode(DIR_MODE))?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let name = format!("{phase}.jsonl");
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(FILE_MODE);
    let mut file = match openat(&dir, &name, flags | OFlags::CREATE | OFlags::EXCL, mode) {
        Err(Errno::EXIST) => File::from(openat(&dir, &name, flags, Mode::empty())?),
        result => {
            let file = File::from(result?);
            fchmod(&file, mode)?;
            file
        }
    };
    file.write_all(line.as_bytes())
}

/// So many random bytes in hexadecimal; of the clock where the system has none.
fn random(bytes: usize) -> String {
    use std::fmt::Write;
    let mut buffer = vec![0; bytes];
    if File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut buffer)).is_err() {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let clock = crate::digest::Digest::of(&clock.to_le_bytes()).hex();
        return clock[..2 * bytes].to_owned();
    }
    buffer.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PlatformApi;
    use crate::cli::flags::Parsed;
    use crate::cli::inputs::Phase;
    use crate::log::Level;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn telemetry(layers: &Path, parent: &str) -> (Telemetry, crate::log::LogBuffer) {
        let variables = [("CNB_LAYERS_DIR", layers.as_os_str()), ("CNB_OTEL_TRACEPARENT", parent.as_ref())];
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let newest = *PlatformApi::ALL.last().expect("there is one");
        let inputs = Inputs::new(Phase::Builder, newest, Parsed::default(), variables, "/".into());
        let (log, buffer) = Log::buffer(Level::Info);
        (Telemetry::new(&inputs, &log), buffer)
    }

    fn span<'a>(name: &'a str, attributes: &'a [(&'a str, String)]) -> Span<'a> {
        let start = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(5);
        Span { name, start, end: start, outcome: Outcome::Failure, attributes }
    }

    #[test]
    fn spans_are_appended_to_their_phases_file() {
        let layers = tempfile::tempdir().expect("a directory");
        let (telemetry, buffer) = telemetry(layers.path(), PARENT);
        telemetry.begin("build");
        telemetry.within(&span("buildpack-build", &[("buildpack-id", "a/b".to_owned())]));
        telemetry.phase(&span("build", &[]));
        let path = layers.path().join("tracing/lifecycle/build.jsonl");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
        let text = std::fs::read_to_string(path).expect("it is text");
        let spans: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .map(|line| line["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone())
            .collect();
        assert_eq!(spans[0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(spans[1]["parentSpanId"], "b7ad6b7169203331");
        assert_eq!(spans[0]["parentSpanId"], spans[1]["spanId"]);
        assert_eq!(spans[0]["attributes"][0]["value"]["stringValue"], "a/b");
        assert_eq!((&spans[0]["startTimeUnixNano"], &spans[0]["status"]["code"]), (&"5".into(), &2.into()));
        assert_eq!(buffer.text(), "");
    }

    #[test]
    fn links_are_not_followed_and_cost_one_warning() {
        let layers = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("a directory");
        symlink(elsewhere.path(), layers.path().join("tracing")).expect("a link");
        let (telemetry, buffer) = telemetry(layers.path(), PARENT);
        telemetry.begin("build");
        telemetry.phase(&span("build", &[]));
        telemetry.phase(&span("build", &[]));
        assert!(std::fs::read_dir(elsewhere.path()).expect("it is there").next().is_none());
        assert_eq!(buffer.text().lines().count(), 1, "{}", buffer.text());
    }

    #[test]
    fn a_trace_of_the_platform_is_taken_only_if_it_is_one() {
        let trace = Trace::parse(PARENT).expect("valid");
        assert_eq!(trace.parent, "b7ad6b7169203331");
        let zeros = "0".repeat(16);
        for bad in
            ["", "x", "00-1-2-3", &PARENT[..PARENT.len() - 1], &PARENT.replace("b7ad6b7169203331", &zeros)]
        {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
        let layers = tempfile::tempdir().expect("a directory");
        let (own, buffer) = telemetry(layers.path(), "x");
        assert_eq!(own.trace.id.len(), 32);
        assert!(buffer.text().contains("CNB_OTEL_TRACEPARENT"), "{}", buffer.text());
    }
}
