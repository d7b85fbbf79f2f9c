//! `cargo bench-table [MB] [--check]`: the README's table of sizes and times, written between its two marks.
//!
//! What is measured is what ships: the package is made first, and its programs are run. With `--check` the
//! table is printed and nothing is written.

mod groups;
mod measure;
mod tree;

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use acceptance::{package, repository};
use groups::Group;
use measure::{Measured, in_turn};

const FROM: &str = "<!-- cargo bench-table writes from here -->\n";
const TO: &str = "<!-- to here -->\n";
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os("LIFECYCLE_BIN_DIR").is_none() {
        return again_with_what_ships(&arguments);
    }
    let check = arguments.iter().any(|argument| argument == "--check");
    let megabytes = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(1024);
    let text = format!("{}\n{}", sizes(), times(megabytes));
    if check {
        println!("{text}");
    } else {
        write(&repository().join("README.md"), &text);
    }
    ExitCode::SUCCESS
}

/// Unpacks the package, and runs this program again with what was in it.
fn again_with_what_ships(arguments: &[String]) -> ExitCode {
    let dir = tempfile::tempdir().expect("a temporary directory");
    package::unpack(dir.path());
    let mut command = Command::new(std::env::current_exe().expect("a running program has a path"));
    command.args(arguments).env("LIFECYCLE_BIN_DIR", dir.path().join("lifecycle"));
    let status = command.env("LIFECYCLE_PACKAGE_DIR", package::directory()).status().expect("it runs");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The table of what ships, beside what the reference implementation's release takes.
fn sizes() -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    package::unpack(dir.path());
    let mut text = "| file | MB | reference implementation 0.21.17 |\n|---|---|---|\n".to_owned();
    let mut row = |name: &str, path: &Path, reference: &str| {
        let bytes = fs::metadata(path).expect("it is there").len();
        writeln!(text, "| {name} | {:.2} | {reference} |", mega(bytes)).expect("a String takes any text");
    };
    row("tgz", &package::file(package::directory(), ".tgz"), "9.6");
    let lifecycle = dir.path().join("lifecycle");
    let links = "`analyzer` `creator` `exporter` `extender` `rebaser` `restorer` (one file)";
    row(links, &lifecycle.join("lifecycle"), "23.8, all phases but the launcher");
    row("`detector`", &lifecycle.join("detector"), "");
    row("`builder`", &lifecycle.join("builder"), "");
    row("`launcher`", &lifecycle.join("launcher"), "2.9");
    text
}

/// The tables of all phases.
fn times(megabytes: u64) -> String {
    let bench = groups::Bench::new(megabytes);
    let mut text = format!(
        "A layer of {} files, {:.0} MB; {} processors. Rows of one table run in turn, {ROUNDS} times; a row shows its \
         fastest run, and the median of its ratios to the first row.\n",
        bench.files,
        mega(bench.bytes),
        std::thread::available_parallelism().map_or(1, usize::from),
    );
    for group in groups::GROUPS {
        text.push_str(&table(&group(&bench)));
    }
    text
}

fn table(group: &Group<'_>) -> String {
    let Group { name, missing, rows } = group;
    if let Some(missing) = missing {
        return format!("\n**{name}**: not measured, {missing}.\n");
    }
    let runs = in_turn(ROUNDS, rows);
    let mut text = format!(
        "\n**{name}**\n\n| | s | times the first row | peak MB | read MB | written MB |\n|---|---|---|---|---|---|\n"
    );
    for (row, measured) in rows.iter().zip(&runs) {
        let best = measured.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds)).expect("there are rounds");
        writeln!(
            text,
            "| {} | {:.3} | {:.2} | {:.0} | {:.0} | {:.0} |",
            row.name,
            best.seconds,
            median_ratio(measured, &runs[0]),
            mega(best.peak_bytes),
            mega(best.read_bytes),
            mega(best.written_bytes),
        )
        .expect("a String takes any text");
    }
    text
}

/// How much longer than `first`, round by round.
fn median_ratio(measured: &[Measured], first: &[Measured]) -> f64 {
    let mut ratios: Vec<f64> =
        measured.iter().zip(first).map(|(own, first)| own.seconds / first.seconds).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Puts `text` between the marks of the file at `path`.
fn write(path: &Path, text: &str) {
    let old = fs::read_to_string(path).expect("the README can be read");
    let (before, rest) = old.split_once(FROM).expect("the README has the first mark");
    let (_, after) = rest.split_once(TO).expect("the README has the second mark");
    fs::write(path, format!("{before}{FROM}{text}{TO}{after}")).expect("the README can be written");
}
