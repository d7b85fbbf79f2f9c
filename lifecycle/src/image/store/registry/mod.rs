//! A registry as an image store (OCI distribution 1.1, Docker Registry HTTP API V2).

pub mod blob;
pub mod challenge;
pub mod client;
pub mod credential;
mod http;
mod retry;
mod spool;
mod token;
pub mod trust;
pub mod upload;
mod url;
