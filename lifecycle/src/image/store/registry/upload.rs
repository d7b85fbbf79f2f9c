//! Uploading blobs: small ones whole, large ones while they are being made.
//!
//! A large blob goes into a spool from which one `PATCH` streams it. Where that connection breaks
//! the registry is asked how much arrived, and only the rest is sent again; a lost session starts
//! the blob over, never the image. Small blobs wait until their digest is known: then one `HEAD`
//! may save the upload altogether.
//!
//! Spec: OCI distribution-spec "Pushing Blobs".

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use ureq::http::Method;

use super::client::{Access, Action, Client, Repository};
use super::http::{Request, Response};
use super::retry::{self, Failure};
use super::spool::{Spool, SpoolReader};
use super::url;
use crate::digest::Digest;
use crate::image::store::{LayerSink, StoreError};
use crate::image::{Descriptor, Origin};

/// Blobs up to this many bytes are kept in memory and sent whole.
const SMALL_BYTES: usize = 1 << 20;
const OCTETS: &str = "application/octet-stream";
/// A connection that brought this much further was worth it: tries are counted anew.
const PROGRESS_BYTES: u64 = 256 << 10;

/// Uploads to one repository.
#[derive(Debug, Clone)]
pub struct Uploads {
    /// The client.
    pub client: Arc<Client>,
    /// Where to.
    pub repository: Repository,
}

impl Uploads {
    fn access(&self) -> Access<'_> {
        Access::new(&self.repository, Action::Push)
    }

    /// Whether the repository has a blob. A registry that does not know `HEAD` has not said yes.
    pub fn exists(&self, digest: Digest) -> Result<bool, StoreError> {
        let target = self.client.url(&self.repository, &format!("blobs/{digest}"))?;
        let response = self.client.send(&self.access(), Request::new(Method::HEAD, target))?;
        match response.status {
            200..=299 => Ok(true),
            404 | 405 => Ok(false),
            _ => Err(self.client.refused(response)),
        }
    }

    /// Takes a blob over from another repository of the registry; `false` when it must be sent.
    pub fn mount(&self, digest: Digest, from: &str) -> Result<bool, StoreError> {
        let target = self.client.url(&self.repository, "blobs/uploads/")?;
        let target = url::with_parameter(&target, "mount", &digest.to_string());
        let target = url::with_parameter(&target, "from", from);
        let access = Access { from: Some(from), ..self.access() };
        let response = self.client.send(&access, Request::new(Method::POST, target))?;
        match response.status {
            201 => Ok(true),
            202 => {
                self.cancel(&response);
                Ok(false)
            }
            // Registries without mounts, or that do not let us read the source, answer all sorts of things.
            400..=499 => Ok(false),
            _ => Err(self.client.refused(response)),
        }
    }

    /// Opens an upload and closes it again: proves that we may write.
    pub fn probe(&self) -> Result<(), StoreError> {
        let response = self.start()?;
        self.cancel(&response);
        Ok(())
    }

    /// Sends a blob that is in memory, unless the repository has it.
    pub fn send(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if self.exists(digest)? {
            return Ok(());
        }
        let mut tried = 0;
        loop {
            tried += 1;
            let session = session(&self.start()?)?;
            let target = url::with_parameter(&session, "digest", &digest.to_string());
            let response =
                self.client.send(&self.access(), Request::new(Method::PUT, target).body(OCTETS, bytes))?;
            // A session may be lost, or its end may have arrived although the answer did not.
            let lost = matches!(response.status, 404 | 416)
                && retry::wait(Failure::Connection, tried, 0.0).is_some();
            match response {
                response if response.is_success() => return Ok(()),
                _ if lost && self.exists(digest)? => return Ok(()),
                _ if lost => {}
                response => return Err(self.client.refused(response)),
            }
        }
    }

    fn start(&self) -> Result<Response, StoreError> {
        let target = self.client.url(&self.repository, "blobs/uploads/")?;
        let response = self.client.send(&self.access(), Request::new(Method::POST, target))?;
        if response.status == 202 { Ok(response) } else { Err(self.client.refused(response)) }
    }

    fn cancel(&self, started: &Response) {
        if let Ok(session) = session(started) {
            // Only a courtesy: the registry forgets sessions by itself.
            let _ = self.client.send(&self.access(), Request::new(Method::DELETE, session));
        }
    }

    /// Sends everything that comes through `spool`; gives the session that only lacks its digest.
    fn stream(&self, spool: &SpoolReader) -> Result<String, StoreError> {
        let (mut tried, mut offset, mut progress) = (0, 0, 0);
        let mut target = session(&self.start()?)?;
        loop {
            tried += 1;
            let failure = match self.patch(&target, spool, offset) {
                Ok(response) if response.status == 202 => return session(&response),
                Ok(response) if !is_recoverable(response.status) => {
                    return Err(self.client.refused(response));
                }
                Ok(response) => (Failure::Connection, Err(self.client.refused(response))),
                Err(error) => (Failure::Connection, Err(error)),
            };
            spool.size().map_err(|source| self.io(source))?;
            if offset >= progress + PROGRESS_BYTES {
                (progress, tried) = (offset, 1);
            }
            let Some(wait) = retry::wait(failure.0, tried, retry::jitter()) else { return failure.1 };
            std::thread::sleep(wait);
            let size = spool.size().map_err(|source| self.io(source))?;
            (target, offset) = self.resume(&target, size)?;
            if offset == size {
                return Ok(target);
            }
        }
    }

    /// One `PATCH` from `offset` on: of unknown length while the blob is still being made.
    fn patch(&self, target: &str, spool: &SpoolReader, offset: u64) -> Result<Response, StoreError> {
        let mut request = Request::new(Method::PATCH, target).header("content-type", OCTETS);
        let mut reader = spool.at(offset);
        let mut length = None;
        if offset > 0 {
            let size = spool.size().map_err(|source| self.io(source))?;
            request = request.header("content-range", format!("{offset}-{}", size.saturating_sub(1)));
            length = Some(size - offset);
        }
        self.client.stream(&self.access(), &request, &mut reader, length)
    }

    /// Where to go on after a broken `PATCH` of a blob of `size` bytes: in the session as far as it got,
    /// or in a new one. A registry that claims more than there is has another blob's session.
    fn resume(&self, target: &str, size: u64) -> Result<(String, u64), StoreError> {
        let response = self.client.send(&self.access(), Request::new(Method::GET, target))?;
        let arrived =
            response.header("range").and_then(|range| range.rsplit_once('-')?.1.trim().parse::<u64>().ok());
        match (response.is_success(), arrived) {
            // `0-0` is both "nothing" and "one byte"; one byte is not worth finding out.
            (true, Some(last)) if (1..size).contains(&last) => {
                Ok((session(&response).unwrap_or_else(|_| target.to_owned()), last + 1))
            }
            _ => Ok((session(&self.start()?)?, 0)),
        }
    }

    /// Ends a session with the digest of all that was sent.
    fn finish(&self, target: &str, digest: Digest) -> Result<(), StoreError> {
        let target = url::with_parameter(target, "digest", &digest.to_string());
        let response = self.client.send(&self.access(), Request::new(Method::PUT, target))?;
        if response.is_success() || (response.status == 404 && self.exists(digest)?) {
            return Ok(());
        }
        Err(self.client.refused(response))
    }

    fn io(&self, source: io::Error) -> StoreError {
        StoreError::Io { action: "upload a blob to", what: self.repository.to_string(), source }
    }
}

fn is_recoverable(status: u16) -> bool {
    matches!(status, 401 | 404 | 408 | 416 | 429 | 500..=599)
}

/// The URL at which an upload goes on. Not where everybody can read along, if the answer came by https;
/// registries behind a proxy often do not know that they are reached so.
fn session(response: &Response) -> Result<String, StoreError> {
    let damaged = |why: &str| StoreError::Damaged { what: response.asked.clone(), why: why.to_owned() };
    let location = response.header("location").and_then(|location| url::join(&response.url, location));
    let location = location.ok_or_else(|| damaged("the answer does not say where the upload goes on"))?;
    url::kept_secret(&response.url, location)
        .ok_or_else(|| damaged("the answer sends an upload by https on to http"))
}

/// One new layer on its way to a repository.
#[derive(Debug)]
pub struct UploadSink {
    uploads: Uploads,
    state: State,
}

#[derive(Debug)]
enum State {
    /// All bytes so far.
    Small(Vec<u8>),
    /// The spool, and the thread that sends it and gives the session; the thread is gone once its
    /// failure was told.
    Large(Spool, Option<JoinHandle<Result<String, StoreError>>>),
}

impl UploadSink {
    /// A sink of nothing yet.
    pub fn new(uploads: Uploads) -> Self {
        Self { uploads, state: State::Small(Vec::new()) }
    }

    fn enlarge(&mut self) -> io::Result<()> {
        if let State::Small(bytes) = &mut self.state {
            let bytes = std::mem::take(bytes);
            let mut spool = Spool::new()?;
            spool.write_all(&bytes)?;
            let (uploads, reader) = (self.uploads.clone(), spool.reader(0));
            let sending = std::thread::Builder::new().spawn(move || uploads.stream(&reader))?;
            self.state = State::Large(spool, Some(sending));
        }
        Ok(())
    }
}

impl Write for UploadSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Small(kept) if kept.len() + bytes.len() <= SMALL_BYTES => {
                kept.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            State::Small(_) => {
                self.enlarge()?;
                self.write(bytes)
            }
            State::Large(_, sending) if sending.as_ref().is_none_or(JoinHandle::is_finished) => {
                // It cannot have succeeded: the spool is not complete.
                Err(io::Error::other(ended(sending.take()).err().unwrap_or_else(|| gone(&self.uploads))))
            }
            State::Large(spool, _) => spool.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LayerSink for UploadSink {
    fn commit(self: Box<Self>, blob: &Descriptor) -> Result<Origin, StoreError> {
        match self.state {
            State::Small(bytes) => self.uploads.send(blob.digest, &bytes)?,
            State::Large(spool, sending) => {
                spool.complete();
                let session = ended(sending)?;
                self.uploads.finish(&session, blob.digest)?;
            }
        }
        Ok(Origin::Sent)
    }
}

fn ended(sending: Option<JoinHandle<Result<String, StoreError>>>) -> Result<String, StoreError> {
    let gone = || StoreError::Refused("an upload ended before its blob".to_owned());
    sending.ok_or_else(gone)?.join().map_err(|_| gone())?
}

fn gone(uploads: &Uploads) -> StoreError {
    StoreError::Refused(format!("{}: an upload ended before its blob", uploads.repository))
}
