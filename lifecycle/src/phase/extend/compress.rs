//! How layers of extensions are compressed: for the build image's, which nobody sees but the cache, fast;
//! for the run image's as every registry takes it.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use extensions::apply::Compress;
use extensions::layer::Compression;
use extensions::policy::Target;

use crate::layers::gzip::GzipWriter;

/// zstd's level for what only the cache holds.
const LEVEL: i32 = 1;

/// Compresses layers that are for an image.
#[derive(Debug, Clone, Copy)]
pub struct Compressor {
    /// Which image.
    pub target: Target,
    /// How many threads work; the bytes do not depend on it.
    pub threads: NonZeroUsize,
}

impl Compress for Compressor {
    fn compression(&self) -> Compression {
        match self.target {
            Target::Build => Compression::Zstd,
            Target::Run => Compression::Gzip,
        }
    }

    fn compress(&self, tar: &mut dyn Read, blob: &mut dyn Write) -> io::Result<()> {
        match self.target {
            Target::Build => zstd::stream::copy_encode(tar, blob, LEVEL),
            Target::Run => {
                let mut gzip = GzipWriter::new(blob, self.threads);
                io::copy(tar, &mut gzip)?;
                gzip.finish().map(drop)
            }
        }
    }
}
