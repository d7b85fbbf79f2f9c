//! `.dockerignore` files and `--exclude`: patterns whose last match wins, and that hold for everything
//! below what they match.

use std::path::Path;

use super::pattern::{BadPattern, Reader, Token, characters, matches, path_characters};

/// What a file of patterns ignores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ignore {
    rules: Vec<(IgnorePattern, Effect)>,
}

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Ignore,
    /// Written with a leading `!`.
    Keep,
}

/// One pattern: `*` stands for anything within one component, `**` for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnorePattern(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// No wildcard at all.
    Is(Vec<u32>),
    /// `x**`, without any other wildcard: paths that start so.
    Starts(Vec<u32>),
    /// `**x`, without any other wildcard: paths that end so.
    Ends(Vec<u32>),
    /// `**/x`, without any other wildcard: names that are so, anywhere.
    Named(Vec<u32>),
    /// Anything else.
    Tokens(Vec<Token>),
}

impl Ignore {
    /// Reads the lines of a `.dockerignore`: comments start with `#` in the first column, blank lines
    /// are nothing, `!` keeps what an earlier line ignores.
    ///
    /// # Errors
    /// A pattern that is malformed, or a lone `!`.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let patterns = lines.filter(|line| !line.starts_with('#')).map(str::trim);
        let rooted = patterns.map(|line| match line.strip_prefix('!') {
            Some(pattern) => format!("!{}", without_root(&clean(pattern.trim()))),
            None => without_root(&clean(line)).to_owned(),
        });
        Self::of(rooted)
    }

    /// Takes patterns as they are given to `--exclude` and `--parents`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of(patterns: impl IntoIterator<Item = String>) -> Result<Self, BadPattern> {
        let mut rules = Vec::new();
        for pattern in patterns {
            let pattern = pattern.trim();
            if pattern.is_empty() {
                continue;
            }
            // A path is cleaned together with its `!`, as it always was.
            let pattern = clean(pattern);
            match pattern.strip_prefix('!') {
                Some("") => return Err(BadPattern),
                Some(kept) => rules.push((IgnorePattern::parse(kept)?, Effect::Keep)),
                None => rules.push((IgnorePattern::parse(&pattern)?, Effect::Ignore)),
            }
        }
        Ok(Self { rules })
    }

    /// Tells whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Tells whether a path below an ignored directory can be kept.
    pub fn may_keep(&self) -> bool {
        self.rules.iter().any(|(_, effect)| *effect == Effect::Keep)
    }

    /// Tells whether a path, relative to the context, or a directory above it is ignored.
    pub fn ignores(&self, path: &Path) -> bool {
        let path = path_characters(path);
        let mut ignored = false;
        for (pattern, effect) in &self.rules {
            let changes = ignored == (*effect == Effect::Keep);
            if changes && pattern.matches_or_above(&path) {
                ignored = *effect == Effect::Ignore;
            }
        }
        ignored
    }
}

impl IgnorePattern {
    /// Reads a clean pattern without `!`.
    ///
    /// # Errors
    /// As [`Glob::parse`](super::Glob::parse).
    pub fn parse(pattern: &str) -> Result<Self, BadPattern> {
        super::Glob::parse(pattern)?;
        let all = characters(pattern.as_bytes());
        let mut reader = Reader::new(&all);
        let mut tokens = Vec::new();
        while let Some(character) = reader.next() {
            let token = match character {
                '*' if reader.take('*') => {
                    reader.take('/');
                    if reader.at_end() {
                        Token::Everything
                    } else {
                        tokens.push(Token::Directories);
                        Token::Within
                    }
                }
                '*' => Token::Star,
                '?' => Token::One,
                '[' => reader.class()?,
                '\\' => Token::Literal(reader.next().map(u32::from).ok_or(BadPattern)?),
                _ => Token::Literal(u32::from(character)),
            };
            tokens.push(token);
        }
        let form = match Form::of(tokens) {
            // Without its slash, `**` need not end at one.
            Form::Named(end) if !pattern.starts_with("**/") && !pattern.contains('\\') => Form::Ends(end),
            form => form,
        };
        Ok(Self(form))
    }

    /// Tells whether all of a text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_characters(&characters(text.as_bytes()))
    }

    fn matches_characters(&self, path: &[u32]) -> bool {
        match &self.0 {
            Form::Is(text) => path == text,
            Form::Starts(start) => path.starts_with(start),
            Form::Tokens(tokens) => matches(tokens, path),
            Form::Ends(end) => path.ends_with(end),
            Form::Named(end) => {
                let slash = Some(&u32::from('/'));
                path.strip_suffix(end.as_slice()).is_some_and(|rest| rest.is_empty() || rest.last() == slash)
            }
        }
    }

    fn matches_or_above(&self, path: &[u32]) -> bool {
        let slash = u32::from('/');
        let above = path.iter().enumerate().filter(|(_, character)| **character == slash);
        self.matches_characters(path)
            || above.map(|(at, _)| &path[..at]).any(|path| self.matches_characters(path))
    }
}

impl Form {
    /// Finds the form that is matched fastest: most patterns have no wildcard but `**` at one end.
    fn of(tokens: Vec<Token>) -> Self {
        let literals = |tokens: &[Token]| -> Option<Vec<u32>> {
            let literal = |token: &Token| match token {
                Token::Literal(character) => Some(*character),
                _ => None,
            };
            tokens.iter().map(literal).collect()
        };
        if let Some(text) = literals(&tokens) {
            return Self::Is(text);
        }
        let simple = match tokens.as_slice() {
            [start @ .., Token::Everything] => literals(start).map(Self::Starts),
            [Token::Directories, Token::Within, end @ ..] => literals(end).map(Self::Named),
            _ => None,
        };
        simple.unwrap_or(Self::Tokens(tokens))
    }
}

/// Cleans a path as Go's `filepath.Clean`: `.` and doubled slashes go, `..` takes what stands before it.
fn clean(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn without_root(pattern: &str) -> &str {
    if pattern.len() > 1 { pattern.strip_prefix('/').unwrap_or(pattern) } else { pattern }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        paths: Vec<String>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        file: String,
        #[serde(default)]
        error: bool,
        ignored: Option<Vec<String>>,
    }

    #[test]
    fn every_case_ignores_as_moby_does() {
        let golden = include_str!("../../../fixtures/golden/dockerfile/ignores.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        let mut wrong = Vec::new();
        for case in &golden.cases {
            let ignored = Ignore::parse(&case.file).ok().map(|ignore| {
                let ignored = golden.paths.iter().filter(|path| ignore.ignores(Path::new(path)));
                ignored.cloned().collect::<Vec<_>>()
            });
            let expected = if case.error { &None } else { &case.ignored };
            if ignored != *expected {
                wrong.push(format!("{:?}:\n  got  {ignored:?}\n  want {expected:?}", case.file));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
    }

    #[test]
    fn a_keeping_pattern_is_known() {
        assert!(Ignore::parse("a\n!a/b").unwrap().may_keep());
        assert!(!Ignore::parse("a\n#!b").unwrap().may_keep());
        assert!(Ignore::parse("# a\n\n").unwrap().is_empty());
    }
}
