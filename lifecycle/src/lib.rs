//! A Cloud Native Buildpacks lifecycle.
