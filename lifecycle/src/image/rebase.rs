//! Rebase: an app image on another base.
