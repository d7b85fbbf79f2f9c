//! The true modification times of a layer's entries.
//!
//! The layer itself carries one constant time, so that its digest depends on nothing but the files.
//! A replayed file must get its own time back, or tools that compare times (make, Python's
//! compiled files) see another tree in a cached build than in a fresh one.

/// Bytes of one entry: seconds, then nanoseconds, least byte first.
const ENTRY: usize = 12;

/// One modification time per entry of a layer, in order of the entries, whiteouts included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mtimes(Vec<(i64, u32)>);

impl Mtimes {
    /// Adds the time of the next entry: seconds and nanoseconds since 1970.
    pub fn push(&mut self, seconds: i64, nanoseconds: u32) {
        self.0.push((seconds, nanoseconds));
    }

    /// Returns the time of the entry of that number, from 0.
    pub fn get(&self, entry: usize) -> Option<(i64, u32)> {
        self.0.get(entry).copied()
    }

    /// Counts the entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes of the sidecar: 12 for each entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY);
        for (seconds, nanoseconds) in &self.0 {
            bytes.extend(seconds.to_le_bytes());
            bytes.extend(nanoseconds.to_le_bytes());
        }
        bytes
    }

    /// Reads the bytes of a sidecar. `None` if they are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (entries, rest) = bytes.as_chunks::<ENTRY>();
        let read = |entry: &[u8; ENTRY]| {
            let (seconds, nanoseconds) = entry.split_first_chunk::<8>()?;
            let nanoseconds = u32::from_le_bytes(nanoseconds.try_into().ok()?);
            (nanoseconds < 1_000_000_000).then_some((i64::from_le_bytes(*seconds), nanoseconds))
        };
        let times: Option<Vec<_>> = entries.iter().map(read).collect();
        times.filter(|_| rest.is_empty()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_reads_back() {
        let mut times = Mtimes::default();
        times.push(315_532_801, 0);
        times.push(-1, 999_999_999);
        assert_eq!(times.encode().len(), 2 * ENTRY);
        assert_eq!(Mtimes::decode(&times.encode()), Some(times));
    }

    #[test]
    fn other_bytes_are_no_sidecar() {
        assert_eq!(Mtimes::decode(&[0; ENTRY + 1]), None);
        assert_eq!(Mtimes::decode(&[0xff; ENTRY]), None);
        assert_eq!(Mtimes::decode(&[]), Some(Mtimes::default()));
    }
}
