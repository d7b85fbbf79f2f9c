//! The table of requirements and the decisions say what is true of the code: every requirement has
//! one row, what a row names exists, and references to decisions lead to one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// In two parts, so that it is no reference here.
const DECISIONS: &str = concat!("spec-notes/", "decisions.md");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository").to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Fails with everything that was found, so that one run shows all.
#[track_caller]
fn expect_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// A row of the table: its requirement's ID, and what its last two columns name.
struct Row {
    id: String,
    places: Vec<String>,
    shown_by: Vec<String>,
}

fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        // A requirement may hold ` | ` itself; the columns that are read here do not.
        let [id, _, .., places, shown_by] = cells.as_slice() else { return None };
        let list = |cell: &str| cell.split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
        (*id != "id").then(|| Row { id: (*id).to_owned(), places: list(places), shown_by: list(shown_by) })
    };
    read("spec-notes/requirements.md").lines().filter_map(row).collect()
}

#[test]
fn every_requirement_has_one_row() {
    let mut counts: BTreeMap<String, i32> = BTreeMap::new();
    for id in read("spec-notes/ids.txt").lines() {
        *counts.entry(id.to_owned()).or_default() += 1;
    }
    expect_none("IDs that are listed twice", &names_of(&counts, |count| count > 1));
    for row in rows() {
        *counts.entry(row.id).or_default() -= 1;
    }
    expect_none("IDs without a row", &names_of(&counts, |count| count > 0));
    expect_none("rows too many, or of unknown IDs", &names_of(&counts, |count| count < 0));
}

fn names_of(counts: &BTreeMap<String, i32>, is_meant: impl Fn(i32) -> bool) -> Vec<String> {
    counts.iter().filter(|(_, count)| is_meant(**count)).map(|(id, _)| id.clone()).collect()
}

#[test]
fn what_rows_name_exists() {
    let mut found = Vec::new();
    for Row { id, places, shown_by } in rows() {
        for place in places {
            if !repository().join(&place).is_file() {
                found.push(format!("{id}: `{place}` is no file"));
            }
        }
        let waits = shown_by.first().and_then(|name| name.strip_prefix("waits: "));
        if waits.is_some_and(|work| !work.is_empty()) && shown_by.len() == 1 {
            continue;
        }
        found.extend(
            shown_by.iter().filter(|name| !is_test(name)).map(|name| format!("{id}: no test `{name}`")),
        );
    }
    expect_none("rows that name what is not there", &found);
}

/// Whether `name`, a `path::function`, is a test: a function after an attribute that ends in `test]`.
fn is_test(name: &str) -> bool {
    let Some((path, function)) = name.split_once("::") else { return false };
    let text = fs::read_to_string(repository().join(path)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let opening = format!("fn {function}(");
    let Some(line) = lines.iter().position(|line| line.starts_with(&opening)) else { return false };
    lines[..line].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| *line == "#[test]")
}

/// The decisions' headings and texts.
fn decisions() -> Vec<(String, String)> {
    let text = read(DECISIONS);
    let section = |section: &str| {
        let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
        (heading.trim().to_owned(), body.trim().to_owned())
    };
    text.split("\n## ").skip(1).map(section).collect()
}

/// The anchor that a heading gets where Markdown is shown.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn every_decision_is_dated_and_has_an_anchor_of_its_own() {
    let is_dated = |body: &str| {
        let date: Vec<&str> = body.split(". ").next().unwrap_or_default().split('-').collect();
        let lengths: Vec<usize> = date.iter().map(|part| part.len()).collect();
        lengths == [4, 2, 2] && date.concat().bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut anchors = BTreeSet::new();
    let mut found = Vec::new();
    for (heading, body) in decisions() {
        if !is_dated(&body) {
            found.push(format!("`{heading}` has no date"));
        }
        if !anchors.insert(anchor(&heading)) {
            found.push(format!("`{heading}` has the anchor of another"));
        }
    }
    expect_none("decisions", &found);
}

#[test]
fn references_to_decisions_lead_to_one() {
    let decisions = decisions();
    let headings: BTreeSet<&str> = decisions.iter().map(|(heading, _)| heading.as_str()).collect();
    let anchors: BTreeSet<String> = headings.iter().map(|heading| anchor(heading)).collect();
    let mut found = Vec::new();
    let mut count = 0;
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap_or_default();
        for reference in references(&text) {
            count += 1;
            let known = match &reference {
                Reference::Anchor(anchor) => anchors.contains(anchor),
                Reference::Heading(heading) => headings.contains(heading.as_str()),
                Reference::File => true,
            };
            if !known {
                found.push(format!("{}: {reference:?}", file.display()));
            }
        }
    }
    expect_none("references that lead nowhere", &found);
    assert!(count > 10, "{count} references were found");
}

/// What stands after the decisions' file name: `#anchor`, or `, "Heading"`.
#[derive(Debug, PartialEq)]
enum Reference {
    Anchor(String),
    Heading(String),
    /// The file as a whole.
    File,
}

fn references(text: &str) -> Vec<Reference> {
    // A comment may break a line within a heading.
    let lines =
        text.lines().map(|line| line.trim_start().trim_start_matches('/').trim_start_matches('!').trim());
    let joined = lines.collect::<Vec<_>>().join(" ");
    let reference = |rest: &str| {
        if let Some(rest) = rest.strip_prefix('#') {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_')));
            return Reference::Anchor(rest[..end.unwrap_or(rest.len())].to_owned());
        }
        let heading = rest.strip_prefix(", \"").and_then(|rest| rest.split('"').next());
        heading.map_or(Reference::File, |heading| Reference::Heading(heading.to_owned()))
    };
    joined.split(DECISIONS).skip(1).map(reference).collect()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = ["lifecycle", "extensions", "acceptance"].map(|name| repository().join(name)).to_vec();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("the repository can be read").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && path.is_file() {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn references_are_found_in_comments() {
    let check = |rest: &str, expected: Reference| {
        assert_eq!(references(&format!("//! See {DECISIONS}{rest}")), [expected], "{rest}");
    };
    check("#layouts).", Reference::Anchor("layouts".to_owned()));
    check(", \"Order of\n/// layer paths\").", Reference::Heading("Order of layer paths".to_owned()));
    check(" and more", Reference::File);
    assert_eq!(anchor("analyzed.toml"), "analyzedtoml");
    assert_eq!(anchor("Order of exec.d and profile.d"), "order-of-execd-and-profiled");
}
