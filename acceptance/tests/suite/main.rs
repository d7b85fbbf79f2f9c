//! The acceptance tests: one program, a module per subject.

mod detect;
mod golden;
mod greeter;
mod gzip;
