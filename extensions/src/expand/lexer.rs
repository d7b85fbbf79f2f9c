//! The lexer itself: one pass over the characters of a word, recursing into `${}`.

use std::collections::BTreeSet;

use super::pattern::{self, Greed, Pattern};
use super::{Expansion, Lookup};

/// `${a:-${b:-..}}` deeper than this is refused.
const MAX_DEPTH: usize = 32;
/// Values inserted into one word: variables that double with each line end here.
const MAX_BYTES: usize = 1024 * 1024;

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The word is not well-formed.
    #[error("failed to process `{word}`: {reason}")]
    Syntax {
        /// The word.
        word: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `${name:?message}` of a variable that is unset or empty.
    #[error("failed to process `{word}`: {name}: {message}")]
    Required {
        /// The word.
        word: String,
        /// The variable.
        name: String,
        /// The message given, or why it failed.
        message: String,
    },
    /// The result or the nesting is too large.
    #[error("failed to process `{word}`: {limit}")]
    Limit {
        /// The start of the word.
        word: String,
        /// Which limit.
        limit: String,
    },
}

#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "BuildKit's lexer has these four independent switches")]
pub(super) struct Options {
    pub escape: char,
    pub keep_quotes: bool,
    pub keep_escapes: bool,
    pub quotes_are_text: bool,
    pub keep_unset: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            escape: '\\',
            keep_quotes: false,
            keep_escapes: false,
            quotes_are_text: false,
            keep_unset: false,
        }
    }
}

/// The result of a pass: the text as one word, and split at unquoted white space.
pub(super) struct Output {
    pub text: String,
    pub words: Vec<String>,
}

/// What ends a pass, and how it treats escapes on the way.
#[derive(Clone, Copy)]
struct Until {
    stop: Option<char>,
    keep_escapes: bool,
    /// Doubles a literal escape inside quotes, for text that is parsed again as a pattern.
    pattern: bool,
}

pub(super) struct Lexer<'a> {
    source: &'a str,
    chars: Vec<char>,
    at: usize,
    depth: usize,
    /// Bytes of values looked up so far.
    inserted: usize,
    options: Options,
    keep_escapes: bool,
    lookup: &'a Lookup<'a>,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
    /// The word being gathered. One for all nested passes: a nested pass drops what stands before it
    /// in the same word, as BuildKit's does; it shows only in which words are taken for heredocs.
    word: String,
}

/// A failure without the word it is about.
pub(super) enum Failure {
    Syntax(String),
    Required { name: String, message: String },
    Limit(String),
}

fn syntax<T>(reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Syntax(reason.into()))
}

impl<'a> Lexer<'a> {
    pub fn new(source: &'a str, options: Options, lookup: &'a Lookup<'a>) -> Self {
        Self {
            source,
            chars: source.chars().collect(),
            at: 0,
            depth: 0,
            inserted: 0,
            options,
            keep_escapes: options.keep_escapes,
            lookup,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
            word: String::new(),
        }
    }

    pub fn run(&mut self) -> Result<Output, ExpandError> {
        let until = Until { stop: None, keep_escapes: self.options.keep_escapes, pattern: false };
        self.pass(until).map_err(|failure| self.error(failure))
    }

    pub fn into_expansion(self, text: String) -> Expansion {
        Expansion { text, used: self.used, unset: self.unset }
    }

    fn error(&self, failure: Failure) -> ExpandError {
        let word: String = self.source.chars().take(200).collect();
        match failure {
            Failure::Syntax(reason) => ExpandError::Syntax { word, reason },
            Failure::Required { name, message } => ExpandError::Required { word, name, message },
            Failure::Limit(limit) => ExpandError::Limit { word, limit },
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let ch = self.peek();
        self.at += usize::from(ch.is_some());
        ch
    }

    fn pass(&mut self, until: Until) -> Result<Output, Failure> {
        if self.depth >= MAX_DEPTH {
            return Err(Failure::Limit(format!("substitutions nest deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.keep_escapes, until.keep_escapes);
        let result = self.pass_inner(until);
        self.keep_escapes = outer;
        self.depth -= 1;
        result
    }

    fn pass_inner(&mut self, until: Until) -> Result<Output, Failure> {
        let mut out = Output { text: String::new(), words: Vec::new() };
        self.word.clear();
        while let Some(ch) = self.peek() {
            if until.stop == Some(ch) {
                self.at += 1;
                return Ok(self.finish(out));
            }
            self.piece(ch, until.pattern, &mut out)?;
        }
        match until.stop {
            None => Ok(self.finish(out)),
            Some(stop) => syntax(format!("unexpected end of statement while looking for matching {stop}")),
        }
    }

    fn finish(&mut self, mut out: Output) -> Output {
        if !self.word.is_empty() {
            out.words.push(std::mem::take(&mut self.word));
        }
        out
    }

    /// Reads one character, quoted string or substitution.
    fn piece(&mut self, ch: char, in_pattern: bool, out: &mut Output) -> Result<(), Failure> {
        let raw = match ch {
            '$' => {
                let value = self.dollar()?;
                for ch in value.chars() {
                    self.add(ch, out);
                }
                out.text.push_str(&value);
                return Ok(());
            }
            '<' => self.angle(),
            '\'' if !self.options.quotes_are_text => self.single_quoted(in_pattern)?,
            '"' if !self.options.quotes_are_text => self.double_quoted(in_pattern)?,
            _ => {
                self.plain(ch, out);
                return Ok(());
            }
        };
        self.word.push_str(&raw);
        out.text.push_str(&raw);
        Ok(())
    }

    fn plain(&mut self, ch: char, out: &mut Output) {
        self.at += 1;
        if ch != self.options.escape {
            self.add(ch, out);
            out.text.push(ch);
            return;
        }
        if self.keep_escapes {
            self.word.push(ch);
            out.text.push(ch);
        }
        // An escape that ends the word escapes nothing.
        if let Some(escaped) = self.next() {
            self.word.push(escaped);
            out.text.push(escaped);
        }
    }

    fn add(&mut self, ch: char, out: &mut Output) {
        if !ch.is_whitespace() {
            self.word.push(ch);
        } else if !self.word.is_empty() {
            out.words.push(std::mem::take(&mut self.word));
        }
    }

    fn single_quoted(&mut self, in_pattern: bool) -> Result<String, Failure> {
        let mut text = String::new();
        self.quote(&mut text);
        while let Some(ch) = self.peek() {
            if ch == '\'' {
                self.quote(&mut text);
                return Ok(text);
            }
            self.at += 1;
            if in_pattern && ch == self.options.escape {
                text.push(ch);
            }
            text.push(ch);
        }
        syntax("unexpected end of statement while looking for matching single-quote")
    }

    fn double_quoted(&mut self, in_pattern: bool) -> Result<String, Failure> {
        let mut text = String::new();
        self.quote(&mut text);
        while let Some(ch) = self.peek() {
            match ch {
                '"' => {
                    self.quote(&mut text);
                    return Ok(text);
                }
                '$' => text.push_str(&self.dollar()?),
                _ if ch == self.options.escape => self.escape_in_quotes(in_pattern, &mut text),
                _ => {
                    self.at += 1;
                    text.push(ch);
                }
            }
        }
        syntax("unexpected end of statement while looking for matching double-quote")
    }

    fn quote(&mut self, text: &mut String) {
        let ch = self.next().expect("a quote was peeked");
        if self.options.keep_quotes {
            text.push(ch);
        }
    }

    /// Inside double quotes only a quote, a dollar and the escape itself can be escaped; any other
    /// escape stays.
    fn escape_in_quotes(&mut self, in_pattern: bool, text: &mut String) {
        let escape = self.options.escape;
        self.at += 1;
        match self.peek() {
            None => {}
            Some(ch) if ch == '"' || ch == '$' || ch == escape => {
                if self.keep_escapes {
                    text.push(escape);
                }
                self.at += 1;
                text.push(ch);
            }
            Some(_) => {
                if self.keep_escapes && (!self.options.keep_quotes || in_pattern) {
                    text.push(escape);
                }
                text.push(escape);
            }
        }
    }

    /// `<<` keeps the white space behind it in its word: `<< EOF` is one heredoc.
    fn angle(&mut self) -> String {
        self.at += 1;
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.at += 1;
        let mut text = "<<".to_owned();
        while let Some(ch @ ('\t' | '\r' | ' ')) = self.peek() {
            text.push(ch);
            self.at += 1;
        }
        text
    }

    fn name(&mut self) -> String {
        let Some(first) = self.peek() else {
            return String::new();
        };
        let start = self.at;
        if first.is_numeric() {
            self.skip_while(char::is_numeric);
        } else if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            self.at += 1;
        } else {
            self.skip_while(|ch| ch.is_alphanumeric() || ch == '_');
        }
        self.chars[start..self.at].iter().collect()
    }

    fn skip_while(&mut self, accept: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&accept) {
            self.at += 1;
        }
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let value = (self.lookup)(name);
        self.inserted += value.as_ref().map_or(0, String::len);
        if self.inserted > MAX_BYTES {
            return Err(Failure::Limit(format!("the values are longer than {MAX_BYTES} bytes together")));
        }
        let names = if value.is_some() { &mut self.used } else { &mut self.unset };
        names.insert(name.to_owned());
        Ok(value)
    }

    fn dollar(&mut self) -> Result<String, Failure> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.value(&name)? {
                None if self.options.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.at += 1;
        match self.peek() {
            None => return syntax("syntax error: missing '}'"),
            Some('{' | '}' | ':') => return syntax("syntax error: bad substitution"),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => Ok(match self.value(&name)? {
                None if self.options.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            Some(':') => match self.next() {
                Some(operator @ ('-' | '+' | '?')) => self.conditional(&name, operator, true),
                operator => unsupported(&format!(":{}", shown(operator))),
            },
            Some(operator @ ('-' | '+' | '?')) => self.conditional(&name, operator, false),
            Some(operator @ ('#' | '%')) => self.trim(&name, operator),
            Some('/') => self.replace(&name),
            operator => unsupported(&shown(operator)),
        }
    }

    /// `${x-w}`, `${x+w}`, `${x?m}`; with `null_is_unset`, `${x:-w}` and so on.
    fn conditional(&mut self, name: &str, operator: char, null_is_unset: bool) -> Result<String, Failure> {
        let word = self.operand('}', false, false)?;
        let value = self.value(name)?;
        if value.is_none() && self.options.keep_unset {
            let colon = if null_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let empty = value.as_deref() == Some("");
        let present = value.is_some() && !(null_is_unset && empty);
        match (operator, present) {
            ('+', true) | ('-', false) => Ok(word),
            ('+', false) => Ok(String::new()),
            (_, true) => Ok(value.unwrap_or_default()),
            (_, false) => Err(Failure::Required {
                name: name.to_owned(),
                message: match (word.is_empty(), value.is_none()) {
                    (false, _) => word,
                    (true, true) => "is not allowed to be unset".to_owned(),
                    (true, false) => "is not allowed to be empty".to_owned(),
                },
            }),
        }
    }

    /// `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`.
    fn trim(&mut self, name: &str, operator: char) -> Result<String, Failure> {
        let word = self.operand('}', true, true)?;
        let value = match self.value(name)? {
            None if self.options.keep_unset => return Ok(format!("${{{name}{operator}{word}}}")),
            value => value.unwrap_or_default(),
        };
        let (greed, text) = match word.strip_prefix(operator) {
            Some(rest) => (Greed::Longest, rest),
            None => (Greed::Shortest, word.as_str()),
        };
        let pattern = Pattern::parse(text)?;
        if operator == '#' {
            pattern::trim_start(&pattern, &value, greed)
        } else {
            pattern::trim_end(&pattern, &value, greed)
        }
    }

    /// `${x/p/r}`, `${x//p/r}`.
    fn replace(&mut self, name: &str) -> Result<String, Failure> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let text = self.operand('/', true, true)?;
        let replacement = self.operand('}', true, false)?;
        let value = match self.value(name)? {
            None if self.options.keep_unset => {
                return Ok(format!("${{{name}/{text}/{replacement}}}"));
            }
            value => value.unwrap_or_default(),
        };
        let pattern = Pattern::parse(&text)?;
        if all {
            pattern::replace_all(&pattern, &value, &replacement)
        } else {
            pattern::replace_first(&pattern, &value, &replacement)
        }
    }

    fn operand(&mut self, stop: char, keep_escapes: bool, pattern: bool) -> Result<String, Failure> {
        let until = Until { stop: Some(stop), keep_escapes, pattern };
        match self.pass(until) {
            Ok(output) => Ok(output.text),
            Err(Failure::Syntax(_)) if self.peek().is_none() => syntax(match stop {
                '/' => "syntax error: missing '/' in ${}",
                _ => "syntax error: missing '}'",
            }),
            Err(failure) => Err(failure),
        }
    }
}

fn shown(operator: Option<char>) -> String {
    operator.map(String::from).unwrap_or_default()
}

fn unsupported<T>(modifier: &str) -> Result<T, Failure> {
    syntax(format!("unsupported modifier ({modifier}) in substitution"))
}
