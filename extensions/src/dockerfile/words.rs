//! How an instruction's text falls into name, flags and words.

use super::error::SyntaxError;

/// White space that separates words; unlike Rust's or Unicode's, it has no line feed.
const BLANK: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// Splits a logical line into its instruction's name, its flags with quotes and escapes removed, and
/// the rest.
pub(super) fn split_line(line: &str, escape: char) -> (&str, Vec<String>, &str) {
    let line = line.trim();
    let Some((name, rest)) = split_blank(line) else {
        return (line, Vec::new(), "");
    };
    let (flags, rest) = leading_flags(rest, escape);
    (name, flags, rest.trim())
}

/// Splits at the first run of blanks; `None` if there is none.
pub(super) fn split_blank(text: &str) -> Option<(&str, &str)> {
    let (first, rest) = text.split_once(BLANK)?;
    Some((first, rest.trim_start_matches(BLANK)))
}

/// Splits at every run of blanks.
pub(super) fn split_blanks(text: &str) -> Vec<String> {
    text.split(BLANK).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Takes words that start with `--` from the front of `text`; a lone `--` ends them.
fn leading_flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (flag, after) = flag(rest, escape);
        rest = after.trim_start();
        if flag == "--" {
            break;
        }
        flags.push(flag);
    }
    (flags, rest)
}

/// Reads one word, removing quotes and escapes; returns it and what follows.
fn flag(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, ch)) = chars.next() {
        if ch == escape {
            // An escape that ends the text escapes nothing.
            word.extend(chars.next().map(|(_, escaped)| escaped));
        } else if quote == Some(ch) {
            quote = None;
        } else if quote.is_some() {
            word.push(ch);
        } else if ch.is_whitespace() {
            return (word, &text[at..]);
        } else if matches!(ch, '\'' | '"') {
            quote = Some(ch);
        } else {
            word.push(ch);
        }
    }
    (word, "")
}

/// Splits at white space outside quotes and escapes, keeping both.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        if quote.is_none() && ch.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        // Nothing is escaped inside single quotes.
        if ch == escape && quote != Some('\'') {
            if let Some(escaped) = chars.next() {
                word.push(ch);
                word.push(escaped);
            }
            continue;
        }
        if quote == Some(ch) {
            quote = None;
        } else if quote.is_none() && matches!(ch, '\'' | '"') {
            quote = Some(ch);
        }
        word.push(ch);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A JSON array of strings.
///
/// `None` if the text is no JSON array: it is then taken in its other form.
///
/// # Errors
/// The array holds something other than strings.
pub(super) fn json_array(text: &str) -> Result<Option<Vec<String>>, SyntaxError> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let strings: Option<Vec<String>> =
        values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect();
    strings.map(Some).ok_or_else(|| {
        let message = "when using JSON array syntax, arrays must hold strings only";
        SyntaxError::malformed(message, text.lines().next().unwrap_or(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_line(line: &str, name: &str, flags: &[&str], rest: &str) {
        let (n, f, r) = split_line(line, '\\');
        assert_eq!((n, f.as_slice(), r), (name, flags.map_owned().as_slice(), rest), "{line}");
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl MapOwned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|word| (*word).to_owned()).collect()
        }
    }

    #[test]
    fn flags_stand_before_the_first_word_that_is_none() {
        check_line("RUN a --b", "RUN", &[], "a --b");
        check_line("COPY --a --b=c  d e ", "COPY", &["--a", "--b=c"], "d e");
        check_line("COPY --a", "COPY", &["--a"], "");
        check_line("RUN", "RUN", &[], "");
        check_line("RUN -x", "RUN", &[], "-x");
        check_line("RUN --a -- --b", "RUN", &["--a"], "--b");
    }

    #[test]
    fn flags_lose_quotes_and_escapes() {
        check_line(r#"COPY --a="b c" --d='e f' --g=h\ i x"#, "COPY", &["--a=b c", "--d=e f", "--g=h i"], "x");
        check_line(r#"COPY --a="b\"c" x"#, "COPY", &["--a=b\"c"], "x");
        check_line("COPY --ä=é x", "COPY", &["--ä=é"], "x");
    }

    #[test]
    fn quoted_words_keep_their_quotes() {
        let words = |text| quoted_words(text, '\\');
        assert_eq!(words(r#"a=1 b="2 3" c=4\ 5"#), ["a=1", "b=\"2 3\"", "c=4\\ 5"]);
        assert_eq!(words(r"a='\' b"), ["a='\\'", "b"]);
        assert_eq!(words(r#""" x"#), ["\"\"", "x"]);
        assert_eq!(words("a\\"), ["a"]);
        assert_eq!(words("  "), Vec::<String>::new());
    }

    #[test]
    fn bad_json_is_no_json_but_numbers_are_an_error() {
        assert_eq!(json_array(r#"["a", "b"]"#), Ok(Some(vec!["a".into(), "b".into()])));
        assert_eq!(json_array(r#"["a", "b""#), Ok(None));
        assert_eq!(json_array(r#"["a"] x"#), Ok(None));
        assert_eq!(json_array("['a']"), Ok(None));
        assert_eq!(json_array("a"), Ok(None));
        assert_eq!(json_array("[]"), Ok(Some(vec![])));
        assert!(json_array("[1]").is_err());
        assert!(json_array(r#"["a", ["b"]]"#).is_err());
    }
}
