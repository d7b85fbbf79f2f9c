//! `launch.toml`: what a buildpack contributes to the app image beside its layers.
//!
//! Read in two steps: [`LaunchFile`] is the text, [`LaunchFile::resolve`] what it means to a
//! buildpack of a certain API.
//!
//! Spec: buildpack.md "launch.toml"; readings: spec-notes/decisions.md, "Processes".

use serde::Deserialize;
use toml::Value;

use super::bom::LegacyBom;
use super::metadata::{Label, Slice};
use super::{SpecFile, SyntaxError, parse_toml};
use crate::api::BuildpackApi;

/// The file as written.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct LaunchFile {
    /// The legacy bill of materials of the image.
    pub bom: LegacyBom,
    /// Labels of the image.
    pub labels: Vec<Label>,
    /// Parts of the application directory.
    pub slices: Vec<Slice>,
    processes: Vec<WrittenProcess>,
}

/// A process as written: what `command` must be depends on the API.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct WrittenProcess {
    #[serde(rename = "type")]
    process_type: String,
    command: Option<Value>,
    args: Option<Vec<String>>,
    direct: Option<bool>,
    default: bool,
    working_dir: String,
    exec_env: Vec<String>,
}

/// A process that a buildpack contributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchProcess {
    /// Its type: letters, digits, `.`, `_`, `-`.
    pub process_type: String,
    /// The executable, and arguments that it always gets.
    pub command: Vec<String>,
    /// Further arguments; `None` where the file names none.
    pub args: Option<Vec<String>>,
    /// Whether it is executed without a shell.
    pub direct: bool,
    /// Whether it is the one that the image starts.
    pub default: bool,
    /// Where it runs; `None` is the application directory.
    pub working_dir: Option<String>,
    /// The execution environments that it is for; empty is all.
    pub exec_env: Vec<String>,
}

/// Why processes are not what they must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// The type is missing or holds other characters.
    #[error("`{0}` is not a process type: letters, digits, `.`, `_` and `-`")]
    Type(String),
    /// There is no command.
    #[error("process type `{0}` has no command")]
    NoCommand(String),
    /// The command is a text where a list is expected, or the other way round.
    #[error("the command of process type `{process_type}` must be {expected} in Buildpack API {api}")]
    CommandForm {
        /// The process type.
        process_type: String,
        /// `a text` or `a list of texts`.
        expected: &'static str,
        /// The buildpack's API.
        api: BuildpackApi,
    },
    /// `direct` is gone: every process is.
    #[error("process.direct is not supported on this buildpack version (process type `{0}`)")]
    Direct(String),
    /// More than one process is the default.
    #[error("multiple default process types aren't allowed: `{0}` and `{1}`")]
    Defaults(String, String),
}

impl LaunchFile {
    /// The processes, in the order of the file, as a buildpack of `api` means them.
    pub fn resolve(&self, api: BuildpackApi) -> Result<Vec<LaunchProcess>, ProcessError> {
        let processes: Vec<LaunchProcess> =
            self.processes.iter().map(|process| process.resolve(api)).collect::<Result<_, _>>()?;
        let mut defaults = processes.iter().filter(|process| process.default);
        match (defaults.next(), defaults.next()) {
            (Some(first), Some(second)) => {
                Err(ProcessError::Defaults(first.process_type.clone(), second.process_type.clone()))
            }
            _ => Ok(processes),
        }
    }
}

impl WrittenProcess {
    fn resolve(&self, api: BuildpackApi) -> Result<LaunchProcess, ProcessError> {
        let process_type = self.process_type.clone();
        if !is_process_type(&process_type) {
            return Err(ProcessError::Type(process_type));
        }
        if api.has_command_array() && self.direct.is_some() {
            return Err(ProcessError::Direct(process_type));
        }
        Ok(LaunchProcess {
            command: self.command(api)?,
            process_type,
            args: self.args.clone(),
            direct: api.has_command_array() || self.direct.unwrap_or(false),
            default: self.default,
            working_dir: Some(self.working_dir.clone()).filter(|dir| !dir.is_empty()),
            exec_env: self.exec_env.clone(),
        })
    }

    fn command(&self, api: BuildpackApi) -> Result<Vec<String>, ProcessError> {
        let process_type = || self.process_type.clone();
        let wrong = |expected| ProcessError::CommandForm { process_type: process_type(), expected, api };
        let words = match (&self.command, api.has_command_array()) {
            (None, _) => return Err(ProcessError::NoCommand(process_type())),
            (Some(Value::String(word)), false) => return Ok(vec![word.clone()]),
            (Some(_), false) => return Err(wrong("a text")),
            (Some(Value::Array(words)), true) => words,
            (Some(_), true) => return Err(wrong("a list of texts")),
        };
        let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
        match words {
            None => Err(wrong("a list of texts")),
            Some(words) if words.is_empty() => Err(ProcessError::NoCommand(process_type())),
            Some(words) => Ok(words),
        }
    }
}

/// A type becomes the name of a link, of directories and of a command.
fn is_process_type(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !matches!(text, "" | "." | "..") && text.chars().all(letter)
}

impl SpecFile for LaunchFile {
    const NAME: &'static str = "launch";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::BuildpackApi as Api;
    use proptest::prelude::*;

    fn parse(text: &str, api: Api) -> Result<Vec<LaunchProcess>, String> {
        let file = LaunchFile::parse(text).map_err(|error| error.to_string())?;
        file.resolve(api).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(text: &str, apis: &[Api], expected: Result<&str, &str>) {
        for api in apis {
            let found = parse(&format!("[[processes]]\ntype = 'web'\n{text}"), *api).map(|processes| {
                let process = &processes[0];
                let direct = if process.direct { " direct" } else { "" };
                let dir = process.working_dir.as_ref().map_or_else(String::new, |dir| format!(" in {dir}"));
                format!("{:?} {:?}{direct}{dir} {:?}", process.command, process.args, process.exec_env)
            });
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "API {api}");
        }
    }

    const OLD: [Api; 2] = [Api::V0_7, Api::V0_8];
    const NEW: [Api; 4] = [Api::V0_9, Api::V0_10, Api::V0_11, Api::V0_12];

    #[test]
    fn command_is_a_text_up_to_0_8_and_a_list_from_0_9_on() {
        check("command = 'run it'", &OLD, Ok("[\"run it\"] None []"));
        check("command = ['run', 'it']", &NEW, Ok("[\"run\", \"it\"] None direct []"));
        check("command = ['run']\nargs = ['a']", &NEW, Ok("[\"run\"] Some([\"a\"]) direct []"));
        check("command = ['run']\nargs = []", &NEW, Ok("[\"run\"] Some([]) direct []"));
        let form = "the command of process type `web` must be";
        check("command = 'x'", &NEW[..1], Err(&format!("{form} a list of texts in Buildpack API 0.9")));
        check("command = ['x', 1]", &NEW[3..], Err(&format!("{form} a list of texts in Buildpack API 0.12")));
        check("command = ['x']", &OLD[1..], Err(&format!("{form} a text in Buildpack API 0.8")));
        check("command = []", &NEW, Err("process type `web` has no command"));
        check("args = ['a']", Api::ALL, Err("process type `web` has no command"));
    }

    #[test]
    fn direct_is_chosen_up_to_0_8_and_gone_from_0_9_on() {
        check("command = 'x'\ndirect = true", &OLD, Ok("[\"x\"] None direct []"));
        check("command = 'x'\ndirect = false", &OLD, Ok("[\"x\"] None []"));
        let gone = "process.direct is not supported on this buildpack version (process type `web`)";
        check("command = ['x']\ndirect = false", &NEW, Err(gone));
    }

    #[test]
    fn working_dir_and_exec_env_are_carried() {
        check("command = ['x']\nworking-dir = '/w'", &NEW, Ok("[\"x\"] None direct in /w []"));
        check("command = ['x']\nworking-dir = ''", &NEW, Ok("[\"x\"] None direct []"));
        check("command = ['x']\nexec-env = ['test']", &NEW, Ok("[\"x\"] None direct [\"test\"]"));
    }

    #[test]
    fn process_types_are_names() {
        for good in ["web", "a.b_c-D9", "..."] {
            assert!(parse(&format!("[[processes]]\ntype = '{good}'\ncommand = ['x']"), Api::V0_9).is_ok());
        }
        for bad in ["", ".", "..", "a b", "a/b", "ü", "a:b", "a\\b"] {
            let found = parse(&format!("[[processes]]\ntype = '{bad}'\ncommand = ['x']"), Api::V0_9);
            assert_eq!(found, Err(ProcessError::Type(bad.to_owned()).to_string()));
        }
        assert_eq!(parse("[[processes]]", Api::V0_9), Err(ProcessError::Type(String::new()).to_string()));
    }

    #[test]
    fn two_defaults_are_refused() {
        let process = |name| format!("[[processes]]\ntype = '{name}'\ncommand = ['x']\ndefault = true\n");
        let found = parse(&(process("a") + &process("b")), Api::V0_10);
        assert_eq!(found, Err("multiple default process types aren't allowed: `a` and `b`".to_owned()));
    }

    #[test]
    fn labels_slices_and_bom_stand_beside_processes() {
        let text = "unknown = 1\n[[labels]]\nkey = 'k'\nvalue = 'v'\n[[slices]]\npaths = ['a', 'b/*']\n\
                    [[bom]]\nname = 'dep'\n[bom.metadata]\nx = 1\n";
        let file = LaunchFile::parse(text).expect("valid");
        assert_eq!(file.labels, [Label { key: "k".into(), value: "v".into() }]);
        assert_eq!(file.slices, [Slice { paths: vec!["a".into(), "b/*".into()] }]);
        assert_eq!(file.bom.entries().len(), 1);
        assert_eq!(LaunchFile::parse(""), Ok(LaunchFile::default()));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            text in "(\\[\\[?(processes|labels|slices|bom|bom.metadata)\\]?\\]\n|(type|command|args|direct|paths|name) = [\\[\\]'a-z0-9.]{1,9}\n){0,6}",
            api in prop::sample::select(Api::ALL),
        ) {
            let _ = parse(&text, api);
        }
    }
}
