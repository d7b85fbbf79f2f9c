//! The text of `-help`, made from the table of inputs.

use std::fmt::Write;

use super::flags::Kind;
use super::inputs::{Default, Images, Input, Phase, TABLE};
use crate::api::PlatformApi;

/// What `phase` does, each flag and variable it knows when it speaks `api`, and where to read on.
pub fn help(phase: Phase, api: PlatformApi) -> String {
    let mut text = format!("{}\n\n{}\n", phase.purpose(), usage(phase));
    write!(text, "\nFlags of Platform API {api} (the newest of them; CNB_PLATFORM_API selects):\n")
        .expect("a String takes any text");
    let (flags, variables): (Vec<&Input>, Vec<&Input>) = TABLE
        .iter()
        .filter(|input| input.has_flag(phase, api) || input.has_variable(phase))
        .partition(|input| input.has_flag(phase, api));
    for input in flags {
        describe(&mut text, &format!("-{}", input.flag), input, phase);
    }
    if !variables.is_empty() {
        text.push_str("\nEnvironment variables without a flag:\n");
        for input in variables {
            describe(&mut text, input.variable, input, phase);
        }
    }
    text.push_str(
        "\nA flag goes before its environment variable, and that before the default; an empty text is as good\n\
         as none. `-flag value`, `-flag=value` and `--flag value` are the same.\n\
         The specification is at https://github.com/buildpacks/spec/blob/main/platform.md\n",
    );
    text
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
}
