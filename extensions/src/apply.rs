//! A checked Dockerfile applied to a root directory.
//!
//! [`Session`] is the way in: it carries out instructions one by one, captures what each changed as a
//! layer, and stores it, or finds that it is stored already. Below it, RUN starts processes, COPY and ADD
//! write files, WORKDIR makes directories. The semantics are BuildKit's.

mod archive;
mod capture;
mod change;
mod copy;
mod event;
mod mode;
mod operation;
mod run;
mod session;
mod settings;
mod transfer;
mod users;

pub use copy::CopyError;
pub use event::Event;
pub use operation::OperationError;
pub use run::{MountError, Output, RunError};
pub use session::Session;
pub use settings::{
    Application, ApplyError, BaseImage, Compress, Mounting, NotReady, Outcome, Purpose, Settings, StepResult,
};
pub use transfer::{Fetch, Fetched, TransferError};
pub use users::{Credentials, UserError, credentials};

#[cfg(test)]
mod tests;
