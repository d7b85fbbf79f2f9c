//! Where heredocs start: `<<EOF`, `<<-EOF`, `<<"EOF"`, `3<<EOF`.

use super::error::SyntaxError;
use crate::expand::{self, Quotes};

/// The start of a heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// The delimiter, unquoted.
    pub name: String,
    pub expand: bool,
    pub strip_tabs: bool,
}

/// Finds the heredocs that a line starts, in order.
///
/// # Errors
/// A delimiter with an unclosed quote.
pub(super) fn starts(line: &str) -> Result<Vec<Start>, SyntaxError> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    // A line that is no list of words, say for a lone quote, starts none: the shell may know better.
    let words = expand::split(line, Quotes::KeepWithEscapes).unwrap_or_default();
    let found = words.iter().map(|word| start(word));
    found.filter_map(Result::transpose).collect()
}

/// Reads a word as the start of a heredoc; `None` if it is none.
///
/// # Errors
/// As [`starts`].
pub(super) fn start(word: &str) -> Result<Option<Start>, SyntaxError> {
    let descriptor = word.trim_start_matches(|ch: char| ch.is_ascii_digit());
    let Some(rest) = descriptor.strip_prefix("<<") else {
        return Ok(None);
    };
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if rest.contains('<') {
        return Ok(None);
    }
    let malformed = |error: expand::ExpandError| SyntaxError::malformed(error.to_string(), word);
    let names = expand::split(rest, Quotes::Remove).map_err(malformed)?;
    let quoted = expand::split(rest, Quotes::Keep).map_err(malformed)?;
    let ([name], [kept]) = (names.as_slice(), quoted.as_slice()) else {
        return Ok(None);
    };
    let count = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Start { name: name.clone(), expand: count(name) == count(kept), strip_tabs }))
}

/// Returns the delimiter if the text is the start of a heredoc and nothing else.
pub fn heredoc_name(text: &str) -> Option<String> {
    start(text).ok().flatten().map(|start| start.name)
}

/// Removes the tabs at the start of each line, as `<<-` asks for.
pub fn strip_tabs(body: &str) -> String {
    body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[(&str, bool, bool)]) {
        let found = starts(line).unwrap();
        let found: Vec<_> =
            found.iter().map(|start| (start.name.as_str(), start.expand, start.strip_tabs)).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn heredocs_are_found_in_order() {
        check("RUN <<EOF", &[("EOF", true, false)]);
        check("RUN <<A cmd <<-B", &[("A", true, false), ("B", true, true)]);
        check("RUN 3<<EOF cat", &[("EOF", true, false)]);
        check("COPY <<a.txt <<b.txt /x/", &[("a.txt", true, false), ("b.txt", true, false)]);
        check("RUN cat << EOF", &[("EOF", true, false)]);
    }

    #[test]
    fn a_quoted_delimiter_stops_expansion() {
        check("RUN <<'EOF'", &[("EOF", false, false)]);
        check("RUN <<\"EOF\"", &[("EOF", false, false)]);
        check("RUN <<E'O'F", &[("EOF", false, false)]);
        check("RUN <<-'EOF'", &[("EOF", false, true)]);
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        check("RUN cat <<<EOF", &[]);
        check("RUN echo '<<EOF'", &[]);
        check("RUN echo \"<<EOF\"", &[]);
        check("RUN a<<EOF", &[]);
        check("RUN <<", &[]);
        check("RUN echo $((1<<2))", &[]);
        check("RUN echo 'open <<EOF", &[]);
    }

    #[test]
    fn tabs_are_stripped_from_each_line() {
        assert_eq!(strip_tabs("\ta\n\t\tb\n c\td\n"), "a\nb\n c\td\n");
    }
}
