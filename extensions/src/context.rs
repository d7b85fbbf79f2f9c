//! Build contexts: which files of a directory a source or a pattern names.

mod glob;
mod ignore;
mod pattern;

pub use glob::{Glob, has_wildcard};
pub use ignore::{Ignore, IgnorePattern};
pub use pattern::BadPattern;
