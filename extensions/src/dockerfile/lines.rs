//! Physical lines to logical ones: directives, comments, continuations, heredoc bodies.

use super::ast::{Directives, SyntaxWarning};
use super::error::SyntaxError;

/// The longest line, its end included; BuildKit's limit.
const MAX_LINE_BYTES: usize = 64 * 1024 - 1;

/// An error and the line it is about, from 1.
pub(super) type LineError = (usize, SyntaxError);

/// One instruction's text: continuations joined, comments left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogicalLine {
    pub text: String,
    /// Its first line, from 1.
    pub line: usize,
    /// The column of its first character, from 1.
    pub column: usize,
}

/// Reads a file line by line.
pub(super) struct Lines<'a> {
    /// Lines with their ends.
    physical: Vec<&'a str>,
    next: usize,
    directives_done: bool,
    escape_set: bool,
    pub directives: Directives,
    pub warnings: Vec<SyntaxWarning>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Result<Self, LineError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let physical: Vec<&str> = text.split_inclusive('\n').collect();
        if let Some(long) = physical.iter().position(|line| line.len() > MAX_LINE_BYTES) {
            let error = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            return Err((long + 1, SyntaxError::Limit(error)));
        }
        Ok(Self {
            physical,
            next: 0,
            directives_done: false,
            escape_set: false,
            directives: Directives::default(),
            warnings: Vec::new(),
        })
    }

    /// Returns the number of the line read last.
    pub fn current(&self) -> usize {
        self.next
    }

    /// Reads up to the end of the next instruction; `None` at the end of the file.
    pub fn next_logical(&mut self) -> Result<Option<LogicalLine>, LineError> {
        while let Some(raw) = self.advance() {
            let line = raw.trim_end_matches(['\r', '\n']);
            let trimmed = line.trim_start();
            self.directive(trimmed)?;
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let column = line[..line.len() - trimmed.len()].chars().count() + 1;
            let first = self.next;
            let text = self.continued(trimmed);
            return Ok(Some(LogicalLine { text, line: first, column }));
        }
        Ok(None)
    }

    /// Reads a heredoc's body up to its delimiter; `None` if the file ends before.
    pub fn heredoc(&mut self, name: &str, strip_tabs: bool) -> Option<String> {
        let mut body = String::new();
        while let Some(raw) = self.advance() {
            let mut line = raw.trim_end_matches(['\r', '\n']);
            if strip_tabs {
                line = line.trim_start_matches('\t');
            }
            if line == name {
                return Some(body);
            }
            body.push_str(raw);
        }
        None
    }

    fn advance(&mut self) -> Option<&'a str> {
        let line = self.physical.get(self.next).copied();
        self.next += usize::from(line.is_some());
        line
    }

    /// Joins `first` with the lines that continue it.
    fn continued(&mut self, first: &str) -> String {
        let escape = self.directives.escape;
        let Some(start) = strip_continuation(first, escape) else {
            return first.to_owned();
        };
        let mut text = start.to_owned();
        let mut blank_line = false;
        while let Some(raw) = self.advance() {
            let line = raw.trim_end_matches(['\r', '\n']);
            if line.trim_start().starts_with('#') {
                continue;
            }
            if line.trim_start().is_empty() {
                blank_line = true;
                continue;
            }
            if let Some(line) = strip_continuation(line, escape) {
                text.push_str(line);
            } else {
                text.push_str(line);
                break;
            }
        }
        if blank_line {
            self.warnings.push(SyntaxWarning {
                line: self.next,
                message: format!("empty continuation line in `{text}`"),
            });
        }
        text
    }

    /// Takes a parser directive from a line with its indentation removed. The first line that is none
    /// ends them.
    fn directive(&mut self, line: &str) -> Result<(), LineError> {
        if self.directives_done {
            return Ok(());
        }
        let Some((key, value)) = directive(line) else {
            self.directives_done = true;
            return Ok(());
        };
        let repeated = match key {
            Key::Syntax => self.directives.syntax.replace(value.to_owned()).is_some(),
            Key::Check => self.directives.check.replace(value.to_owned()).is_some(),
            Key::Escape => std::mem::replace(&mut self.escape_set, true),
        };
        if repeated {
            let message = "a parser directive can be used only once";
            return Err((self.next, SyntaxError::malformed(message, line)));
        }
        if key == Key::Escape {
            self.directives.escape = match value {
                "\\" => '\\',
                "`" => '`',
                _ => {
                    let message = format!("invalid escape token `{value}`: must be ` or \\");
                    return Err((self.next, SyntaxError::malformed(message, value)));
                }
            };
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Syntax,
    Check,
    Escape,
}

/// Reads `# key = value`; `None` for any other line, an unknown key included.
fn directive(line: &str) -> Option<(Key, &str)> {
    let (key, value) = line.strip_prefix('#')?.trim_start().split_once('=')?;
    let key = match key.trim_end().to_ascii_lowercase().as_str() {
        "syntax" => Key::Syntax,
        "check" => Key::Check,
        "escape" => Key::Escape,
        _ => return None,
    };
    let value = value.trim();
    (!value.is_empty()).then_some((key, value))
}

/// Removes the continuation from the end of a line; `None` if there is none. A doubled escape
/// character is text.
fn strip_continuation(line: &str, escape: char) -> Option<&str> {
    let text = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!text.ends_with(escape)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(text: &str) -> Vec<(usize, String)> {
        let mut lines = Lines::new(text).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.next_logical().unwrap() {
            found.push((line.line, line.text));
        }
        found
    }

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(n, t)| (*n, (*t).to_owned())).collect();
        assert_eq!(logical(text), expected);
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        check("\u{feff}FROM a", &[(1, "FROM a")]);
    }

    #[test]
    fn comments_and_blank_lines_are_left_out() {
        check("# one\n\n \t\n  # two\nFROM a\n", &[(5, "FROM a")]);
    }

    #[test]
    fn continuations_are_joined_as_written() {
        check("RUN a \\\n  b\\  \n c", &[(1, "RUN a   b c")]);
    }

    #[test]
    fn comments_and_blank_lines_inside_a_continuation_are_left_out() {
        check("RUN a \\\n# x \\\n\n  # y\n b\nRUN c", &[(1, "RUN a  b"), (6, "RUN c")]);
    }

    #[test]
    fn a_blank_line_inside_a_continuation_warns() {
        let mut lines = Lines::new("RUN a \\\n\n b\n").unwrap();
        lines.next_logical().unwrap();
        assert_eq!(lines.warnings.len(), 1);
        assert_eq!(lines.warnings[0].line, 3);
    }

    #[test]
    fn a_doubled_escape_does_not_continue() {
        check("RUN a \\\\\nRUN b", &[(1, "RUN a \\\\"), (2, "RUN b")]);
    }

    #[test]
    fn a_continuation_at_the_end_of_the_file_ends_there() {
        check("RUN a \\", &[(1, "RUN a ")]);
    }

    #[test]
    fn carriage_returns_are_dropped() {
        check("RUN a \\\r\n b\r\nRUN c\r\n", &[(1, "RUN a  b"), (3, "RUN c")]);
    }

    #[test]
    fn the_escape_directive_changes_the_continuation() {
        check("# escape=`\nRUN a `\n b\\\nRUN c", &[(2, "RUN a  b\\"), (4, "RUN c")]);
    }

    #[test]
    fn directives_end_at_the_first_line_that_is_none() {
        check("# x\n# escape=`\nRUN a `\nRUN b", &[(3, "RUN a `"), (4, "RUN b")]);
        check("\n# escape=`\nRUN a `\nRUN b", &[(3, "RUN a `"), (4, "RUN b")]);
        check("# other=1\n# escape=`\nRUN a `\nRUN b", &[(3, "RUN a `"), (4, "RUN b")]);
    }

    #[test]
    fn directives_are_recorded() {
        let mut lines = Lines::new("#syntax=docker/dockerfile:1\n  # Check = skip=all \nFROM a").unwrap();
        lines.next_logical().unwrap();
        assert_eq!(lines.directives.syntax.as_deref(), Some("docker/dockerfile:1"));
        assert_eq!(lines.directives.check.as_deref(), Some("skip=all"));
    }

    #[test]
    fn bad_directives_are_errors_with_their_line() {
        for text in ["# escape=x\nFROM a", "# escape=\\\n# escape=\\\nFROM a", "# syntax=a\n# syntax=b\n"] {
            let lines = text.lines().filter(|line| line.starts_with('#')).count();
            assert_eq!(Lines::new(text).unwrap().next_logical().unwrap_err().0, lines, "{text}");
        }
    }

    #[test]
    fn a_heredoc_ends_at_its_delimiter_alone_on_a_line() {
        let mut lines = Lines::new("a\n\tEOF\n EOF\r\nEOF\r\nrest").unwrap();
        assert_eq!(lines.heredoc("EOF", false).unwrap(), "a\n\tEOF\n EOF\r\n");
        assert_eq!(lines.heredoc("EOF", false), None);
        let mut lines = Lines::new("a\n\tEOF\nrest").unwrap();
        assert_eq!(lines.heredoc("EOF", true).unwrap(), "a\n");
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused() {
        let text = format!("FROM a\nRUN {}", "x".repeat(MAX_LINE_BYTES));
        assert_eq!(Lines::new(&text).err().unwrap().0, 2);
    }
}
