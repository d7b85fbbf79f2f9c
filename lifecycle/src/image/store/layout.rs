//! OCI layout directories as an image store.
