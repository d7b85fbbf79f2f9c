//! Extending, in a root directory of its own.
