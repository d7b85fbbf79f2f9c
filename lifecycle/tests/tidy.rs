//! The invariants of the code, as the architecture states them, checked on its text.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file and its text.
struct Source {
    /// Relative to the repository, with forward slashes.
    name: String,
    text: String,
}

impl Source {
    /// Lines that are code of the crate itself: no comments, no tests. Each with its number.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() { 0 } else { usize::MAX };
        let lines =
            self.text.lines().enumerate().take(end).take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        lines
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or(line)))
            .filter(|(_, line)| !line.trim().is_empty())
    }

    fn is_test(&self) -> bool {
        self.name.contains("/tests/") || self.name.ends_with("/tests.rs") || self.name.contains("/benches/")
    }

    /// The path below `lifecycle/src`, if that is where it is.
    fn module(&self) -> Option<&str> {
        self.name.strip_prefix("lifecycle/src/")
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository").to_owned()
}

/// Every file of the repository that is text, but not what builds leave behind.
fn files() -> Vec<Source> {
    let root = repository();
    let mut files = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("the repository can be read").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().expect("the repository can be read");
            if name == "target" || name == ".git" {
                continue;
            }
            if kind.is_dir() {
                dirs.push(path);
            } else if let Ok(text) = if kind.is_file() { fs::read_to_string(&path) } else { continue } {
                let name =
                    path.strip_prefix(&root).expect("it was found below").to_string_lossy().into_owned();
                files.push(Source { name, text });
            }
        }
    }
    files
}

fn sources() -> Vec<Source> {
    let is_rust = |name: &str| Path::new(name).extension().is_some_and(|extension| extension == "rs");
    let code = ["lifecycle/", "extensions/", "acceptance/"];
    files()
        .into_iter()
        .filter(|file| is_rust(&file.name) && code.iter().any(|dir| file.name.starts_with(dir)))
        .collect()
}

/// Fails with everything that was found, so that one run shows all.
#[track_caller]
fn expect_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn every_file_says_what_it_is() {
    let found: Vec<String> =
        sources().into_iter().filter(|file| !file.text.starts_with("//! ")).map(|file| file.name).collect();
    expect_none("files that do not open with `//! `", &found);
}

#[test]
fn no_file_is_long() {
    let lines = |file: &Source| file.text.lines().count();
    let found: Vec<String> = sources()
        .iter()
        .filter(|file| lines(file) > 500)
        .map(|file| format!("{} ({} lines)", file.name, lines(file)))
        .collect();
    expect_none("files of more than 500 lines", &found);
}

#[test]
fn versions_are_named_in_one_place() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.name != "lifecycle/src/api.rs") {
        for (number, line) in file.code() {
            if line.contains("PlatformApi::V") || line.contains("BuildpackApi::V") {
                found.push(format!("{}:{number}: {}", file.name, line.trim()));
            }
        }
    }
    expect_none("versions compared outside `api.rs`; ask it a question named after the behaviour", &found);
}

/// How high a module stands: each may use those that stand as high or lower.
fn height(module: &str) -> Option<usize> {
    const HEIGHTS: [(&str, usize); 23] = [
        ("bin/", 5),
        ("cli", 4),
        ("phase", 3),
        ("launch", 2),
        ("cache", 2),
        ("layers", 2),
        ("image/store", 2),
        ("component/catalog", 1),
        ("component/descriptor", 1),
        ("component", 2),
        ("resolve", 1),
        ("image", 1),
        ("generated", 1),
        ("files", 0),
        ("env", 0),
        ("exec_env", 0),
        ("target", 0),
        ("reference", 0),
        ("digest", 0),
        ("api", 0),
        ("log", 0),
        ("json", 0),
        ("time", 0),
    ];
    let begins = |prefix: &str| {
        let rest = module.strip_prefix(prefix);
        rest.is_some_and(|rest| {
            prefix.ends_with('/') || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    };
    HEIGHTS.iter().find(|(prefix, _)| begins(prefix)).map(|(_, height)| *height)
}

/// The modules of this crate that a line of code names, as paths below `src`.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "lifecycle::"] {
        for (at, _) in line.match_indices(root) {
            let whole =
                at == 0 || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let path: String = line[at + root.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                .collect();
            if whole && path.starts_with(|c: char| c.is_lowercase()) {
                found.push(path.replace("::", "/"));
            }
        }
    }
    found
}

#[test]
fn nothing_imports_upwards() {
    let mut found = Vec::new();
    for file in &sources() {
        let Some(module) = file.module().filter(|module| *module != "lib.rs") else { continue };
        let Some(own) = height(module) else {
            found.push(format!("{}: stands nowhere; give it a place in this test", file.name));
            continue;
        };
        for (number, line) in file.code() {
            for import in imports(line) {
                if height(&import).is_none_or(|other| other > own) {
                    found.push(format!("{}:{number}: uses {import}", file.name));
                }
            }
        }
    }
    expect_none("imports of something that stands higher", &found);
}

#[test]
fn extensions_know_nothing_of_the_lifecycle() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.name.starts_with("extensions/src/")) {
        for (number, line) in file.code().filter(|(_, line)| line.contains("lifecycle::")) {
            found.push(format!("{}:{number}: {}", file.name, line.trim()));
        }
    }
    expect_none("uses of the lifecycle", &found);
}

#[test]
fn only_cli_meets_the_outside() {
    // What a phase is told comes as values; what it says goes to its log.
    let outside = [
        "std::env::",
        " env::var",
        "println!",
        "print!(",
        "dbg!",
        "process::exit",
        "set_current_dir",
        "chdir(",
        "io::stdout",
        "io::stderr",
        "io::stdin",
    ];
    let mut found = Vec::new();
    for file in &sources() {
        let Some(module) = file.module() else { continue };
        // The launcher runs in app images, where the environment is its only input.
        if module.starts_with("cli/") || module == "bin/launcher.rs" {
            continue;
        }
        for (number, line) in file.code() {
            let harmless = line.replace("std::env::consts", "");
            if outside.iter().any(|text| harmless.contains(text)) {
                found.push(format!("{}:{number}: {}", file.name, line.trim()));
            }
        }
    }
    expect_none("environment, output, exit or working directory outside `cli`", &found);
}

#[test]
fn binaries_are_short() {
    let mut found = Vec::new();
    for file in &sources() {
        let lines = file.text.lines().count();
        if file.module().is_some_and(|module| module.starts_with("bin/")) && lines >= 90 {
            found.push(format!("{} ({lines} lines)", file.name));
        }
    }
    expect_none("binaries of 90 lines or more: their work belongs to a phase, their inputs to `cli`", &found);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let mut found = Vec::new();
    for file in &files() {
        for (index, line) in file.text.lines().enumerate() {
            if line.contains(checkout) {
                found.push(format!("{}:{}: {}", file.name, index + 1, line.trim()));
            }
        }
    }
    expect_none("paths of one machine", &found);
}

#[test]
fn imports_are_found_in_code() {
    assert_eq!(imports("use crate::cli::exit::{Exit};"), ["cli/exit/"]);
    assert_eq!(imports("    let x = crate::phase::run(crate::api::parse);"), ["phase/run", "api/parse"]);
    assert_eq!(imports("use lifecycle::files;"), ["files"]);
    assert_eq!(imports("use mycrate::cli;"), Vec::<String>::new());
    assert!(height("image/store/mod.rs") > height("image/mod.rs"));
    assert_eq!(height("clients/x.rs"), None);
}
