//! A Cloud Native Buildpacks lifecycle.

pub mod api;
pub mod cache;
pub mod cli;
pub mod component;
pub mod digest;
pub mod env;
pub mod exec_env;
pub mod files;
pub mod image;
pub mod json;
pub mod launch;
pub mod layers;
pub mod log;
pub mod phase;
pub mod reference;
pub mod resolve;
pub mod target;
pub mod time;
