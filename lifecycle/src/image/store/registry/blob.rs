//! A blob as a stream: verified against its descriptor, continued where a connection broke.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use ureq::http::Method;

use super::client::{Access, Action, Client, Repository};
use super::http::Request;
use super::retry::{self, Failure};
use crate::digest::Digest;
use crate::image::Descriptor;
use crate::image::store::StoreError;

/// Reads one blob. The read that would give its end fails unless size and digest are right, so
/// whoever reads to the end has read what the descriptor names.
pub struct BlobReader<'a> {
    client: &'a Client,
    repository: Repository,
    blob: Descriptor,
    stream: Option<Box<dyn Read + Send>>,
    position: u64,
    hash: Sha256,
    tried: u32,
    failed_at: u64,
    pace: Pace,
}

/// A connection that brought this much was worth it: tries are counted anew.
const PROGRESS_BYTES: u64 = 256 << 10;
/// The slowest connections in use bring a hundred times as much.
const MIN_BYTES_PER_MINUTE: usize = 1 << 10;

/// How fast bytes come. A server that sends one now and then keeps its connection for ever.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: usize,
}

impl Pace {
    /// Counts `bytes` for which the server was waited for `waited`. Fails where a whole minute of waiting
    /// brought less than [`MIN_BYTES_PER_MINUTE`].
    fn allows(&mut self, waited: Duration, bytes: usize) -> io::Result<()> {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < Duration::from_mins(1) {
            return Ok(());
        }
        let found = std::mem::take(self);
        if found.bytes >= MIN_BYTES_PER_MINUTE {
            return Ok(());
        }
        let why = format!("only {} bytes came within {:?}", found.bytes, found.waited);
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}

impl<'a> BlobReader<'a> {
    /// Opens the blob; fails at once when the registry does not give it.
    pub fn open(client: &'a Client, repository: &Repository, blob: &Descriptor) -> Result<Self, StoreError> {
        let (repository, blob) = (repository.clone(), blob.clone());
        let mut reader = Self {
            client,
            repository,
            blob,
            stream: None,
            position: 0,
            hash: Sha256::new(),
            tried: 0,
            failed_at: 0,
            pace: Pace::default(),
        };
        reader.connect()?;
        Ok(reader)
    }

    /// Asks for what is still missing; a server that sends all of it again is fast-forwarded.
    fn connect(&mut self) -> Result<(), StoreError> {
        let path = format!("blobs/{}", self.blob.digest);
        let mut request = Request::new(Method::GET, self.client.url(&self.repository, &path)?);
        if self.position > 0 {
            request = request.header("range", format!("bytes={}-", self.position));
        }
        let response = self.client.send(&Access::new(&self.repository, Action::Pull), request)?;
        let skip = match response.status {
            200 => self.position,
            206 => 0,
            404 => return Err(StoreError::NotFound(format!("{}@{}", self.repository, self.blob.digest))),
            _ => return Err(self.client.refused(response)),
        };
        let mut stream: Box<dyn Read + Send> = Box::new(response.reader());
        if skip > 0 {
            let skipped = io::copy(&mut (&mut stream).take(skip), &mut io::sink());
            if skipped.ok() != Some(skip) {
                stream = Box::new(io::empty()); // broken again: the next read counts it as a try
            }
        }
        self.stream = Some(stream);
        Ok(())
    }

    fn recover(&mut self, why: io::Error) -> io::Result<()> {
        self.stream = None;
        if self.position >= self.failed_at + PROGRESS_BYTES {
            self.tried = 0;
        }
        (self.tried, self.failed_at) = (self.tried + 1, self.position);
        match retry::wait(Failure::Connection, self.tried, retry::jitter()) {
            Some(wait) => {
                std::thread::sleep(wait.min(Duration::from_secs(5)));
                self.connect().map_err(io::Error::other)
            }
            None => Err(why),
        }
    }

    fn end(&mut self) -> io::Result<usize> {
        let found = Digest::from_hash(self.hash.finalize_reset());
        if found == self.blob.digest {
            // Reading on gives the end again, not a second verdict on nothing.
            self.stream = Some(Box::new(io::empty()));
            self.position = u64::MAX;
            return Ok(0);
        }
        let why = format!("`{}@{}` is damaged: its digest is {found}", self.repository, self.blob.digest);
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == u64::MAX || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let left = self.blob.size - self.position;
            if left == 0 {
                return self.end();
            }
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
            let asked = Instant::now();
            let read = stream.read(&mut buffer[..wanted]);
            match read.and_then(|read| self.pace.allows(asked.elapsed(), read).map(|()| read)) {
                Ok(0) => self.recover(io::ErrorKind::UnexpectedEof.into())?,
                Ok(read) => {
                    self.hash.update(&buffer[..read]);
                    self.position += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.recover(error)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_drip_are_not_waited_for() {
        let mut pace = Pace::default();
        for _ in 0..59 {
            pace.allows(Duration::from_secs(1), 1).expect("the minute is not over");
        }
        let error = pace.allows(Duration::from_secs(1), 1).expect_err("60 bytes in a minute");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        for _ in 0..600 {
            pace.allows(Duration::from_secs(1), 20).expect("1200 bytes in a minute");
        }
    }
}
