//! A blob that is checked while it is read.

use std::io::{self, Read};

use crate::digest::{Digest, Hashing};
use crate::image::Descriptor;

/// Passes a blob's bytes on. The read that would give its end fails unless size and digest are
/// those of its descriptor, so whoever reads to the end has read what was meant.
#[derive(Debug)]
pub struct Verified<R> {
    /// `None` once the end was reached.
    inner: Option<Hashing<R>>,
    what: String,
    size: u64,
    digest: Digest,
    left: u64,
}

impl<R: Read> Verified<R> {
    /// Reads `inner` as `blob`; errors call it `what`.
    pub fn new(inner: R, blob: &Descriptor, what: impl Into<String>) -> Self {
        let (size, digest) = (blob.size, blob.digest);
        Self { inner: Some(Hashing::new(inner)), what: what.into(), size, digest, left: size }
    }

    fn end(&mut self) -> io::Result<usize> {
        let Some(inner) = self.inner.take() else { return Ok(0) };
        let (found, size, _) = inner.finish();
        if size != self.size {
            return Err(self.damaged(&format!("it has {size} bytes, expected {}", self.size)));
        }
        if found != self.digest {
            return Err(self.damaged(&format!("its digest is {found}, expected {}", self.digest)));
        }
        Ok(0)
    }

    fn damaged(&self, why: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is damaged: {why}", self.what))
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(inner) = &mut self.inner else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = inner.read(buffer)?;
        if read == 0 {
            return self.end();
        }
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(self.damaged(&format!("it has more than {} bytes", self.size))),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], size: u64, digest: &[u8], expected: Option<&str>) {
        let blob = Descriptor::new("", size, Digest::of(digest));
        let mut read = Vec::new();
        let found = Verified::new(bytes, &blob, "blob").read_to_end(&mut read);
        let error = found.err().map(|error| error.to_string());
        match expected {
            None => assert_eq!((error, read.as_slice()), (None, bytes)),
            Some(text) => assert!(error.as_ref().is_some_and(|found| found.contains(text)), "{error:?}"),
        }
    }

    #[test]
    fn right_bytes_pass() {
        check(b"", 0, b"", None);
        check(b"layer", 5, b"layer", None);
    }

    #[test]
    fn wrong_bytes_fail_at_the_end_at_the_latest() {
        check(b"later", 5, b"layer", Some("its digest is sha256:"));
        check(b"lay", 5, b"layer", Some("it has 3 bytes, expected 5"));
        check(b"layer and more", 5, b"layer", Some("it has more than 5 bytes"));
    }

    #[test]
    fn reading_on_after_the_end_gives_nothing() {
        let blob = Descriptor::new("", 1, Digest::of(b"a"));
        let mut verified = Verified::new(&b"a"[..], &blob, "blob");
        let mut buffer = [0; 4];
        for expected in [1, 0, 0] {
            assert_eq!(verified.read(&mut buffer).expect("right bytes"), expected);
        }
    }
}
