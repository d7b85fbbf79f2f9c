//! Dockerfile text to typed instructions, after BuildKit's rules.
//!
//! Parsing decides nothing about what an extension may use, and expands no variable.

mod ast;
mod mount;

pub use ast::{
    Add, CommandLine, Copy, Declaration, Directives, Dockerfile, From, Healthcheck, Heredoc, Instruction,
    Kind, Network, Pair, Recorded, Run, Security, Span, Stage, SyntaxWarning, Transfer,
};
pub use mount::{Attributes, Mount, MountFlag, MountKind, Sharing};
