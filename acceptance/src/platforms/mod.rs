//! The platforms that drive a lifecycle, as far as the lifecycle sees them: images, users, mounts,
//! arguments and environment of each container.
//!
//! [`images`] makes builder, run and lifecycle images of busybox and our binaries, [`engine`] runs
//! containers of them, and [`pack`] knows that platform's tables.
//! Source: what pack 0.40 does.

pub mod engine;
pub mod images;
pub mod pack;
