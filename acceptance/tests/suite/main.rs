//! The acceptance tests: one program, a module per subject.

mod golden;
mod greeter;
mod gzip;
