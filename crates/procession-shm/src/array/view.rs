//! Where the elements of an array, or of a part of one, stand in a segment.
//!
//! Relies on `bits.rs` to make values of what is there. A view is checked once, when it is made: that the segment has so
//! many elements there, at addresses that suit the type. A mapping never gets shorter, so this stays true.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use procession_sys::{Access, AccessError, SharedMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bits::{self, Block, Place};
use crate::shareable::assert_layout;
use crate::{Shareable, SharedMemory, ShmError};

/// So many elements from a byte of a segment on.
pub(super) struct View<T> {
    memory: SharedMemory,
    map: Arc<SharedMap>,
    /// # Invariant
    /// From this byte on, which suits the type's alignment, `len` elements are mapped.
    at: usize,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Shareable> View<T> {
    /// Elements in a segment that others may have made.
    pub(super) fn new(memory: SharedMemory, at: usize, len: usize) -> Result<Self, ShmError> {
        // One without bytes among others: a message could say that there are any number of them, and no size disprove it.
        const { assert_layout::<T>() };
        let bytes = bytes_of::<T>(len)?;
        let map = memory.mapping_to(at.saturating_add(bytes))?;
        if at.checked_add(bytes).is_none_or(|end| end > map.len()) {
            return Err(ShmError::OutOfRange { at, len: bytes, size: memory.len() });
        }
        let address = map.as_ptr().addr().wrapping_add(at);
        if !address.is_multiple_of(align_of::<T>()) {
            return Err(ShmError::Misaligned { at, align: align_of::<T>(), type_name: type_name::<T>() });
        }
        Ok(Self { memory, map, at, len, values: PhantomData })
    }

    /// So many elements of which no byte is written yet, in a segment of their own.
    pub(super) fn fresh(len: usize) -> Result<Self, ShmError> {
        let bytes = bytes_of::<T>(len)?;
        Self::new(SharedMemory::create(bytes.max(1))?, 0, len) // A segment has at least one byte.
    }

    /// The same with a name.
    pub(super) fn named(name: &str, len: usize) -> Result<Self, ShmError> {
        Self::new(SharedMemory::create_named(name, bytes_of::<T>(len)?)?, 0, len)
    }

    /// All elements of a segment that others may have made.
    pub(super) fn whole(memory: SharedMemory) -> Result<Self, ShmError> {
        const { assert_layout::<T>() };
        let (bytes, size) = (memory.len(), size_of::<T>());
        if !bytes.is_multiple_of(size) {
            let (name, type_name) = (memory.name().unwrap_or_default(), type_name::<T>());
            let reason = format!("{name:?} has {bytes} bytes, no multiple of the {size} of the type {type_name}");
            return Err(ShmError::foreign(reason));
        }
        Self::new(memory, 0, bytes / size)
    }

    /// The elements of a range, which is within this one.
    pub(super) fn within(&self, range: &Range<usize>) -> Self {
        Self { at: self.at + range.start * size_of::<T>(), len: range.len(), ..self.clone() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The segment, and the elements' bytes in it, without a hold on the mapping.
    pub(super) fn into_parts(self) -> (SharedMemory, Range<usize>) {
        (self.memory, self.at..self.at + self.len * size_of::<T>())
    }

    pub(super) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    pub(super) fn byte_offset(&self) -> usize {
        self.at
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.map.access() == Access::ReadOnly
    }

    pub(super) fn read_only(&self) -> Result<Self, ShmError> {
        Self::new(self.memory.read_only()?, self.at, self.len)
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Result<T, ShmError> {
        if index >= self.len {
            return Err(ShmError::Index { index, len: self.len });
        }
        bits::load(&self.map, self.place(index))
    }

    #[inline]
    pub(super) fn set(&self, index: usize, value: T) -> Result<(), ShmError> {
        if index >= self.len {
            return Err(ShmError::Index { index, len: self.len });
        }
        self.map.store(self.place(index).at, value).map_err(|_| ShmError::ReadOnly)
    }

    pub(super) fn as_ptr(&self) -> *mut T {
        self.map.as_ptr().wrapping_add(self.at).cast()
    }

    /// A double word of an element.
    #[inline]
    pub(super) fn atomic_u64(&self, index: usize, byte: usize) -> Result<&AtomicU64, ShmError> {
        let size = size_of::<T>();
        if index >= self.len {
            return Err(ShmError::Index { index, len: self.len });
        }
        if byte.checked_add(size_of::<u64>()).is_none_or(|end| end > size) {
            return Err(ShmError::OutOfRange { at: byte, len: size_of::<u64>(), size });
        }
        let at = self.place(index).at + byte;
        self.map.atomic_u64(at).map_err(|error| match error {
            AccessError::Misaligned => ShmError::Misaligned { at, align: align_of::<u64>(), type_name: "u64" },
            error => ShmError::access(error, at, size_of::<u64>(), self.map.len()),
        })
    }

    /// Copies as many elements out as the slice has.
    pub(super) fn read(&self, index: usize, into: &mut [T]) -> Result<(), ShmError> {
        self.check_range(index, into.len())?;
        bits::read(&self.map, self.place(index), into)
    }

    /// Copies as many elements in as the slice has.
    pub(super) fn write(&self, index: usize, from: &[T]) -> Result<(), ShmError> {
        self.check_range(index, from.len())?;
        self.map.write_values(self.place(index).at, from).map_err(|_| ShmError::ReadOnly)
    }

    pub(super) fn copy_to(&self, into: &mut [T]) -> Result<(), ShmError> {
        self.check_len(into.len())?;
        self.read(0, into)
    }

    pub(super) fn copy_from(&self, from: &[T]) -> Result<(), ShmError> {
        self.check_len(from.len())?;
        self.write(0, from)
    }

    pub(super) fn to_vec(&self) -> Result<Vec<T>, ShmError> {
        bits::to_vec(&self.map, self.place(0), self.len)
    }

    pub(super) fn fill(&self, value: T) -> Result<(), ShmError> {
        let block = Block::full_of(value);
        for index in (0..self.len).step_by(Block::<T>::CAPACITY) {
            let len = block.values().len().min(self.len - index);
            self.write(index, &block.values()[..len])?;
        }
        Ok(())
    }

    /// Copies a block out, lets it be changed, and copies it back: so with each.
    pub(super) fn for_each_block(&self, mut change: impl FnMut(&mut [T])) -> Result<(), ShmError> {
        let mut block = Block::new();
        for index in (0..self.len).step_by(Block::<T>::CAPACITY) {
            let values = self.load(&mut block, index, self.len - index)?;
            change(values);
            self.write(index, values)?;
        }
        Ok(())
    }

    /// Copies elements, from one that there is on, to a block: as many as it takes, not more than `len`.
    #[inline]
    pub(super) fn load<'block>(
        &self,
        block: &'block mut Block<T>,
        index: usize,
        len: usize,
    ) -> Result<&'block mut [T], ShmError> {
        block.load(&self.map, self.place(index), len.min(self.len - index))
    }

    /// As [`View::load`], for a type of which all bits are a value; how many were copied.
    #[inline]
    pub(super) fn load_any_bits(&self, block: &mut Block<T>, index: usize, len: usize) -> usize {
        block.load_any_bits(&self.map, self.place(index), len.min(self.len.saturating_sub(index)))
    }

    /// Where an element is. It is one that there is, or the one after the last.
    #[inline]
    fn place(&self, index: usize) -> Place {
        Place { at: self.at + index * size_of::<T>(), index }
    }

    fn check_range(&self, start: usize, len: usize) -> Result<(), ShmError> {
        match start.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(ShmError::Range { start, count: len, len: self.len }),
        }
    }

    fn check_len(&self, given: usize) -> Result<(), ShmError> {
        if given == self.len { Ok(()) } else { Err(ShmError::Length { given, len: self.len }) }
    }
}

/// The bytes of so many elements.
fn bytes_of<T>(len: usize) -> Result<usize, ShmError> {
    len.checked_mul(size_of::<T>()).ok_or(ShmError::TooLarge { len, size: size_of::<T>() })
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        let Self { memory, map, at, len, .. } = self;
        Self { memory: memory.clone(), map: Arc::clone(map), at: *at, len: *len, values: PhantomData }
    }
}

impl<T> View<T> {
    /// What `Debug` says of each kind of handle.
    pub(super) fn describe(&self, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(kind).field("type", &type_name::<T>()).field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("View", f)
    }
}

impl<T: Shareable> Serialize for View<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (T::SIGNATURE, &self.memory, self.at as u64, self.len as u64).serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for View<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (signature, memory, at, len) = <(u64, SharedMemory, u64, u64)>::deserialize(deserializer)?;
        let view = if signature == T::SIGNATURE {
            // What is no `usize` is beyond the end of any segment here.
            let [at, len] = [at, len].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
            Self::new(memory, at, len)
        } else {
            Err(ShmError::foreign(format!("its elements are not of the type {}", type_name::<T>())))
        };
        view.map_err(serde::de::Error::custom)
    }
}
