//! An array of values in a segment.
//!
//! Relies on `memory.rs` for the segment. The elements are all that is in it, so that any program can read them.
//!
//! # Safety
//! Values are made of bits that another process may have written. That is done in one place, [`checked`], after asking
//! the type, which vouches for its answer by implementing [`Shareable`].

#![expect(unsafe_code, reason = "makes values of bits that their type has declared valid")]

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Arc;

use procession_sys::SharedMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shareable::assert_layout;
use crate::{Shareable, SharedMemory, ShmError};

/// A typed array that several processes map: a handle, whose clones are the same elements.
///
/// Passing it to a child costs the same for 4 KiB and for 4 GiB. Elements are read and written by value, each checked
/// against the bounds; those of up to eight bytes in one piece, larger ones may be seen half written.
///
/// # Python
/// `numpy.ndarray` over `SharedMemory.buf`; `multiprocessing.RawArray`.
///
/// # Examples
/// ```
/// use procession_shm::SharedArray;
///
/// let squares = SharedArray::<u64>::zeroed(100)?;
/// for index in 0..squares.len() {
///     squares.set(index, (index * index) as u64)?;
/// }
/// assert_eq!(squares.get(9)?, 81);
/// assert!(squares.get(100).is_err());
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub struct SharedArray<T> {
    memory: SharedMemory,
    map: Arc<SharedMap>,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Shareable> SharedArray<T> {
    /// An array of `len` elements whose bytes are zero, which takes memory as elements are written.
    ///
    /// # Errors
    /// As [`SharedMemory::create`].
    pub fn zeroed(len: usize) -> Result<Self, ShmError> {
        let bytes = len.saturating_mul(size_of::<T>());
        Self::over(SharedMemory::create(bytes.max(1))?, len)
    }

    /// An array with a copy of these elements.
    ///
    /// # Errors
    /// As [`SharedMemory::create`].
    pub fn from_slice(elements: &[T]) -> Result<Self, ShmError> {
        let array = Self::zeroed(elements.len())?;
        array.map.write_values(0, elements).map_err(|_| ShmError::ReadOnly)?;
        Ok(array)
    }

    fn over(memory: SharedMemory, len: usize) -> Result<Self, ShmError> {
        const { assert_layout::<T>() };
        let map = memory.mapping();
        if len.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > map.len()) {
            return Err(ShmError::foreign(format!("{len} elements do not fit into its {} bytes", map.len())));
        }
        Ok(Self { memory, map, len, values: PhantomData })
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One element.
    ///
    /// # Errors
    /// [`ShmError::Index`]; [`ShmError::Invalid`] when another process has written what is no `T`.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, ShmError> {
        let bits = self.map.load(self.place(index)?).map_err(|_| ShmError::Index { index, len: self.len })?;
        checked(bits, index)
    }

    /// Replaces one element.
    ///
    /// # Errors
    /// [`ShmError::Index`], [`ShmError::ReadOnly`].
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), ShmError> {
        self.map.store(self.place(index)?, value).map_err(|_| ShmError::ReadOnly)
    }

    /// The elements, each as it is when the iterator comes to it.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        const { assert!(T::ANY_BITS, "not all bits are a value of this type: use `get`, which checks them") };
        (0..self.len).map_while(|index| self.get(index).ok())
    }

    #[inline]
    fn place(&self, index: usize) -> Result<usize, ShmError> {
        if index < self.len { Ok(index * size_of::<T>()) } else { Err(ShmError::Index { index, len: self.len }) }
    }
}

/// The value that these bits are, if they are one.
#[inline]
fn checked<T: Shareable>(bits: MaybeUninit<T>, index: usize) -> Result<T, ShmError> {
    // SAFETY: the bits come from memory, so each of them is one or the other.
    let bytes = unsafe { std::slice::from_raw_parts(bits.as_ptr().cast::<u8>(), size_of::<T>()) };
    if !T::ANY_BITS && !T::is_valid(bytes) {
        return Err(ShmError::Invalid { index, type_name: std::any::type_name::<T>() });
    }
    // SAFETY: the type has said that these bits are a value, or that all are.
    Ok(unsafe { bits.assume_init() })
}

impl<T> Clone for SharedArray<T> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), map: Arc::clone(&self.map), len: self.len, values: PhantomData }
    }
}

impl<T> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = std::any::type_name::<T>();
        f.debug_struct("SharedArray").field("type", &name).field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T: Shareable> Serialize for SharedArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.memory, self.len as u64, T::SIGNATURE).serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for SharedArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, len, signature) = <(SharedMemory, u64, u64)>::deserialize(deserializer)?;
        let wanted = std::any::type_name::<T>();
        let of_type = (signature == T::SIGNATURE).then_some(len).and_then(|len| usize::try_from(len).ok());
        let len = of_type.ok_or_else(|| ShmError::foreign(format!("its elements are not of the type {wanted}")));
        len.and_then(|len| Self::over(memory, len)).map_err(serde::de::Error::custom)
    }
}
