//! The phases: one function each, values in, values out.
//!
//! What a phase is told stands in a struct beside its function; where that comes from (flags,
//! files, an earlier phase in the same process) is no matter of the phase.

pub mod analyze;
pub mod build;
pub mod detect;
pub mod export;
pub mod extend;
pub mod generate;
pub mod launch;
pub mod rebase;
pub mod restore;
pub mod save;
mod sbom;
#[cfg(test)]
#[path = "tests/world.rs"]
mod world;
