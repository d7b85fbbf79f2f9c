//! Free-form data on its way between TOML and JSON: layer metadata, store, project metadata.
//!
//! Buildpacks write TOML, labels and caches hold JSON, buildpacks get TOML back. Integers stay
//! integers and floats floats (`1` and `1.0`), so that what a buildpack reads is what it wrote;
//! dates, which JSON lacks, come back as text. (spec-notes/decisions.md, "Numbers in metadata")

use serde_json::{Map, Number};
use toml::{Table, Value as Toml};

/// JSON of free-form data.
pub type Json = serde_json::Value;

/// TOML's `inf` and `nan`, which JSON lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number that is not finite cannot be written as JSON")]
pub struct NotFinite;

/// TOML as JSON. Fails on numbers that are not finite.
pub fn to_json(value: &Toml) -> Result<Json, NotFinite> {
    Ok(match value {
        Toml::String(text) => Json::String(text.clone()),
        Toml::Integer(number) => Json::from(*number),
        Toml::Float(number) => Json::Number(Number::from_f64(*number).ok_or(NotFinite)?),
        Toml::Boolean(flag) => Json::Bool(*flag),
        Toml::Datetime(date) => Json::String(date.to_string()),
        Toml::Array(items) => Json::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Toml::Table(table) => Json::Object(table_to_json(table)?),
    })
}

/// A TOML table as a JSON object, keys sorted.
pub fn table_to_json(table: &Table) -> Result<Map<String, Json>, NotFinite> {
    table.iter().map(|(key, value)| Ok((key.clone(), to_json(value)?))).collect()
}

/// JSON as TOML; `None` for `null`. TOML lacks `null`: members and items that are null are left out.
///
/// An integer beyond 64 bits with sign becomes a float.
pub fn to_toml(value: &Json) -> Option<Toml> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => Toml::Boolean(*flag),
        Json::String(text) => Toml::String(text.clone()),
        Json::Number(number) => number_to_toml(number),
        Json::Array(items) => Toml::Array(items.iter().filter_map(to_toml).collect()),
        Json::Object(members) => Toml::Table(object_to_table(members)),
    })
}

/// A JSON object as a TOML table; members that are null are left out.
pub fn object_to_table(members: &Map<String, Json>) -> Table {
    members.iter().filter_map(|(key, value)| Some((key.clone(), to_toml(value)?))).collect()
}

fn number_to_toml(number: &Number) -> Toml {
    match number.as_i64() {
        Some(integer) => Toml::Integer(integer),
        None => Toml::Float(number.as_f64().expect("without arbitrary precision every number is a float")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::go_json;
    use proptest::prelude::*;

    #[track_caller]
    fn check(toml: &str, json: &str) {
        let table: Table = toml::from_str(toml).expect("TOML");
        assert_eq!(go_json(&table_to_json(&table).expect("finite")), json);
    }

    #[track_caller]
    fn check_back(json: &str, toml: &str) {
        let members: Map<String, Json> = serde_json::from_str(json).expect("JSON");
        assert_eq!(toml::to_string(&object_to_table(&members)).expect("TOML"), toml);
    }

    #[test]
    fn integers_stay_integral_and_floats_floats() {
        check("a = 1\nb = 1.0\nc = 9007199254740993", r#"{"a":1,"b":1.0,"c":9007199254740993}"#);
        check_back(r#"{"a":1,"b":1.0,"c":9007199254740993}"#, "a = 1\nb = 1.0\nc = 9007199254740993\n");
    }

    #[test]
    fn dates_become_text() {
        check("d = 2020-01-02T03:04:05Z\nt = 03:04:05", r#"{"d":"2020-01-02T03:04:05Z","t":"03:04:05"}"#);
    }

    #[test]
    fn what_the_other_format_lacks_is_left_out_or_refused() {
        assert_eq!(to_json(&Toml::Float(f64::NAN)), Err(NotFinite));
        check_back(r#"{"a":null,"b":{"c":null}}"#, "[b]\n");
        check_back(r#"{"a":[1,null]}"#, "a = [1]\n");
        check_back(r#"{"a":18446744073709551615}"#, "a = 18446744073709552000.0\n");
    }

    fn tables() -> impl Strategy<Value = Toml> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Toml::Integer),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Toml::Float),
            any::<bool>().prop_map(Toml::Boolean),
            any::<String>().prop_map(Toml::String),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Toml::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Toml::Table(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn data_survives_json_and_back(value in tables()) {
            let text = go_json(&to_json(&value).expect("finite"));
            let json: Json = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(to_toml(&json), Some(value));
        }
    }
}
