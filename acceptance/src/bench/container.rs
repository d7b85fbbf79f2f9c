//! What one container took, read from this machine's process table while it runs.

use std::time::Duration;

use crate::docker::docker;

use super::measure::{Measured, Sampled};

/// What a container took.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Of its first process and of all that it waited for; the time is that from its start to its end, as the
    /// engine saw them.
    pub measured: Measured,
    /// What it said.
    pub output: String,
}

/// Runs a container with the options and command given to `docker create`, to its end.
///
/// # Panics
///
/// When it fails.
pub fn run(arguments: &[&str]) -> Taken {
    let created = docker(&[&["create"][..], arguments].concat()).ok();
    let id = created.stdout.trim().to_owned();
    docker(&["start", &id]).ok();
    let inspect = |field: &str| docker(&["inspect", "-f", field, &id]).ok().stdout.trim().to_owned();
    let pid = inspect("{{.State.Pid}}").parse().unwrap_or(0);
    let mut sampled = Sampled::default();
    // Asked for before it was running, or after it had ended, there is no process.
    while pid != 0 && sampled.process(pid) {
        std::thread::sleep(Duration::from_millis(1));
    }
    docker(&["wait", &id]).ok();
    let output = docker(&["logs", &id]).ok().text();
    assert_eq!(inspect("{{.State.ExitCode}}"), "0", "{arguments:?}: {output}");
    let span = docker(&["inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", &id]).ok();
    let times: Vec<f64> = span.stdout.split_whitespace().map(seconds_of_day).collect();
    docker(&["rm", "-f", &id]).ok();
    Taken { measured: sampled.measured((times[1] - times[0]).rem_euclid(86_400.0)), output }
}

/// The time of day of `2026-01-02T03:04:05.678901234Z`.
fn seconds_of_day(text: &str) -> f64 {
    let time = text.split('T').nth(1).unwrap_or_default().trim_end_matches('Z');
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap_or(0.0))
}
