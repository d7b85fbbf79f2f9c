//! What the benchmarks share: commands and containers with what they took, and data to work on.

pub mod container;
pub mod dockerfile;
pub mod measure;
pub mod tree;
