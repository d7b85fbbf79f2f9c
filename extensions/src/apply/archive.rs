//! Local archives of ADD: recognised by their bytes, read through whatever compressed them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

use crate::layer::TarReader;

/// Memory that decoding one xz block may take. Its highest preset needs a quarter.
const XZ_LIMIT_KIB: u32 = 256 * 1024;

/// Bytes of the longest magic number.
const MAGIC_BYTES: usize = 6;

/// Returns a reader of the tar in a file, which may be compressed by gzip, bzip2, xz or zstd. `None`
/// if it holds none: a file is an archive if its first entry can be read.
pub(super) fn open(file: &mut File) -> io::Result<Option<Box<dyn Read + '_>>> {
    if !is_tar(file)? {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0))?;
    decompress(file).map(Some)
}

fn is_tar(file: &mut File) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    Ok(match decompress(file) {
        Ok(tar) => matches!(TarReader::new(tar).next_entry(), Ok(Some(_))),
        Err(_) => false,
    })
}

fn decompress(file: &mut File) -> io::Result<Box<dyn Read + '_>> {
    let mut magic = Vec::new();
    (&mut *file).take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::with_capacity(64 * 1024, file);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, 8, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_LIMIT_KIB))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}
