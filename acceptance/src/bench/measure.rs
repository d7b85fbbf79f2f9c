//! Runs a command and reads from `/proc` what it took.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What one command took.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Wall time.
    pub seconds: f64,
    /// Processor time of all its processes.
    pub cpu_seconds: f64,
    /// The most memory that one of its processes had at once (`VmHWM`).
    pub peak_bytes: u64,
    /// What it read by system calls (`rchar`), its children included once they ended.
    pub read_bytes: u64,
    /// What it wrote by system calls (`wchar`).
    pub written_bytes: u64,
}

/// A row of a table.
pub struct Row<'a> {
    /// What it is called.
    pub name: String,
    prepare: Box<dyn Fn() + 'a>,
    run: Box<dyn Fn() -> Measured + 'a>,
    result: Option<Box<dyn Fn() -> String + 'a>>,
}

impl<'a> Row<'a> {
    /// Measures `command`, each time after `prepare`, which is not counted.
    pub fn new(name: impl Into<String>, prepare: impl Fn() + 'a, command: impl Fn() -> Command + 'a) -> Self {
        Self::of(name, prepare, move || run(command()))
    }

    /// A row of what measures itself.
    pub fn of(name: impl Into<String>, prepare: impl Fn() + 'a, run: impl Fn() -> Measured + 'a) -> Self {
        Self { name: name.into(), prepare: Box::new(prepare), run: Box::new(run), result: None }
    }

    /// Has `result` tell what came of each run: it must be the same for all rows that tell.
    #[must_use]
    pub fn makes(mut self, result: impl Fn() -> String + 'a) -> Self {
        self.result = Some(Box::new(result));
        self
    }
}

/// Runs the rows in turn, `rounds` times: what slows the machine down for a while slows down all of them.
/// Gives the runs of each row.
///
/// # Panics
///
/// When a command fails, or two rows make something different.
pub fn in_turn(rounds: usize, rows: &[Row<'_>]) -> Vec<Vec<Measured>> {
    let mut runs = vec![Vec::with_capacity(rounds); rows.len()];
    let mut made: Option<(&str, String)> = None;
    for _ in 0..rounds {
        for (row, runs) in rows.iter().zip(&mut runs) {
            (row.prepare)();
            runs.push((row.run)());
            let Some(result) = row.result.as_ref().map(|result| result()) else { continue };
            let (first, expected) = made.get_or_insert_with(|| (&row.name, result.clone()));
            assert!(result == *expected, "{} made\n{result}\nand {first}\n{expected}", row.name);
        }
    }
    runs
}

fn run(mut command: Command) -> Measured {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn().expect("the command can be started");
    let (measured, success) = watch(&mut child, start);
    assert!(success, "{command:?} failed");
    measured
}

/// Waits for `child`, and looks what it takes meanwhile. Tells whether it succeeded.
fn watch(child: &mut Child, start: Instant) -> (Measured, bool) {
    let mut sampled = Sampled::default();
    loop {
        // What a process leaves behind is gone once it is waited for, so its last words are sampled.
        sampled.process(child.id());
        match child.try_wait().expect("our own child") {
            None => std::thread::sleep(Duration::from_millis(2)),
            Some(status) => {
                return (sampled.measured(start.elapsed().as_secs_f64()), status.success());
            }
        }
    }
}

/// What was seen of a process and of those that it started.
#[derive(Debug, Default)]
pub struct Sampled {
    read_bytes: u64,
    written_bytes: u64,
    peak_bytes: u64,
    /// Of each process, with those of its children that it waited for.
    cpu_seconds: f64,
}

impl Sampled {
    /// Looks at a process and its children. Tells whether it still runs.
    pub fn process(&mut self, id: u32) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return false };
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let read = |file: &str| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        let (status, io) = (read("status"), read("io"));
        self.memory(id, &status);
        self.read_bytes = self.read_bytes.max(field(&io, "rchar:"));
        self.written_bytes = self.written_bytes.max(field(&io, "wchar:"));
        // utime, stime, and those of the children, in hundredths.
        let ticks = fields.iter().skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok());
        self.cpu_seconds = self.cpu_seconds.max(ticks.sum::<f64>() / 100.0);
        fields.first().is_some_and(|state| !matches!(*state, "Z" | "X"))
    }

    fn memory(&mut self, id: u32, status: &str) {
        self.peak_bytes = self.peak_bytes.max(field(status, "VmHWM:") * 1024);
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            self.memory(child, &status);
        }
    }

    /// All of it, after `seconds`.
    pub fn measured(self, seconds: f64) -> Measured {
        let Self { read_bytes, written_bytes, peak_bytes, cpu_seconds, .. } = self;
        Measured { seconds, cpu_seconds, peak_bytes, read_bytes, written_bytes }
    }
}

/// The number behind `key` in a file of lines.
fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, script: &'static str, result: &'static str) -> Row<'static> {
        let command = move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        Row::new(name, || {}, command).makes(|| result.to_owned())
    }

    #[test]
    fn commands_are_measured_with_what_they_start() {
        let script = "head -c 50000000 /dev/zero | cat > /dev/null";
        let runs = in_turn(2, &[row("one", script, "same"), row("another", "true", "same")]);
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert!(runs[0].iter().all(|run| run.seconds > 0.0 && run.peak_bytes > 0), "{runs:?}");
    }

    #[test]
    #[should_panic(expected = "another made\nbad\nand one\ngood")]
    fn rows_that_make_something_different_are_not_compared() {
        in_turn(1, &[row("one", "true", "good"), row("another", "true", "bad")]);
    }

    #[test]
    #[should_panic(expected = "failed")]
    fn what_fails_is_not_measured() {
        in_turn(1, &[row("one", "exit 3", "same")]);
    }
}
