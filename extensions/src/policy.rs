//! What a build.Dockerfile or a run.Dockerfile may hold.
