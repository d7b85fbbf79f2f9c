//! Whether a failed request is worth another try, and when. Pure: the caller waits.
//!
//! Connection errors, 408, 429 and 5xx are; every other answer is the registry's decision. A name that
//! is unknown and a certificate that is not accepted hardly change.

use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::time::Duration;

use crate::image::store::StoreError;

/// Tries of one request, the first included.
pub const MAX_TRIES: u32 = 10;
/// Tries of one request to a host whose name nobody knows.
const NAME_TRIES: u32 = 4;
/// How an error says that nobody knows the host's name.
pub const UNKNOWN_NAME: ErrorKind = ErrorKind::AddrNotAvailable;
/// How an error says that a certificate was not accepted.
pub const NO_TRUST: ErrorKind = ErrorKind::PermissionDenied;
/// The longest wait that a registry can ask for with `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How one try ended, when it did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No complete answer arrived.
    Connection,
    /// Nobody knows the host's name: a resolver may have had a bad moment, a wrong name stays wrong.
    Name,
    /// The host does not prove to be the one that was meant, or does not believe us.
    Certificate,
    /// An answer of that status, with `Retry-After` in seconds where given.
    Status(u16, Option<u64>),
}

impl Failure {
    /// What kind of failure the error of a request that got no answer is.
    pub fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Io { source, .. } if source.kind() == UNKNOWN_NAME => Self::Name,
            StoreError::Io { source, .. } if source.kind() == NO_TRUST => Self::Certificate,
            _ => Self::Connection,
        }
    }
}

/// The wait before try number `tried + 1`, or `None` when there is no point in one.
///
/// `jitter` is between 0 and 1: waits spread from half of the full backoff to all of it.
pub fn wait(failure: Failure, tried: u32, jitter: f64) -> Option<Duration> {
    if tried >= MAX_TRIES {
        return None;
    }
    match failure {
        Failure::Status(status, retry_after) => {
            let worth = matches!(status, 408 | 429 | 500..=599) && !matches!(status, 501 | 505);
            let asked = retry_after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
            worth.then(|| asked.unwrap_or_default().max(backoff(tried, jitter)))
        }
        Failure::Connection => Some(backoff(tried, jitter)),
        Failure::Name => (tried < NAME_TRIES).then(|| backoff(tried, jitter)),
        Failure::Certificate => None,
    }
}

fn backoff(tried: u32, jitter: f64) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << tried.saturating_sub(1).min(16)).min(MAX_WAIT);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// A number between 0 and 1, different each time; not for secrets.
pub fn jitter() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 40).expect("24 bits are left");
    f64::from(bits) / f64::from(1_u32 << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failure: Failure, tried: u32, expected_ms: Option<u64>) {
        assert_eq!(wait(failure, tried, 1.0), expected_ms.map(Duration::from_millis), "{failure:?}");
    }

    #[test]
    fn a_decision_of_the_registry_is_not_questioned() {
        for status in [400, 401, 403, 404, 405, 416, 501] {
            check(Failure::Status(status, None), 1, None);
        }
    }

    #[test]
    fn trouble_is_retried_with_growing_waits_and_an_end() {
        for status in [408, 429, 500, 502, 503, 504] {
            check(Failure::Status(status, None), 1, Some(100));
        }
        check(Failure::Connection, 2, Some(200));
        check(Failure::Connection, 9, Some(10_000));
        check(Failure::Connection, MAX_TRIES, None);
    }

    #[test]
    fn what_will_not_change_is_not_tried_for_long() {
        check(Failure::Certificate, 1, None);
        check(Failure::Name, 3, Some(400));
        check(Failure::Name, 4, None);
        let error = |kind| {
            let source = std::io::Error::other("why");
            StoreError::Io { action: "reach", what: String::new(), source: std::io::Error::new(kind, source) }
        };
        assert_eq!(Failure::of(&error(UNKNOWN_NAME)), Failure::Name);
        assert_eq!(Failure::of(&error(NO_TRUST)), Failure::Certificate);
        assert_eq!(Failure::of(&error(ErrorKind::Other)), Failure::Connection);
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        check(Failure::Status(429, Some(2)), 1, Some(2_000));
        check(Failure::Status(503, Some(86_400)), 1, Some(60_000));
        check(Failure::Status(404, Some(2)), 1, None);
    }

    #[test]
    fn jitter_stays_between_zero_and_one() {
        assert!((0..100).map(|_| jitter()).all(|value| (0.0..1.0).contains(&value)));
    }
}
