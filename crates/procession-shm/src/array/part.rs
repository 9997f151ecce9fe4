//! Parts of an array that do not overlap, one for each process that writes.
//!
//! Relies on `view.rs` for the bounds, which are checked anew in the process that a part arrives in. Parts of one split
//! have no element in common by arithmetic alone: the n-th of so many is always the same range, and is made once.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::{Deref, DerefMut, Range};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::iter::{SharedIter, SharedTryIter};
use super::view::View;
use crate::{Shareable, ShmError};

/// A part of a [`SharedArray`](crate::SharedArray) that overlaps with no other part of its split.
///
/// It travels to a worker as an argument, and reads and writes nothing outside of its range. It has no clone, and what
/// writes takes `&mut self`: threads that are to write at the same time each need a part, by
/// [`split_into`](Self::split_into).
///
/// The array's own handles still reach all elements, so elements are moved by value, and nothing refers to them. A part
/// that is written to a message by reference is there twice, here and where it arrives; starting a process and putting
/// into a queue take it by value.
///
/// A worker that dies leaves what it has written. Its part is gone; the elements are not, the array still has them, and
/// [`SharedArray::split_into`](crate::SharedArray::split_into) gives the same parts again.
///
/// # Examples
/// ```
/// use procession_launch::Process;
/// use procession_shm::{SharedArray, SharedPart};
///
/// fn double(mut part: SharedPart<f64>) {
///     for mut x in part.iter_mut() {
///         *x *= 2.0;
///     }
/// }
///
/// let array = SharedArray::from_slice(&[1.0, 2.0, 3.0])?;
/// let workers = array.split_into(2)?.map(|part| Process::start(double, (part,)));
/// for worker in workers.collect::<Vec<_>>() {
///     worker?.join()?;
/// }
/// assert_eq!(array.to_vec()?, [2.0, 4.0, 6.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// There is only one of each:
///
/// ```compile_fail,E0277
/// fn twice<T: Clone>(_: T) {}
/// let array = procession_shm::SharedArray::from_slice(&[1, 2])?;
/// array.split_into(2)?.for_each(twice);
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub struct SharedPart<T> {
    view: View<T>,
    /// The index that its first element has in the array; with the length it is an index as well.
    start: usize,
}

impl<T: Shareable> SharedPart<T> {
    /// All of an array as one part.
    pub(super) fn whole(view: View<T>) -> Result<Self, ShmError> {
        Self::new(view, 0)
    }

    fn new(view: View<T>, start: usize) -> Result<Self, ShmError> {
        if view.is_read_only() {
            return Err(ShmError::ReadOnly);
        }
        if start.checked_add(view.len()).is_none() {
            return Err(ShmError::foreign(format!("no array has {} elements from {start} on", view.len())));
        }
        Ok(Self { view, start })
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view.len() == 0
    }

    /// The indices that its elements have in the array that was split. In the part they begin with 0.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.view.len()
    }

    /// One element; the first is 0.
    ///
    /// # Errors
    /// [`ShmError::Index`]; [`ShmError::Invalid`] when another process has written what is no `T`.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, ShmError> {
        self.view.get(index)
    }

    /// Replaces one element; the first is 0.
    ///
    /// # Errors
    /// [`ShmError::Index`].
    #[inline]
    pub fn set(&mut self, index: usize, value: T) -> Result<(), ShmError> {
        self.view.set(index, value)
    }

    /// Copies elements out, as many as `into` has, from `index` on.
    ///
    /// # Errors
    /// [`ShmError::Range`]; [`ShmError::Invalid`], after copying some of what stands before that element.
    pub fn read(&self, index: usize, into: &mut [T]) -> Result<(), ShmError> {
        self.view.read(index, into)
    }

    /// Copies elements in, as many as `from` has, from `index` on.
    ///
    /// # Errors
    /// [`ShmError::Range`].
    pub fn write(&mut self, index: usize, from: &[T]) -> Result<(), ShmError> {
        self.view.write(index, from)
    }

    /// Copies all elements to a slice of the same length.
    ///
    /// # Errors
    /// [`ShmError::Length`]; [`ShmError::Invalid`], after copying some of what stands before that element.
    pub fn copy_to(&self, into: &mut [T]) -> Result<(), ShmError> {
        self.view.copy_to(into)
    }

    /// Replaces all elements by those of a slice of the same length.
    ///
    /// # Errors
    /// [`ShmError::Length`].
    pub fn copy_from(&mut self, from: &[T]) -> Result<(), ShmError> {
        self.view.copy_from(from)
    }

    /// A copy of all elements.
    ///
    /// # Errors
    /// [`ShmError::Invalid`] when another process has written what is no `T`.
    pub fn to_vec(&self) -> Result<Vec<T>, ShmError> {
        self.view.to_vec()
    }

    /// Replaces all elements by one value.
    ///
    /// # Errors
    /// None but what the system itself gets wrong: a part can write.
    pub fn fill(&mut self, value: T) -> Result<(), ShmError> {
        self.view.fill(value)
    }

    /// The elements, as [`SharedArray::iter`](crate::SharedArray::iter) gives them.
    #[must_use]
    pub fn iter(&self) -> SharedIter<'_, T> {
        SharedIter::new(&self.view)
    }

    /// The elements, each checked as [`get`](Self::get) does it.
    #[must_use]
    pub fn try_iter(&self) -> SharedTryIter<'_, T> {
        SharedTryIter::new(&self.view)
    }

    /// The elements, each as a copy that is written back when it is dropped, if it was changed.
    ///
    /// [`update`](Self::update) is faster. For types that any bits are a value of, such as numbers; for others it does
    /// not compile, and `update` does.
    #[must_use]
    pub fn iter_mut(&mut self) -> SharedIterMut<'_, T> {
        const { assert!(T::ANY_BITS, "not all bits are a value of this type: use `update`, which checks them") };
        SharedIterMut { view: &self.view, rest: 0..self.view.len() }
    }

    /// Replaces each element by what the function makes of it, at the speed of memory.
    ///
    /// # Errors
    /// [`ShmError::Invalid`], after replacing what stands some 4 KiB or more before that element.
    ///
    /// # Panics
    /// Where the function does; of the last 4 KiB nothing is replaced then.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::SharedArray;
    ///
    /// let array = SharedArray::from_slice(&[1.0, 4.0, 9.0])?;
    /// for mut part in array.split_into(2)? {
    ///     part.update(f64::sqrt)?;
    /// }
    /// assert_eq!(array.to_vec()?, [1.0, 2.0, 3.0]);
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn update(&mut self, mut change: impl FnMut(T) -> T) -> Result<(), ShmError> {
        self.for_each_block(|values| values.iter_mut().for_each(|value| *value = change(*value)))
    }

    /// Lets the function change the elements some 4 KiB at a time, from the first to the last: they are copied to a
    /// slice, and back when it returns.
    ///
    /// # Errors
    /// [`ShmError::Invalid`], before the function has seen the 4 KiB that hold that element.
    ///
    /// # Panics
    /// Where the function does; what it has done to the slice is lost then.
    pub fn for_each_block(&mut self, change: impl FnMut(&mut [T])) -> Result<(), ShmError> {
        self.view.for_each_block(change)
    }

    /// Splits it once more, as [`SharedArray::split_into`](crate::SharedArray::split_into) does. A thread or a process of
    /// the worker's own may then have each.
    ///
    /// # Errors
    /// [`ShmError::NoParts`] for none.
    pub fn split_into(self, parts: usize) -> Result<SharedParts<T>, ShmError> {
        if parts == 0 { Err(ShmError::NoParts) } else { Ok(SharedParts { whole: self, parts, rest: 0..parts }) }
    }
}

impl<T> fmt::Debug for SharedPart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.describe("SharedPart", f)
    }
}

impl<T: Shareable> Serialize for SharedPart<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.view, self.start as u64).serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for SharedPart<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (view, start) = <(View<T>, u64)>::deserialize(deserializer)?;
        Self::new(view, usize::try_from(start).unwrap_or(usize::MAX)).map_err(serde::de::Error::custom)
    }
}

/// The parts that a [`SharedArray`](crate::SharedArray) or a [`SharedPart`] was split into, each of them once.
#[derive(Debug)]
pub struct SharedParts<T> {
    whole: SharedPart<T>,
    parts: usize,
    /// The numbers of those that are still to come.
    rest: Range<usize>,
}

impl<T: Shareable> SharedParts<T> {
    fn part(&self, number: usize) -> SharedPart<T> {
        let range = share(self.whole.len(), self.parts, number);
        SharedPart { view: self.whole.view.within(&range), start: self.whole.start + range.start }
    }
}

/// What the part of this number has of so many elements, when there are so many parts.
fn share(len: usize, parts: usize, number: usize) -> Range<usize> {
    let (each, more) = (len / parts, len % parts);
    let start = |number: usize| number * each + number.min(more);
    start(number)..start(number + 1)
}

impl<T: Shareable> Iterator for SharedParts<T> {
    type Item = SharedPart<T>;

    fn next(&mut self) -> Option<SharedPart<T>> {
        self.rest.next().map(|number| self.part(number))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl<T: Shareable> DoubleEndedIterator for SharedParts<T> {
    fn next_back(&mut self) -> Option<SharedPart<T>> {
        self.rest.next_back().map(|number| self.part(number))
    }
}

impl<T: Shareable> ExactSizeIterator for SharedParts<T> {}

impl<T: Shareable> FusedIterator for SharedParts<T> {}

/// The elements of a [`SharedPart`] to be changed.
#[derive(Debug)]
pub struct SharedIterMut<'a, T> {
    view: &'a View<T>,
    rest: Range<usize>,
}

impl<'a, T: Shareable> Iterator for SharedIterMut<'a, T> {
    type Item = SharedElement<'a, T>;

    #[inline]
    fn next(&mut self) -> Option<SharedElement<'a, T>> {
        let index = self.rest.next()?;
        element(self.view, index)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }

    fn nth(&mut self, n: usize) -> Option<SharedElement<'a, T>> {
        let index = self.rest.nth(n)?;
        element(self.view, index)
    }
}

impl<'a, T: Shareable> DoubleEndedIterator for SharedIterMut<'a, T> {
    fn next_back(&mut self) -> Option<SharedElement<'a, T>> {
        let index = self.rest.next_back()?;
        element(self.view, index)
    }
}

impl<T: Shareable> ExactSizeIterator for SharedIterMut<'_, T> {}

impl<T: Shareable> FusedIterator for SharedIterMut<'_, T> {}

/// One that there is: all bits are a value, so it is never refused.
#[inline]
fn element<T: Shareable>(view: &View<T>, index: usize) -> Option<SharedElement<'_, T>> {
    let value = view.get(index).ok()?;
    Some(SharedElement { view, index, value, is_changed: false })
}

/// A copy of one element, which is written back when it is dropped, if anything has had it as `&mut T`.
///
/// One that is forgotten instead of dropped changes nothing.
pub struct SharedElement<'a, T: Shareable> {
    view: &'a View<T>,
    index: usize,
    value: T,
    is_changed: bool,
}

impl<T: Shareable> Deref for SharedElement<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Shareable> DerefMut for SharedElement<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }
}

impl<T: Shareable> Drop for SharedElement<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.is_changed {
            // A part can write, and the element is one that there is: nothing refuses it.
            let _ = self.view.set(self.index, self.value);
        }
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for SharedElement<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
