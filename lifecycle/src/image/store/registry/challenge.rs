//! What a registry asks for when it answers 401.
//!
//! Spec: RFC 9110 section 11.6.1 (`WWW-Authenticate`), distribution "Token Authentication".

use std::collections::BTreeMap;

/// How a registry wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// With user and password.
    Basic,
    /// With a token from another server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// The registry's name there, empty when not given.
        service: String,
        /// The scope that the refused request needs, empty when not given.
        scope: String,
    },
}

impl Challenge {
    /// Parses the values of all `WWW-Authenticate` headers of one response; `Bearer` is preferred.
    /// `None` when no scheme is known or a `Bearer` names no realm.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let all: Vec<Self> = headers.into_iter().take(10).filter_map(Self::parse_one).collect();
        all.iter().find(|challenge| matches!(challenge, Self::Bearer { .. })).or(all.first()).cloned()
    }

    fn parse_one(header: &str) -> Option<Self> {
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest);
        let mut take = |name: &str| parameters.remove(name).unwrap_or_default();
        let (realm, service, scope) = (take("realm"), take("service"), take("scope"));
        (!realm.is_empty()).then_some(Self::Bearer { realm, service, scope })
    }
}

/// `name=value` and `name="quoted, value"` separated by commas; names in lower case.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                after.split_once(',').map_or((after.trim().to_owned(), ""), |(v, n)| (v.trim().to_owned(), n))
            }
        };
        found.insert(name.trim_matches([' ', ',', '\t']).to_ascii_lowercase(), value);
        rest = next;
    }
    found
}

/// The content of a quoted string whose opening quote is gone, and what follows it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[&str], expected: Option<(&str, &str, &str)>) {
        let expected = expected.map(|(realm, service, scope)| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.to_owned(),
            scope: scope.to_owned(),
        });
        assert_eq!(Challenge::parse(headers.iter().copied()), expected);
    }

    #[test]
    fn bearer_parameters_may_be_quoted_and_hold_commas() {
        check(
            &[r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:x:pull,push""#],
            Some(("https://a.example/token", "r.example", "repository:x:pull,push")),
        );
        check(&["bearer Realm=https://a.example/t , service=r"], Some(("https://a.example/t", "r", "")));
        check(&[r#"Basic realm="x""#, r#"Bearer realm="y""#], Some(("y", "", "")));
        check(&[r#"Bearer realm="a\"b""#], Some((r#"a"b"#, "", "")));
    }

    #[test]
    fn anything_else_is_no_challenge_or_basic() {
        check(&[], None);
        check(&["Bearer"], None);
        check(&["Negotiate abc"], None);
        assert_eq!(Challenge::parse(["BASIC realm=x"]), Some(Challenge::Basic));
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(header in ".*") {
            let _ = Challenge::parse([header.as_str()]);
            let _ = Challenge::parse([format!("Bearer {header}").as_str()]);
        }
    }
}
