//! Values of one type that stand in shared memory, in a slot or in a segment of their own.
//!
//! Relies on the handle of the slot or the segment, which it keeps, for their being mapped.
//!
//! # Safety
//! From `first` on, `len` values are mapped, writable and aligned, for as long as the cells live: whoever makes cells has
//! checked it, and a mapping never gets shorter. What is done here is done by atomics, so others may do the same
//! meanwhile; whoever makes references has to know that nobody does. An array of atomics that is accessed by these is
//! accessed in one size alone, that of its values.

#![expect(unsafe_code, reason = "knows where values stand in shared memory")]

use std::any::type_name;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};

use procession_shm::arena::{ArenaError, SLOT_BYTES_MAX, Slot};
use procession_shm::{SHAREABLE_ALIGN_MAX, Shareable, SharedArray, ShmError};

use crate::LockError;

/// Where values stand, and what keeps them there.
pub struct Cells<T> {
    /// # Invariant
    /// As many values as `len` are mapped from here on, writable and aligned, as long as `home` is kept.
    first: NonNull<T>,
    len: usize,
    home: Home<T>,
}

/// What keeps values.
pub(crate) enum Home<T> {
    Slot(Slot),
    Segment(SharedArray<T>),
}

// SAFETY: the address is that of memory which any thread may use and that lives as long as the handles beside it; a
// value may be used by any thread, as `Shareable` says.
unsafe impl<T: Shareable> Send for Cells<T> {}
// SAFETY: as above; shared cells are accessed by atomics alone.
unsafe impl<T: Shareable> Sync for Cells<T> {}

/// What must hold of a type before its values are put anywhere.
pub(crate) const fn assert_layout<T: Shareable>() {
    let _ = T::SIGNATURE;
    assert!(size_of::<T>() > 0, "a type without bytes cannot live in shared memory");
    assert!(align_of::<T>() <= SHAREABLE_ALIGN_MAX, "an alignment above 64 bytes is not promised in shared memory");
}

/// The bytes of a slot with so many values from `at` on, in whole double words; `None` if there is no such slot.
pub(crate) fn slot_bytes<T>(at: usize, len: usize) -> Option<usize> {
    let bytes = len.checked_mul(size_of::<T>())?.checked_add(at)?.checked_next_multiple_of(size_of::<u64>())?;
    (bytes <= SLOT_BYTES_MAX).then_some(bytes)
}

impl<T: Shareable> Cells<T> {
    /// So many values in a slot, from a byte on.
    pub(crate) fn in_slot(slot: Slot, at: usize, len: usize) -> Result<Self, LockError> {
        const { assert_layout::<T>() };
        let refused = |reason| Err(ArenaError::Foreign { reason }.into());
        let end = len.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(at));
        // All words that a slot shows are mapped.
        if end.is_none_or(|end| end > size_of_val(slot.words())) {
            return refused("a slot has fewer bytes than the values in it");
        }
        let first = slot.as_ptr()?.wrapping_add(at).cast::<T>();
        match NonNull::new(first) {
            Some(first) if first.is_aligned() => Ok(Self { first, len, home: Home::Slot(slot) }),
            _ => refused("values in a slot begin where their type cannot stand"),
        }
    }

    /// All values of an array.
    pub(crate) fn in_segment(array: SharedArray<T>) -> Result<Self, LockError> {
        const { assert_layout::<T>() };
        if array.is_read_only() {
            return Err(ShmError::ReadOnly.into());
        }
        match NonNull::new(array.as_ptr()) {
            // An array of values of eight bytes at any other place might be none of atomics.
            Some(first) if array.byte_offset() == 0 => Ok(Self { first, len: array.len(), home: Home::Segment(array) }),
            _ => Err(ShmError::Foreign { reason: "its elements do not begin where it does".to_owned() }.into()),
        }
    }

    /// So many new values, in a slot if they fit one: copies of these, or zeros if there are none of these.
    pub(crate) fn fresh(kind: u64, len: usize, values: Option<&[T]>) -> Result<Self, LockError> {
        const { assert_layout::<T>() };
        match slot_bytes::<T>(0, len) {
            Some(bytes) => Self::fresh_in(Slot::allocate(bytes, kind)?, 0, len, values),
            None => Self::fresh_segment(len, values),
        }
    }

    /// As [`Cells::fresh`], in a slot of zeros that nobody else has yet.
    pub(crate) fn fresh_in(slot: Slot, at: usize, len: usize, values: Option<&[T]>) -> Result<Self, LockError> {
        match values {
            Some(values) => slot.write(at, bytes_of(values))?,
            None => zero_is_valid::<T>(len)?,
        }
        Self::in_slot(slot, at, len)
    }

    /// As [`Cells::fresh`], in a segment.
    pub(crate) fn fresh_segment(len: usize, values: Option<&[T]>) -> Result<Self, LockError> {
        Self::in_segment(match values {
            Some(values) => SharedArray::from_slice(values)?,
            None => SharedArray::zeroed(len)?,
        })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn first(&self) -> NonNull<T> {
        self.first
    }

    pub(crate) fn home(&self) -> &Home<T> {
        &self.home
    }

    /// An index that there is.
    #[inline]
    pub(crate) fn check(&self, index: usize) -> Result<usize, ShmError> {
        if index < self.len { Ok(index) } else { Err(ShmError::Index { index, len: self.len }) }
    }

    /// Where a value is.
    ///
    /// # Panics
    /// There is none of this index.
    #[inline]
    fn place(&self, index: usize) -> NonNull<T> {
        assert!(index < self.len, "the callers check indices");
        // SAFETY: within the values that are mapped.
        unsafe { self.first.add(index) }
    }

    /// A value, in one piece if it has 1, 2, 4 or 8 bytes; otherwise it may be half another's.
    ///
    /// # Errors
    /// [`ShmError::Invalid`].
    ///
    /// # Panics
    /// There is none of this index.
    #[inline]
    pub(crate) fn load(&self, index: usize) -> Result<T, ShmError> {
        let bits = self.bits(index);
        if !T::ANY_BITS && !T::is_valid(bytes_of_bits(&bits)) {
            return Err(ShmError::Invalid { index, type_name: type_name::<T>() });
        }
        // SAFETY: all of them were copied from memory, and are a value.
        Ok(unsafe { bits.assume_init() })
    }

    /// What is there, whole or not, all of it copied from memory.
    #[inline]
    fn bits(&self, index: usize) -> MaybeUninit<T> {
        let place = self.place(index).as_ptr();
        let mut bits = MaybeUninit::<T>::uninit();
        let into = bits.as_mut_ptr();
        // SAFETY: a value is mapped there, and as large a one can be written to `bits`.
        unsafe { copy_out(place.cast(), into.cast(), size_of::<T>()) };
        bits
    }

    /// Replaces a value, in one piece as [`Cells::load`] reads it.
    ///
    /// # Panics
    /// There is none of this index.
    #[inline]
    pub(crate) fn store(&self, index: usize, value: T) {
        let place = self.place(index).as_ptr();
        // SAFETY: a value is mapped there, writable, and `value` has as many bytes, all initialized.
        unsafe { copy_in((&raw const value).cast(), place.cast(), size_of::<T>()) };
    }
}

impl<T> Clone for Cells<T> {
    fn clone(&self) -> Self {
        let home = match &self.home {
            Home::Slot(slot) => Home::Slot(slot.clone()),
            Home::Segment(array) => Home::Segment(array.clone()),
        };
        // The clones of a slot and of an array are mapped where these are.
        Self { first: self.first, len: self.len, home }
    }
}

impl<T> fmt::Debug for Cells<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("type", &type_name::<T>()).field("len", &self.len).finish_non_exhaustive()
    }
}

/// Whether so many zeros are values.
fn zero_is_valid<T: Shareable>(len: usize) -> Result<(), ShmError> {
    let is_valid = len == 0 || T::ANY_BITS || T::is_valid(&vec![0; size_of::<T>()]);
    if is_valid { Ok(()) } else { Err(ShmError::NoZero { type_name: type_name::<T>() }) }
}

/// The bytes that values are.
pub(crate) fn bytes_of<T: Shareable>(values: &[T]) -> &[u8] {
    const { assert_layout::<T>() };
    // SAFETY: as many bytes, all initialized, as `Shareable` says; nothing changes them while they are borrowed.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of bits that were copied from memory.
fn bytes_of_bits<T>(bits: &MaybeUninit<T>) -> &[u8] {
    // SAFETY: as many bytes, all of them copied from memory, as the callers say.
    unsafe { std::slice::from_raw_parts(bits.as_ptr().cast(), size_of::<T>()) }
}

macro_rules! whole {
    ($from:expr, $into:expr, $atomic:ty, load) => {{
        // SAFETY: as the caller vouches, aligned as was checked; others access it in the same size.
        let value = unsafe { <$atomic>::from_ptr($from.cast_mut().cast()) }.load(Acquire);
        // SAFETY: as the caller vouches.
        unsafe { $into.cast::<[u8; size_of::<$atomic>()]>().write(value.to_ne_bytes()) }
    }};
    ($from:expr, $into:expr, $atomic:ty, store) => {{
        // SAFETY: as the caller vouches.
        let bytes = unsafe { $from.cast::<[u8; size_of::<$atomic>()]>().read() };
        // SAFETY: as the caller vouches, aligned as was checked; others access it in the same size.
        unsafe { <$atomic>::from_ptr($into.cast()) }.store(from_bytes(bytes), Release)
    }};
}

/// A number of bytes in their own order.
trait FromBytes<B> {
    fn number(bytes: B) -> Self;
}

#[inline]
fn from_bytes<B, N: FromBytes<B>>(bytes: B) -> N {
    N::number(bytes)
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl FromBytes<[u8; size_of::<$number>()]> for $number {
            #[inline]
            fn number(bytes: [u8; size_of::<$number>()]) -> Self {
                Self::from_ne_bytes(bytes)
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

/// Copies a value out of shared memory.
///
/// # Safety
/// As many bytes are mapped at `from`, and can be written at `into`.
#[inline]
unsafe fn copy_out(from: *const u8, into: *mut u8, len: usize) {
    match len {
        1 => whole!(from, into, AtomicU8, load),
        2 if from.cast::<u16>().is_aligned() => whole!(from, into, AtomicU16, load),
        4 if from.cast::<u32>().is_aligned() => whole!(from, into, AtomicU32, load),
        8 if from.cast::<u64>().is_aligned() => whole!(from, into, AtomicU64, load),
        _ => {
            let wide = if from.cast::<u64>().is_aligned() { len / 8 * 8 } else { 0 };
            for at in (0..wide).step_by(8) {
                whole!(from.wrapping_add(at), into.wrapping_add(at), AtomicU64, load);
            }
            for at in wide..len {
                whole!(from.wrapping_add(at), into.wrapping_add(at), AtomicU8, load);
            }
            fence(Acquire);
        }
    }
}

/// Copies a value to shared memory.
///
/// # Safety
/// As many bytes can be read at `from`, and are mapped at `into`, writable.
#[inline]
unsafe fn copy_in(from: *const u8, into: *mut u8, len: usize) {
    match len {
        1 => whole!(from, into, AtomicU8, store),
        2 if into.cast::<u16>().is_aligned() => whole!(from, into, AtomicU16, store),
        4 if into.cast::<u32>().is_aligned() => whole!(from, into, AtomicU32, store),
        8 if into.cast::<u64>().is_aligned() => whole!(from, into, AtomicU64, store),
        _ => {
            let wide = if into.cast::<u64>().is_aligned() { len / 8 * 8 } else { 0 };
            for at in (0..wide).step_by(8) {
                whole!(from.wrapping_add(at), into.wrapping_add(at), AtomicU64, store);
            }
            for at in wide..len {
                whole!(from.wrapping_add(at), into.wrapping_add(at), AtomicU8, store);
            }
        }
    }
}

/// What is done to a number in one step.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum Step {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Max,
    Min,
    Swap,
}

/// What numbers have whose atomics every processor of ours has.
pub(crate) mod numbers {
    use std::sync::atomic::Ordering::SeqCst;

    use super::{Cells, Shareable, Step};

    /// A number in cells.
    pub trait Number: Shareable {
        #[doc(hidden)]
        fn step(cells: &Cells<Self>, index: usize, step: Step, operand: Self) -> Self;
        #[doc(hidden)]
        fn exchange(cells: &Cells<Self>, index: usize, current: Self, new: Self) -> Result<Self, Self>;
    }

    macro_rules! implement {
        ($($number:ty: $atomic:ident),* $(,)?) => {$(
            impl Number for $number {
                #[inline]
                fn step(cells: &Cells<Self>, index: usize, step: Step, operand: Self) -> Self {
                    // SAFETY: mapped writable and aligned for as long as the cells are borrowed; others access it in the
                    // same size.
                    let cell = unsafe { std::sync::atomic::$atomic::from_ptr(cells.place(index).as_ptr()) };
                    match step {
                        Step::Add => cell.fetch_add(operand, SeqCst),
                        Step::Sub => cell.fetch_sub(operand, SeqCst),
                        Step::And => cell.fetch_and(operand, SeqCst),
                        Step::Or => cell.fetch_or(operand, SeqCst),
                        Step::Xor => cell.fetch_xor(operand, SeqCst),
                        Step::Max => cell.fetch_max(operand, SeqCst),
                        Step::Min => cell.fetch_min(operand, SeqCst),
                        Step::Swap => cell.swap(operand, SeqCst),
                    }
                }

                #[inline]
                fn exchange(cells: &Cells<Self>, index: usize, current: Self, new: Self) -> Result<Self, Self> {
                    // SAFETY: as in `step`.
                    let cell = unsafe { std::sync::atomic::$atomic::from_ptr(cells.place(index).as_ptr()) };
                    cell.compare_exchange(current, new, SeqCst, SeqCst)
                }
            }
        )*};
    }

    implement!(
        u8: AtomicU8, u16: AtomicU16, u32: AtomicU32, u64: AtomicU64, usize: AtomicUsize,
        i8: AtomicI8, i16: AtomicI16, i32: AtomicI32, i64: AtomicI64, isize: AtomicIsize,
    );
}
