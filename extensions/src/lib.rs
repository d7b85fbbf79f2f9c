//! A Dockerfile, restricted, applied to a root directory. Knows nothing of images or buildpacks.
//!
//! ```text
//! text ──► dockerfile::parse ──► Dockerfile ──► policy::permit ──► Permitted ──► plan::ExtendPlan
//!                                                                     │             └─► policy::PolicyRules
//!  context::Context ──► Selected ──┐                                  ▼
//!  root::Root ─────────────────────┴── done to the root ◄── Step ◄── state::BuildState, with expand
//!                                             └─► snapshot ──► layer
//! ```
//!
//! Everything up to a [`Step`](state::Step) is pure: text and values in, values out. From there on,
//! words are expanded, and nobody knows of variables.
//!
//! ```
//! use extensions::dockerfile::parse;
//! use extensions::policy::{Target, permit};
//! use extensions::state::{Action, Arguments, BuildState, ConfigState, Scope};
//!
//! let text = b"ARG base_image\nFROM ${base_image}\nENV DIR=/opt\nWORKDIR $DIR/tool\n";
//! let arguments = Arguments::default();
//! let permitted = permit(parse("build.Dockerfile", text)?, Target::Build, &arguments)?;
//!
//! let scope = Scope::new(permitted.directives(), permitted.meta_args(), arguments)?;
//! let mut state = BuildState::new(ConfigState::default(), scope);
//! state.step(&permitted.instructions()[0])?;
//! let step = state.step(&permitted.instructions()[1])?;
//! assert_eq!(step.action, Action::MakeWorkdir("/opt/tool".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod apply;
pub mod cache;
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
