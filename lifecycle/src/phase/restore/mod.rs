//! Restoring: layers, metadata and SBOM files of earlier builds come back into the layers directory.

pub mod plan;
