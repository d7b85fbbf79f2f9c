//! A Dockerfile, restricted, applied to a root directory. Knows nothing of images or buildpacks.
