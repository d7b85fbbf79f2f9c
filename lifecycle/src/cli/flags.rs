//! Command lines as Go's `flag` package reads them, which is what platforms write.
//!
//! `-f v`, `-f=v` and `--f v` are the same; a switch takes its value only after `=`; flags end at
//! the first argument that is not one, or after `--`. What the flags are and mean is
//! `inputs`'s matter.

use std::time::Duration;

/// What values a flag or variable takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A path or any other text; the last one given counts.
    Text,
    /// Texts, one each time the flag is given.
    List,
    /// True or false; `-flag` alone is true.
    Switch,
    /// An unsigned number, such as a user ID.
    Number,
    /// A length of time in Go's form, such as `336h` or `1h30m`.
    Duration,
}

/// A command line, split but not interpreted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// Each flag with its value, in the order given; a switch without value has `true`.
    pub flags: Vec<(&'static str, String)>,
    /// What follows the flags.
    pub positional: Vec<String>,
}

/// Why a command line was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `-h` or `-help` was given: not a mistake.
    #[error("help requested")]
    Help,
    /// The flag does not exist in this phase and Platform API, or its value cannot be.
    #[error("{0}")]
    Usage(String),
}

/// Splits `args` (without the program's name) by what flags there are.
///
/// # Errors
/// [`FlagError::Help`] at the first `-h` or `-help` that is not itself a known flag;
/// [`FlagError::Usage`] at an unknown flag, a missing value or one not of the flag's kind.
pub fn parse(args: &[String], known: &[(&'static str, Kind)]) -> Result<Parsed, FlagError> {
    let mut parsed = Parsed::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let Some(text) = flag_text(arg) else {
            if arg != "--" {
                parsed.positional.push(arg.clone());
            }
            break;
        };
        let (name, given) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(FlagError::Usage(format!("bad flag syntax: {arg}")));
        }
        let (name, kind) = look_up(name, known)?;
        let value = match (given, kind) {
            (Some(value), _) => value,
            (None, Kind::Switch) => "true".to_owned(),
            (None, _) => rest
                .next()
                .cloned()
                .ok_or_else(|| FlagError::Usage(format!("flag needs an argument: -{name}")))?,
        };
        check(name, kind, &value)?;
        parsed.flags.push((name, value));
    }
    parsed.positional.extend(rest.cloned());
    Ok(parsed)
}

/// The argument without its one or two dashes, if it is a flag.
fn flag_text(arg: &str) -> Option<&str> {
    let text = arg.strip_prefix('-').filter(|text| !text.is_empty())?;
    match text.strip_prefix('-') {
        Some("") => None,
        Some(text) => Some(text),
        None => Some(text),
    }
}

fn look_up(name: &str, known: &[(&'static str, Kind)]) -> Result<(&'static str, Kind), FlagError> {
    known.iter().copied().find(|(flag, _)| *flag == name).ok_or_else(|| match name {
        "h" | "help" => FlagError::Help,
        _ => FlagError::Usage(format!("flag provided but not defined: -{name}")),
    })
}

fn check(name: &str, kind: Kind, value: &str) -> Result<(), FlagError> {
    let wrong = match kind {
        Kind::Text | Kind::List => None,
        Kind::Switch => parse_switch(value).is_none().then_some("a boolean, such as true or 0"),
        Kind::Number => parse_number(value).is_none().then_some("an unsigned number"),
        Kind::Duration => parse_duration(value).is_none().then_some("a duration, such as 336h or 1h30m"),
    };
    match wrong {
        None => Ok(()),
        Some(wanted) => {
            Err(FlagError::Usage(format!("invalid value {value:?} for flag -{name}: not {wanted}")))
        }
    }
}

/// A truth value as Go's `strconv.ParseBool` reads it.
pub fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// An unsigned decimal number that is a user or group ID: `u32::MAX` means "no change" to the
/// kernel and is none.
pub fn parse_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number != u32::MAX)
}

/// A length of time as Go's `time.ParseDuration` reads it, without sign: numbers with an optional
/// fraction, each followed by a unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total = total.checked_add(part(number, unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// One number with its unit.
fn part(number: &str, unit: &str) -> Option<Duration> {
    let seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &[(&str, Kind)] = &[
        ("app", Kind::Text),
        ("tag", Kind::List),
        ("daemon", Kind::Switch),
        ("uid", Kind::Number),
        ("ttl", Kind::Duration),
    ];

    fn split(line: &str) -> Vec<String> {
        line.split(' ').filter(|arg| !arg.is_empty()).map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(line: &str, flags: &[(&'static str, &str)], positional: &str) {
        let parsed = parse(&split(line), KNOWN).expect("the line is well-formed");
        let expected: Vec<_> = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!((parsed.flags, parsed.positional), (expected, split(positional)), "{line}");
    }

    #[track_caller]
    fn refused(line: &str, text: &str) {
        assert_eq!(parse(&split(line), KNOWN), Err(FlagError::Usage(text.to_owned())), "{line}");
    }

    #[test]
    fn one_dash_two_dashes_and_equals_are_the_same() {
        check("-app /a image", &[("app", "/a")], "image");
        check("--app /a image", &[("app", "/a")], "image");
        check("-app=/a image", &[("app", "/a")], "image");
        check("--app=a=b image", &[("app", "a=b")], "image");
    }

    #[test]
    fn empty_values_are_values() {
        check("-app= -tag= image", &[("app", ""), ("tag", "")], "image");
    }

    #[test]
    fn a_switch_takes_its_value_only_after_an_equals_sign() {
        check("-daemon false", &[("daemon", "true")], "false");
        check("-daemon=false image", &[("daemon", "false")], "image");
    }

    #[test]
    fn flags_end_at_the_first_other_argument() {
        check("image -daemon", &[], "image -daemon");
        check("- -daemon", &[], "- -daemon");
        check("-daemon -- -app", &[("daemon", "true")], "-app");
        check("--", &[], "");
    }

    #[test]
    fn lists_keep_their_order() {
        check("-tag a -tag b", &[("tag", "a"), ("tag", "b")], "");
    }

    #[test]
    fn a_flag_takes_the_next_argument_whatever_it_looks_like() {
        check("-app -daemon", &[("app", "-daemon")], "");
    }

    #[test]
    fn wrong_flags_are_usage_errors() {
        refused("-other", "flag provided but not defined: -other");
        refused("-app", "flag needs an argument: -app");
        refused("---app", "bad flag syntax: ---app");
        refused("-=x", "bad flag syntax: -=x");
        refused(
            "-daemon=maybe",
            "invalid value \"maybe\" for flag -daemon: not a boolean, such as true or 0",
        );
        refused("-uid=-1", "invalid value \"-1\" for flag -uid: not an unsigned number");
        refused("-ttl 5", "invalid value \"5\" for flag -ttl: not a duration, such as 336h or 1h30m");
    }

    #[test]
    fn help_is_no_mistake() {
        for line in ["-h", "--help", "-daemon -help"] {
            assert_eq!(parse(&split(line), KNOWN), Err(FlagError::Help));
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        let seconds = |text: &str| parse_duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("336h"), Some(336.0 * 3600.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1.5s"), Some(1.5));
        assert_eq!(seconds("2ms"), Some(0.002));
        assert_eq!(seconds("0"), Some(0.0));
        for text in ["", "h", "1", "1x", "-1h", "1h1", "1e9h", "99999999999999999999h", "."] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_command_line_panics(args in proptest::collection::vec("[-=a-z0-9.µ ]{0,12}", 0..6)) {
            let _ = parse(&args, KNOWN);
        }

        #[test]
        fn no_duration_panics(text in "[0-9.a-zµ-]{0,30}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn every_argument_is_accounted_for(args in proptest::collection::vec("[a-z]{1,5}", 0..6)) {
            prop_assert_eq!(parse(&args, KNOWN).map(|parsed| parsed.positional), Ok(args));
        }
    }
}
