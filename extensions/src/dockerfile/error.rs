//! Why a Dockerfile cannot be parsed, and where.

use super::source::Location;

/// A Dockerfile that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {error}")]
pub struct ParseError {
    /// Where.
    pub location: Box<Location>,
    /// Why.
    #[source]
    pub error: SyntaxError,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// The file, a line, or the number of instructions is too large.
    #[error("{0}")]
    Limit(String),
    /// The file is not UTF-8 text.
    #[error("the file is not valid UTF-8")]
    NotText,
    /// There is no FROM.
    #[error("there is no FROM instruction")]
    NoStage,
    /// An instruction of no known name.
    #[error("unknown instruction `{name}`{}", did_you_mean(.suggestion.as_deref()))]
    UnknownInstruction {
        /// The name as written.
        name: String,
        /// The nearest known one.
        suggestion: Option<String>,
    },
    /// A flag that the instruction does not have.
    #[error("unknown flag `{flag}` of {instruction}{}", did_you_mean(.suggestion.as_deref()))]
    UnknownFlag {
        /// The flag, dashes included.
        flag: String,
        /// The instruction's name in upper case.
        instruction: String,
        /// The nearest known one.
        suggestion: Option<String>,
    },
    /// A heredoc without its end.
    #[error("unterminated heredoc `{name}`")]
    UnterminatedHeredoc {
        /// The delimiter.
        name: String,
    },
    /// Anything else.
    #[error("{message}")]
    Malformed {
        /// What is wrong.
        message: String,
        /// The text to point at; empty for the instruction's name.
        at: String,
    },
}

impl SyntaxError {
    /// Makes the error for anything that nobody acts on.
    pub(super) fn malformed(message: impl Into<String>, at: impl Into<String>) -> Self {
        Self::Malformed { message: message.into(), at: at.into() }
    }

    /// Returns the text the message is about.
    pub(super) fn needle(&self) -> &str {
        match self {
            Self::UnknownInstruction { name, .. } | Self::UnterminatedHeredoc { name } => name,
            Self::UnknownFlag { flag, .. } => flag,
            Self::Malformed { at, .. } => at,
            Self::Limit(_) | Self::NotText | Self::NoStage => "",
        }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!(" (did you mean `{name}`?)"),
        None => String::new(),
    }
}

/// Finds the known word that is at most two edits away from `word`.
pub(super) fn nearest(word: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
        .min()
        .map(|(_, name)| (*name).to_owned())
}

/// Counts the insertions, deletions, replacements and swaps of neighbours from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase().into_bytes(), b.to_ascii_lowercase().into_bytes());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_suggested() {
        let known = ["COPY", "CMD", "RUN", "WORKDIR"];
        assert_eq!(nearest("COPPY", &known).as_deref(), Some("COPY"));
        assert_eq!(nearest("workdirr", &known).as_deref(), Some("WORKDIR"));
        assert_eq!(nearest("chwon", &["chmod", "chown"]).as_deref(), Some("chown"));
        assert_eq!(nearest("FETCH", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
