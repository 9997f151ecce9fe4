//! What may live in shared memory.
//!
//! # Safety
//! The implementations here are for numbers, which any bits are, and for the few types of the language whose invalid
//! bits can be told by looking at them.

#![expect(unsafe_code, reason = "vouches for the layout of the language's own types")]

/// A type whose values may live in memory that several processes map.
///
/// Such a value is its bytes and nothing else: no pointer, no reference, no handle, no byte of padding. Numbers, `bool`,
/// `char`, arrays of them, and what is derived: `#[derive(Shareable)]` on a `repr(C)` struct of such fields, or on an
/// enum without fields.
///
/// Where not all bits are a value (`bool`, `char`, enums, and structs that hold them), what is read is checked, since
/// another process may have written anything.
///
/// # Safety
/// Every byte of a value is initialized, none is a pointer's. [`Shareable::is_valid`] is true only for bits that are a
/// value; if [`Shareable::ANY_BITS`] is true, all are.
pub unsafe trait Shareable: Copy + Send + Sync + 'static {
    /// True for types of which all bits are a value, such as numbers.
    const ANY_BITS: bool;

    /// Tells types apart that two programs call by different names: equal for types of the same layout.
    const SIGNATURE: u64;

    /// Whether these bytes, as many as the type has, are a value of it.
    fn is_valid(bytes: &[u8]) -> bool;
}

/// The signature of a type, from its name and what it is made of.
#[doc(hidden)]
#[must_use]
pub const fn signature(name: &str, parts: &[u64]) -> u64 {
    let mut hash = FNV_OFFSET;
    let name = name.as_bytes();
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u64).wrapping_mul(FNV_PRIME);
        at += 1;
    }
    let mut at = 0;
    while at < parts.len() {
        hash = (hash ^ parts[at]).wrapping_mul(FNV_PRIME);
        at += 1;
    }
    hash
}

/// The constants of FNV-1a for 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

macro_rules! numbers {
    ($($number:ty),* $(,)?) => {$(
        // SAFETY: a number is its bytes, and any bits are one.
        unsafe impl Shareable for $number {
            const ANY_BITS: bool = true;
            const SIGNATURE: u64 = signature(stringify!($number), &[size_of::<$number>() as u64]);

            fn is_valid(_: &[u8]) -> bool {
                true
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

// SAFETY: one byte, of which 0 and 1 are values.
unsafe impl Shareable for bool {
    const ANY_BITS: bool = false;
    const SIGNATURE: u64 = signature("bool", &[]);

    fn is_valid(bytes: &[u8]) -> bool {
        matches!(bytes, [0 | 1])
    }
}

// SAFETY: four bytes, of which the scalar values of Unicode are values.
unsafe impl Shareable for char {
    const ANY_BITS: bool = false;
    const SIGNATURE: u64 = signature("char", &[]);

    fn is_valid(bytes: &[u8]) -> bool {
        bytes.try_into().is_ok_and(|bytes| char::from_u32(u32::from_ne_bytes(bytes)).is_some())
    }
}

// SAFETY: values one after the other, with nothing between them.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {
    const ANY_BITS: bool = T::ANY_BITS;
    const SIGNATURE: u64 = signature("[]", &[T::SIGNATURE, N as u64]);

    fn is_valid(bytes: &[u8]) -> bool {
        T::ANY_BITS || bytes.chunks_exact(size_of::<T>().max(1)).all(T::is_valid)
    }
}
