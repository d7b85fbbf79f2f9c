//! Variable expansion after BuildKit's shell lexer: `$x`, every `${}` form, quotes and escapes.
//!
//! A word is expanded against the variables as they were before its line; which words of which
//! instruction are expanded at all is [`state`](crate::state)'s to know.

mod lexer;
mod pattern;

use std::collections::BTreeSet;

pub use lexer::ExpandError;
use lexer::{Lexer, Options};

/// An expanded word, and the names it looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The result.
    pub text: String,
    /// The names that had a value, whether or not the value shows in the result.
    pub used: BTreeSet<String>,
    /// The names that had none.
    pub unset: BTreeSet<String>,
}

/// Looks up a variable; `None` if it is not set.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Expands a word: quotes and escapes are removed, white space is kept, an unset variable is empty.
///
/// # Errors
/// An unclosed quote or brace, a substitution that is not one, a variable that `${x:?}` demands, a
/// result or nesting beyond the limits.
pub fn word(word: &str, escape: char, lookup: &Lookup<'_>) -> Result<Expansion, ExpandError> {
    let options = Options { escape, ..Options::default() };
    let mut lexer = Lexer::new(word, options, lookup);
    let text = lexer.run()?.text;
    Ok(lexer.into_expansion(text))
}

/// Expands a word, then splits it at white space that stands outside quotes: for EXPOSE.
///
/// # Errors
/// As [`word`].
pub fn words(word: &str, escape: char, lookup: &Lookup<'_>) -> Result<Vec<String>, ExpandError> {
    let options = Options { escape, ..Options::default() };
    Ok(Lexer::new(word, options, lookup).run()?.words)
}

/// Expands the body of a heredoc: quotes stay, and the escape character is always a backslash.
///
/// # Errors
/// As [`word`].
pub fn body(body: &str, lookup: &Lookup<'_>) -> Result<Expansion, ExpandError> {
    let options = Options { quotes_are_text: true, ..Options::default() };
    let mut lexer = Lexer::new(body, options, lookup);
    let text = lexer.run()?.text;
    Ok(lexer.into_expansion(text))
}

/// Splits text at white space outside quotes and expands nothing; how heredocs are found.
pub(crate) fn split(text: &str, quotes: Quotes) -> Result<Vec<String>, ExpandError> {
    let options = Options {
        keep_quotes: quotes != Quotes::Remove,
        keep_escapes: quotes == Quotes::KeepWithEscapes,
        keep_unset: true,
        ..Options::default()
    };
    Ok(Lexer::new(text, options, &|_| None).run()?.words)
}

/// What [`split`] does with quotes and escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// Both are removed.
    Remove,
    /// Quotes stay, escapes are removed.
    Keep,
    /// Both stay.
    KeepWithEscapes,
}

#[cfg(test)]
mod tests;
