//! Points in time as image configs and logs write them: RFC 3339, in UTC, to the second.

/// The moment at which everything in a layer was changed and an image was created, unless the
/// platform says otherwise: 1980-01-01T00:00:01Z, in seconds since 1970.
pub const CONSTANT: i64 = 315_532_801;

const DAY: i64 = 24 * 60 * 60;
/// The first second of the year 0 and the last of 9999: no others have four digits.
const WRITABLE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// `seconds` since 1970 as `2006-01-02T15:04:05Z`; `None` outside the years 0 to 9999.
pub fn rfc3339(seconds: i64) -> Option<String> {
    if !WRITABLE.contains(&seconds) {
        return None;
    }
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// Seconds since 1970 of a time as HTTP headers write it, `Wed, 21 Oct 2015 07:28:00 GMT`; `None` for
/// any other form. Spec: RFC 9110 section 5.6.7.
pub fn from_http(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, clock, "GMT"] = words.as_slice() else { return None };
    let number = |text: &str, range: std::ops::RangeInclusive<i64>| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && range.contains(number))
    };
    let month = MONTHS.iter().zip(1..).find_map(|(name, number)| (name == month).then_some(number))?;
    let (day, year) = (number(day, 1..=31)?, number(year, 1970..=9999)?);
    let clock: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = clock.as_slice() else { return None };
    let seconds = number(hour, 0..=23)? * 3600 + number(minute, 0..=59)? * 60 + number(second, 0..=60)?;
    Some(days(year, month, day) * DAY + seconds)
}

/// The day counted from 1970-01-01 of a date: what [`date`] is undone by.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * from_march + 2) / 5
        + day
        - 1
        - 719_468
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the day that some lack comes last; 400 of them always
/// have 146,097 days.
fn date(day: i64) -> (i64, i64, i64) {
    let from_march_0 = day + 719_468;
    let (era, day) = (from_march_0.div_euclid(146_097), from_march_0.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: i64, expected: &str) {
        assert_eq!(rfc3339(seconds).as_deref(), Some(expected));
    }

    #[test]
    fn seconds_become_dates() {
        check(CONSTANT, "1980-01-01T00:00:01Z");
        check(0, "1970-01-01T00:00:00Z");
        check(-1, "1969-12-31T23:59:59Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z");
        check(1_700_000_000, "2023-11-14T22:13:20Z");
    }

    #[test]
    fn only_years_of_four_digits_are_written() {
        check(*WRITABLE.start(), "0000-01-01T00:00:00Z");
        check(*WRITABLE.end(), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(WRITABLE.end() + 1), None);
        assert_eq!(rfc3339(i64::MIN), None);
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(-800_000);
        for day in -799_999..800_000 {
            let (year, month, day_of_month) = date(day);
            let next = (year, month, day_of_month);
            let expected = day_of_month == 1 || next == (before.0, before.1, before.2 + 1);
            assert!(
                expected && next > before && (1..=12).contains(&month) && (1..=31).contains(&day_of_month),
                "{next:?}"
            );
            before = next;
        }
    }

    #[test]
    fn times_of_http_are_read() {
        assert_eq!(from_http("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(from_http("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for text in [
            "",
            "Wed, 21 Oct 2015 07:28:00",
            "Wed, 21 Okt 2015 07:28:00 GMT",
            "Wed, +1 Oct 2015 07:28:00 GMT",
        ] {
            assert_eq!(from_http(text), None, "{text}");
        }
        for day in (0..2_932_896).step_by(11) {
            let (year, month, day_of_month) = date(day);
            assert_eq!(days(year, month, day_of_month), day);
        }
    }
}
