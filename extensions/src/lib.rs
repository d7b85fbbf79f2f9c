//! A Dockerfile, restricted, applied to a root directory. Knows nothing of images or buildpacks.

pub mod context;
pub mod dockerfile;
pub mod expand;
pub mod layer;
pub mod plan;
pub mod policy;
pub mod root;
pub mod snapshot;
pub mod state;

#[cfg(test)]
mod testing;
