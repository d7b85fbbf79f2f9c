//! A registry as an image store (OCI distribution 1.1, Docker Registry HTTP API V2).

pub mod blob;
pub mod challenge;
pub mod client;
mod copy;
pub mod credential;
pub mod http;
mod retry;
mod spool;
mod store;
mod token;
pub mod trust;
pub mod upload;
pub mod url;

pub use store::RegistryStore;
