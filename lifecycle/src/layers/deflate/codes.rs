//! Codes: from counts to a Huffman code (RFC 1951, section 3.2.2), with codes no longer than wanted.
//!
//! ```text
//! counts ─ sort ─► leaves ─ two queues ─► depths ─ clamp, repair ─► codes of each length ─► lengths ─► codes
//! ```
//!
//! Which symbol has which depth does not matter to Huffman's construction, only how many symbols
//! have it: the rarest symbols get the longest codes at the end. So depths are kept as numbers of
//! codes by length, and shortening codes that came out too long changes those numbers alone.

/// RFC 1951's limit of a code's length.
const LONGEST: usize = 15;

/// Symbols are sorted with their counts, in the lower bits of one number.
const SYMBOL_BITS: u32 = 9;

/// How many codes there are of each length.
type OfLength = [u32; LONGEST + 1];

/// A code of `N` symbols. At least two have a code, and the code is complete: decoders differ in
/// which others they take.
pub(super) struct Code<const N: usize> {
    /// The lengths in bits; 0 for symbols without a code.
    pub(super) lengths: [u8; N],
    /// The codes as written, the first bit lowest.
    pub(super) codes: [u16; N],
}

impl<const N: usize> Code<N> {
    /// The best code for symbols that occur so often, of codes up to `longest` bits.
    pub(super) fn new(counts: &[u32; N], longest: u8) -> Self {
        let lengths = lengths(counts, usize::from(longest));
        Self { lengths, codes: codes(&lengths) }
    }

    /// How many bits the codes of so many symbols are.
    pub(super) fn bits(&self, counts: &[u32; N]) -> usize {
        counts.iter().zip(self.lengths).map(|(n, length)| *n as usize * usize::from(length)).sum()
    }
}

/// The codes that RFC 1951 gives to these lengths.
fn codes<const N: usize>(lengths: &[u8; N]) -> [u16; N] {
    let mut of_length = [0; LONGEST + 1];
    lengths.iter().filter(|length| **length > 0).for_each(|length| of_length[usize::from(*length)] += 1);
    let mut next = [0u16; LONGEST + 1];
    for length in 1..=LONGEST {
        next[length] = (next[length - 1] + of_length[length - 1]) << 1;
    }
    std::array::from_fn(|symbol| match lengths[symbol] {
        0 => 0,
        length => {
            let code = next[usize::from(length)];
            next[usize::from(length)] += 1;
            code.reverse_bits() >> (16 - length)
        }
    })
}

/// The lengths of the codes.
fn lengths<const N: usize>(counts: &[u32; N], longest: usize) -> [u8; N] {
    let mut sorted = [0; N];
    let mut used = 0;
    for (symbol, count) in (0..).zip(counts) {
        sorted[used] = count << SYMBOL_BITS | symbol;
        used += usize::from(*count > 0);
    }
    let symbol = |key: u32| (key & ((1 << SYMBOL_BITS) - 1)) as usize;
    let mut lengths = [0; N];
    if used < 2 {
        let only = if used == 1 { symbol(sorted[0]) } else { 0 };
        lengths[only] = 1;
        lengths[usize::from(only == 0)] = 1;
        return lengths;
    }
    let rarest_first = &mut sorted[..used];
    rarest_first.sort_unstable();
    let mut of_length = depths::<N>(rarest_first);
    shorten(&mut of_length, longest);
    let mut keys = rarest_first.iter();
    for length in (1..=longest).rev() {
        for key in keys.by_ref().take(of_length[length] as usize) {
            lengths[symbol(*key)] = length as u8;
        }
    }
    lengths
}

/// Huffman's construction with two queues: the leaves in order, and the nodes in the order they are
/// made, which is that of their weights. Returns how many leaves lie at each depth; those below
/// [`LONGEST`] count as there.
fn depths<const N: usize>(leaves: &[u32]) -> OfLength {
    let mut weights = [u32::MAX; N];
    let mut parent_of_node = [0; N];
    let mut parent_of_leaf = [0; N];
    let (mut leaf, mut node) = (0, 0);
    for made in 0..leaves.len() - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let of_leaf = leaves.get(leaf).map_or(u32::MAX, |key| key >> SYMBOL_BITS);
            if of_leaf <= weights[node] {
                weight += of_leaf;
                parent_of_leaf[leaf] = made;
                leaf += 1;
            } else {
                weight += weights[node];
                parent_of_node[node] = made;
                node += 1;
            }
        }
        weights[made] = weight;
    }
    // The last node is the root.
    let mut depth_of_node = [0; N];
    for node in (0..leaves.len() - 2).rev() {
        depth_of_node[node] = depth_of_node[parent_of_node[node]] + 1;
    }
    let mut of_length = [0; LONGEST + 1];
    for parent in &parent_of_leaf[..leaves.len()] {
        of_length[LONGEST.min(depth_of_node[*parent] + 1)] += 1;
    }
    of_length
}

/// Makes codes of no more than `longest` bits. A code of length `n` takes `1 / 2^n` of the code space
/// (Kraft); what too long ones take too much when cut is won back by making others one bit longer,
/// until exactly all of the space is taken.
fn shorten(of_length: &mut OfLength, longest: usize) {
    let too_long: u32 = of_length[longest + 1..].iter().sum();
    of_length[longest] += too_long;
    of_length[longest + 1..].fill(0);
    let space = 1 << longest;
    let mut taken = taken(of_length, longest);
    while taken > space {
        // A code that is `length` long becomes a node, with itself and one of the longest below it.
        let length = (1..longest).rev().find(|length| of_length[*length] > 0);
        let length = length.expect("codes of the greatest length alone do not take too much");
        of_length[length] -= 1;
        of_length[length + 1] += 2;
        of_length[longest] -= 1;
        taken -= 1;
    }
    debug_assert_eq!(taken, space, "the code is complete");
}

/// The space that codes take, in units of the longest.
fn taken(of_length: &OfLength, longest: usize) -> u32 {
    (1..=longest).map(|length| of_length[length] << (longest - length)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kraft<const N: usize>(code: &Code<N>, longest: u32) -> u32 {
        code.lengths
            .iter()
            .filter(|length| **length > 0)
            .map(|length| 1 << (longest - u32::from(*length)))
            .sum()
    }

    #[test]
    fn codes_are_those_of_the_example_in_the_rfc() {
        let written: [u16; 8] = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111];
        let lengths = [3u8, 3, 3, 3, 3, 2, 4, 4];
        let reversed = |at: usize| written[at].reverse_bits() >> (16 - lengths[at]);
        assert_eq!(codes(&lengths), std::array::from_fn(reversed));
    }

    #[test]
    fn frequent_symbols_have_short_codes() {
        assert_eq!(Code::new(&[45, 13, 12, 16, 9, 5, 0], 15).lengths, [1, 3, 3, 3, 4, 4, 0]);
    }

    #[test]
    fn one_symbol_or_none_has_a_second_beside_it() {
        assert_eq!(Code::new(&[0; 4], 13).lengths, [1, 1, 0, 0]);
        assert_eq!(Code::new(&[7, 0, 0, 0], 13).lengths, [1, 1, 0, 0]);
        assert_eq!(Code::new(&[0, 0, 7, 0], 13).lengths, [1, 0, 1, 0]);
    }

    #[test]
    fn counts_like_fibonacci_s_are_cut_to_the_longest_code() {
        let mut counts = [1u32; 30];
        for at in 2..30 {
            counts[at] = counts[at - 1] + counts[at - 2];
        }
        for longest in [5, 7, 12, 13] {
            let code = Code::new(&counts, longest);
            assert!(code.lengths.iter().all(|length| (1..=longest).contains(length)), "{longest}");
            assert_eq!(kraft(&code, longest.into()), 1 << longest);
        }
    }

    proptest! {
        #[test]
        fn every_code_is_complete_and_no_longer_than_wanted(
            counts in proptest::collection::vec(prop_oneof![Just(0u32), 0..4u32, 0..16384u32], 286),
            longest in 9..=12u8,
        ) {
            let counts: [u32; 286] = counts.try_into().expect("286 counts");
            let code = Code::new(&counts, longest);
            prop_assert!(code.lengths.iter().all(|length| *length <= longest));
            prop_assert_eq!(kraft(&code, 12), 1 << 12);
            let coded = code.lengths.iter().zip(counts).all(|(length, count)| count == 0 || *length > 0);
            prop_assert!(coded);
        }
    }
}
