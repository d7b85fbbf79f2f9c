//! The flags of an instruction, checked against those it has.

use super::error::{SyntaxError, nearest};

/// What a flag may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagKind {
    /// `--x`, `--x=true`, `--x=false`.
    Switch,
    /// `--x=value`, once.
    Value,
    /// `--x=value`, any number of times.
    Values,
}

/// The flags an instruction has.
pub(super) type Known = [(&'static str, FlagKind)];

/// The flags given, all of them known.
#[derive(Debug, Default)]
pub(super) struct Flags {
    given: Vec<(String, String)>,
}

impl Flags {
    /// Checks `words`, each of which starts with `--`, against what `instruction` has.
    pub fn parse(words: &[String], instruction: &str, known: &Known) -> Result<Self, SyntaxError> {
        let mut flags = Self::default();
        for word in words {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (word.as_str(), None),
            };
            let name = flag.trim_start_matches("--");
            let Some((_, kind)) = known.iter().find(|(known, _)| flag.get(2..) == Some(*known)) else {
                return Err(unknown(flag, name, instruction, known));
            };
            if *kind != FlagKind::Values && flags.value(name).is_some() {
                return Err(SyntaxError::malformed(format!("duplicate flag `{flag}`"), flag));
            }
            let value = checked(flag, value, *kind)?;
            flags.given.push((name.to_owned(), value));
        }
        Ok(flags)
    }

    /// Returns the value of a flag that may be given once.
    pub fn value(&self, name: &str) -> Option<String> {
        self.values(name).into_iter().next()
    }

    /// Returns the values of a flag, in order.
    pub fn values(&self, name: &str) -> Vec<String> {
        let named = self.given.iter().filter(|(given, _)| given == name);
        named.map(|(_, value)| value.clone()).collect()
    }

    /// Returns the position of a switch; `None` if it is not given.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value == "true")
    }
}

fn unknown(flag: &str, name: &str, instruction: &str, known: &Known) -> SyntaxError {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    SyntaxError::UnknownFlag {
        flag: flag.to_owned(),
        instruction: instruction.to_owned(),
        suggestion: nearest(name, &names).map(|name| format!("--{name}")),
    }
}

/// Checks that a value is given as the flag's kind wants it; a switch becomes `true` or `false`.
fn checked(flag: &str, value: Option<&str>, kind: FlagKind) -> Result<String, SyntaxError> {
    let missing = || SyntaxError::malformed(format!("missing a value on flag `{flag}`"), flag);
    if kind != FlagKind::Switch {
        return value.map(str::to_owned).ok_or_else(missing);
    }
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("true") => Ok("true".to_owned()),
        Some("false") => Ok("false".to_owned()),
        Some("") => Err(missing()),
        Some(other) => {
            let message = format!("expecting a boolean value for flag `{flag}`, not `{other}`");
            Err(SyntaxError::malformed(message, flag))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &Known =
        &[("chown", FlagKind::Value), ("link", FlagKind::Switch), ("exclude", FlagKind::Values)];

    fn parse(words: &[&str]) -> Result<Flags, SyntaxError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Flags::parse(&words, "COPY", KNOWN)
    }

    #[test]
    fn values_and_switches_are_read() {
        let flags = parse(&["--chown=a=b", "--link", "--exclude=x", "--exclude=y"]).unwrap();
        assert_eq!(flags.value("chown").as_deref(), Some("a=b"));
        assert_eq!(flags.switch("link"), Some(true));
        assert_eq!(flags.values("exclude"), ["x", "y"]);
        assert_eq!(parse(&["--link=False"]).unwrap().switch("link"), Some(false));
    }

    #[test]
    fn bad_flags_are_errors_that_name_them() {
        for (words, message) in [
            (&["--chwon=a"][..], "unknown flag `--chwon` of COPY (did you mean `--chown`?)"),
            (&["--zzzzzz"], "unknown flag `--zzzzzz` of COPY"),
            (&["----link"], "unknown flag `----link` of COPY (did you mean `--link`?)"),
            (&["--chown"], "missing a value on flag `--chown`"),
            (&["--link="], "missing a value on flag `--link`"),
            (&["--link=1"], "expecting a boolean value for flag `--link`, not `1`"),
            (&["--link", "--link"], "duplicate flag `--link`"),
        ] {
            assert_eq!(parse(words).unwrap_err().to_string(), message);
        }
    }
}
