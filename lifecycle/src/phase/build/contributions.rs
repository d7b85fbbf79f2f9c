//! What the buildpacks of a build contribute to the app image, put together. Pure.
//!
//! Spec: buildpack.md "launch.toml".

use std::collections::BTreeMap;

use crate::files::metadata::{BomEntry, BuildMetadata, Label, Process, Slice};
use crate::log::Log;

/// What one buildpack contributes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Contribution {
    /// Its processes, in its order.
    pub processes: Vec<(Process, Role)>,
    /// Its labels.
    pub labels: Vec<Label>,
    /// Its slices.
    pub slices: Vec<Slice>,
    /// Its deprecated bill of materials of the image.
    pub launch_bom: Vec<BomEntry>,
    /// Its deprecated bill of materials of the build.
    pub build_bom: Vec<BomEntry>,
}

/// What a process is to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that it starts when nothing else is asked for.
    Default,
    /// One of those that can be asked for.
    Other,
}

/// What all buildpacks so far contribute.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Contributions {
    processes: BTreeMap<String, Process>,
    default: Option<String>,
    labels: Vec<Label>,
    slices: Vec<Slice>,
    /// The deprecated bill of materials of the image.
    pub launch_bom: Vec<BomEntry>,
    /// The deprecated bill of materials of the build.
    pub build_bom: Vec<BomEntry>,
}

impl Contributions {
    /// Adds those of the next buildpack: of processes of one type the last one counts, and of
    /// default processes too. One that redefines the default process without being a default itself
    /// leaves the image without a default.
    pub(super) fn add(&mut self, next: Contribution, log: &Log) {
        let mut lost = None;
        for (process, role) in next.processes {
            let process_type = process.process_type.clone();
            if role == Role::Default {
                self.default = Some(process_type.clone());
                lost = None;
            } else if self.default.as_ref() == Some(&process_type) {
                self.default = None;
                lost = Some(process_type.clone());
            }
            self.processes.insert(process_type, process);
        }
        if let Some(process_type) = lost {
            log.warn(format!(
                "redefining the following default process type with a process not marked as default: {process_type}"
            ));
        }
        self.labels.extend(next.labels);
        self.slices.extend(next.slices);
        self.launch_bom.extend(next.launch_bom);
        self.build_bom.extend(next.build_bom);
    }

    /// The metadata of the build, without its buildpacks and extensions.
    pub(super) fn into_metadata(self) -> BuildMetadata {
        BuildMetadata {
            bom: self.launch_bom,
            labels: self.labels,
            processes: self.processes.into_values().collect(),
            slices: self.slices,
            buildpack_default_process_type: self.default,
            ..BuildMetadata::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;

    /// Buildpacks as words `type=command`, the default one with a `*`.
    fn contribution(words: &str) -> Contribution {
        let mut contribution = Contribution::default();
        for word in words.split_whitespace() {
            let (process_type, command) = word.split_once('=').expect("type=command");
            let plain = process_type.trim_start_matches('*').to_owned();
            let role = if plain == process_type { Role::Other } else { Role::Default };
            let command = vec![command.to_owned()];
            contribution
                .processes
                .push((Process { process_type: plain, command, ..Process::default() }, role));
        }
        contribution
    }

    #[track_caller]
    fn check(buildpacks: &[&str], expected: &str, warning: &str) {
        let (log, buffer) = Log::buffer(Level::Info);
        let mut contributions = Contributions::default();
        for words in buildpacks {
            contributions.add(contribution(words), &log);
        }
        let metadata = contributions.into_metadata();
        let default = metadata.buildpack_default_process_type.unwrap_or_default();
        let mark = |process: &Process| if process.process_type == default { "*" } else { "" };
        let word =
            |process: &Process| format!("{}{}={}", mark(process), process.process_type, process.command[0]);
        assert_eq!(metadata.processes.iter().map(word).collect::<Vec<_>>().join(" "), expected);
        assert!(
            buffer.text().ends_with(warning) && buffer.text().is_empty() == warning.is_empty(),
            "{}",
            buffer.text()
        );
    }

    #[test]
    fn last_definition_of_a_type_counts_and_types_are_sorted() {
        check(&["b=1 a=2", "b=3"], "a=2 b=3", "");
        check(&["a=1 a=2"], "a=2", "");
        check(&[], "", "");
    }

    #[test]
    fn last_default_counts() {
        check(&["*a=1", "*b=2"], "a=1 *b=2", "");
        check(&["*a=1 b=2", "c=3"], "*a=1 b=2 c=3", "");
        check(&["*a=1", "*a=2"], "*a=2", "");
    }

    #[test]
    fn redefining_the_default_without_being_one_leaves_none() {
        check(&["*a=1", "a=2"], "a=2", "process not marked as default: a\n");
        check(&["*a=1", "a=2 *b=3"], "a=2 *b=3", "");
        check(&["*a=1", "*b=2", "a=3"], "a=3 *b=2", "");
        check(&["*a=1 a=2"], "a=2", "process not marked as default: a\n");
        check(&["a=1 *a=2"], "*a=2", "");
    }

    #[test]
    fn labels_slices_and_boms_stay_in_order() {
        let label = |value: &str| Label { key: "k".to_owned(), value: value.to_owned() };
        let slice = |path: &str| Slice { paths: vec![path.to_owned()] };
        let next = |text: &str| Contribution {
            labels: vec![label(text)],
            slices: vec![slice(text)],
            ..Contribution::default()
        };
        let (log, _) = Log::buffer(Level::Info);
        let mut contributions = Contributions::default();
        contributions.add(next("1"), &log);
        contributions.add(next("2"), &log);
        let metadata = contributions.into_metadata();
        assert_eq!(
            (metadata.labels, metadata.slices),
            (vec![label("1"), label("2")], vec![slice("1"), slice("2")])
        );
    }
}
