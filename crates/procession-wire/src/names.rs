//! A short signature of the names of struct fields and enum variants.
//!
//! Serde's derive numbers variants and orders fields by what one side of the type keeps, and the two sides
//! may keep different ones (`skip_serializing`, `skip_deserializing`, a skipped variant). A position
//! therefore proves nothing; the name does. The signature is no defense against an attacker, who may write
//! any name: it detects that sender and receiver read the same type differently. Relies on nothing.

use std::any::type_name;

/// The signature of one name.
#[inline]
pub(crate) fn signature(name: &str) -> u16 {
    fold(mix(SEED, name))
}

/// The signature of a list of names, which depends on their order.
#[inline]
pub(crate) fn list_signature(names: &[&str]) -> u16 {
    fold(names.iter().fold(SEED, |state, name| mix(state, name)))
}

/// Where a running signature starts (the fraction of the golden ratio); [`mix`] then adds each name.
pub(crate) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Adds one name to a running signature.
///
/// Names are constants in generated code, so this is written without a loop for all names up to 24 bytes and
/// the compiler usually computes it ahead of time.
#[inline]
pub(crate) fn mix(state: u64, name: &str) -> u64 {
    let bytes = name.as_bytes();
    let len = bytes.len();
    let mut state = (state ^ len as u64).wrapping_mul(MULTIPLIER);
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let mut body = bytes;
        while let Some((chunk, rest)) = body.split_first_chunk::<8>()
            && !rest.is_empty()
        {
            state = step(state, u64::from_le_bytes(*chunk));
            body = rest;
        }
        return step(step(state, u64::from_le_bytes(*head)), u64::from_le_bytes(*tail));
    }
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let both = u64::from(u32::from_le_bytes(*head)) << 32 | u64::from(u32::from_le_bytes(*tail));
        return step(state, both);
    }
    let first = bytes.first().copied().unwrap_or_default();
    let middle = bytes.get(len / 2).copied().unwrap_or_default();
    let last = bytes.last().copied().unwrap_or_default();
    step(state, u64::from(first) << 16 | u64::from(middle) << 8 | u64::from(last))
}

/// The two bytes that travel.
#[inline]
pub(crate) fn fold(state: u64) -> u16 {
    (state >> 48) as u16
}

/// Whether a type's values are containers of bytes in all likelihood, such as `Vec<u8>`.
///
/// Names of types prove nothing either. This one says which of two ways is taken that come to the same, one of which is made
/// for bytes. Optimized builds know the answer at compile time.
#[inline]
pub(crate) fn is_of_bytes<T>() -> bool {
    type_name::<T>().ends_with("<u8>")
}

/// Whether a type is that of a byte in a container, as serde hands it over, in all likelihood.
#[inline]
pub(crate) fn is_a_byte<T>() -> bool {
    type_name::<T>() == "&u8"
}

/// An odd number with well-spread bits: the fraction of the square root of 5.
const MULTIPLIER: u64 = 0x3c6e_f372_fe94_f82b;

/// One round: the high bits, which [`fold`] keeps, depend on every bit that went in.
#[inline]
fn step(state: u64, word: u64) -> u64 {
    let mixed = (state ^ word).wrapping_mul(MULTIPLIER);
    (mixed ^ mixed >> 29).wrapping_mul(MULTIPLIER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_of_every_length_differ_in_every_byte() {
        for len in 1..40 {
            let base = "a".repeat(len);
            for at in 0..len {
                let mut other = base.clone().into_bytes();
                other[at] = b'b';
                let other = String::from_utf8(other).unwrap();
                assert_ne!(signature(&base), signature(&other), "{base} {other}");
            }
        }
    }

    #[test]
    fn signatures_spread() {
        let seen: HashSet<u16> = (0..4096).map(|n| signature(&format!("Variant{n}"))).collect();
        assert!(seen.len() > 3900, "{} of 4096 differ", seen.len());
    }

    #[test]
    fn the_order_of_a_list_counts() {
        assert_ne!(list_signature(&["a", "b"]), list_signature(&["b", "a"]));
        assert_ne!(list_signature(&["ab"]), list_signature(&["a", "b"]));
    }
}
