//! Bits that another process may have written, and the values that they are.
//!
//! Relies on [`SharedMap`] to copy them out, and on the type to say which bits are a value of it.
//!
//! # Safety
//! Values are made of bits here and nowhere else, after asking the type, which vouches for its answer by implementing
//! [`Shareable`]. All bits that are looked at were copied from memory, so each of them is one or the other.

#![expect(unsafe_code, reason = "makes values of bits that their type has declared valid")]

use std::any::type_name;
use std::mem::MaybeUninit;

use procession_sys::{AccessError, SharedMap};

use crate::{Shareable, ShmError};

/// Bytes that are copied at a time: few enough for the processor's first cache, enough to pay for the start of a copy.
const BLOCK_BYTES: usize = 4096;

/// Where elements stand in a mapping: from which byte on, and which index the first of them has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) index: usize,
}

/// A buffer that elements are copied to and looked at in: references show what only this process changes.
pub(super) struct Block<T: Copy> {
    room: Room<T>,
    /// # Invariant
    /// The first so many elements in the room are values of their type, and there is room for them.
    len: usize,
}

/// As many bytes as a block has, or one element where that is more; aligned for elements, and as memory is fetched.
#[repr(C, align(64))]
union Room<T: Copy> {
    bytes: [MaybeUninit<u8>; BLOCK_BYTES],
    element: MaybeUninit<T>,
}

impl<T: Shareable> Block<T> {
    /// How many elements it takes; at least one.
    pub(super) const CAPACITY: usize = size_of::<Room<T>>() / size_of::<T>();

    /// One with nothing in it.
    #[inline]
    pub(super) const fn new() -> Self {
        Self { room: Room { bytes: [MaybeUninit::uninit(); BLOCK_BYTES] }, len: 0 }
    }

    /// One that is full of copies of a value.
    pub(super) fn full_of(value: T) -> Self {
        let mut block = Self::new();
        block.bits(Self::CAPACITY).fill(MaybeUninit::new(value));
        block.len = Self::CAPACITY;
        block
    }

    /// Copies `len` elements in, or as many as it takes.
    ///
    /// # Errors
    /// [`ShmError::Invalid`]; then there is nothing in it.
    #[inline]
    pub(super) fn load(&mut self, map: &SharedMap, place: Place, len: usize) -> Result<&mut [T], ShmError> {
        let len = len.min(Self::CAPACITY);
        self.len = 0;
        let bits = self.bits(len);
        map.read_values(place.at, bits).map_err(|error| refused::<T>(error, map, place, len))?;
        check(bits, place.index)?;
        self.len = len;
        // SAFETY: so many values are in the room; see `len`.
        Ok(unsafe { self.bits(len).assume_init_mut() })
    }

    /// As [`Block::load`], for a type of which all bits are a value; how many were copied. None of another type, and none
    /// that are not mapped.
    #[inline]
    pub(super) fn load_any_bits(&mut self, map: &SharedMap, place: Place, len: usize) -> usize {
        let len = len.min(Self::CAPACITY);
        self.len = 0;
        if T::ANY_BITS && map.read_values(place.at, self.bits(len)).is_ok() {
            self.len = len; // All of them were copied from memory, and any bits are a value.
        }
        self.len
    }

    /// What is in it.
    #[inline]
    pub(super) fn values(&self) -> &[T] {
        let first = (&raw const self.room).cast::<T>();
        // SAFETY: the room is aligned for elements, and begins with so many values; see `len`.
        unsafe { std::slice::from_raw_parts(first, self.len) }
    }

    /// One of what is in it.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<T> {
        self.values().get(index).copied()
    }

    /// Takes the last one out, unless it is one of the first `kept`.
    pub(super) fn pop(&mut self, kept: usize) -> Option<T> {
        let last = *self.values().get(kept..)?.last()?;
        self.len -= 1;
        Some(last)
    }

    /// Room for elements, not more than it takes.
    #[inline]
    fn bits(&mut self, len: usize) -> &mut [MaybeUninit<T>] {
        let first = (&raw mut self.room).cast::<MaybeUninit<T>>();
        // SAFETY: the room is aligned for elements and has as many; any bits are a `MaybeUninit`.
        unsafe { std::slice::from_raw_parts_mut(first, len.min(Self::CAPACITY)) }
    }
}

/// One element.
///
/// # Errors
/// [`ShmError::Invalid`].
#[inline]
pub(super) fn load<T: Shareable>(map: &SharedMap, place: Place) -> Result<T, ShmError> {
    let bits = map.load::<T>(place.at).map_err(|error| refused::<T>(error, map, place, 1))?;
    check(&[bits], place.index)?;
    // SAFETY: they were copied from memory, and are a value.
    Ok(unsafe { bits.assume_init() })
}

/// Copies elements out.
///
/// # Errors
/// [`ShmError::Invalid`]; some of what stands before that element may have been copied.
pub(super) fn read<T: Shareable>(map: &SharedMap, place: Place, into: &mut [T]) -> Result<(), ShmError> {
    if T::ANY_BITS {
        let len = into.len();
        // SAFETY: of the same layout, and all that is written to it are bits of memory, which are values.
        let bits = unsafe { &mut *(std::ptr::from_mut(into) as *mut [MaybeUninit<T>]) };
        return map.read_values(place.at, bits).map_err(|error| refused::<T>(error, map, place, len));
    }
    let (mut block, mut done) = (Block::new(), 0);
    for part in into.chunks_mut(Block::<T>::CAPACITY) {
        let from = Place { at: place.at + done * size_of::<T>(), index: place.index + done };
        part.copy_from_slice(block.load(map, from, part.len())?);
        done += part.len();
    }
    Ok(())
}

/// Copies `len` elements, which are known to be in the mapping, to a vector.
///
/// # Errors
/// [`ShmError::Invalid`].
pub(super) fn to_vec<T: Shareable>(map: &SharedMap, place: Place, len: usize) -> Result<Vec<T>, ShmError> {
    let mut elements = Vec::with_capacity(len);
    let bits = &mut elements.spare_capacity_mut()[..len];
    map.read_values(place.at, bits).map_err(|error| refused::<T>(error, map, place, len))?;
    check(bits, place.index)?;
    // SAFETY: so many were copied from memory, and are values.
    unsafe { elements.set_len(len) };
    Ok(elements)
}

/// Whether memory that nobody has written to holds values.
pub(super) fn zero_is_valid<T: Shareable>() -> bool {
    // A value on the stack may be more than there is stack.
    T::ANY_BITS || T::is_valid(&vec![0; size_of::<T>()])
}

/// Asks the type whether bits, all of them copied from memory, are values; the first is that of `index`.
#[inline]
fn check<T: Shareable>(bits: &[MaybeUninit<T>], index: usize) -> Result<(), ShmError> {
    if T::ANY_BITS {
        return Ok(());
    }
    for (offset, bits) in bits.iter().enumerate() {
        // SAFETY: the callers have copied memory to all of it.
        let bytes = unsafe { std::slice::from_raw_parts(bits.as_ptr().cast::<u8>(), size_of::<T>()) };
        if !T::is_valid(bytes) {
            return Err(ShmError::Invalid { index: index + offset, type_name: type_name::<T>() });
        }
    }
    Ok(())
}

/// What a refused access is called, which the checks of a view leave no occasion for.
#[cold]
fn refused<T>(error: AccessError, map: &SharedMap, place: Place, len: usize) -> ShmError {
    ShmError::access(error, place.at, len.saturating_mul(size_of::<T>()), map.len())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::SharedArray;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(transparent)]
    struct Positive(NonZeroU16);

    // SAFETY: two bytes of a number, which is said to be valid if one of them is not zero.
    unsafe impl Shareable for Positive {
        const ANY_BITS: bool = false;
        const SIGNATURE: u64 = 1;

        fn is_valid(bytes: &[u8]) -> bool {
            bytes != [0, 0]
        }
    }

    #[test]
    fn zeros_of_a_type_without_a_zero_are_refused() {
        let error = SharedArray::<Positive>::zeroed(3).unwrap_err();
        assert!(matches!(error, ShmError::NoZero { type_name } if type_name.contains("Positive")), "{error}");
        let seven = Positive(NonZeroU16::new(7).unwrap());
        let array = SharedArray::from_slice(&[seven; 3]).unwrap();
        assert_eq!(array.to_vec().unwrap(), [seven; 3]);
        assert_eq!(SharedArray::<bool>::zeroed(2).unwrap().to_vec().unwrap(), [false; 2]);
    }

    #[test]
    fn a_block_takes_as_much_as_fits_and_one_element_at_least() {
        assert_eq!(Block::<u8>::CAPACITY, 4096);
        assert_eq!(Block::<[u8; 3]>::CAPACITY, 1365);
        assert_eq!(Block::<[u8; 2049]>::CAPACITY, 1);
        assert_eq!(Block::<[u64; 4096]>::CAPACITY, 1);
    }

    #[test]
    fn what_is_in_a_block_is_what_was_put_there() {
        let mut block = Block::full_of(3_u32);
        assert_eq!(block.values(), [3; 1024]);
        assert_eq!((block.pop(1023), block.pop(1023)), (Some(3), None));
        let array = SharedArray::from_slice(&[false, true]).unwrap();
        let map = array.memory().mapping();
        let mut block = Block::<bool>::new();
        assert_eq!(block.load(&map, Place { at: 1, index: 1 }, 1).unwrap(), [true]);
        map.store(1, 2_u8).unwrap();
        let error = block.load(&map, Place { at: 0, index: 0 }, 2).unwrap_err();
        assert!(matches!(error, ShmError::Invalid { index: 1, .. }), "{error}");
        assert_eq!(block.values(), [false; 0], "what is no value is never shown");
    }
}
