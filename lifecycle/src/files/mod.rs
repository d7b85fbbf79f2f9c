//! The files of the specification: one module per file, each a value with a parser and a writer.
//!
//! [`read`] and [`write()`] are the only ways in and out: reading has a size limit and errors that
//! name path and line, writing is complete or does not happen.
//!
//! Spec: platform.md "Files", buildpack.md "Data Format".

pub mod analyzed;
pub mod bom;
pub mod build_plan;
pub mod build_toml;
pub mod buildpack;
pub mod component_id;
#[cfg(test)]
pub(crate) mod damage;
pub mod data;
pub mod extend_config;
pub mod extension;
pub mod footprints;
pub mod group;
pub mod labels;
pub mod launch;
pub mod layer;
pub mod metadata;
pub mod order;
pub mod plan;
pub mod project;
pub mod report;
pub mod run;
mod save;
pub mod stack;
pub mod store;
pub mod system;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_setfl};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

pub use save::{Reserved, make_dirs, reserve, write};

/// The most bytes read from one file: far above any real one, and a bound on memory.
pub const MAX_BYTES: u64 = 64 << 20;

/// A file of the specification that phases read.
pub trait SpecFile: Sized {
    /// What messages call it: `group` for `group.toml`.
    const NAME: &'static str;

    /// Reads the file's text. Fails on broken TOML and on values that break the file's rules.
    fn parse(text: &str) -> Result<Self, SyntaxError>;
}

/// Broken TOML, or TOML that is not what the file must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Line and column, from 1, where known.
    pub place: Option<(usize, usize)>,
    /// What is wrong, for example `expected '.' or '=', but got 'a' instead`.
    pub message: String,
}

impl SyntaxError {
    /// A rule broken by a value; no place is known.
    pub fn rule(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into() }
    }
}

impl std::fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place {
            Some((line, _)) => write!(f, "toml: line {line}: {}", self.message),
            None => write!(f, "toml: {}", self.message),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Reading or writing a file of the specification failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {file} file: {cause}")]
pub struct FileError {
    /// `read` or `write`.
    pub action: &'static str,
    /// Which file: `group`, `analyzed`.
    pub file: &'static str,
    /// What happened, and where.
    pub cause: Cause,
}

/// What happened to a file.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The system refused an operation, in the words platforms know: `open /x: no such file or directory`.
    #[error("{operation} {path}: {}", reason(error))]
    System {
        /// The operation: `open`, `read`, `write`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// More than [`MAX_BYTES`].
    #[error("{0} is larger than {MAX_BYTES} bytes")]
    TooLarge(PathBuf),
    /// Not UTF-8.
    #[error("{0} is not UTF-8 text")]
    NotText(PathBuf),
    /// Broken TOML, or values that break the file's rules.
    #[error("{error} ({}{path})", column(error))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: SyntaxError,
    },
}

impl Cause {
    fn system(operation: &'static str, path: &Path, error: io::Error) -> Self {
        Self::System { operation, path: path.to_owned(), error }
    }

    /// Whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::System { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The C library's text for an error, lower-case and without Rust's `(os error 2)`, as Go shows it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn column(error: &SyntaxError) -> String {
    error.place.map_or_else(String::new, |(_, column)| format!("column {column} of "))
}

/// Reads the file at `path`.
pub fn read<T: SpecFile>(path: &Path) -> Result<T, FileError> {
    read_text(path)
        .and_then(|text| T::parse(&text).map_err(|error| Cause::Syntax { path: path.to_owned(), error }))
        .map_err(|cause| FileError { action: "read", file: T::NAME, cause })
}

/// Reads the file at `path`; `None` when there is none.
pub fn read_if_present<T: SpecFile>(path: &Path) -> Result<Option<T>, FileError> {
    match read(path) {
        Err(error) if error.cause.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

/// The text of the file at `path`. Fails above [`MAX_BYTES`] and on anything that is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Cause> {
    let file = open(path).map_err(|error| Cause::system("open", path, error))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Cause::system("read", path, error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Cause::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| Cause::NotText(path.to_owned()))
}

/// Opens what a component may have left at `path` without waiting for anybody: a pipe with a name is
/// refused. Those without one are a platform's, by `/dev/stdin` or `/dev/fd/3`, and read to their end.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = flags.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        if !path.starts_with("/dev") {
            return Err(io::Error::other("it is a pipe, not a file"));
        }
        fcntl_setfl(&file, OFlags::empty())?;
    }
    Ok(file)
}

/// What Go writes for an empty list or map that was never made: null counts as empty.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads TOML into `T`. Unknown keys are `T`'s matter.
pub fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    toml::from_str(text).map_err(|error| explain(text, &error))
}

/// The parser's error with its place counted, in the words of Go's parser where tests quote them.
fn explain(text: &str, error: &toml::de::Error) -> SyntaxError {
    let Some(span) = error.span() else { return SyntaxError::rule(error.message()) };
    let at = text.floor_char_boundary(span.start.min(text.len()));
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    let message = match text[at..].chars().find(|next| !matches!(next, ' ' | '\t')) {
        Some(found) if error.message().starts_with("key with no value") => {
            format!("expected '.' or '=', but got {found:?} instead")
        }
        _ => error.message().lines().next().unwrap_or_default().to_owned(),
    };
    SyntaxError { place: Some((line, column)), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Sample;

    impl SpecFile for Sample {
        const NAME: &'static str = "sample";

        fn parse(text: &str) -> Result<Self, SyntaxError> {
            parse_toml::<toml::Table>(text).map(|_| Self)
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Sample::parse(text).expect_err("an error").to_string(), expected);
    }

    #[test]
    fn syntax_errors_have_the_shape_that_platforms_quote() {
        check("what a broken file", "toml: line 1: expected '.' or '=', but got 'a' instead");
        check("a = 1\nb = [1", "toml: line 2: unclosed array, expected `]`");
        check("a = 1\na = 2", "toml: line 2: duplicate key");
    }

    #[test]
    fn errors_name_what_was_read_and_where() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("group.toml");
        assert_eq!(
            read::<Sample>(&path).expect_err("no file").to_string(),
            format!("failed to read sample file: open {}: no such file or directory", path.display())
        );
        assert!(read_if_present::<Sample>(&path).expect("absence is accepted").is_none());
        std::fs::write(&path, "ok = 1\nbroken line").expect("written");
        assert_eq!(
            read::<Sample>(&path).expect_err("broken").to_string(),
            format!(
                "failed to read sample file: toml: line 2: expected '.' or '=', but got 'l' instead (column 8 of {})",
                path.display()
            )
        );
        std::fs::write(&path, [0xff, 0xfe]).expect("written");
        assert!(matches!(read::<Sample>(&path).expect_err("binary").cause, Cause::NotText(_)));
    }

    #[test]
    fn a_directory_is_not_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = read::<Sample>(dir.path()).expect_err("a directory").to_string();
        assert!(error.ends_with("is a directory"), "{error}");
    }

    #[test]
    fn endless_files_are_refused() {
        let error = read::<Sample>(Path::new("/dev/zero")).expect_err("endless");
        assert!(matches!(error.cause, Cause::TooLarge(_)));
    }

    #[test]
    fn pipes_are_read_where_a_platform_hands_them_over_and_nowhere_else() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("plan.toml");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe with a name");
        let error = read::<Sample>(&path).expect_err("nobody writes to it").to_string();
        assert!(error.ends_with("plan.toml: it is a pipe, not a file"), "{error}");
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"a = 1").expect("written");
        drop(writer);
        read::<Sample>(Path::new(&format!("/dev/fd/{}", reader.as_raw_fd()))).expect("read to its end");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            if let Err(error) = Sample::parse(&text) {
                assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
