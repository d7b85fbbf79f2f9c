//! The rules of detection, pure: which groups an order stands for, and which plan a group has.

pub mod order;
pub mod plan;
