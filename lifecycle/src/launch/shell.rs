//! The bash command line of a process that is not direct.
//!
//! One bash sources the profile scripts and enters the working directory; then it is replaced by
//! another one, so that a script sees only what is exported. A command without arguments is a script
//! of its own. Of a command with arguments each word is evaluated as if it stood in double quotes,
//! and becomes one word of the result.
//!
//! Spec: platform.md "launcher", "Execution".

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::process::StartCommand;

/// Where bash must be.
pub const BASH: &str = "/bin/bash";

/// The arguments of bash, its own name first, that start `command` in `dir` after `profiles`.
///
/// `caller` is what the profile scripts see as `$0`.
pub fn arguments(command: &StartCommand, dir: &Path, profiles: &[PathBuf], caller: &OsStr) -> Vec<OsString> {
    let mut script = Vec::new();
    for profile in profiles {
        script.extend_from_slice(b"source ");
        script.extend(quote(profile.as_os_str()));
        script.push(b'\n');
    }
    script.extend_from_slice(b"cd ");
    script.extend(quote(dir.as_os_str()));
    script.extend_from_slice(b" || exit 82\nexec bash -c ");
    script.extend_from_slice(inner(command.args.len()).as_bytes());
    let mut arguments: Vec<OsString> =
        vec!["bash".into(), "-c".into(), OsString::from_vec(script), caller.to_owned()];
    arguments.push(command.program.clone());
    arguments.extend(command.args.iter().cloned());
    arguments
}

/// What follows `bash -c` in the first bash, whose `$1` is the program and `$2`… its arguments.
fn inner(args: usize) -> String {
    if args == 0 {
        return "\"$1\"".to_owned();
    }
    let words: Vec<String> = (0..=args).map(evaluated).collect();
    format!("'{}' \"$@\"", words.join(" "))
}

/// The positional parameter `index`, evaluated as if it stood in double quotes. It is not handed to
/// `echo`, which would take `-n` for a flag.
fn evaluated(index: usize) -> String {
    format!("\"$(eval \"set -- \\\"${{{index}}}\\\"\" && printf %s \"$*\")\"")
}

/// `text` as one word of a shell script, never evaluated.
fn quote(text: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in text.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::process::Strategy;
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn arguments_of(words: &[&str], dir: &str, profiles: &[&str]) -> Vec<String> {
        let command = StartCommand {
            process_type: None,
            program: words[0].into(),
            args: words[1..].iter().map(OsString::from).collect(),
            strategy: Strategy::Shell,
            working_dir: None,
        };
        let profiles: Vec<PathBuf> = profiles.iter().map(PathBuf::from).collect();
        let arguments = arguments(&command, Path::new(dir), &profiles, OsStr::new("caller"));
        arguments.into_iter().map(|text| text.into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn a_script_is_one_argument_of_the_second_bash() {
        let script = "source '/p/a.sh'\nsource '/it'\\''s'\ncd '/w' || exit 82\nexec bash -c \"$1\"";
        assert_eq!(
            arguments_of(&["echo $X"], "/w", &["/p/a.sh", "/it's"]),
            ["bash", "-c", script, "caller", "echo $X"]
        );
    }

    #[test]
    fn words_are_evaluated_by_the_second_bash() {
        let word = |index| format!("\"$(eval \"set -- \\\"${{{index}}}\\\"\" && printf %s \"$*\")\"");
        let script = format!("cd '/w' || exit 82\nexec bash -c '{} {}' \"$@\"", word(0), word(1));
        assert_eq!(arguments_of(&["echo", "$X"], "/w", &[]), ["bash", "-c", &script, "caller", "echo", "$X"]);
    }

    proptest! {
        /// All quotes of a quoted text belong to its escapes, and unquoted it is what it was.
        #[test]
        fn quoting_can_be_undone(text in any::<String>()) {
            let quoted = String::from_utf8(quote(OsStr::new(&text))).expect("UTF-8");
            let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).expect("quoted");
            prop_assert!(!inner.replace("'\\''", "").contains('\''));
            prop_assert_eq!(inner.replace("'\\''", "'"), text);
        }
    }
}
