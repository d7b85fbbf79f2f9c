//! Compression, block by block: which thread compresses which block does not show in the result.

pub use super::deflate::point::BLOCK;
use super::deflate::{END, Encoder};
use crate::image::manifest::Encoding;

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// A block, compressed.
#[derive(Debug)]
pub struct Packed {
    /// The compressed bytes: they follow those of the block before.
    pub bytes: Vec<u8>,
    /// The checksum and length of the block as it was.
    crc: crc32fast::Hasher,
}

/// Compresses blocks; each thread has its own.
pub struct Packer {
    encoding: Encoding,
    deflate: Encoder,
}

impl Packer {
    /// One for blobs of that encoding.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, deflate: Encoder::default() }
    }

    /// Compresses `block` into `out`, whose room is used again.
    pub fn pack(&mut self, block: &[u8], mut out: Vec<u8>) -> Packed {
        out.clear();
        let mut crc = crc32fast::Hasher::new();
        match self.encoding {
            Encoding::Tar => out.extend_from_slice(block),
            Encoding::Gzip => {
                crc.update(block);
                self.deflate.compress(block, &mut out);
            }
            // A frame for each block: readers take frames one after the other.
            Encoding::Zstd => {
                out.reserve(zstd::zstd_safe::compress_bound(block.len()));
                let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL);
                compressor
                    .and_then(|mut compressor| compressor.compress_to_buffer(block, &mut out))
                    .expect("zstd takes any bytes that have room");
            }
        }
        Packed { bytes: out, crc }
    }
}

/// What stands before the first block and behind the last one.
#[derive(Debug)]
pub struct Frame {
    encoding: Encoding,
    crc: crc32fast::Hasher,
    length: u32,
}

impl Frame {
    /// The frame of a blob of that encoding.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, crc: crc32fast::Hasher::new(), length: 0 }
    }

    /// A gzip header without time, name or system, as Go writes it for its fastest level.
    pub fn header(&self) -> &'static [u8] {
        match self.encoding {
            Encoding::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255],
            Encoding::Tar | Encoding::Zstd => &[],
        }
    }

    /// Counts a block of `length` bytes.
    pub fn add(&mut self, packed: &Packed, length: usize) {
        self.crc.combine(&packed.crc);
        // gzip counts modulo 2^32, and a block is shorter than that.
        self.length = self.length.wrapping_add(u32::try_from(length).expect("a block is small"));
    }

    /// The end of the deflate stream, the checksum and the length.
    pub fn trailer(self) -> Vec<u8> {
        match self.encoding {
            Encoding::Gzip => {
                [&END[..], &self.crc.finalize().to_le_bytes(), &self.length.to_le_bytes()].concat()
            }
            Encoding::Tar | Encoding::Zstd => Vec::new(),
        }
    }
}
