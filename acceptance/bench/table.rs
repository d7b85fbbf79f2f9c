//! `cargo bench-table [MB] [--reference <dir>] [--only <words>] [--check]`: the README's table of sizes and times, written between its
//! two marks.
//!
//! What is measured is what ships: the package is made first, and its programs are run. A directory with the
//! reference implementation's `lifecycle` and `launcher`, as its releases have it, adds rows of those, with the
//! same inputs and flags; what they make must be the same. With `--check` the table is printed and nothing is
//! written; with `--only` that is so too, and of the groups only those are measured that have the words in their names.

mod groups;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use acceptance::bench::measure::{Measured, in_turn};
use acceptance::{package, repository};
use groups::Group;

const FROM: &str = "<!-- cargo bench-table writes from here -->\n";
const TO: &str = "<!-- to here -->\n";
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os("LIFECYCLE_BIN_DIR").is_none() {
        return again_with_what_ships(&arguments);
    }
    let options = Options::parse(&arguments);
    if options.only.is_some() {
        println!("{}", times(&options));
        return ExitCode::SUCCESS;
    }
    let text = format!("{}\n{}", sizes(), times(&options));
    if options.check {
        println!("{text}");
    } else {
        write(&repository().join("README.md"), &text);
    }
    ExitCode::SUCCESS
}

/// What the command was told.
struct Options {
    megabytes: u64,
    reference: Option<PathBuf>,
    only: Option<String>,
    check: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Self {
        let mut options = Self { megabytes: 1024, reference: None, only: None, check: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match (argument.as_str(), argument.parse()) {
                (_, Ok(megabytes)) => options.megabytes = megabytes,
                ("--check", _) => options.check = true,
                ("--reference", _) => options.reference = arguments.next().map(PathBuf::from),
                ("--only", _) => options.only = arguments.next().cloned(),
                _ => panic!("`{argument}` is no size in MB, --reference <dir>, --only <words> or --check"),
            }
        }
        options
    }
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
fn times(options: &Options) -> String {
    let bench = groups::Bench::new(options.megabytes, options.reference.as_deref());
    let reference = match &bench.reference {
        Some(version) => format!(
            "Rows called *reference* are the reference implementation's programs ({version}), with the same inputs and \
             flags; after every run, the diffIDs or files that they made were found to be the same."
        ),
        None => "The reference implementation's programs were not measured: `--reference <dir>` names them."
            .to_owned(),
    };
    let mut text = format!(
        "A layer of {} files, {:.0} MB; {} processors. Rows of one table run in turn, {ROUNDS} times; a row shows its \
         fastest run, and the median of its ratios to the first row. {reference}\n",
        bench.files,
        mega(bench.bytes),
        std::thread::available_parallelism().map_or(1, usize::from),
    );
    for (name, group) in groups::GROUPS {
        if options.only.as_ref().is_none_or(|words| name.contains(words)) {
            text.push_str(&table(name, &group(&bench)));
        }
    }
    text
}

fn table(name: &str, group: &Group<'_>) -> String {
    let rows = match group {
        Ok(rows) => rows,
        Err(missing) => return format!("\n**{name}**: not measured, {missing}.\n"),
    };
    let runs = in_turn(ROUNDS, rows);
    let mut text = format!(
        "\n**{name}**\n\n| | s | times the first row | CPU s | peak MB | read MB | written MB |\n|---|---|---|---|---|---|---|\n"
    );
    for (row, measured) in rows.iter().zip(&runs) {
        let best = measured.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds)).expect("there are rounds");
        writeln!(
            text,
            "| {} | {:.3} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
            row.name,
            best.seconds,
            median_ratio(measured, &runs[0]),
            best.cpu_seconds,
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
