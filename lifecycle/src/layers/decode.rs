//! A layer's tar out of its blob, however that is compressed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// The uncompressed bytes of `blob`: gzip and zstd are told by how they begin, anything else is
/// taken as it is. Media types are not asked, because they are wrong more often.
///
/// Fails when the first bytes cannot be read.
pub fn decompress<'a>(blob: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut blob = BufReader::with_capacity(1 << 16, blob);
    Ok(match blob.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(blob)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(blob)?),
        _ => Box::new(blob),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[track_caller]
    fn check(blob: &[u8], expected: &[u8]) {
        let mut bytes = Vec::new();
        let read = decompress(blob).and_then(|mut reader| reader.read_to_end(&mut bytes));
        assert_eq!(
            (read.map_err(|error| error.to_string()), bytes.as_slice()),
            (Ok(expected.len()), expected)
        );
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory takes any bytes");
        encoder.finish().expect("memory takes any bytes")
    }

    #[test]
    fn blobs_are_told_by_how_they_begin() {
        let tar = vec![7; 100_000];
        check(&tar, &tar);
        check(&gzip(&tar), &tar);
        check(&zstd::encode_all(tar.as_slice(), 1).expect("memory takes any bytes"), &tar);
        check(b"", b"");
    }

    #[test]
    fn gzip_of_several_members_is_read_to_its_end() {
        check(&[gzip(b"one "), gzip(b"two")].concat(), b"one two");
    }
}
