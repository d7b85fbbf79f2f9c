//! What one container took, read from this machine's process table while it runs.

use std::fs;
use std::time::Duration;

use acceptance::docker::docker;

/// What a container took.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// From its start to its end, as the engine saw them.
    pub seconds: f64,
    /// Processor time of its first process and of all that it waited for.
    pub cpu_seconds: f64,
    /// The most memory that its first process had at once.
    pub peak_bytes: u64,
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
    let pid = inspect("{{.State.Pid}}");
    let mut taken = Taken::default();
    // Asked for before it was running, or after it had ended, there is no process.
    while pid != "0" && sample(&pid, &mut taken) {
        std::thread::sleep(Duration::from_millis(1));
    }
    docker(&["wait", &id]).ok();
    let logs = docker(&["logs", &id]).ok();
    taken.output = logs.text();
    assert_eq!(inspect("{{.State.ExitCode}}"), "0", "{arguments:?}: {}", taken.output);
    let span = docker(&["inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", &id]).ok();
    let times: Vec<f64> = span.stdout.split_whitespace().map(seconds_of_day).collect();
    taken.seconds = (times[1] - times[0]).rem_euclid(86_400.0);
    docker(&["rm", "-f", &id]).ok();
    taken
}

/// Reads what a process has taken so far. Tells whether it still ran.
fn sample(pid: &str, taken: &mut Taken) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    if fields.first().is_none_or(|state| matches!(*state, "Z" | "X")) {
        return false;
    }
    // utime, stime, and those of the children, in hundredths.
    let ticks: f64 = fields.iter().skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    taken.cpu_seconds = taken.cpu_seconds.max(ticks / 100.0);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    taken.peak_bytes = taken.peak_bytes.max(peak.unwrap_or(0) * 1024);
    true
}

/// The time of day of `2026-01-02T03:04:05.678901234Z`.
fn seconds_of_day(text: &str) -> f64 {
    let time = text.split('T').nth(1).unwrap_or_default().trim_end_matches('Z');
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap_or(0.0))
}
