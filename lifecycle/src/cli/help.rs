//! The text of `-help`, made from the table of inputs.

use std::fmt::Write;

use super::exit::Exit;
use super::flags::Kind;
use super::inputs::{Default, Images, Input, Phase, TABLE};
use crate::api::PlatformApi;

/// What `phase` does, each flag and variable it knows when it speaks `api`, how it ends, and where to read on.
pub fn help(phase: Phase, api: PlatformApi) -> String {
    let mut text = format!("{}\n\n{}\n", phase.purpose(), usage(phase));
    write!(text, "\nFlags of Platform API {api} (the newest of them; CNB_PLATFORM_API selects):\n")
        .expect("a String takes any text");
    let known = |input: &&&Input| input.has_flag(phase, api) || input.has_variable(phase);
    let (flags, others): (Vec<&Input>, Vec<&Input>) =
        TABLE.iter().filter(known).partition(|input| input.has_flag(phase, api));
    for input in flags {
        describe(&mut text, &format!("-{}", input.flag), input, phase);
    }
    if !others.is_empty() {
        text.push_str("\nEnvironment variables without a flag here:\n");
        for input in others {
            describe(&mut text, input.variable, input, phase);
        }
    }
    exits(&mut text, phase);
    text.push_str(
        "\nA flag goes before its environment variable, and that before the default; an empty text is as good\n\
         as none. `-flag value`, `-flag=value` and `--flag value` are the same; flags stand before images.\n\
         The specification is at https://github.com/buildpacks/spec/blob/main/platform.md\n",
    );
    text
}

/// How `phase` can end, with the names that JSON logs have for it.
fn exits(text: &mut String, phase: Phase) {
    text.push_str("\nExit codes, with the ids of JSON logs:\n    0  success\n");
    for exit in Exit::of_phase(phase) {
        writeln!(text, "  {:>3}  {} ({})", exit.code(), exit.meaning(), exit.id())
            .expect("a String takes any text");
    }
}

/// How to call `phase`, in one line.
pub fn usage(phase: Phase) -> String {
    let images = match phase.images() {
        Images::None => "",
        Images::One => " <image>",
        Images::Some => " <image> [<image>...]",
    };
    format!("Usage: {} [flags]{images}", phase.name())
}

fn describe(text: &mut String, name: &str, input: &Input, phase: Phase) {
    let value = match (input.kind, name.starts_with('-')) {
        (Kind::Switch, _) | (_, false) => String::new(),
        (Kind::List, true) => format!(" <{}> (repeatable)", input.flag),
        (_, true) => format!(" <{}>", input.flag),
    };
    let mut notes = Vec::new();
    if name.starts_with('-') && input.has_variable(phase) {
        notes.push(format!("variable: {}", input.variable));
    }
    match input.default {
        Default::None => {}
        Default::Text(default) => notes.push(format!("default: {default}")),
        Default::Layers(file) => notes.push(format!("default: <layers>/{file}")),
        Default::Order => {
            notes.push("default: <layers>/order.toml if there is one, else /cnb/order.toml".to_owned());
        }
    }
    if let Some((first, last)) = input.versions(phase) {
        let newest = PlatformApi::ALL.last().map(|api| api.as_str());
        let (when, version) = if newest == Some(last) { ("since", first) } else { ("until", last) };
        notes.push(format!("flag {when} Platform API {version}"));
    }
    let notes = if notes.is_empty() { String::new() } else { format!("\n        {}", notes.join("; ")) };
    writeln!(text, "  {name}{value}\n        {}{notes}", input.help).expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_the_flags_of_the_version_in_force() {
        let old = help(Phase::Analyzer, PlatformApi::V0_7);
        let new = help(Phase::Analyzer, PlatformApi::V0_15);
        assert!(old.contains("  -stack <stack>\n") && !old.contains("-skip-layers"), "{old}");
        assert!(
            !new.contains("  -stack ")
                && new.contains("  -insecure-registry <insecure-registry> (repeatable)\n"),
            "{new}"
        );
    }

    #[test]
    fn help_names_variables_and_defaults() {
        let text = help(Phase::Detector, PlatformApi::V0_15);
        let group = "  -group <group>\n        File with the detected buildpacks.\n        \
                     variable: CNB_GROUP_PATH; default: <layers>/group.toml\n";
        assert!(text.contains(group), "{text}");
        assert!(text.contains("  CNB_EXEC_ENV\n"), "{text}");
    }

    #[test]
    fn help_says_since_when_a_flag_exists_and_how_a_phase_ends() {
        let text = help(Phase::Analyzer, PlatformApi::V0_15);
        let run = "  -run <run>\n        File with the run images to choose from and their mirrors.\n        \
                   variable: CNB_RUN_PATH; default: /cnb/run.toml; flag since Platform API 0.12\n";
        assert!(text.contains(run), "{text}");
        assert!(text.contains("variable: CNB_STACK_PATH") || text.contains("  CNB_STACK_PATH\n"), "{text}");
        assert!(text.contains("\n   32  analysis failed (analyze-failed)\n"), "{text}");
    }

    #[test]
    fn help_fits_a_terminal() {
        for phase in [Phase::Analyzer, Phase::Creator, Phase::Exporter, Phase::Extender, Phase::Rebaser] {
            let text = help(phase, PlatformApi::V0_15);
            let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 132).collect();
            assert!(long.is_empty(), "{long:?}");
        }
    }
}
