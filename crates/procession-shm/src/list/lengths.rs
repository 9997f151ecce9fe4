//! The exact lengths of texts and bytes, which stand after what Python knows of a list.
//!
//! Python neither reads nor writes them, so each stands with a fingerprint of what was written with it. Where that is no
//! longer the fingerprint of what is there, Python has written since, and the length means nothing.
//!
//! Relies on `kind.rs` for the marks, which are part of what was written.

use super::kind::Kind;
use super::layout::{ENTRY_BYTES, WORD};
use crate::shareable::{FNV_OFFSET, FNV_PRIME};

/// A length and the fingerprint of what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    length: u64,
    fingerprint: u64,
}

impl Entry {
    /// The entry of what needs none.
    pub(super) const NONE: Self = Self { length: 0, fingerprint: 0 };

    /// The entry of `length` bytes that stand with this mark in a slot of these bytes.
    pub(super) fn of(length: usize, kind: Kind, slot: &[u8]) -> Self {
        let length = length as u64;
        Self { length, fingerprint: fingerprint(length, kind, slot) }
    }

    /// The length of what stands in a slot, if nobody else has written there since.
    pub(super) fn length_of(self, kind: Kind, slot: &[u8]) -> Option<usize> {
        let length = usize::try_from(self.length).ok().filter(|&length| length <= slot.len())?;
        (self.fingerprint == fingerprint(self.length, kind, slot)).then_some(length)
    }

    pub(super) fn from_bytes(bytes: [u8; ENTRY_BYTES]) -> Self {
        let both = u128::from_ne_bytes(bytes);
        let [length, fingerprint] = [both as u64, (both >> u64::BITS) as u64];
        Self { length, fingerprint }
    }

    pub(super) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        (u128::from(self.length) | u128::from(self.fingerprint) << u64::BITS).to_ne_bytes()
    }
}

/// The same in every program, so it is no hasher of the standard library's. It keeps apart what honest programs write;
/// whoever forges it gives a text another length, as by writing a text.
fn fingerprint(length: u64, kind: Kind, slot: &[u8]) -> u64 {
    let mark = u64::from_ne_bytes(kind.format());
    let hash = [length, mark, kind.code().into()].into_iter().fold(FNV_OFFSET, mixed);
    let (words, rest) = slot.as_chunks::<WORD>();
    let hash = words.iter().fold(hash, |hash, word| mixed(hash, u64::from_ne_bytes(*word)));
    rest.iter().fold(hash, |hash, &byte| mixed(hash, byte.into()))
}

/// FNV-1a by words, as long slots would take long by bytes, and with the upper half brought down: a product alone never
/// lets upper bits matter to lower ones.
fn mixed(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(FNV_PRIME);
    product ^ (product >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_belongs_to_what_it_was_made_of() {
        let slot = *b"abc\0\0\0\0\0\0\0\0\0\0\0\0\x80";
        let entry = Entry::from_bytes(Entry::of(4, Kind::Text(16), &slot).to_bytes());
        assert_eq!(entry.length_of(Kind::Text(16), &slot), Some(4));
        assert_eq!(entry.length_of(Kind::Bytes(16), &slot), None);
        assert_eq!(entry.length_of(Kind::Text(8), &slot[..8]), None);
        assert_eq!(Entry { length: 5, ..entry }.length_of(Kind::Text(16), &slot), None);
        assert_eq!(Entry { length: u64::MAX, ..entry }.length_of(Kind::Text(16), &slot), None);
        assert_eq!(Entry::NONE.length_of(Kind::Text(16), &slot), None);
        for bit in 0..slot.len() * 8 {
            let mut other = slot;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(entry.length_of(Kind::Text(16), &other), None, "bit {bit}");
        }
        // The highest bits of two words, which a product alone would not tell from neither.
        let mut other = slot;
        other[7] ^= 0x80;
        other[15] ^= 0x80;
        assert_eq!(entry.length_of(Kind::Text(16), &other), None);
    }
}
