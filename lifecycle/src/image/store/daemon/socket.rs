//! Connections to the engine's Unix socket for the HTTP client.
//!
//! The socket may be for root only, and a phase gives up being root before it saves an image. So
//! connections are opened while that is still possible and kept: each is used again and again, and
//! only when none is left is a new one tried.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, http};

/// Opens connections to one socket, beginning with those opened in advance.
#[derive(Debug, Clone)]
pub struct SocketConnector {
    path: PathBuf,
    ready: Arc<Mutex<Vec<UnixStream>>>,
}

impl SocketConnector {
    /// A connector with `count` connections opened now.
    pub fn open(path: &Path, count: usize) -> std::io::Result<Self> {
        let ready: Result<Vec<_>, _> = (0..count).map(|_| UnixStream::connect(path)).collect();
        Ok(Self { path: path.to_owned(), ready: Arc::new(Mutex::new(ready?)) })
    }
}

impl Connector for SocketConnector {
    type Out = SocketTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let stream = match ready {
            Some(stream) => stream,
            None => UnixStream::connect(&self.path).map_err(Error::Io)?,
        };
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(SocketTransport { stream, buffers }))
    }
}

/// One connection.
#[derive(Debug)]
pub struct SocketTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _timeout: NextTimeout) -> Result<(), Error> {
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output).map_err(Error::Io)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let wait = timeout.not_zero().map(|duration| *duration);
        self.stream.set_read_timeout(wait).map_err(Error::Io)?;
        let input = self.buffers.input_append_buf();
        let read = self.stream.read(input).map_err(Error::Io)?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        let idle = self.stream.set_nonblocking(true).and_then(|()| (&self.stream).read(&mut [0]));
        let open = matches!(idle, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        open && self.stream.set_nonblocking(false).is_ok()
    }
}

/// A socket needs no address: any will do, and none is looked up.
#[derive(Debug)]
pub struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([127, 0, 0, 1], 80).into());
        Ok(addresses)
    }
}
