//! A layer's tar as a stream: entries are found, headed and read only as far as the reader asks.

use std::io::{self, Read};

use super::entries::{Content, Entries};
use super::header::{END, padding};
use super::tar::TarError;

/// The bytes of a tar. Reads fail with a [`TarError`] inside the [`io::Error`]; nothing of use follows.
pub struct Stream<'a> {
    entries: Entries<'a>,
    /// Headers, padding or the tar's end, and how much of it was given out.
    pending: Vec<u8>,
    given: usize,
    /// The contents that follow what is pending.
    body: Option<Body>,
    ended: bool,
}

/// Contents on their way.
struct Body {
    content: Content,
    /// How many bytes of them are missing, if they are archived.
    left: u64,
    /// How many zeros follow them.
    padding: usize,
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<'a> Stream<'a> {
    /// The tar of `entries`.
    pub fn new(entries: Entries<'a>) -> Self {
        Self { entries, pending: Vec::new(), given: 0, body: None, ended: false }
    }

    /// Gives out as much of what is pending as fits.
    fn give(&mut self, buffer: &mut [u8]) -> usize {
        let pending = &self.pending[self.given..];
        let count = pending.len().min(buffer.len());
        buffer[..count].copy_from_slice(&pending[..count]);
        self.given += count;
        count
    }

    /// Makes the next entry's header pending, or the tar's end.
    fn advance(&mut self) -> Result<(), TarError> {
        self.pending.clear();
        self.given = 0;
        match self.entries.next(&mut self.pending)? {
            Some((Content::Nothing, _)) => {}
            Some((content, size)) => {
                self.body = Some(Body { content, left: size, padding: padding(size) });
            }
            None => {
                self.pending.extend_from_slice(&END);
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Reads contents; 0 when they have just been found complete, and their padding is pending.
    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let Some(body) = &mut self.body else { return Ok(0) };
        let (count, complete) = match &mut body.content {
            Content::Nothing => (0, true),
            Content::File(file) => file.read(buffer)?,
            Content::Archived => self.entries.read_archived(body.left, buffer)?,
        };
        body.left -= count as u64;
        if complete {
            self.pending.clear();
            self.pending.resize(body.padding, 0);
            self.given = 0;
            self.body = None;
        }
        Ok(count)
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            let count = if self.given < self.pending.len() {
                self.give(buffer)
            } else if self.body.is_some() {
                self.read_body(buffer).map_err(io::Error::other)?
            } else if self.ended {
                break;
            } else {
                self.advance().map_err(io::Error::other)?;
                0
            };
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }
}
