//! A Cloud Native Buildpacks lifecycle: the phases that turn source code into a container image.
//!
//! # One way through a build
//!
//! A lifecycle is a short pipeline: an order is resolved to a group, the group to a plan, the plan to
//! layers, the layers to an image.
//!
//! ```text
//! order.toml, system.toml ─► resolve::order ─► candidate groups (lazy)
//! buildpacks on disk ──────► component::catalog ─► component::run: bin/detect ─► resolve::plan ─► group, plan
//! run image ─► image::store ─► phase::analyze ─► analyzed
//! cache, previous image ─► phase::restore ─► layers directory
//! base image + Dockerfiles of extensions ─► phase::extend ─► extended image
//! group + plan ─► phase::build: bin/build ─► layers directory, metadata
//! run image + layers + application ─► phase::export ─► layers::blob ─► image::store, cache ─► report
//! app image + new run image ─► image::rebase ─► image::store
//! app image ─► launch: environment, exec.d, the process
//! ```
//!
//! Each phase is a function in [`phase`]: values in, values out. The programs in `src/bin` read inputs, call
//! one, and write what it gives. The creator is the test of this design: it is the phases passing values.
//! What ships is made by the crate `packaging`: those that speak to registries as links to one program,
//! `src/bin/lifecycle.rs`, the others as they are.
//!
//! # What uses what
//!
//! Each line uses only what stands below it; `tests/tidy.rs` checks it.
//!
//! ```text
//! bin                     a short main each
//! cli                     arguments, environment, exit codes, privileges, credentials
//! phase                   one function per phase
//! launch cache layers component image::store     effects: files, processes, network
//! resolve image           rules: pure
//! files env target reference digest json api     data
//! ```
//!
//! # In reading order
//!
//! - [`api`]: the versions, and what changed with each, as questions. Nobody else compares versions.
//! - [`digest`], [`mod@reference`], [`target`], [`exec_env`], [`time`], [`json`]: the small values everything is made of.
//! - [`files`]: one module per file of the specification, with the labels.
//! - [`env`](mod@env): the environment of buildpacks and processes; pure rules.
//! - [`resolve`]: how orders become groups and plans; pure.
//! - [`component`]: buildpacks and extensions on disk, and the one place that runs their programs.
//! - [`layers`]: what becomes a layer, byte for byte, and how it becomes a blob in one pass on all cores.
//! - [`image`]: images as values, their rebase, and the stores they live in: layouts, registries, the Docker
//!   engine.
//! - [`cache`]: layers kept from build to build, in a volume or an image.
//! - [`launch`]: which process an app image starts, and with what.
//! - [`phase`]: the phases.
//! - [`cli`]: between the platform and the phases. The only code that reads the environment, prints, or
//!   exits.
//! - [`log`]: what a phase tells its user, and who listens: JSON lines, telemetry.
//!
//! # What holds everywhere
//!
//! - Whatever is read from a container, a cache, a registry or a buildpack is hostile until checked: sizes have
//!   limits, digests are verified, paths are resolved inside directory handles.
//! - Outputs appear complete or not at all.
//! - The same input gives the same bytes, whoever builds, on however many processors.
//! - Readings of unclear text are in `spec-notes/decisions.md`; every requirement and its test are in
//!   `spec-notes/requirements.md`.

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
