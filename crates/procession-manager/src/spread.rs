//! Hashing of numbers that no peer chooses: calls', which this process counts, objects', which are random, and hashes of keys,
//! which are made with a secret.
//!
//! Relies on that: whoever could choose the keys of a table with this hash could make it slow. It takes a tenth of the time
//! that the standard library's takes, of which a call needs several.

use std::hash::{BuildHasherDefault, Hasher};

/// What a table of such numbers is made with.
pub(crate) type Spreading = BuildHasherDefault<Spread>;

/// Odd, with as many ones as zeros: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads numbers over all bits.
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(FACTOR);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|&word| self.write_u64(u64::from_le_bytes(word)));
        rest.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
