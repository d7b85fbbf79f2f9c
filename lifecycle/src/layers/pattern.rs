//! Path patterns, as Go's `filepath.Match` reads them: `*` and `?` stop at a slash, `[a-z]` and
//! `[^a-z]` are classes, `\` takes away a meaning. There is no `**`.

/// A pattern whose syntax is right.
#[derive(Debug, Clone)]
pub struct Pattern {
    chunks: Vec<Chunk>,
}

/// What stands between two stars.
#[derive(Debug, Clone, Default)]
struct Chunk {
    after_star: bool,
    tokens: Vec<Token>,
}

/// What matches one character.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Exactly this byte.
    Byte(u8),
    /// Any character but a slash.
    Any,
    /// A character inside, or outside, one of the ranges.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// The character that stands for a byte that is not UTF-8, as in Go.
const INVALID: char = char::REPLACEMENT_CHARACTER;

impl Pattern {
    /// Reads a pattern; `None` if its syntax is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let mut chunks = Vec::new();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let stars = rest.iter().take_while(|&&byte| byte == b'*').count();
            let (chunk, after) = rest[stars..].split_at(chunk_length(&rest[stars..]));
            let tokens = parse_tokens(std::str::from_utf8(chunk).ok()?)?;
            chunks.push(Chunk { after_star: stars > 0, tokens });
            rest = after;
        }
        Some(Self { chunks })
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut rest = path;
        for (index, chunk) in self.chunks.iter().enumerate() {
            let last = index + 1 == self.chunks.len();
            if chunk.after_star && chunk.tokens.is_empty() {
                return !rest.contains(&b'/');
            }
            match chunk.find(rest, last) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// The bytes it matches, if it matches only one text.
    pub fn literal(&self) -> Option<Vec<u8>> {
        let byte = |token: &Token| if let Token::Byte(byte) = token { Some(*byte) } else { None };
        match self.chunks.as_slice() {
            [] => Some(Vec::new()),
            [chunk] if !chunk.after_star => chunk.tokens.iter().map(byte).collect(),
            _ => None,
        }
    }

    /// One pattern for each part of a path, if none of its classes can match a slash.
    pub fn parts(&self) -> Option<Vec<Self>> {
        let mut parts = vec![Self { chunks: Vec::new() }];
        for chunk in &self.chunks {
            let mut tokens = chunk.tokens.split(|token| *token == Token::Byte(b'/'));
            let first = tokens.next().unwrap_or_default().to_vec();
            if chunk.tokens.iter().any(Token::matches_slash) {
                return None;
            }
            let last = parts.last_mut().expect("there is always a part");
            last.chunks.push(Chunk { after_star: chunk.after_star, tokens: first });
            parts.extend(
                tokens.map(|tokens| Self {
                    chunks: vec![Chunk { after_star: false, tokens: tokens.to_vec() }],
                }),
            );
        }
        Some(parts)
    }
}

impl Chunk {
    /// What is left of `text` behind the first place where the chunk matches, or behind the place where
    /// it matches to the end if nothing may be left. Only a star lets it begin later, before a slash.
    fn find<'t>(&self, text: &'t [u8], to_the_end: bool) -> Option<&'t [u8]> {
        let skippable =
            if self.after_star { text.iter().take_while(|&&byte| byte != b'/').count() } else { 0 };
        (0..=skippable)
            .filter_map(|skipped| self.match_at(&text[skipped..]))
            .find(|rest| !to_the_end || rest.is_empty())
    }

    fn match_at<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.tokens.iter().try_fold(text, |text, token| token.match_at(text))
    }
}

impl Token {
    fn match_at<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let (&first, rest) = text.split_first()?;
        match self {
            Self::Byte(byte) => (first == *byte).then_some(rest),
            Self::Any if first == b'/' => None,
            Self::Any => Some(&text[decode(text).1..]),
            Self::Class { negated, ranges } => {
                let (character, length) = decode(text);
                let inside = ranges.iter().any(|&(low, high)| low <= character && character <= high);
                (inside != *negated).then(|| &text[length..])
            }
        }
    }

    fn matches_slash(&self) -> bool {
        matches!(self, Self::Class { .. }) && self.match_at(b"/").is_some()
    }
}

/// The first character of `text`, which is not empty, and its length.
fn decode(text: &[u8]) -> (char, usize) {
    let chunk = text[..text.len().min(4)].utf8_chunks().next();
    let first = chunk.and_then(|chunk| chunk.valid().chars().next());
    first.map_or((INVALID, 1), |character| (character, character.len_utf8()))
}

/// How far it is to the next star that is one.
fn chunk_length(pattern: &[u8]) -> usize {
    let (mut at, mut in_class) = (0, false);
    while at < pattern.len() {
        match pattern[at] {
            b'\\' if at + 1 < pattern.len() => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => break,
            _ => {}
        }
        at += 1;
    }
    at
}

fn parse_tokens(chunk: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = chunk;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '[' => {
                let (class, after) = parse_class(after)?;
                tokens.push(class);
                after
            }
            '?' => {
                tokens.push(Token::Any);
                after
            }
            '\\' => {
                let escaped = after.chars().next()?;
                push_bytes(&mut tokens, escaped);
                &after[escaped.len_utf8()..]
            }
            plain => {
                push_bytes(&mut tokens, plain);
                after
            }
        };
    }
    Some(tokens)
}

fn push_bytes(tokens: &mut Vec<Token>, character: char) {
    tokens.extend(character.encode_utf8(&mut [0; 4]).bytes().map(Token::Byte));
}

/// A class without its opening bracket, and what follows it.
fn parse_class(text: &str) -> Option<(Token, &str)> {
    let (negated, mut rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty()
            && let Some(after) = rest.strip_prefix(']')
        {
            return Some((Token::Class { negated, ranges }, after));
        }
        let (low, after) = parse_bound(rest)?;
        let (high, after) = match after.strip_prefix('-') {
            Some(bound) => parse_bound(bound)?,
            None => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

/// One end of a range, and what follows it, which must be something.
fn parse_bound(text: &str) -> Option<(char, &str)> {
    if text.starts_with(['-', ']']) {
        return None;
    }
    let mut characters = text.strip_prefix('\\').unwrap_or(text).chars();
    let bound = characters.next()?;
    Some((bound, characters.as_str())).filter(|(_, rest)| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: bool) {
        let parsed = Pattern::parse(pattern).expect("the pattern is valid");
        assert_eq!(parsed.matches(path.as_bytes()), expected, "{pattern} on {path}");
        if let Some(parts) = parsed.parts() {
            let names: Vec<&str> = path.split('/').collect();
            let by_parts = parts.len() == names.len()
                && parts.iter().zip(&names).all(|(part, name)| part.matches(name.as_bytes()));
            assert_eq!(by_parts, expected, "{pattern} on {path}, by parts");
        }
    }

    #[test]
    fn stars_and_question_marks_stop_at_slashes() {
        check("abc", "abc", true);
        check("*", "abc", true);
        check("*c", "abc", true);
        check("a*", "a", true);
        check("a*", "ab/c", false);
        check("a*/b", "abc/b", true);
        check("a*/b", "a/c/b", false);
        check("a*b*c*d*e*/f", "axbxcxdxexxx/f", true);
        check("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false);
        check("a*b?c*x", "abxbbxdbxebxczzx", true);
        check("a*b?c*x", "abxbbxdbxebxczzy", false);
        check("a?b", "a/b", false);
        check("a?b", "aäb", true);
        check("a??b", "aäb", false);
        check("**", "a", true);
        check("**", "a/b", false);
        check("a/**", "a/b", true);
        check("a/**", "a/b/c", false);
        check("*x", "xxx", true);
        check("", "", true);
        check("", "a", false);
    }

    #[test]
    fn classes_hold_ranges_and_escapes() {
        check("ab[c]", "abc", true);
        check("ab[b-d]", "abc", true);
        check("ab[e-g]", "abc", false);
        check("ab[^b-d]", "abc", false);
        check("ab[^e-g]", "abc", true);
        check("a[^b]c", "a/c", true);
        check("[a-ζ]*", "α", true);
        check("*[a-ζ]", "A", false);
        check("[\\]a]", "]", true);
        check("[\\-]", "-", true);
        check("[x\\-]", "z", false);
        check("a\\*b", "a*b", true);
        check("a\\*b", "ab", false);
        check("a[*]b", "a*b", true);
    }

    #[test]
    fn wrong_syntax_is_found() {
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "*[", "[a"]
        {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_one_character_each() {
        let pattern = Pattern::parse("a?b").expect("the pattern is valid");
        assert!(pattern.matches(b"a\xffb"));
        assert!(!pattern.matches(b"a\xff\xfeb"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_and_matched(pattern in "[ab*?/\\[\\]^\\\\-]{0,12}", path in "[ab/]{0,12}") {
            if let Some(parsed) = Pattern::parse(&pattern) {
                let whole = parsed.matches(path.as_bytes());
                if let Some(parts) = parsed.parts() {
                    let names: Vec<&str> = path.split('/').collect();
                    let by_parts = parts.len() == names.len()
                        && parts.iter().zip(&names).all(|(part, name)| part.matches(name.as_bytes()));
                    prop_assert_eq!(by_parts, whole);
                }
            }
        }
    }
}
