//! A line now and then while a phase takes long: that it goes on, and how much it has read and written.
//!
//! Only with `CNB_PROGRESS`. Lines come by the clock, never faster than asked for, so that a log stays one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::exit::{Exit, Failure};
use super::inputs;
use super::values::Inputs;
use crate::log::Log;

/// Runs `work`, and tells `log` how far it is as often as the platform wants to hear.
///
/// # Errors
/// Those of `work`, and an interval that is none.
pub fn told<T>(inputs: &Inputs, log: &Log, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let interval = inputs.duration(inputs::PROGRESS);
    let interval = interval.map_err(|error| Failure::new(Exit::Arguments, "resolve inputs", error))?;
    match interval.filter(|interval| !interval.is_zero()) {
        None => work(),
        Some(interval) => every(interval, inputs.phase.verb(), log, work),
    }
}

fn every<T>(interval: Duration, verb: &str, log: &Log, work: impl FnOnce() -> T) -> T {
    let (ended, end) = mpsc::channel::<()>();
    let start = Instant::now();
    // Opened while this process may: once it has become another user, its own files are root's.
    let counters = File::open("/proc/self/io").ok();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while end.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                log.info(line(verb, start.elapsed(), counters.as_ref().and_then(moved)));
            }
        });
        let result = work();
        drop(ended);
        result
    })
}

/// Bytes that this process has read and written so far.
fn moved(counters: &File) -> Option<(u64, u64)> {
    let mut buffer = [0; 512];
    let length = counters.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((field("rchar:")?, field("wchar:")?))
}

fn line(verb: &str, elapsed: Duration, moved: Option<(u64, u64)>) -> String {
    let text = format!("Progress: {verb} for {} s", elapsed.as_secs());
    match moved {
        None => text,
        Some((read, written)) => {
            format!("{text}, {} MB read, {} MB written", read / 1_000_000, written / 1_000_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;

    #[test]
    fn lines_come_while_the_work_goes_on_and_end_with_it() {
        let (log, buffer) = Log::buffer(Level::Info);
        let (told, tell) = mpsc::channel::<()>();
        let result = every(Duration::from_millis(5), "export", &log, || {
            let deadline = Instant::now() + Duration::from_secs(20);
            while buffer.text().lines().count() < 2 && Instant::now() < deadline {
                let _ = tell.recv_timeout(Duration::from_millis(5));
            }
            7
        });
        drop(told);
        assert_eq!(result, 7);
        let text = buffer.text();
        assert!(text.lines().count() >= 2 && text.starts_with("Progress: export for 0 s, "), "{text}");
    }

    #[test]
    fn a_line_says_what_is_known() {
        assert_eq!(line("restore", Duration::from_secs(61), None), "Progress: restore for 61 s");
        let text = line("export", Duration::from_secs(20), Some((512_000_001, 130_999_999)));
        assert_eq!(text, "Progress: export for 20 s, 512 MB read, 130 MB written");
    }
}
