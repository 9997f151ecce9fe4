//! What may live in shared memory.
//!
//! # Safety
//! The implementations here are for numbers, which any bits are, and for the few types of the language whose invalid
//! bits can be told by looking at them.

#![expect(unsafe_code, reason = "vouches for the layout of the language's own types")]

use std::num::{NonZero, Saturating, Wrapping};

/// The largest alignment of what lives in shared memory: a cache line.
///
/// A mapping begins at a page, but what lies in it begins where its owner says, and no layout of ours promises more than
/// this.
pub const SHAREABLE_ALIGN_MAX: usize = 64;

/// A type whose values may live in memory that several processes map.
///
/// Such a value is its bytes and nothing else, and they mean the same in every process: no pointer, no reference, no
/// handle, no byte of padding. These are shareable:
///
/// - integers, floats, `bool`, `char`;
/// - [`Wrapping`] and [`Saturating`] numbers, [`NonZero`] ones and their `Option`;
/// - arrays of what is shareable;
/// - structs and enums with `#[derive(Shareable)]`, whose page has its rules.
///
/// `String`, `Vec` and `Box` are not, as they hold addresses: an array of bytes and a length is, or an index into a
/// shared array. Tuples, `Option` and `Result` are not, as each build may lay them out in another way. Atomics and
/// locks are not values that are copied; what offers them puts them into memory itself. Types without bytes are refused
/// where memory is made for them.
///
/// Where not all bits are a value (`bool`, `char`, `NonZero`, enums, and what holds them), what is read is checked, since
/// another process may have written anything.
///
/// The trait asks for `Copy`, because what lies in shared memory is read and written by copying and is never dropped,
/// and for `'static`, because no process knows how long another lives.
///
/// # Safety
/// Every byte of a value is initialized, none is a pointer's. [`Shareable::is_valid`] is true only for bits that are a
/// value; if [`Shareable::ANY_BITS`] is true, all are. An implementation that is derived asserts this in its two
/// constants; so whoever takes bytes for a value, or a value for bytes, evaluates one of them.
///
/// # Python
/// What `ctypes` and the typecodes of `multiprocessing.Array` describe.
///
/// # Examples
/// ```
/// use procession_shm::Shareable;
///
/// #[derive(Clone, Copy, Shareable)]
/// #[repr(C)]
/// struct Reading {
///     celsius: f32,
///     valid: bool,
///     filler: [u8; 3], // Padding would have no value; a field does.
/// }
///
/// assert!(f32::ANY_BITS && !Reading::ANY_BITS);
/// assert!(Reading::is_valid(&[0, 0, 0, 0, 1, 0, 0, 0]));
/// assert!(!Reading::is_valid(&[0, 0, 0, 0, 2, 0, 0, 0])); // No `bool`.
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot live in shared memory",
    label = "its bytes do not mean the same in every process, or nobody has vouched that they do",
    note = "numbers, `bool`, `char`, arrays of them, and `Copy` types with `#[derive(Shareable)]` can",
    note = "instead of a `String`, `Vec` or reference hold an array, or an index into a shared array; \
            atomics and locks have types of their own, which place them in memory themselves"
)]
pub unsafe trait Shareable: Copy + Send + Sync + 'static {
    /// True for types of which all bits are a value, such as numbers.
    const ANY_BITS: bool;

    /// Tells a type from others where a handle arrives: of the name, the size, and what the type is made of. Two
    /// types with one definition have one signature, wherever they stand.
    const SIGNATURE: u64;

    /// Whether these bytes, as many as the type has, are a value of it.
    fn is_valid(bytes: &[u8]) -> bool;
}

/// What must hold of a type before memory is made for its values, evaluated in a constant: that it has bytes, no greater
/// alignment than is promised, and what a derived implementation asserts of itself.
pub(crate) const fn assert_layout<T: Shareable>() {
    let _ = T::SIGNATURE;
    assert!(size_of::<T>() > 0, "a type without bytes cannot live in shared memory");
    assert!(align_of::<T>() <= SHAREABLE_ALIGN_MAX, "an alignment above 64 bytes is not promised in shared memory");
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
pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
pub(crate) const FNV_PRIME: u64 = 0x0100_0000_01b3;

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

macro_rules! nonzero {
    ($($number:ty),* $(,)?) => {$(
        #[diagnostic::do_not_recommend]
        // SAFETY: the number's bytes, of which only zeros are no value.
        unsafe impl Shareable for NonZero<$number> {
            const ANY_BITS: bool = false;
            const SIGNATURE: u64 = signature("NonZero", &[<$number>::SIGNATURE]);

            fn is_valid(bytes: &[u8]) -> bool {
                bytes.iter().any(|&byte| byte != 0)
            }
        }

        #[diagnostic::do_not_recommend]
        // SAFETY: the language promises the number's size and layout, with zeros for `None`.
        unsafe impl Shareable for Option<NonZero<$number>> {
            const ANY_BITS: bool = true;
            const SIGNATURE: u64 = signature("Option", &[NonZero::<$number>::SIGNATURE]);

            fn is_valid(_: &[u8]) -> bool {
                true
            }
        }
    )*};
}

nonzero!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

macro_rules! transparent {
    ($($wrapper:ident),* $(,)?) => {$(
        // SAFETY: a `repr(transparent)` struct of one field is that field.
        unsafe impl<T: Shareable> Shareable for $wrapper<T> {
            const ANY_BITS: bool = T::ANY_BITS;
            const SIGNATURE: u64 = signature(stringify!($wrapper), &[T::SIGNATURE]);

            fn is_valid(bytes: &[u8]) -> bool {
                T::is_valid(bytes)
            }
        }
    )*};
}

transparent!(Saturating, Wrapping);

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
