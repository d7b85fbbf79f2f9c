//! The file's text, and places in it that a message points at.

use std::fmt;

/// A place in a file, with the line it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file's name, for example `run.Dockerfile`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters are meant; at least 1.
    pub length: usize,
    /// The line's text, without its end.
    pub text: String,
}

impl fmt::Display for Location {
    /// Writes `file:line:column`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What of a long line is drawn, in characters.
const DRAWN: usize = 100;

impl Location {
    /// Draws the line with a row of carets below what is meant.
    ///
    /// ```text
    ///  3 | RUN --foo true
    ///    |     ^^^^^
    /// ```
    pub fn drawing(&self) -> String {
        let start = self.column.saturating_sub(1);
        // A long line is cut so that the place stays in view.
        let skip = if start + self.length > DRAWN { start.saturating_sub(DRAWN / 4) } else { 0 };
        let printable = |ch: char| if ch.is_control() { ' ' } else { ch };
        let text: String = self.text.chars().skip(skip).take(DRAWN).map(printable).collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(start - skip);
        let carets = "^".repeat(self.length.clamp(1, DRAWN - (start - skip).min(DRAWN - 1)));
        format!("{number} | {}\n{margin} | {indent}{carets}", text.trim_end())
    }
}

/// Finds what a message points at: the first occurrence of `needle` in the lines from `first` to
/// `last` (from 1), else the first word of the first line.
pub(crate) fn locate(file: &str, text: &str, lines: (usize, usize), needle: &str) -> Location {
    let (first, last) = lines;
    let span = || {
        text.trim_start_matches('\u{feff}')
            .split('\n')
            .enumerate()
            .skip(first.saturating_sub(1))
            .take((last + 1).saturating_sub(first).max(1))
    };
    let place = |(index, line): (usize, &str), byte: usize, length: usize| Location {
        file: file.to_owned(),
        line: index + 1,
        column: line[..byte].chars().count() + 1,
        length: length.max(1),
        text: line.trim_end_matches('\r').to_owned(),
    };
    if !needle.is_empty() {
        for (index, line) in span() {
            if let Some(byte) = line.find(needle) {
                return place((index, line), byte, needle.chars().count());
            }
        }
    }
    let (index, line) = span().next().unwrap_or((first.saturating_sub(1), ""));
    let start = line.len() - line.trim_start().len();
    let word = line[start..].split_whitespace().next().unwrap_or("");
    place((index, line), start, word.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "FROM a\n  RUN x \\\n   --é=1 y\n";

    #[test]
    fn a_needle_is_found_on_a_later_line_of_its_instruction() {
        let found = locate("f", TEXT, (2, 3), "--é");
        assert_eq!((found.line, found.column, found.length), (3, 4, 3));
        assert_eq!(found.to_string(), "f:3:4");
    }

    #[test]
    fn what_is_not_found_points_at_the_instruction() {
        let found = locate("f", TEXT, (2, 3), "zzz");
        assert_eq!((found.line, found.column, found.length), (2, 3, 3));
    }

    #[test]
    fn the_drawing_puts_carets_below_the_place() {
        let found = locate("f", TEXT, (2, 3), "--é");
        assert_eq!(found.drawing(), "3 |    --é=1 y\n  |    ^^^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("RUN {} --bad", "x".repeat(500));
        let drawing = locate("f", &text, (1, 1), "--bad").drawing();
        assert!(drawing.lines().all(|line| line.len() < 120), "{drawing}");
        assert!(drawing.contains("--bad") && drawing.contains("^^^^^"), "{drawing}");
    }

    #[test]
    fn places_outside_the_file_do_not_panic() {
        for line in [0, 1, 7] {
            locate("f", "", (line, line), "x").drawing();
            locate("f", "a", (line, 0), "").drawing();
        }
    }
}
