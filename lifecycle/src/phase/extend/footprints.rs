//! What each new layer does to files below it, kept beside the extended run image: what a rebase has
//! to know of it.

use extensions::cache::Footprint;
use serde::{Deserialize, Serialize};

use super::Applied;

/// What one layer does to files below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFootprint {
    /// The layer, as `sha256:…` of its tar.
    pub diff_id: String,
    /// The extension that it is of.
    pub extension: String,
    /// The instruction that made it.
    pub instruction: String,
    /// What it does.
    pub footprint: Footprint,
}

/// The footprints of all layers that the Dockerfiles added, in the order of the image.
pub fn layer_footprints(applied: &[Applied]) -> Vec<LayerFootprint> {
    let steps = applied.iter().flat_map(|applied| applied.steps.iter().map(move |step| (applied, step)));
    let footprint = |(applied, step): (&Applied, &extensions::apply::StepResult)| {
        Some(LayerFootprint {
            diff_id: format!("sha256:{}", step.layer.as_ref()?.diff_id),
            extension: applied.extension.to_string(),
            instruction: step.instruction.clone(),
            footprint: step.footprint.clone(),
        })
    };
    steps.filter_map(footprint).collect()
}
