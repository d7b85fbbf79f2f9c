//! Patterns of sources, as Go's `filepath.Match` reads them: no wildcard crosses a slash, and `**` is
//! two stars.

use std::path::Path;

use super::pattern::{BadPattern, Reader, Token, characters, matches, path_characters};

/// A pattern of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A class that is empty, not closed, or has a lone `-`; an escape at the end.
    pub fn parse(pattern: &str) -> Result<Self, BadPattern> {
        let characters = characters(pattern.as_bytes());
        let mut reader = Reader::new(&characters);
        let mut tokens = Vec::new();
        while let Some(character) = reader.next() {
            tokens.push(match character {
                '*' => Token::Star,
                '?' => Token::One,
                '[' => reader.class()?,
                '\\' => Token::Literal(reader.next().map(u32::from).ok_or(BadPattern)?),
                _ => Token::Literal(u32::from(character)),
            });
        }
        Ok(Self(tokens))
    }

    /// Tells whether the whole path matches.
    pub fn matches(&self, path: &Path) -> bool {
        matches(&self.0, &path_characters(path))
    }
}

/// Tells whether a path has a wildcard; only then its escapes are escapes.
pub fn has_wildcard(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// Writes a path so that no character of it is a wildcard.
pub fn escape_wildcards(path: &str) -> String {
    if !has_wildcard(path) {
        return path.to_owned();
    }
    let escaped = |ch: char| matches!(ch, '\\' | '*' | '?' | '[').then_some('\\').into_iter().chain([ch]);
    path.chars().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        pattern: String,
        name: String,
        #[serde(rename = "match")]
        matches: bool,
        #[serde(default)]
        error: bool,
    }

    #[test]
    fn every_case_matches_as_in_go() {
        let golden = include_str!("../../../fixtures/golden/dockerfile/globs.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        for Case { pattern, name, matches, error } in golden.cases {
            let result = Glob::parse(&pattern).map(|glob| glob.matches(Path::new(&name)));
            let expected = if error { Err(BadPattern) } else { Ok(matches) };
            assert_eq!(result, expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn names_that_are_not_text_match_wildcards_only() {
        let name = Path::new(OsStr::from_bytes(b"a\xffb"));
        for (pattern, expected) in
            [("a?b", true), ("a*", true), ("a[^x]b", true), ("a[a-z]b", false), ("a\u{ff}b", false)]
        {
            assert_eq!(Glob::parse(pattern).unwrap().matches(name), expected, "{pattern}");
        }
    }

    #[test]
    fn wildcards_are_seen_unless_they_are_escaped() {
        for (path, expected) in [
            ("a", false),
            ("a*", true),
            ("a?", true),
            ("a[b", true),
            (r"a\*", false),
            (r"a\\*", true),
            ("a\\", false),
        ] {
            assert_eq!(has_wildcard(path), expected, "{path}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let glob = Glob::parse(&"*a".repeat(2_000)).unwrap();
        assert!(!glob.matches(Path::new(&"a".repeat(1_000))));
    }
}
