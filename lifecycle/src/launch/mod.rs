//! Starting a process of an app image: which process it is, what runs before it, and how.
//!
//! ```text
//! metadata ─► process::select ─► StartCommand ─┐
//! layers ─► Env (env.rs), exec_d ──────────────┼─► direct: exec
//! layers, app ─► profiles ─► shell::arguments ─┘─► bash, which execs
//! ```
//!
//! `phase::launch` puts these together. Everything here ends up in the launcher, which is part of
//! every app image, so it stays small: no serde, no network.
//!
//! Spec: platform.md "launcher", buildpack.md "Exec.d".

pub mod exec;
pub mod exec_d;
pub mod layers;
pub mod metadata;
pub mod process;
pub mod shell;
