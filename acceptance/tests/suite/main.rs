//! The acceptance tests: one program, a module per subject.

mod binaries;
mod caches;
mod daemons;
mod detect;
mod dockerfiles;
mod example;
mod exits;
mod explains;
mod extensions;
mod golden;
mod greeter;
mod gzip;
mod interchange;
mod interrupts;
mod messages;
mod networks;
mod packages;
mod platforms;
mod platforms_on_kubernetes;
mod platforms_with_pack;
mod rebasable;
mod reproducible;
mod scale;
mod secrets;
mod stores;
mod trust;
