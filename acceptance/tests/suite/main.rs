//! The acceptance tests: one program, a module per subject.

mod binaries;
mod detect;
mod golden;
mod greeter;
mod reproducible;
mod scale;
