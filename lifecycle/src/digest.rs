//! Content addresses: the sha256 of a blob, and of a layer's uncompressed tar.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A text that is not `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest `{0}` is not `sha256:` followed by 64 hexadecimal digits")]
pub struct DigestError(pub String);

/// The sha256 of some bytes, as stored: of a compressed layer, a config, a manifest.
///
/// Spec: OCI image-spec descriptor.md "Digests". Only sha256 is supported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The sha256 of a layer's uncompressed tar.
///
/// Spec: OCI image-spec config.md "Layer DiffID".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(Digest);

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes what a sha256 computation gave.
    pub fn from_hash(hash: impl Into<[u8; 32]>) -> Self {
        Self(hash.into())
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes any text");
            text
        })
    }
}

impl DiffId {
    /// Marks `digest` as the one of a layer's uncompressed tar.
    pub const fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The plain digest.
    pub const fn digest(self) -> Digest {
        self.0
    }
}

/// Names a stack of layers, base first; `None` for no layers.
///
/// Spec: OCI image-spec config.md "Layer `ChainID`".
pub fn chain_id(diff_ids: &[DiffId]) -> Option<Digest> {
    let (first, above) = diff_ids.split_first()?;
    let add = |chain: Digest, layer: &DiffId| Digest::of(format!("{chain} {layer}").as_bytes());
    Some(above.iter().fold(first.digest(), add))
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let wrong = || DigestError(text.chars().take(200).collect());
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64).ok_or_else(wrong)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digit = |c: u8| match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                _ => Err(wrong()),
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl FromStr for DiffId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes and counts what is written through it on its way to `inner`.
#[derive(Debug)]
pub struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    /// Starts at zero bytes.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// What was written through, hashed; its size in bytes; and the writer below.
    pub fn finish(self) -> (Digest, u64, W) {
        (Digest(self.hash.finalize().into()), self.size, self.inner)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: io::Read> io::Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.size += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_and_value_round_trip() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
        let json = serde_json::to_string(&DiffId::new(Digest::of(b""))).expect("a digest is JSON");
        assert_eq!(json, format!("\"{EMPTY}\""));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in
            ["", "sha256:", "sha512:00", &EMPTY.to_uppercase(), &EMPTY[7..], "sha256:../../../etc/passwd"]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(format!("sha256:{}", "é".repeat(32)).parse::<Digest>().is_err());
    }

    #[test]
    fn a_chain_is_named_by_all_its_layers() {
        let [a, b] = [&b"a"[..], b"b"].map(|bytes| DiffId::new(Digest::of(bytes)));
        assert_eq!((chain_id(&[]), chain_id(&[a])), (None, Some(a.digest())));
        assert_eq!(chain_id(&[a, b]), Some(Digest::of(format!("{a} {b}").as_bytes())));
    }

    #[test]
    fn hashing_counts_what_passes() {
        let mut writer = Hashing::new(Vec::new());
        writer.write_all(b"abc").expect("a Vec takes any bytes");
        let (digest, size, bytes) = writer.finish();
        assert_eq!((digest, size, bytes.as_slice()), (Digest::of(b"abc"), 3, b"abc".as_slice()));
    }
}
