//! Values as Go reads them: booleans, durations (`1h30m`, `1.5s`), sizes (`64m`, `1.5GiB`).

/// Parses a boolean; `None` for any spelling that is not one of Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Parses a size into bytes, with units of 1024; `None` if it is not one.
pub fn parse_size_bytes(text: &str) -> Option<u64> {
    let end = text.rfind(|ch: char| ch.is_ascii_digit() || matches!(ch, '.' | ' '))? + 1;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit.len() <= 1 && unit != "i" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let suffix = unit.get(1..).unwrap_or("");
    if !matches!(suffix, "" | "b" | "ib") {
        return None;
    }
    let bytes = number * f64::from(2_u32).powi(shift);
    let limit = f64::from(2_u32).powi(63);
    if !(0.0..limit).contains(&bytes) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked above; fractions of a byte are dropped"
    )]
    Some(bytes as u64)
}

/// Parses a duration into nanoseconds; `None` if it is not one, or out of range.
///
/// Units are `ns`, `us` (or `µs`), `ms`, `s`, `m` and `h`; only `0` may go without.
pub fn parse_duration_ns(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        total = total.checked_add(part)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// Reads one number with its unit; returns nanoseconds and what follows.
fn part(text: &str) -> Option<(i128, &str)> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|ch: char| ch.is_ascii_digit()).len();
    let (whole, mut rest) = text.split_at(digits(text));
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        (fraction, rest) = after.split_at(digits(after));
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_length = rest.find(|ch: char| ch == '.' || ch.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_length);
    let unit_ns: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    };
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept = &fraction[..fraction.len().min(18)];
    let scale = 10_i128.pow(u32::try_from(kept.len()).ok()?);
    let fraction: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let value = whole.checked_mul(unit_ns)?.checked_add(fraction * unit_ns / scale)?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("0", Some(0)),
            ("5s", Some(5_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5ms", Some(500_000)),
            ("-2us", Some(-2_000)),
            ("336h", Some(1_209_600_000_000_000)),
            ("5", None),
            ("", None),
            ("-", None),
            (".s", None),
            ("1x", None),
            ("1 s", None),
            ("99999999999h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration_ns(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_in_units_of_1024() {
        let cases = [
            ("0", Some(0)),
            ("12", Some(12)),
            ("12b", Some(12)),
            ("64m", Some(64 << 20)),
            ("64 MB", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("1ki", None),
            ("1bb", None),
            ("1x", None),
            ("i", None),
            ("", None),
            ("-1", None),
            ("-5m", None),
            ("99999999p", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size_bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn booleans_have_gos_spellings_only() {
        assert_eq!(parse_bool("T"), Some(true));
        assert_eq!(parse_bool("0"), Some(false));
        assert_eq!(parse_bool("yes"), None);
        assert_eq!(parse_bool("tRUE"), None);
        assert_eq!(parse_bool(""), None);
    }
}
