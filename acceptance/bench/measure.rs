//! Runs a command and reads from `/proc` what it took.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one command took.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Wall time.
    pub seconds: f64,
    /// The most memory it had at once (`VmHWM`); of a pipe, its shell's.
    pub peak_bytes: u64,
    /// What it read by system calls (`rchar`), its children included once they ended.
    pub read_bytes: u64,
    /// What it wrote by system calls (`wchar`).
    pub written_bytes: u64,
}

/// A row of a table.
pub struct Row<'a> {
    /// What it is called.
    pub name: &'static str,
    prepare: Box<dyn Fn() + 'a>,
    command: Box<dyn Fn() -> Command + 'a>,
}

impl<'a> Row<'a> {
    /// Measures `command`, each time after `prepare`, which is not counted.
    pub fn new(name: &'static str, prepare: impl Fn() + 'a, command: impl Fn() -> Command + 'a) -> Self {
        Self { name, prepare: Box::new(prepare), command: Box::new(command) }
    }
}

/// Runs the rows in turn, `rounds` times: what slows the machine down for a while slows down all of them.
/// Gives the runs of each row.
pub fn in_turn(rounds: usize, rows: &[Row<'_>]) -> Vec<Vec<Measured>> {
    let mut runs = vec![Vec::with_capacity(rounds); rows.len()];
    for _ in 0..rounds {
        for (row, runs) in rows.iter().zip(&mut runs) {
            (row.prepare)();
            runs.push(run((row.command)()));
        }
    }
    runs
}

fn run(mut command: Command) -> Measured {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn().expect("the command can be started");
    let process = format!("/proc/{}", child.id());
    let mut measured = Measured::default();
    loop {
        // What a process leaves behind is gone once it is waited for, so its last words are sampled.
        sample(&process, &mut measured);
        match child.try_wait().expect("our own child") {
            None => std::thread::sleep(Duration::from_millis(2)),
            Some(status) => {
                assert!(status.success(), "{command:?} ended with {status}");
                measured.seconds = start.elapsed().as_secs_f64();
                return measured;
            }
        }
    }
}

fn sample(process: &str, measured: &mut Measured) {
    let field = |file: &str, key: &str| -> u64 {
        let text = fs::read_to_string(format!("{process}/{file}")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    measured.peak_bytes = measured.peak_bytes.max(field("status", "VmHWM:") * 1024);
    measured.read_bytes = measured.read_bytes.max(field("io", "rchar:"));
    measured.written_bytes = measured.written_bytes.max(field("io", "wchar:"));
}
