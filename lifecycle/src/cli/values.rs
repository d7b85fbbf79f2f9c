//! The values of a phase's inputs: flag over variable over default.
//!
//! An empty text is never a value: platforms pass `-tag=` and mean no tag. Paths come out absolute
//! and without `.`, `..` and doubled slashes, because they end up in layers and image configs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::flags::{self, Parsed};
use super::inputs::{self, Default, Images, Input, Phase};
use crate::api::PlatformApi;

/// Inputs that are there but cannot be used together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Fewer or more images than the phase takes.
    #[error("failed to parse arguments: {0}")]
    Count(String),
    /// A text that is not of the kind its input takes.
    #[error("`{value}` of {name} is not {wanted}")]
    Value {
        /// The flag or variable.
        name: String,
        /// What it was given.
        value: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// An input that is needed here was not given.
    #[error("{0} is required{1}")]
    Missing(String, &'static str),
    /// An input that has no place here was given.
    #[error("{0} is not supported{1}")]
    Unsupported(String, &'static str),
}

/// The variables of this process's environment, read once.
pub type Variables = BTreeMap<OsString, OsString>;

/// What one phase was told: the only way to its flags, variables and defaults.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The phase.
    pub phase: Phase,
    /// The Platform API it speaks.
    pub api: PlatformApi,
    /// The images after the flags, empty ones left out; as many as the phase takes.
    pub images: Vec<String>,
    /// The whole environment, of which buildpacks inherit a part.
    pub variables: Variables,
    flags: Vec<(&'static str, String)>,
    working_dir: PathBuf,
}

impl Inputs {
    /// Gathers what `phase` was told. `working_dir` is what relative paths start from.
    pub fn new(
        phase: Phase,
        api: PlatformApi,
        parsed: Parsed,
        variables: Variables,
        working_dir: PathBuf,
    ) -> Self {
        let images = parsed.positional.into_iter().filter(|image| !image.is_empty()).collect();
        Self { phase, api, images, variables, flags: parsed.flags, working_dir }
    }

    /// Fails unless as many images were given as the phase takes.
    pub fn check_images(&self) -> Result<(), InputError> {
        let found = self.images.len();
        // The reference implementation's words.
        Err(InputError::Count(match self.phase.images() {
            Images::None if found > 0 => "received unexpected arguments".to_owned(),
            Images::One if found != 1 => format!("received {found} arguments, but expected 1"),
            Images::Some if found == 0 => "at least one image argument is required".to_owned(),
            _ => return Ok(()),
        }))
    }

    /// The text of `input`, if it is given or has a default.
    pub fn text(&self, input: &Input) -> Option<String> {
        self.given(input).or_else(|| match input.default {
            Default::None => None,
            Default::Text(text) => Some(text.to_owned()),
            Default::Layers(name) => Some(self.below_layers(name)),
            Default::Order => {
                let order = self.below_layers("order.toml");
                Some(if Path::new(&order).exists() { order } else { "/cnb/order.toml".to_owned() })
            }
        })
    }

    /// The path of `input`, absolute and clean, if it is given or has a default.
    pub fn path(&self, input: &Input) -> Option<PathBuf> {
        self.text(input).map(|text| clean(&self.working_dir.join(text)))
    }

    /// The path of an input whose row has a default.
    pub fn path_of(&self, input: &Input) -> PathBuf {
        self.path(input).expect("the input's row has a default")
    }

    /// Whether `input` is switched on. A variable that is no truth value is off.
    pub fn switch(&self, input: &Input) -> bool {
        self.given(input).and_then(|text| flags::parse_switch(&text)).unwrap_or(false)
    }

    /// The number of `input`, if given.
    pub fn number(&self, input: &Input) -> Result<Option<u32>, InputError> {
        self.parsed(input, flags::parse_number, "an unsigned number")
    }

    /// The length of time of `input`, if given or defaulted.
    pub fn duration(&self, input: &Input) -> Result<Option<Duration>, InputError> {
        self.parsed(input, flags::parse_duration, "a duration, such as 336h")
    }

    /// Every text given for `input`, without empty and repeated ones. The variable, of which the
    /// texts are separated by commas, counts only where the flag is not given.
    pub fn list(&self, input: &Input) -> Vec<String> {
        let mut texts: Vec<String> = self.flagged(input).map(str::to_owned).collect();
        if texts.is_empty() {
            texts = self.variable(input).unwrap_or_default().split(',').map(str::to_owned).collect();
        }
        let mut list = Vec::new();
        for text in texts {
            if !text.is_empty() && !list.contains(&text) {
                list.push(text);
            }
        }
        list
    }

    /// The text of `input` from the command line alone.
    pub fn flag(&self, input: &Input) -> Option<String> {
        self.flagged(input).last().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A variable that is no input, such as `HOME`; empty counts as unset.
    pub fn other_variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    fn given(&self, input: &Input) -> Option<String> {
        self.flag(input).or_else(|| self.variable(input))
    }

    fn flagged<'a>(&'a self, input: &'a Input) -> impl Iterator<Item = &'a str> {
        let flags = self.flags.iter().filter(|(name, _)| *name == input.flag && !name.is_empty());
        flags.map(|(_, value)| value.as_str())
    }

    fn variable(&self, input: &Input) -> Option<String> {
        let value = input.has_variable(self.phase).then(|| self.other_variable(input.variable)).flatten();
        value.map(|value| value.to_string_lossy().into_owned())
    }

    fn parsed<T>(
        &self,
        input: &Input,
        parse: fn(&str) -> Option<T>,
        wanted: &'static str,
    ) -> Result<Option<T>, InputError> {
        self.text(input)
            .map(|value| parse(&value).ok_or_else(|| InputError::Value { name: input.name(), value, wanted }))
            .transpose()
    }

    fn below_layers(&self, name: &str) -> String {
        let layers = self.text(inputs::LAYERS).expect("the layers directory has a default");
        Path::new(&layers).join(name).to_string_lossy().into_owned()
    }
}

/// `path` without `.`, `..` and doubled slashes, by its text alone: links are not followed.
pub fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::super::inputs::*;
    use super::*;

    fn inputs(phase: Phase, args: &str, variables: &[(&str, &str)]) -> Inputs {
        let api = PlatformApi::V0_15;
        let args: Vec<String> = args.split(' ').filter(|arg| !arg.is_empty()).map(str::to_owned).collect();
        let parsed = flags::parse(&args, &flags(phase, api)).expect("the line is well-formed");
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Inputs::new(phase, api, parsed, variables, PathBuf::from("/here"))
    }

    #[track_caller]
    fn check_group(args: &str, variables: &[(&str, &str)], expected: &str) {
        assert_eq!(
            inputs(Phase::Detector, args, variables).path_of(GROUP),
            Path::new(expected),
            "{args} {variables:?}"
        );
    }

    #[test]
    fn a_flag_goes_before_a_variable_and_a_variable_before_the_default() {
        check_group("-group /a", &[("CNB_GROUP_PATH", "/b")], "/a");
        check_group("", &[("CNB_GROUP_PATH", "/b")], "/b");
        check_group("", &[], "/layers/group.toml");
    }

    #[test]
    fn defaults_below_layers_follow_the_final_layers_directory() {
        check_group("-layers /l", &[("CNB_LAYERS_DIR", "/m")], "/l/group.toml");
        check_group("", &[("CNB_LAYERS_DIR", "/m")], "/m/group.toml");
        check_group("-layers l", &[], "/here/l/group.toml");
    }

    #[test]
    fn empty_texts_are_unset() {
        check_group("-group=", &[("CNB_GROUP_PATH", "/b")], "/b");
        check_group(
            "-group= -layers=",
            &[("CNB_GROUP_PATH", ""), ("CNB_LAYERS_DIR", "")],
            "/layers/group.toml",
        );
        assert_eq!(inputs(Phase::Creator, "-tag= -tag a -tag a i", &[]).list(TAG), ["a"]);
    }

    #[test]
    fn paths_come_out_absolute_and_clean() {
        check_group("-group a/../b//c/./d/", &[], "/here/b/c/d");
        check_group("-group /../..", &[], "/");
    }

    #[test]
    fn order_is_that_of_the_layers_directory_where_there_is_one() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layers = dir.path().to_str().expect("the path is UTF-8");
        let order = |args: &str| inputs(Phase::Detector, args, &[("CNB_LAYERS_DIR", layers)]).path_of(ORDER);
        assert_eq!(order(""), Path::new("/cnb/order.toml"));
        std::fs::write(dir.path().join("order.toml"), "").expect("the directory is writable");
        assert_eq!(order(""), dir.path().join("order.toml"));
        assert_eq!(order("-order /o"), Path::new("/o"));
    }

    #[test]
    fn truth_is_that_of_go_and_anything_else_is_false() {
        for (value, expected) in [("1", true), ("T", true), ("yes", false), ("false", false), ("", false)] {
            assert_eq!(inputs(Phase::Exporter, "i", &[("CNB_USE_DAEMON", value)]).switch(DAEMON), expected);
        }
        assert!(!inputs(Phase::Exporter, "-daemon=false i", &[("CNB_USE_DAEMON", "true")]).switch(DAEMON));
    }

    #[test]
    fn a_number_that_is_none_is_an_error() {
        let uid = |value| inputs(Phase::Exporter, "i", &[("CNB_USER_ID", value)]).number(UID);
        assert_eq!(uid("1000"), Ok(Some(1000)));
        assert_eq!(uid(""), Ok(None));
        assert!(uid("cnb").is_err() && uid("-1").is_err() && uid("4294967295").is_err());
    }

    #[test]
    fn lists_are_flags_or_a_variable_with_commas() {
        let list = |args| {
            inputs(Phase::Exporter, args, &[("CNB_INSECURE_REGISTRIES", "a,,b")]).list(INSECURE_REGISTRY)
        };
        assert_eq!(list("i"), ["a", "b"]);
        assert_eq!(list("-insecure-registry c -insecure-registry d i"), ["c", "d"]);
    }

    #[test]
    fn a_phase_reads_only_the_variables_of_its_rows() {
        let run_image = [("CNB_STACK_PATH", "/s")];
        assert_eq!(inputs(Phase::Restorer, "", &run_image).path_of(STACK), Path::new("/cnb/stack.toml"));
        assert_eq!(inputs(Phase::Analyzer, "i", &run_image).path_of(STACK), Path::new("/s"));
    }

    #[test]
    fn images_are_counted() {
        let count = |phase, args| inputs(phase, args, &[]).check_images().map_err(|error| error.to_string());
        assert_eq!(count(Phase::Analyzer, "i"), Ok(()));
        assert_eq!(count(Phase::Exporter, "i j"), Ok(()));
        for (phase, args, text) in [
            (Phase::Analyzer, "", "received 0 arguments, but expected 1"),
            (Phase::Creator, "i j", "received 2 arguments, but expected 1"),
            (Phase::Rebaser, "", "at least one image argument is required"),
            (Phase::Builder, "i", "received unexpected arguments"),
        ] {
            assert_eq!(count(phase, args), Err(format!("failed to parse arguments: {text}")));
        }
    }
}
