//! Buildpacks and image extensions on disk, and running what they bring.

pub mod captured;
pub mod catalog;
pub mod process;
pub mod run;
