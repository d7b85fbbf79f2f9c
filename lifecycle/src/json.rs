//! JSON as Go writes it, and objects whose untouched values keep their very tokens.
//!
//! Labels, configs and manifests are read by Go programs and compared as texts, so one function
//! ([`go_json`]) writes them all. What passes through a lifecycle without being its business (an
//! unknown key, a number with thirty digits, `1.0`) must come out as it went in: a [`JsonObject`]
//! keeps each member's value as text and the members' order.

use std::collections::HashMap;
use std::fmt;
use std::io;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

/// Why a text is not the JSON it must be.
pub type JsonError = serde_json::Error;

/// Writes `value` as Go's `encoding/json` does: no spaces, `<`, `>`, `&`, U+2028 and U+2029 escaped.
///
/// The values of a [`JsonObject`] keep their spelling. Maps must have text keys and floats must be
/// finite; those of this crate's types are.
pub fn go_json<T: Serialize + ?Sized>(value: &T) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, GoFormatter);
    value.serialize(&mut serializer).expect("memory takes any bytes and every map has text keys");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// serde_json's compact form with Go's additional escapes.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            let special = special.chars().next().expect("find returned a character's place");
            writer.write_all(plain.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// A JSON object: members in the order they came, each value kept as the text it was.
///
/// Of members with the same key the last value counts, as in Go.
#[derive(Clone, Default)]
pub struct JsonObject {
    members: Vec<(String, Box<RawValue>)>,
}

impl JsonObject {
    /// Reads an object. Fails on anything that is not one.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        serde_json::from_str(text)
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Members in order; what is [`Self::set`] to one of their values keeps its spelling.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.members.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// The value of `key` as JSON text.
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.members.iter().find(|(name, _)| name == key).map(|(_, value)| value.get())
    }

    /// The value of `key`; `None` when it is absent or null. Fails when it is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, JsonError> {
        self.raw(key).map_or(Ok(None), serde_json::from_str)
    }

    /// Puts `value` at `key`: in place where the key is already there, else at the end.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.put(key, RawValue::from_string(go_json(value)).expect("what go_json wrote is JSON"));
    }

    fn put(&mut self, key: &str, raw: Box<RawValue>) {
        match self.members.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = raw,
            None => self.members.push((key.to_owned(), raw)),
        }
    }

    /// Puts `value` at `key`, before all others.
    pub fn set_first<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.set(key, value);
        if let Some(place) = self.members.iter().position(|(name, _)| name == key) {
            self.members[..=place].rotate_right(1);
        }
    }

    /// Removes `key` if it is there.
    pub fn remove(&mut self, key: &str) {
        self.members.retain(|(name, _)| name != key);
    }
}

impl PartialEq for JsonObject {
    fn eq(&self, other: &Self) -> bool {
        self.members.len() == other.members.len()
            && self.iter().zip(other.iter()).all(|(a, b)| a.0 == b.0 && a.1.get() == b.1.get())
    }
}

impl Eq for JsonObject {}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&go_json(self))
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (key, value) in &self.members {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                let mut places: HashMap<String, usize> = HashMap::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if let Some(place) = places.get(&key) {
                        members[*place].1 = value;
                    } else {
                        places.insert(key.clone(), members.len());
                        members.push((key, value));
                    }
                }
                Ok(JsonObject { members })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_kept(text: &str) {
        assert_eq!(go_json(&JsonObject::parse(text).expect("an object")), text);
    }

    #[test]
    fn text_is_escaped_as_go_does() {
        assert_eq!(
            go_json("a<b>&c\u{2028}\u{2029}\u{8}\u{1}\"\\/é"),
            r#""a\u003cb\u003e\u0026c\u2028\u2029\b\u0001\"\\/é""#
        );
    }

    #[test]
    fn order_and_tokens_of_untouched_values_are_kept() {
        check_kept(r#"{"z":1.0,"a":123456789012345678901234567890,"m":{"x": [1e400, -0.0]}}"#);
        check_kept(r#"{"s":"\u0041\/<","n":null}"#);
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let object = JsonObject::parse(r#"{"a":1,"b":2,"a":3}"#).expect("an object");
        assert_eq!(go_json(&object), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn members_are_set_in_place_or_at_the_end() {
        let mut object = JsonObject::parse(r#"{"b":1,"a":2,"c":3}"#).expect("an object");
        object.set("a", "<");
        object.set("d", &[1, 2]);
        object.remove("c");
        object.set_first("a", "<");
        object.set_first("z", &0);
        assert_eq!(go_json(&object), r#"{"z":0,"a":"\u003c","b":1,"d":[1,2]}"#);
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let object = JsonObject::parse(r#"{"a":null}"#).expect("an object");
        assert_eq!(object.get::<String>("a").expect("null is accepted"), None);
        assert_eq!(object.get::<String>("b").expect("absence is accepted"), None);
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        check_kept(&deep);
    }

    proptest! {
        #[test]
        fn any_text_is_an_object_or_an_error(text in ".*") {
            let _ = JsonObject::parse(&text);
        }

        #[test]
        fn any_text_survives_writing_and_reading(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&go_json(&text)).expect("JSON"), text);
        }
    }
}
