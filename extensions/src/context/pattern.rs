//! What both kinds of patterns are made of, and how a path is matched: in one pass, without
//! backtracking, however hostile the pattern is.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A pattern that is malformed: a class without its end, a lone escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// One step of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Literal(u32),
    /// `?`: one character but the slash.
    One,
    /// `*`: any number of them.
    Star,
    /// `[a-z]`, `[^a-z]`: the slash too, if it is in it.
    Class {
        negated: bool,
        ranges: Vec<(u32, u32)>,
    },
    /// `**/`: nothing, or, through the [`Within`](Token::Within) that follows it, anything that ends
    /// with a slash.
    Directories,
    Within,
    /// `**` at the end: anything.
    Everything,
}

const SLASH: u32 = '/' as u32;

/// Decodes bytes to characters. What is not UTF-8 becomes a character of its own per byte, which no
/// pattern can spell, so that it matches wildcards only.
pub(super) fn characters(bytes: &[u8]) -> Vec<u32> {
    let mut characters = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        characters.extend(chunk.valid().chars().map(u32::from));
        characters.extend(chunk.invalid().iter().map(|byte| 0x11_0000 + u32::from(*byte)));
    }
    characters
}

/// Returns the characters of a path.
pub(super) fn path_characters(path: &Path) -> Vec<u32> {
    characters(path.as_os_str().as_bytes())
}

/// Tells whether all of `text` matches: follows every way through the tokens at once.
pub(super) fn matches(tokens: &[Token], text: &[u32]) -> bool {
    let mut states = vec![false; tokens.len() + 1];
    states[0] = true;
    skip_optional(tokens, &mut states);
    let mut next = vec![false; states.len()];
    for &character in text {
        next.fill(false);
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| states[*at]) {
            match token {
                Token::Star => next[at] |= character != SLASH,
                Token::Everything => next[at] = true,
                Token::Within => {
                    next[at] = true;
                    next[at + 1] |= character == SLASH;
                }
                Token::Directories => {}
                _ => next[at + 1] |= accepts(token, character),
            }
        }
        skip_optional(tokens, &mut next);
        std::mem::swap(&mut states, &mut next);
    }
    states[tokens.len()]
}

/// Goes on past tokens that may match nothing.
fn skip_optional(tokens: &[Token], states: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Star | Token::Everything if states[at] => states[at + 1] = true,
            Token::Directories if states[at] => {
                states[at + 1] = true;
                states[at + 2] = true;
            }
            _ => {}
        }
    }
}

fn accepts(token: &Token, character: u32) -> bool {
    match token {
        Token::Literal(literal) => *literal == character,
        Token::One => character != SLASH,
        Token::Class { negated, ranges } => {
            let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
            inside != *negated
        }
        Token::Star | Token::Directories | Token::Within | Token::Everything => false,
    }
}

/// Reads characters one after another.
pub(super) struct Reader<'a> {
    rest: &'a [u32],
}

impl<'a> Reader<'a> {
    pub fn new(characters: &'a [u32]) -> Self {
        Self { rest: characters }
    }

    pub fn next(&mut self) -> Option<char> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        // A pattern is text, so that every character of it is one.
        char::from_u32(*first)
    }

    pub fn take(&mut self, expected: char) -> bool {
        let found = self.rest.first() == Some(&u32::from(expected));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    pub fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads a class up to its end; the bracket that opens it is read already.
    pub fn class(&mut self) -> Result<Token, BadPattern> {
        let negated = self.take('^');
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.take(']') {
            let low = self.class_character()?;
            let high = if self.take('-') { self.class_character()? } else { low };
            ranges.push((low, high));
        }
        Ok(Token::Class { negated, ranges })
    }

    fn class_character(&mut self) -> Result<u32, BadPattern> {
        match self.next() {
            None | Some('-' | ']') => Err(BadPattern),
            Some('\\') => self.next().map(u32::from).ok_or(BadPattern),
            Some(character) => Ok(u32::from(character)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Glob, Ignore, IgnorePattern};
    use super::*;

    proptest! {
        #[test]
        fn no_pattern_makes_matching_panic(pattern in "[ab*?/\\[\\]^!\\\\é.-]{0,12}", path in "[ab/é.]{0,12}") {
            let path = Path::new(&path);
            if let Ok(glob) = Glob::parse(&pattern) {
                glob.matches(path);
            }
            if let Ok(parsed) = IgnorePattern::parse(&pattern) {
                parsed.matches("a/b");
            }
            if let Ok(ignore) = Ignore::parse(&format!("{pattern}\n!{pattern}\n")) {
                prop_assert!(!ignore.ignores(path), "what is kept last is kept");
            }
        }

        #[test]
        fn a_name_matches_itself(name in "[a-zé._-]{1,12}") {
            prop_assert!(Glob::parse(&name).unwrap().matches(Path::new(&name)));
            prop_assert!(Ignore::parse(&name).unwrap().ignores(Path::new(&name)) || name == ".");
            prop_assert!(Ignore::parse(&name).unwrap().ignores(&Path::new(&name).join("below")) || name.starts_with('.'));
        }
    }
}
