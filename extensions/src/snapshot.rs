//! What a step changed: the root directory is scanned before and after, and the scans are compared.
//!
//! ```text
//!  scan ──► Tree ─┐
//!                 ├─► diff ─► Changes ─► layer
//!  scan ──► Tree ─┘
//! ```
//!
//! A scan reads metadata only. The kernel moves an inode's change time with every change of its
//! content, owner, mode, attributes or links, and a process cannot set it; so two scans tell what
//! changed without reading a file. Where a file system does not keep that promise, which
//! [`probe`] finds out, contents are hashed instead.
//!
//! Two rules make that sound: a process is started only after the clock has moved past the first
//! scan ([`wait_for_tick`]), and none is left alive when the second one begins.

mod clock;
mod content;
mod diff;
mod ignore;
mod meta;
mod mounts;
mod probe;
mod scan;

pub use clock::wait_for_tick;
pub use diff::{Change, ChangeKind, Changes, diff};
pub use ignore::IgnoreSet;
pub use meta::Meta;
pub use mounts::{MountError, mount_points};
pub use probe::probe;
pub use scan::{Method, ScanError, Tree, scan};

#[cfg(test)]
mod tests;
