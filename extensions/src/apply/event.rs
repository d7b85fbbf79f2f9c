//! What a session tells while it works.

use std::path::Path;
use std::time::Duration;

use crate::snapshot::Method;

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'e> {
    /// The layer of an instruction was found in the cache.
    Hit(&'e str),
    /// It was not, or not looked for: the instruction is done now.
    Miss(&'e str),
    /// A layer of the cache is applied to the root.
    Replaying(&'e str),
    /// The root was scanned.
    Scanned {
        /// The number of its entries.
        entries: usize,
        /// How long it took.
        took: Duration,
        /// How changes are found.
        method: Method,
    },
    /// A root that is no container was given devices and name resolution.
    Furnished {
        /// Whether by mounts; without, processes have no `/proc`.
        has_mounts: bool,
    },
    /// A step's mounts are ready.
    Mounted {
        /// Whether their content was put in the targets' places, because nothing may be mounted.
        in_place: bool,
    },
    /// A device node could not be made.
    DeviceLeftOut(&'e Path),
    /// A step was done but not stored.
    CacheFailed(&'e str),
}
