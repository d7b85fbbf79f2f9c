//! The text of `metadata.toml` as Go's TOML encoder lays it out.
//!
//! The file becomes a layer of the app image: with the same bytes that layer is the same one,
//! whichever lifecycle exported it.

use toml::{Table, Value};

use super::{BomEntry, BuildMetadata, Process};
use crate::api::PlatformApi;
use crate::json::go_json;

/// The text for `platform_api`.
pub(super) fn to_toml(metadata: &BuildMetadata, platform_api: PlatformApi) -> String {
    let mut out = Writer::default();
    if metadata.processes.is_empty() {
        out.pair(0, "processes", "[]");
    }
    if let Some(default) = &metadata.buildpack_default_process_type {
        out.pair(0, "buildpack-default-process-type", &quoted(default));
    }
    for entry in metadata.bom.iter().filter(|_| platform_api.has_inline_bom()) {
        out.bom_entry(entry);
    }
    for (key, components) in [("buildpacks", &metadata.buildpacks), ("extensions", &metadata.extensions)] {
        for component in components {
            out.header(0, key);
            out.pair(1, "id", &quoted(component.id.as_str()));
            out.pair(1, "version", &quoted(component.version.as_str()));
            out.optional(1, "api", &component.api);
            out.optional(1, "homepage", &component.homepage);
        }
    }
    for label in &metadata.labels {
        out.header(0, "labels");
        out.pair(1, "key", &quoted(&label.key));
        out.pair(1, "value", &quoted(&label.value));
    }
    for entry in &metadata.processes {
        out.process(&entry.for_platform(platform_api), platform_api);
    }
    for slice in &metadata.slices {
        out.header(0, "slices");
        out.pair(1, "paths", &list(&slice.paths));
    }
    out.text
}

#[derive(Default)]
struct Writer {
    text: String,
}

impl Writer {
    fn process(&mut self, process: &Process, platform_api: PlatformApi) {
        self.header(0, "processes");
        self.pair(1, "type", &quoted(&process.process_type));
        self.pair(1, "command", &command(&process.command, platform_api));
        if let Some(args) = &process.args {
            self.pair(1, "args", &list(args));
        }
        self.pair(1, "direct", if process.direct { "true" } else { "false" });
        self.pair(1, "buildpack-id", &quoted(&process.buildpack_id));
        self.optional(1, "working-dir", process.working_dir.as_deref().unwrap_or_default());
        if !process.exec_env.is_empty() {
            self.pair(1, "exec-env", &list(&process.exec_env));
        }
    }

    /// Begins an element of the array of tables `path`; `depth` is the number of its parents.
    fn header(&mut self, depth: usize, path: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(depth, &format!("[[{path}]]"));
    }

    fn pair(&mut self, depth: usize, key: &str, value: &str) {
        self.line(depth, &format!("{key} = {value}"));
    }

    fn optional(&mut self, depth: usize, key: &str, value: &str) {
        if !value.is_empty() {
            self.pair(depth, key, &quoted(value));
        }
    }

    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn bom_entry(&mut self, entry: &BomEntry) {
        self.header(0, "bom");
        self.pair(1, "name", &quoted(&entry.name));
        if let Some(metadata) = &entry.metadata {
            self.line(1, "[bom.metadata]");
            self.table(2, "bom.metadata", metadata);
        }
        self.line(1, "[bom.buildpack]");
        self.pair(2, "id", &quoted(entry.buildpack.id.as_str()));
        self.pair(2, "version", &quoted(entry.buildpack.version.as_str()));
    }

    /// The content of the table `path`: values first, then tables.
    fn table(&mut self, depth: usize, path: &str, table: &Table) {
        let is_table = |value: &Value| value.is_table() || tables(value).is_some();
        for (key, value) in table.iter().filter(|(_, value)| !is_table(value)) {
            self.pair(depth, &bare_or_quoted(key), &inline(value));
        }
        for (key, value) in table {
            let path = format!("{path}.{}", bare_or_quoted(key));
            if let Some(table) = value.as_table() {
                self.line(depth, &format!("[{path}]"));
                self.table(depth + 1, &path, table);
            }
            for table in tables(value).into_iter().flatten() {
                self.header(depth, &path);
                self.table(depth + 1, &path, table);
            }
        }
    }
}

/// The elements of a list that holds tables only.
fn tables(value: &Value) -> Option<Vec<&Table>> {
    let items = value.as_array().filter(|items| !items.is_empty())?;
    items.iter().map(Value::as_table).collect()
}

/// A list where the platform knows lists, else one text; in JSON's spelling, which is TOML too.
fn command(command: &[String], platform_api: PlatformApi) -> String {
    if platform_api.writes_command_as_array() {
        let words: Vec<String> = command.iter().map(|word| escaped(&go_json(word))).collect();
        return format!("[{}]", words.join(", "));
    }
    escaped(&go_json(command.first().map_or("", String::as_str)))
}

/// JSON may hold a DEL as it is, TOML may not.
fn escaped(json: &str) -> String {
    json.replace('\u{7f}', "\\u007f")
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Float(number) if number.is_finite() => {
            let text = number.to_string();
            if text.contains('.') { text } else { format!("{text}.0") }
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => {
            let pairs =
                table.iter().map(|(key, value)| format!("{} = {}", bare_or_quoted(key), inline(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\u{c}' => quoted.push_str("\\f"),
            '\r' => quoted.push_str("\\r"),
            control if control < ' ' || control == '\u{7f}' => {
                quoted.extend(["\\u00", &format!("{:02x}", u32::from(control))]);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
