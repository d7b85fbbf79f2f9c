//! Why nothing could be packaged.

use std::io;
use std::path::{Path, PathBuf};

/// Why nothing could be packaged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is not understood.
    #[error("{0}\nUsage: package [--from <directory with unstripped programs>] [--out <directory>]")]
    Usage(String),
    /// A file or directory cannot be read or written.
    #[error("{} `{}`: {source}", doing, path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A tool cannot be started.
    #[error("start `{tool}`: {source}")]
    Start {
        /// The tool.
        tool: String,
        /// Why.
        source: io::Error,
    },
    /// A tool failed.
    #[error("`{tool}` failed: {text}")]
    Failed {
        /// The tool.
        tool: String,
        /// What it said.
        text: String,
    },
    /// What a tool said is not as expected.
    #[error("read the output of `{tool}`: {text}")]
    Output {
        /// The tool.
        tool: &'static str,
        /// What is wrong.
        text: String,
    },
    /// A program carries no line tables, so that nobody can say what it is made of.
    #[error("`{0}` has no debug information; build it as `cargo package-lifecycle` does")]
    NoEvidence(String),
}

impl Error {
    /// What makes an error of `source`, met while `doing` something with `path`.
    pub fn io<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + 'a {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}
