//! Bits: writes a deflate stream's bits, the first in the lowest (RFC 1951, section 3.1.1).

/// The most bytes of a stored block.
const LONGEST_STORED: usize = 0xFFFF;

/// Appends bits to bytes.
pub(super) struct Bits<'a> {
    out: &'a mut Vec<u8>,
    pending: Pending,
}

/// Bits that do not fill a byte yet, and room for more.
#[derive(Clone, Copy, Default)]
pub(super) struct Pending {
    bits: u64,
    count: u32,
}

impl Pending {
    /// Adds the lower `count` bits of `bits`; the upper ones must be 0. At most 63 fit.
    #[inline]
    pub(super) fn push(&mut self, bits: u64, count: u32) {
        debug_assert!(self.count + count < 64 && bits >> count == 0, "bits fit");
        self.bits |= bits << (self.count & 63);
        self.count += count;
    }

    /// How many there are.
    #[inline]
    pub(super) fn count(self) -> u32 {
        self.count
    }

    /// Writes all whole bytes to the front of `out`, and zeros or bits that come again behind them:
    /// eight bytes in any case. Returns how many bytes are whole; up to 7 bits are left.
    #[inline]
    pub(super) fn flush(&mut self, out: &mut [u8; 8]) -> usize {
        *out = self.bits.to_le_bytes();
        let whole = self.count >> 3;
        self.bits >>= whole * 8;
        self.count &= 7;
        whole as usize
    }
}

impl<'a> Bits<'a> {
    /// Appends to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: Pending::default() }
    }

    /// Adds the lower `count` bits of `bits`, up to 32.
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.pending.push(bits.into(), count);
        let mut bytes = [0; 8];
        let whole = self.pending.flush(&mut bytes);
        self.out.extend_from_slice(&bytes[..whole]);
    }

    /// Adds about `count` bits at once: `write` gets room for them and the bits that are pending, and
    /// returns how many bytes it wrote and what is pending then.
    pub(super) fn put_many(
        &mut self,
        count: usize,
        write: impl FnOnce(&mut [u8], Pending) -> (usize, Pending),
    ) {
        let before = self.out.len();
        self.out.resize(before + count / 8 + 16, 0);
        let (written, pending) = write(&mut self.out[before..], self.pending);
        self.out.truncate(before + written);
        self.pending = pending;
    }

    /// How many bits were put, the ones before the first byte among them.
    pub(super) fn position(&self) -> usize {
        self.out.len() * 8 + self.pending.count as usize
    }

    /// Adds `bytes` in stored blocks, one at least: none are as long as nothing can be.
    pub(super) fn stored(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(LONGEST_STORED));
        self.stored_block(first);
        rest.chunks(LONGEST_STORED).for_each(|block| self.stored_block(block));
    }

    /// The most bits that [`Self::stored`] adds for so many bytes.
    pub(super) fn stored_bits(bytes: usize) -> usize {
        bytes * 8 + bytes.div_ceil(LONGEST_STORED) * (3 + 7 + 32)
    }

    fn stored_block(&mut self, bytes: &[u8]) {
        self.put(0, 3);
        self.put(0, self.pending.count.wrapping_neg() & 7);
        let length = bytes.len() as u32;
        self.put(length | !length << 16, 32);
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_is_the_lowest() {
        let mut out = vec![0xFF];
        let mut bits = Bits::new(&mut out);
        bits.put(0b1, 1);
        bits.put(0b10, 2);
        bits.put(0xABC, 12);
        assert_eq!(bits.position(), 23);
        bits.put(1, 1);
        assert_eq!(out, [0xFF, 0b1110_0101, 0xD5]);
    }

    #[test]
    fn stored_blocks_begin_on_a_byte_and_hold_65535_bytes_at_most() {
        let bytes = vec![7; LONGEST_STORED + 2];
        let mut out = Vec::new();
        let mut bits = Bits::new(&mut out);
        bits.put(0b11, 2);
        bits.stored(&bytes);
        assert_eq!(bits.position(), (5 + bytes.len() + 5) * 8);
        assert!(bits.position() <= Bits::stored_bits(bytes.len()));
        assert_eq!(out[..6], [0b11, 0xFF, 0xFF, 0, 0, 7]);
        assert_eq!(out[5 + LONGEST_STORED..], [0, 2, 0, 0xFD, 0xFF, 7, 7]);
    }

    #[test]
    fn nothing_is_stored_as_one_empty_block() {
        let mut out = Vec::new();
        Bits::new(&mut out).stored(&[]);
        assert_eq!(out, [0, 0, 0, 0xFF, 0xFF]);
    }
}
