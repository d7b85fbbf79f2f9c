//! What lies at the root of a failure, by a name that programs can rely on.
//!
//! The names are documented in the README and never change their meaning.

use std::error::Error;
use std::io;

use crate::component::process::ProcessError;
use crate::files::{Cause, FileError};
use crate::image::store::StoreError;
use crate::reference::ReferenceError;

/// The reason of `error`: that of the deepest of its causes that has one.
pub fn reason(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let deeper = error.source().and_then(reason);
    deeper.or_else(|| {
        let of_store = || error.downcast_ref().and_then(store);
        let of_file = || error.downcast_ref().and_then(|error: &FileError| file(&error.cause));
        let of_process = || error.downcast_ref().and_then(process);
        let of_system = || error.downcast_ref().and_then(system);
        let of_name = || error.is::<ReferenceError>().then_some("reference-malformed");
        of_store().or_else(of_file).or_else(of_process).or_else(of_system).or_else(of_name)
    })
}

fn store(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Io { .. } => None,
        StoreError::Damaged { .. } => Some("data-damaged"),
        StoreError::NotFound(_) => Some("image-missing"),
        StoreError::Refused(_) => Some("store-refused"),
    }
}

fn file(cause: &Cause) -> Option<&'static str> {
    match cause {
        Cause::System { error, .. } => system(error),
        Cause::TooLarge(_) => Some("file-too-large"),
        Cause::NotText(_) | Cause::Syntax { .. } => Some("file-malformed"),
    }
}

fn process(error: &ProcessError) -> Option<&'static str> {
    match error {
        ProcessError::Missing(_) => Some("program-missing"),
        ProcessError::NotExecutable { .. } => Some("program-not-executable"),
        ProcessError::NoInterpreter { .. } | ProcessError::Format(_) => Some("program-not-runnable"),
        ProcessError::Directory { .. } | ProcessError::Io { .. } => None,
    }
}

fn system(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::NotFound => Some("file-missing"),
        io::ErrorKind::PermissionDenied => Some("permission-denied"),
        io::ErrorKind::ReadOnlyFilesystem => Some("read-only"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("disk-full"),
        io::ErrorKind::TimedOut => Some("timeout"),
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => Some("unreachable"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &(dyn Error + 'static), expected: Option<&str>) {
        assert_eq!(reason(error), expected, "{error}");
    }

    #[test]
    fn deepest_cause_that_is_known_counts() {
        let io =
            |kind| StoreError::Io { action: "read", what: "x".to_owned(), source: io::Error::from(kind) };
        check(&io(io::ErrorKind::StorageFull), Some("disk-full"));
        check(&io(io::ErrorKind::ConnectionRefused), Some("unreachable"));
        check(&io(io::ErrorKind::Other), None);
        check(&StoreError::Refused("no".to_owned()), Some("store-refused"));
        check(&StoreError::NotFound("x".to_owned()), Some("image-missing"));
    }

    #[test]
    fn files_say_whether_they_are_missing_or_malformed() {
        let file = |cause| FileError { action: "read", file: "group", cause };
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let missing = Cause::System { operation: "open", path: "/g".into(), error: missing };
        check(&file(missing), Some("file-missing"));
        check(&file(Cause::NotText("/g".into())), Some("file-malformed"));
    }

    #[test]
    fn programs_say_why_they_do_not_run() {
        check(&ProcessError::Missing("/b".into()), Some("program-missing"));
        check(&ProcessError::Format("/b".into()), Some("program-not-runnable"));
    }
}
