//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and escapes. Brackets are text, as in
//! BuildKit.

use std::collections::HashSet;

use super::lexer::Failure;

/// Work one substitution may do, in comparisons: a hostile pattern ends here.
const MAX_STEPS: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// Any character but a line feed.
    One,
    /// Any number of them.
    Many,
}

/// A parsed pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Vec<Token>);

/// Whether `*` takes as much or as little as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greed {
    Shortest,
    Longest,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(ch) = chars.next() {
            tokens.push(match ch {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(escaped),
                    other => return Err(invalid_escape(text, other)),
                },
                _ => Token::Literal(ch),
            });
        }
        Ok(Self(tokens))
    }

    fn reversed(&self) -> Self {
        Self(self.0.iter().rev().copied().collect())
    }
}

fn invalid_escape(text: &str, escaped: Option<char>) -> Failure {
    let escaped = escaped.map(String::from).unwrap_or_default();
    Failure::Syntax(format!("invalid pattern ({text}) in substitution: invalid escape '\\{escaped}'"))
}

pub(super) fn trim_start(pattern: &Pattern, value: &str, greed: Greed) -> Result<String, Failure> {
    let value: Vec<char> = value.chars().collect();
    let end = Matcher::new(pattern, &value, greed).match_at(0)?;
    Ok(value[end.unwrap_or(0)..].iter().collect())
}

pub(super) fn trim_end(pattern: &Pattern, value: &str, greed: Greed) -> Result<String, Failure> {
    // The shortest match at the end is the shortest match at the start of both reversed.
    let reversed: String = value.chars().rev().collect();
    let rest = trim_start(&pattern.reversed(), &reversed, greed)?;
    Ok(rest.chars().rev().collect())
}

pub(super) fn replace_first(pattern: &Pattern, value: &str, replacement: &str) -> Result<String, Failure> {
    let chars: Vec<char> = value.chars().collect();
    let mut matcher = Matcher::new(pattern, &chars, Greed::Longest);
    let Some((start, end)) = matcher.find(0)? else {
        return Ok(value.to_owned());
    };
    let mut result: String = chars[..start].iter().collect();
    result.push_str(replacement);
    result.extend(&chars[end..]);
    Ok(result)
}

pub(super) fn replace_all(pattern: &Pattern, value: &str, replacement: &str) -> Result<String, Failure> {
    let chars: Vec<char> = value.chars().collect();
    let mut matcher = Matcher::new(pattern, &chars, Greed::Longest);
    let mut result = String::new();
    let (mut copied, mut from, mut last_end) = (0, 0, None);
    while let Some((start, end)) = matcher.find(from)? {
        // An empty match right behind a match is none.
        if start != end || last_end != Some(start) {
            result.extend(&chars[copied..start]);
            result.push_str(replacement);
            copied = end;
            last_end = Some(end);
        }
        matcher.spend(replacement.len())?;
        from = if start == end { end + 1 } else { end };
        if from > chars.len() {
            break;
        }
    }
    result.extend(&chars[copied..]);
    Ok(result)
}

/// A backtracking matcher that visits no (token, character) pair twice in one search.
struct Matcher<'a> {
    tokens: &'a [Token],
    value: &'a [char],
    greed: Greed,
    steps: usize,
}

impl<'a> Matcher<'a> {
    fn new(pattern: &'a Pattern, value: &'a [char], greed: Greed) -> Self {
        Self { tokens: &pattern.0, value, greed, steps: 0 }
    }

    fn spend(&mut self, steps: usize) -> Result<(), Failure> {
        self.steps += steps;
        if self.steps > MAX_STEPS {
            return Err(Failure::Limit("the substitution takes too long".to_owned()));
        }
        Ok(())
    }

    /// Finds the leftmost match at or after `from`: its start and end.
    fn find(&mut self, from: usize) -> Result<Option<(usize, usize)>, Failure> {
        let mut failed = HashSet::new();
        for start in from..=self.value.len() {
            if let Some(end) = self.search(start, &mut failed)? {
                return Ok(Some((start, end)));
            }
        }
        Ok(None)
    }

    /// Matches at `start`, returning the end.
    fn match_at(&mut self, start: usize) -> Result<Option<usize>, Failure> {
        self.search(start, &mut HashSet::new())
    }

    fn search(&mut self, start: usize, seen: &mut HashSet<(usize, usize)>) -> Result<Option<usize>, Failure> {
        let mut todo = vec![(0, start)];
        while let Some((token, at)) = todo.pop() {
            self.spend(1)?;
            let Some(&current) = self.tokens.get(token) else {
                return Ok(Some(at));
            };
            if !seen.insert((token, at)) {
                continue;
            }
            let ch = self.value.get(at).copied();
            let any = ch.is_some_and(|ch| ch != '\n');
            match current {
                Token::Literal(literal) if ch == Some(literal) => todo.push((token + 1, at + 1)),
                Token::One if any => todo.push((token + 1, at + 1)),
                Token::Many => {
                    let (stop, go_on) = ((token + 1, at), any.then_some((token, at + 1)));
                    // What is pushed last is tried first.
                    if self.greed == Greed::Longest {
                        todo.push(stop);
                        todo.extend(go_on);
                    } else {
                        todo.extend(go_on);
                        todo.push(stop);
                    }
                }
                Token::Literal(_) | Token::One => {}
            }
        }
        Ok(None)
    }
}
