//! Dockerfile text to typed instructions, after BuildKit's rules.
//!
//! Parsing decides nothing about what an extension may use, and expands no variable.

mod ast;
mod error;
mod flags;
mod heredoc;
mod instruction;
mod lines;
mod mount;
mod parse;
mod source;
mod values;
mod words;

pub use ast::{
    Add, CommandLine, Copy, Declaration, Directives, Dockerfile, From, Healthcheck, Heredoc, Instruction,
    Kind, Network, Pair, Recorded, Run, Security, Span, Stage, SyntaxWarning, Transfer,
};
pub use error::{ParseError, SyntaxError};
pub use heredoc::{heredoc_name, strip_tabs};
pub use mount::{Attributes, Mount, MountError, MountFlag, MountKind, Sharing};
pub use parse::parse;
pub use source::Location;
pub use values::{parse_bool, parse_duration_ns, parse_size_bytes};

#[cfg(test)]
mod tests;
