//! From what a phase's program was told to what its function is told: once for the phase's own
//! program and for the creator.

pub mod analyze;
pub mod around;
pub mod build;
pub mod detect;
pub mod export;
pub mod extend;
pub mod generate;
pub mod rebase;
pub mod restore;
pub mod servant;
