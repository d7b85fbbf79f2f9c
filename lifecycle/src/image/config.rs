//! The config of an image, as JSON of which unknown keys are kept.

use serde_json::{Map, Value};

/// An image config; accessors read and edit what a lifecycle cares about.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImageConfig {
    /// The whole document.
    pub json: Map<String, Value>,
}
