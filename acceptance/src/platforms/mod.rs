//! The platforms that drive a lifecycle, as far as the lifecycle sees them: images, users, mounts,
//! arguments and environment of each container.
//!
//! [`images`] makes builder, run and lifecycle images of busybox and our binaries, [`engine`] and [`pod`] run
//! containers of them, and [`pack`], [`kpack`] and [`tekton`] each know one platform's tables. [`real_pack`] is
//! no emulation: it runs the pack on PATH.
//! Source: what pack 0.40, kpack 0.17 and Tekton's catalog tasks do.

pub mod engine;
pub mod images;
pub mod kpack;
pub mod pack;
pub mod pod;
pub mod real_pack;
pub mod tekton;
