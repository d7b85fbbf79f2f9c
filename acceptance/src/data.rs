//! TOML and JSON compared as data: order of keys and form do not count.

use serde_json::Value;

/// A TOML document as JSON data.
///
/// # Panics
///
/// When it is not TOML.
pub fn toml(text: &str) -> Value {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}:\n{text}"));
    serde_json::to_value(table).expect("TOML data is JSON data")
}

/// The paths at which two values differ, with both sides, one a line.
pub fn differences(found: &Value, expected: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", found, expected, &mut lines);
    lines
}

fn compare(path: &str, found: &Value, expected: &Value, lines: &mut Vec<String>) {
    match (found, expected) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let null = Value::Null;
                let (a, b) = (a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null));
                compare(&format!("{path}/{key}"), a, b, lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}/{index}"), a, b, lines);
            }
        }
        _ if found == expected => {}
        _ => lines.push(format!("{path}: {found}, expected {expected}")),
    }
}
