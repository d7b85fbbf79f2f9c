//! Dockerfiles applied by us and by BuildKit: the same files and the same config, case by case.
//!
//! The cases are the tables in `dockerfiles/cases/`; `README.md` there says how to read them. Each is
//! done three times: by the judge, by us, and by us once more out of the step cache.

mod bases;
mod case;
mod ours;
mod server;

use acceptance::buildkit::{BuildKit, Job};
use acceptance::sandbox::is_root;
use acceptance::tree::Tree;
use case::{Case, Prepared};
use serde_json::Value;

/// What became of a case: what differs from the base, or one line that begins with `fails`.
type Outcome = Vec<String>;

/// Not the image's: mounts of containers, and what lies below them.
const NOT_THE_IMAGES: [&str; 7] =
    ["dev", "proc", "sys", "etc/hosts", "etc/resolv.conf", "etc/hostname", ".dockerenv"];

/// Fewer would not be all that there are.
const LEAST: usize = 120;

#[test]
fn there_are_cases_enough_and_each_has_its_own_name() {
    let tables =
        ["copy", "flags", "add", "run", "deletions", "users", "workdir", "variables", "parsing", "debian"];
    let mut count = 0;
    for table in tables {
        let cases = case::table(table);
        count += cases.len();
        let mut names: Vec<&String> = cases.iter().map(|case| &case.name).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{table}: {names:?}");
        for case in &cases {
            assert_eq!(
                case.ours.is_some(),
                case.because.is_some(),
                "{}: differences have reasons",
                case.name
            );
        }
    }
    assert!(count >= LEAST, "{count} cases");
}

#[test]
fn copy_is_as_buildkits() {
    judge("copy");
}

#[test]
fn flags_of_copy_and_add_are_as_buildkits() {
    judge("flags");
}

#[test]
fn add_is_as_buildkits() {
    judge("add");
}

#[test]
fn run_is_as_buildkits() {
    judge("run");
}

#[test]
fn what_run_changes_is_found_as_by_buildkit() {
    judge("deletions");
}

#[test]
fn users_are_as_buildkits() {
    judge("users");
}

#[test]
fn working_directories_are_as_buildkits() {
    judge("workdir");
}

#[test]
fn variables_are_as_buildkits() {
    judge("variables");
}

#[test]
fn dockerfiles_are_read_as_by_buildkit() {
    judge("parsing");
}

#[test]
fn packages_of_a_distribution_are_installed_as_by_buildkit() {
    judge("debian");
}

/// Runs a table and shows every case that is not as it should be.
#[track_caller]
fn judge(table: &str) {
    assert!(is_root(), "Dockerfiles are applied to a root directory: this test must run as root");
    let server = server::Server::start();
    let work = tempfile::tempdir().expect("a temporary directory can be made");
    let prepared: Vec<Prepared> = case::table(table)
        .into_iter()
        .enumerate()
        .map(|(number, case)| Prepared::new(case, &work.path().join(format!("case{number}")), &server))
        .collect();
    let judged = judged(&prepared, &work.path().join(table));
    let mut wrong = Vec::new();
    for (prepared, judged) in prepared.iter().zip(judged) {
        let found = ours::apply(prepared);
        wrong.extend(compare(&prepared.case, &found, &judged));
    }
    assert!(wrong.is_empty(), "{} findings\n{}", wrong.len(), wrong.join("\n"));
}

/// What the judge makes of each case; where the engine's is too old, the table says it.
fn judged(all: &[Prepared], work: &std::path::Path) -> Vec<Outcome> {
    let is_asked = |prepared: &&Prepared| BuildKit::is_current() || prepared.case.table.is_none();
    let asked: Vec<&Prepared> = all.iter().filter(is_asked).collect();
    let jobs: Vec<Job<'_>> = asked.iter().map(|prepared| prepared.job()).collect();
    let mut results = BuildKit::here().build_all(&jobs, work).into_iter();
    let mut outcomes = Vec::new();
    for prepared in all {
        outcomes.push(match &prepared.case.table {
            Some(table) if !is_asked(&prepared) => case::lines(table),
            _ => match results.next().expect("a result for each job") {
                Ok(built) => {
                    let base = prepared.base_tree();
                    let mut tree = base.clone();
                    for layer in &built.layers[prepared.base().image.layers.len()..] {
                        tree.apply(std::fs::File::open(layer).expect("a layer was written"));
                    }
                    changes(&tree, base, &built.config["config"], &prepared.base().image.config["config"])
                }
                Err(error) => vec![format!("fails: {error}")],
            },
        });
    }
    outcomes
}

/// The differences of files and of config from the base.
fn changes(tree: &Tree, base: &Tree, config: &Value, base_config: &Value) -> Outcome {
    let strip = |tree: &Tree| NOT_THE_IMAGES.iter().fold(tree.clone(), |tree, path| tree.without(path));
    let mut lines = strip(tree).changes_since(&strip(base));
    lines.extend(case::config_changes(config, base_config));
    lines
}

/// What is wrong with a case, if anything is.
fn compare(case: &Case, found: &Outcome, judged: &Outcome) -> Option<String> {
    let show = |lines: &Outcome| format!("    {}\n", lines.join("\n    "));
    let differ = |what: &str, a: &Outcome, b: &Outcome| {
        Some(format!("{}: {what}\n{}  instead of\n{}", case.name, show(a), show(b)))
    };
    if let Some(table) = case.table.as_deref().map(case::lines)
        && !same(&table, judged)
    {
        return differ("the judge found", judged, &table);
    }
    if case.ours.is_none() && case.fails != is_failure(judged) {
        return differ("the judge found", judged, &vec![format!("fails = {}", case.fails)]);
    }
    match case.ours.as_deref().map(case::lines) {
        Some(_) if same(found, judged) => Some(format!("{}: the difference is none any more", case.name)),
        Some(expected) if !says(found, &expected) => differ("we made", found, &expected),
        None if !same(found, judged) => differ("we made", found, judged),
        _ => None,
    }
}

/// Failures are the same whatever their words.
fn same(a: &Outcome, b: &Outcome) -> bool {
    a == b || is_failure(a) && is_failure(b)
}

fn is_failure(outcome: &Outcome) -> bool {
    outcome.first().is_some_and(|line| line.starts_with("fails"))
}

/// Of our own failures the words count.
fn says(found: &Outcome, expected: &Outcome) -> bool {
    let message = expected.first().and_then(|line| line.strip_prefix("fails: "));
    message.map_or(found == expected, |message| found.first().is_some_and(|line| line.contains(message)))
}
