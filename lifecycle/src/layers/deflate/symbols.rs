//! Symbols: what RFC 1951, section 3.2.5, calls the values that get a code, and how lengths and
//! distances become symbols with extra bits.

use super::token::INDEXES;

/// How many symbols of literals, end of block and lengths there are.
pub(super) const VALUE_SYMBOLS: usize = 286;

/// How many symbols of distances there are.
pub(super) const DISTANCE_SYMBOLS: usize = 30;

/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;

/// The symbol of the shortest match.
pub(super) const FIRST_LENGTH: usize = 257;

/// How a length or a distance is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    /// The symbol; of lengths counted from [`FIRST_LENGTH`].
    pub(super) number: u8,
    /// The least length less three, or distance less one, with this symbol.
    pub(super) base: u16,
    /// How many bits follow the code; their value is added to the base.
    pub(super) extra_bits: u8,
}

/// The symbols of lengths, by length less three.
pub(super) const LENGTHS: [Symbol; 256] = lengths();

/// The symbols of distances, by index of the token. That of [`NO_DISTANCE`] means nothing.
///
/// [`NO_DISTANCE`]: super::token::NO_DISTANCE
pub(super) const DISTANCES: [Symbol; INDEXES] = distances();

const fn lengths() -> [Symbol; 256] {
    let mut all = [Symbol { number: 0, base: 0, extra_bits: 0 }; 256];
    let mut less_three = 0;
    while less_three < 255 {
        all[less_three as usize] = symbol(less_three, 4);
        less_three += 1;
    }
    // The longest match has a symbol of its own.
    all[255] = Symbol { number: 28, base: 255, extra_bits: 0 };
    all
}

const fn distances() -> [Symbol; INDEXES] {
    let mut all = [Symbol { number: 0, base: 0, extra_bits: 0 }; INDEXES];
    let mut index = 0;
    while index < INDEXES {
        let less_one = if index < 256 { index } else { (index - 256) << 7 };
        all[index] = symbol(less_one as u16, 2);
        index += 1;
    }
    all
}

/// The symbol of `value`: each power of two is divided into `steps` symbols, a power of two itself;
/// small values have one each.
const fn symbol(value: u16, steps: u16) -> Symbol {
    if value < 2 * steps {
        return Symbol { number: value as u8, base: value, extra_bits: 0 };
    }
    let extra_bits = value.ilog2() - steps.ilog2();
    let upper = value >> extra_bits;
    Symbol {
        number: (extra_bits as u16 * steps + upper) as u8,
        base: upper << extra_bits,
        extra_bits: extra_bits as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::super::token;
    use super::*;

    #[track_caller]
    fn check(symbol: Symbol, number: u8, base: u16, extra_bits: u8) {
        assert_eq!((symbol.number, symbol.base, symbol.extra_bits), (number, base, extra_bits));
    }

    #[test]
    fn lengths_are_those_of_the_rfc() {
        for (length, symbol, base, extra_bits) in [
            (3, 257, 3, 0),
            (10, 264, 10, 0),
            (11, 265, 11, 1),
            (12, 265, 11, 1),
            (18, 268, 17, 1),
            (19, 269, 19, 2),
            (130, 280, 115, 4),
            (131, 281, 131, 5),
            (257, 284, 227, 5),
            (258, 285, 258, 0),
        ] {
            check(LENGTHS[length - 3], (symbol - FIRST_LENGTH) as u8, base - 3, extra_bits);
        }
    }

    #[test]
    fn distances_are_those_of_the_rfc() {
        for (distance, symbol, base, extra_bits) in [
            (1, 0, 1, 0),
            (4, 3, 4, 0),
            (5, 4, 5, 1),
            (256, 15, 193, 6),
            (257, 16, 257, 7),
            (385, 17, 385, 7),
            (24576, 28, 16385, 13),
            (24577, 29, 24577, 13),
            (32768, 29, 24577, 13),
        ] {
            check(DISTANCES[token::index(distance - 1) as usize], symbol, base - 1, extra_bits);
        }
    }

    #[test]
    fn every_distance_lies_between_its_symbol_s_base_and_the_next() {
        for less_one in 0..32768 {
            let symbol = DISTANCES[token::index(less_one) as usize];
            let extra = less_one - u32::from(symbol.base);
            assert!(extra < 1 << symbol.extra_bits, "{less_one}");
        }
    }
}
