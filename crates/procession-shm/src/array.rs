//! An array of values in a segment.
//!
//! Relies on `memory.rs` for the segment. The elements are all that is in it, so that any program can read them.

mod bits; // What others have written, as values.
mod iter;
mod part;
mod view; // Where elements stand, checked once.

use std::any::type_name;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::iter::{SharedIter, SharedTryIter};
pub use self::part::{SharedElement, SharedIterMut, SharedPart, SharedParts};
use self::view::View;
use crate::{Shareable, SharedMemory, ShmError};

/// A typed array that several processes map: a handle, whose clones are the same elements.
///
/// Passing it to a child costs the same for 4 KiB and for 4 GiB. Elements are read and written by value, each access
/// checked against the bounds; values of 1, 2, 4 or 8 bytes are read and written in one piece by [`get`](Self::get) and
/// [`set`](Self::set), unless [`from_memory`](Self::from_memory) has them begin at no multiple of their size; all else
/// may be seen half written. To have several processes write, give each a part of its own
/// by [`split_into`](Self::split_into).
///
/// A process that dies while it writes leaves what it has written. The memory is gone with the last handle in the last
/// process, however that ends.
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
/// assert_eq!(squares.iter().sum::<u64>(), 328_350);
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub struct SharedArray<T>(View<T>);

impl<T: Shareable> SharedArray<T> {
    /// An array of `len` elements whose bytes are zero, which takes memory as elements are written.
    ///
    /// # Errors
    /// [`ShmError::NoZero`] for a type of which zero is no value, [`ShmError::TooLarge`], and as
    /// [`SharedMemory::create`]. No elements at all are an array of any type.
    pub fn zeroed(len: usize) -> Result<Self, ShmError> {
        if len > 0 && !bits::zero_is_valid::<T>() {
            return Err(ShmError::NoZero { type_name: type_name::<T>() });
        }
        View::fresh(len).map(Self)
    }

    /// An array with a copy of these elements.
    ///
    /// # Errors
    /// As [`SharedMemory::create`].
    pub fn from_slice(elements: &[T]) -> Result<Self, ShmError> {
        let view = View::fresh(elements.len())?;
        view.copy_from(elements)?;
        Ok(Self(view))
    }

    /// An array of `len` elements whose bytes are zero, which any process of this user can open by its name, also one in
    /// Python or C. The elements are all that is in it, and the name is this process's, as
    /// [`SharedMemory::create_named`] tells, whose `unlink` is that of [`memory`](Self::memory).
    ///
    /// # Errors
    /// [`ShmError::NoZero`], [`ShmError::TooLarge`]; [`ShmError::Empty`] for no elements, as a named segment has at least
    /// one byte; otherwise as [`SharedMemory::create_named`].
    ///
    /// # Python
    /// `numpy.ndarray((len,), dtype, buffer=SharedMemory(name, create=True, size=bytes).buf)`.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::SharedArray;
    ///
    /// let name = format!("example-array-{}", std::process::id());
    /// let numbers = SharedArray::<f64>::create_named(&name, 1000)?;
    /// let found = SharedArray::<f64>::open(&name)?; // Any process of this user.
    /// numbers.set(999, 0.5)?;
    /// assert_eq!((found.len(), found.get(999)?), (1000, 0.5));
    /// numbers.memory().unlink()?;
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn create_named(name: &str, len: usize) -> Result<Self, ShmError> {
        if !bits::zero_is_valid::<T>() {
            return Err(ShmError::NoZero { type_name: type_name::<T>() });
        }
        View::named(name, len).map(Self)
    }

    /// All elements of the segment of this name, whoever created it: as many as its size is of.
    ///
    /// Nothing in the segment tells the type: it must be that of whoever writes there.
    ///
    /// # Errors
    /// [`ShmError::Foreign`] for a size that is no multiple of an element's; otherwise as [`SharedMemory::open`].
    pub fn open(name: &str) -> Result<Self, ShmError> {
        View::whole(SharedMemory::open(name)?).map(Self)
    }

    /// The elements that stand in a segment from a byte on, whoever made it: a view, which copies nothing.
    ///
    /// # Errors
    /// [`ShmError::OutOfRange`] when the segment has not so many bytes there, [`ShmError::Misaligned`],
    /// [`ShmError::TooLarge`].
    ///
    /// # Python
    /// `numpy.ndarray((len,), dtype, buffer=memory.buf, offset=byte_offset)`.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::{SharedArray, SharedMemory};
    ///
    /// let memory = SharedMemory::create(4096)?; // A header of 64 bytes, say, then numbers.
    /// let numbers = SharedArray::<f64>::from_memory(memory.clone(), 64, 100)?;
    /// numbers.set(1, 0.5)?;
    /// let mut bytes = [0; 8];
    /// memory.read(72, &mut bytes)?;
    /// assert_eq!(f64::from_ne_bytes(bytes), 0.5);
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn from_memory(memory: SharedMemory, byte_offset: usize, len: usize) -> Result<Self, ShmError> {
        View::new(memory, byte_offset, len).map(Self)
    }

    /// The segment that holds the elements.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        self.0.memory()
    }

    /// The byte of the segment at which the first element begins.
    #[must_use]
    pub fn byte_offset(&self) -> usize {
        self.0.byte_offset()
    }

    /// Where the first element is mapped in this process, for as long as this handle lives, for whoever guards the
    /// elements by a lock. What is done with the address is theirs to justify.
    #[must_use]
    pub fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// A double word inside of an element, for building what processes share: `byte` is where it is in the element.
    ///
    /// # Errors
    /// [`ShmError::Index`]; [`ShmError::OutOfRange`] for one that is not within the element, [`ShmError::Misaligned`],
    /// [`ShmError::ReadOnly`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::SharedArray;
    /// use std::sync::atomic::Ordering;
    ///
    /// let pairs = SharedArray::from_slice(&[[1_u64, 2], [3, 4]])?;
    /// pairs.atomic_u64(1, 8)?.fetch_add(10, Ordering::Relaxed);
    /// assert_eq!(pairs.get(1)?, [3, 14]);
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    #[inline]
    pub fn atomic_u64(&self, index: usize, byte: usize) -> Result<&AtomicU64, ShmError> {
        self.0.atomic_u64(index, byte)
    }

    /// The segment, and where in it the elements' bytes are; this handle's hold on the mapping is gone.
    pub(crate) fn into_parts(self) -> (SharedMemory, Range<usize>) {
        self.0.into_parts()
    }

    /// An array of what lies there.
    pub(crate) fn from_parts(memory: SharedMemory, elements: Range<usize>) -> Result<Self, ShmError> {
        View::new(memory, elements.start, elements.len() / size_of::<T>()).map(Self)
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// True for a handle that cannot write.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    /// A handle for the same elements that cannot write, nor can the processes that it is passed to through it.
    ///
    /// # Errors
    /// As [`SharedMemory::read_only`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::{SharedArray, ShmError};
    ///
    /// let array = SharedArray::from_slice(&[1_u8, 2])?;
    /// let shown = array.read_only()?;
    /// array.set(0, 5)?;
    /// assert_eq!(shown.get(0)?, 5);
    /// assert!(matches!(shown.set(0, 6), Err(ShmError::ReadOnly)));
    /// # Ok::<(), ShmError>(())
    /// ```
    pub fn read_only(&self) -> Result<Self, ShmError> {
        self.0.read_only().map(Self)
    }

    /// One element.
    ///
    /// # Errors
    /// [`ShmError::Index`]; [`ShmError::Invalid`] when another process has written what is no `T`.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, ShmError> {
        self.0.get(index)
    }

    /// Replaces one element.
    ///
    /// # Errors
    /// [`ShmError::Index`], [`ShmError::ReadOnly`].
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), ShmError> {
        self.0.set(index, value)
    }

    /// Copies elements out, as many as `into` has, from `index` on.
    ///
    /// # Errors
    /// [`ShmError::Range`]; [`ShmError::Invalid`], after copying some of what stands before that element.
    pub fn read(&self, index: usize, into: &mut [T]) -> Result<(), ShmError> {
        self.0.read(index, into)
    }

    /// Copies elements in, as many as `from` has, from `index` on.
    ///
    /// # Errors
    /// [`ShmError::Range`], [`ShmError::ReadOnly`].
    pub fn write(&self, index: usize, from: &[T]) -> Result<(), ShmError> {
        self.0.write(index, from)
    }

    /// Copies all elements to a slice of the same length.
    ///
    /// # Errors
    /// [`ShmError::Length`]; [`ShmError::Invalid`], after copying some of what stands before that element.
    pub fn copy_to(&self, into: &mut [T]) -> Result<(), ShmError> {
        self.0.copy_to(into)
    }

    /// Replaces all elements by those of a slice of the same length.
    ///
    /// # Errors
    /// [`ShmError::Length`], [`ShmError::ReadOnly`].
    pub fn copy_from(&self, from: &[T]) -> Result<(), ShmError> {
        self.0.copy_from(from)
    }

    /// A copy of all elements.
    ///
    /// # Errors
    /// [`ShmError::Invalid`] when another process has written what is no `T`.
    pub fn to_vec(&self) -> Result<Vec<T>, ShmError> {
        self.0.to_vec()
    }

    /// Replaces all elements by one value.
    ///
    /// # Errors
    /// [`ShmError::ReadOnly`].
    pub fn fill(&self, value: T) -> Result<(), ShmError> {
        self.0.fill(value)
    }

    /// The elements: methods that go through all of them, such as `sum`, `fold` and `for_each`, are as fast as a
    /// vector's; a plain `for` loop costs somewhat more.
    ///
    /// For types that any bits are a value of, such as numbers; for others it does not compile, and
    /// [`try_iter`](Self::try_iter) does.
    ///
    /// ```compile_fail,E0080
    /// let flags = procession_shm::SharedArray::from_slice(&[true])?;
    /// flags.iter(); // Another process may have written what is no `bool`.
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> SharedIter<'_, T> {
        SharedIter::new(&self.0)
    }

    /// The elements, each checked as [`get`](Self::get) does it.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::SharedArray;
    ///
    /// let flags = SharedArray::from_slice(&[true, false, true])?;
    /// let flags: Vec<bool> = flags.try_iter().collect::<Result<_, _>>()?;
    /// assert_eq!(flags, [true, false, true]);
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn try_iter(&self) -> SharedTryIter<'_, T> {
        SharedTryIter::new(&self.0)
    }

    /// As many parts as asked for, which together are all elements and of which no two have one in common: one to write
    /// for each worker. The first ones have one element more where it does not come out even, and where there are fewer
    /// elements than parts the last ones have none.
    ///
    /// This handle still reads and writes everything, and splitting again gives parts that overlap these.
    ///
    /// # Errors
    /// [`ShmError::NoParts`] for none, [`ShmError::ReadOnly`] for a handle that cannot write.
    ///
    /// # Python
    /// `numpy.array_split`, whose parts travel by copy.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::SharedArray;
    ///
    /// let array = SharedArray::from_slice(&[1, 2, 3, 4, 5])?;
    /// for (number, mut part) in array.split_into(2)?.enumerate() {
    ///     part.fill(number)?; // Or let a worker do it: a part is an argument.
    /// }
    /// assert_eq!(array.to_vec()?, [0, 0, 0, 1, 1]);
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn split_into(&self, parts: usize) -> Result<SharedParts<T>, ShmError> {
        SharedPart::whole(self.0.clone())?.split_into(parts)
    }
}

impl<T> Clone for SharedArray<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe("SharedArray", f)
    }
}

impl<'a, T: Shareable> IntoIterator for &'a SharedArray<T> {
    type Item = T;
    type IntoIter = SharedIter<'a, T>;

    fn into_iter(self) -> SharedIter<'a, T> {
        self.iter()
    }
}

impl<T: Shareable> Serialize for SharedArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for SharedArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        View::deserialize(deserializer).map(Self)
    }
}
