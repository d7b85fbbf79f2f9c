//! The registry store against the distribution's own `docker-registry` on loopback.

mod blobs;
mod hostile;
mod images;
mod networks;
mod support;
