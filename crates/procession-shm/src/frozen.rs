//! An array that nobody can change any more.
//!
//! Relies on the seals of memory files: the kernel keeps every process from writing, whoever it is.
//!
//! # Safety
//! A `&[T]` is made of a mapping that `procession-sys` has checked to be constant for ever. Its length, the alignment of
//! its first element and, where not all bits are a value, every element have been checked before the array exists.

#![expect(unsafe_code, reason = "shows elements that nobody can change as what they are")]

use std::any::type_name;
use std::fmt;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use procession_sys::{Mapping, file_size, map_sealed, never_changes, seal_constant};
use procession_wire::{Descriptor, once};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::shareable::assert_layout;
use crate::{Shareable, SharedArray, SharedMemory, ShmError};

/// Elements that no process can change any more: a plain `[T]`, the same memory everywhere it is passed to.
///
/// Made by [`SharedArray::freeze`], or by [`FrozenArray::from_slice`]. What is built once and read by many is best frozen: readers get a slice, with
/// everything that slices can do and at their speed, and a hostile process cannot change what they see, not even one of
/// the same user. A clone is the same memory, and passing it to a child copies nothing. With the last handle in the last
/// process the memory is gone.
///
/// # Python
/// None; `memoryview.toreadonly` keeps one view from writing, not the others.
///
/// Source: memfd_create(2), `F_SEAL_WRITE` in fcntl(2).
///
/// # Examples
/// ```
/// use procession_shm::SharedArray;
///
/// let table = SharedArray::from_slice(&[1_u32, 4, 9, 16])?;
/// let table = table.freeze()?;
/// assert_eq!(table.binary_search(&9), Ok(2)); // A slice.
/// for square in &table {
///     assert_eq!(square.isqrt().pow(2), *square);
/// }
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub struct FrozenArray<T> {
    file: Descriptor,
    map: Arc<Mapping>,
    elements: Range<usize>,
    values: PhantomData<T>,
}

/// Tells the keys of frozen arrays in messages, which are their descriptors' numbers, from those of others.
const FROZEN_KEY: u64 = 0x6672_6f7a_656e_0000;

impl<T: Shareable> SharedArray<T> {
    /// Makes the array constant for ever, in all processes, at no cost for its size.
    ///
    /// Nobody may be able to write to it at that moment: this handle is the last one in this process, and other
    /// processes have dropped theirs, or have ended. A handle that is still under way in a message cannot write yet: it
    /// is an error where it arrives.
    ///
    /// # Errors
    /// [`FreezeError`], which gives the array back: while another handle can write, through a handle that is read-only,
    /// for a named segment, which any program may open, and for bits that are no value.
    pub fn freeze(self) -> Result<FrozenArray<T>, FreezeError<T>> {
        if self.is_read_only() {
            return Err(FreezeError { array: Some(self), error: ShmError::ReadOnly });
        }
        // Once it is constant nobody can put right what is no value. Whether it still is none is looked at again then.
        let invalid = (!T::ANY_BITS).then(|| self.try_iter().find_map(Result::err)).flatten();
        if let Some(error) = invalid {
            return Err(FreezeError { array: Some(self), error });
        }
        let (memory, elements) = self.into_parts();
        let refused = |memory, elements, error| {
            let array = Self::from_parts(memory, elements).ok();
            Err(FreezeError { array, error })
        };
        let file = match memory.into_file() {
            Ok(file) => file,
            Err(memory) => return refused(memory, elements, ShmError::StillShared),
        };
        if let Err(error) = seal_constant(&file) {
            let error = match error.kind() {
                ErrorKind::ResourceBusy => ShmError::StillShared,
                _ => ShmError::System { action: "freeze", error },
            };
            return match SharedMemory::over(file, None) {
                Ok(memory) => refused(memory, elements, error),
                Err(_) => Err(FreezeError { array: None, error }),
            };
        }
        FrozenArray::over(file, elements).map_err(|error| FreezeError { array: None, error })
    }
}

impl<T: Shareable> FrozenArray<T> {
    /// A frozen copy of these elements.
    ///
    /// # Errors
    /// As [`SharedArray::from_slice`]; [`ShmError::StillShared`] when another thread forks at that moment: try again.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::FrozenArray;
    ///
    /// let primes = FrozenArray::from_slice(&[2_u32, 3, 5, 7])?;
    /// assert!(primes.contains(&5));
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn from_slice(elements: &[T]) -> Result<Self, ShmError> {
        Ok(SharedArray::from_slice(elements)?.freeze()?)
    }

    /// Maps elements of a file that says it is constant.
    fn over(file: Descriptor, elements: Range<usize>) -> Result<Self, ShmError> {
        const { assert_layout::<T>() };
        if !never_changes(&file) {
            return Err(ShmError::foreign("the descriptor is not of a memory file that is sealed against all changes"));
        }
        let bytes = file_size(&file).map_err(ShmError::system("look at"))?;
        let map = map_sealed(&file, bytes).map_err(|error| ShmError::Map { bytes, error })?;
        let array = Self { file, map: Arc::new(map), elements, values: PhantomData };
        let shown = array.bytes().ok_or_else(|| ShmError::foreign("its elements do not lie within it"))?;
        if !T::ANY_BITS {
            let invalid = shown.chunks_exact(size_of::<T>()).position(|bits| !T::is_valid(bits));
            if let Some(index) = invalid {
                return Err(ShmError::Invalid { index, type_name: type_name::<T>() });
            }
        }
        Ok(array)
    }

    /// The elements' bytes, if they lie within the mapping and where a `T` may.
    fn bytes(&self) -> Option<&[u8]> {
        let bytes = self.map.get(self.elements.clone())?;
        let whole = bytes.len().is_multiple_of(size_of::<T>());
        (whole && bytes.as_ptr().cast::<T>().is_aligned()).then_some(bytes)
    }
}

impl<T: Shareable> Deref for FrozenArray<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Some(bytes) = self.bytes().filter(|bytes| !bytes.is_empty()) else { return &[] };
        // SAFETY: constant for as long as it is mapped, aligned, and checked to be values when the array was made.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
    }
}

impl<'a, T: Shareable> IntoIterator for &'a FrozenArray<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> Clone for FrozenArray<T> {
    fn clone(&self) -> Self {
        let (file, map) = (self.file.clone(), Arc::clone(&self.map));
        Self { file, map, elements: self.elements.clone(), values: PhantomData }
    }
}

impl<T: Shareable> fmt::Debug for FrozenArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("FrozenArray");
        shown.field("type", &type_name::<T>()).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T: Shareable> Serialize for FrozenArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = (self.file.as_fd().as_raw_fd() as u64, FROZEN_KEY);
        let position = once::attach_shared(key, &self.file).map_err(ser::Error::custom)?;
        (position, self.elements.start as u64, self.elements.end as u64, T::SIGNATURE).serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for FrozenArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (position, start, end, signature) = <(u32, u64, u64, u64)>::deserialize(deserializer)?;
        let file = once::detach(position).map_err(de::Error::custom)?;
        let wanted = type_name::<T>();
        if signature != T::SIGNATURE {
            let error = ShmError::foreign(format!("its elements are not of the type {wanted}"));
            return Err(de::Error::custom(error));
        }
        let bound = |bound| usize::try_from(bound).map_err(de::Error::custom);
        Self::over(file, bound(start)?..bound(end)?).map_err(de::Error::custom)
    }
}

/// Why an array could not be frozen, with the array, which is as it was.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct FreezeError<T> {
    array: Option<SharedArray<T>>,
    error: ShmError,
}

impl<T> FreezeError<T> {
    /// The array; none if it cannot be mapped again, or another process wrote bits that are no value at that moment.
    #[must_use]
    pub fn into_array(self) -> Option<SharedArray<T>> {
        self.array
    }

    /// What was in the way.
    #[must_use]
    pub fn error(&self) -> &ShmError {
        &self.error
    }
}

impl<T> fmt::Debug for FreezeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreezeError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> From<FreezeError<T>> for ShmError {
    fn from(error: FreezeError<T>) -> Self {
        error.error
    }
}
