//! An array with a lock.
//!
//! Relies on `locked.rs` for both.

use std::any::type_name;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use procession_shm::Shareable;
use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lock::Wait;
use crate::locked::{Hold, Locked};
use crate::{Holder, Lock, LockError, LockGuard};

/// An array that several processes share, with a lock: a handle, whose clones are the same elements.
///
/// [`lock`](Self::lock) gives a guard that is a slice: ranges are read, changed and replaced under one lock.
/// [`get`](Self::get), [`set`](Self::set) and [`to_vec`](Self::to_vec) take the lock for one access. How many elements
/// there are never changes; there may be none. Up to some 4000 bytes are in a slot, beside the lock; more are in a
/// segment of their own, which costs a descriptor.
///
/// # When a process dies
/// A holder that dies leaves the elements as they were at that moment. The next taker is told, once, by
/// [`LockError::OwnerDied`]: [`lock`](Self::lock) has the guard in it; the others have done nothing.
///
/// # Python
/// `multiprocessing.Array`. There is no array of characters with a `value` up to the first zero: take bytes, and
/// `CStr::from_bytes_until_nul`.
///
/// # Examples
/// ```
/// use procession_sync::Array;
///
/// let array = Array::<i32>::from_slice(&[3, 1, 2])?;
/// let mut elements = array.lock()?; // Passed to other processes, each could do so.
/// elements[0] = 7;
/// elements[1..].sort();
/// drop(elements);
/// assert_eq!(array.to_vec()?, [7, 1, 2]);
/// # Ok::<(), procession_sync::LockError>(())
/// ```
pub struct Array<T>(Locked<T>);

impl<T: Shareable> Array<T> {
    /// An array of `len` elements whose bytes are zero.
    ///
    /// # Errors
    /// [`LockError::Memory`] for a type of which zero is no value, or when there is no memory for so many;
    /// [`LockError::Arena`] when there is no memory or no descriptor for the lock.
    ///
    /// # Python
    /// `Array(type, len)`.
    pub fn zeroed(len: usize) -> Result<Self, LockError> {
        Locked::fresh(len, None).map(Self)
    }

    /// An array with a copy of these elements.
    ///
    /// # Errors
    /// As [`Array::zeroed`].
    ///
    /// # Python
    /// `Array(type, elements)`.
    pub fn from_slice(elements: &[T]) -> Result<Self, LockError> {
        Locked::fresh(elements.len(), Some(elements)).map(Self)
    }

    /// An array of these elements, such as those of a range.
    ///
    /// # Errors
    /// As [`Array::zeroed`].
    ///
    /// # Examples
    /// ```
    /// let array = procession_sync::Array::from_items(0..4_u16)?;
    /// assert_eq!(array.to_vec()?, [0, 1, 2, 3]);
    /// # Ok::<(), procession_sync::LockError>(())
    /// ```
    pub fn from_items(items: impl IntoIterator<Item = T>) -> Result<Self, LockError> {
        Self::from_slice(&items.into_iter().collect::<Vec<_>>())
    }

    /// An array of `len` elements, each made of its index.
    ///
    /// # Errors
    /// As [`Array::zeroed`].
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Result<Self, LockError> {
        Self::from_items((0..len).map(element))
    }

    /// An array with a copy of these elements and a lock of one's own choice, which may be that of others as well: who
    /// holds it reaches them by [`access`](Self::access).
    ///
    /// # Errors
    /// As [`Array::zeroed`].
    ///
    /// # Python
    /// `Array(type, elements, lock=lock)`.
    pub fn with_lock(elements: &[T], lock: &Lock) -> Result<Self, LockError> {
        Locked::with_lock(elements.len(), Some(elements), lock).map(Self)
    }

    /// Waits until the lock is free and takes it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::HeldByThisThread`]. [`LockError::Memory`] when the bits
    /// of an element are no `T`, as a peer may have written anything: the lock is free again, and [`set`](Self::set) makes
    /// it a value; types of which all bits are a value are not looked at. [`LockError::Arena`] in a forked child whose handles could not be counted.
    #[inline]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        match self.0.take_now() {
            Some(hold) => Ok(ArrayGuard(hold)),
            None => self.settle(Wait::Until(Deadline::NEVER)),
        }
    }

    /// Takes the lock if it is free, or its holder dead.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], also for a thread that holds it itself; otherwise as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        match self.0.take_now() {
            Some(hold) => Ok(ArrayGuard(hold)),
            None => self.settle(Wait::Not),
        }
    }

    /// Waits until the lock is free, for so long at most, and takes it.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; otherwise as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        match self.0.take_now() {
            Some(hold) => Ok(ArrayGuard(hold)),
            None => self.settle(Wait::Until(Deadline::after(timeout))),
        }
    }

    #[cold]
    fn settle(&self, wait: Wait) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        self.0.take(wait).map(ArrayGuard).map_err(|error| error.map(ArrayGuard))
    }

    /// One element, copied under the lock, which is waited for.
    ///
    /// # Errors
    /// [`LockError::Memory`] for an index that there is none of, and for bits that are no `T`; otherwise as
    /// [`lock`](Self::lock). After [`LockError::OwnerDied`] the lock is free, and the next call is not told.
    ///
    /// # Python
    /// `array[index]`.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, LockError> {
        self.0.get(index)
    }

    /// Replaces one element, whatever bits were there, under the lock, which is waited for.
    ///
    /// # Errors
    /// As [`get`](Self::get), apart from the bits; nothing was written.
    ///
    /// # Python
    /// `array[index] = new`.
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), LockError> {
        self.0.set(index, value)
    }

    /// A copy of all elements, made under the lock, which is waited for.
    ///
    /// # Errors
    /// As [`lock`](Self::lock). After [`LockError::OwnerDied`] the lock is free, and the next call is not told.
    ///
    /// # Python
    /// `array[:]`.
    pub fn to_vec(&self) -> Result<Vec<T>, LockError> {
        Ok(self.lock()?.to_vec())
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

    /// The elements, for whoever holds its lock already.
    ///
    /// # Errors
    /// [`LockError::NotItsLock`] for a guard of another lock; [`LockError::Memory`] when the bits there are no `T`.
    pub fn access<'g>(&'g self, guard: &'g mut LockGuard<'_>) -> Result<&'g mut [T], LockError> {
        self.0.access(guard)
    }

    /// Its lock.
    ///
    /// # Python
    /// `array.get_lock()`.
    #[must_use]
    pub fn lock_handle(&self) -> &Lock {
        self.0.lock()
    }

    /// Who holds its lock; `None` when it is free. It may be somebody else's when this returns.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        self.0.lock().holder()
    }
}

/// An array of which the lock is held; dropping this frees it.
///
/// It stays with its thread, by whose number the lock is held. In a forked child the copy of a guard is inert: the
/// parent holds the lock, and the copy shows nothing. A reference that was had from a guard before the fork is not a
/// guard: it must not be used in the child, which cannot tell.
///
/// # Panics
/// Whoever uses a copy in a forked child.
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct ArrayGuard<'a, T: Shareable>(Hold<'a, T>);

impl<T: Shareable> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.0.values()
    }
}

impl<T: Shareable> DerefMut for ArrayGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.values_mut()
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Shareable> From<LockError<ArrayGuard<'static, T>>> for LockError {
    fn from(error: LockError<ArrayGuard<'static, T>>) -> Self {
        error.map(drop)
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Shareable> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = self.0.lock().holder();
        f.debug_struct("Array")
            .field("type", &type_name::<T>())
            .field("len", &self.0.len())
            .field("holder", &holder)
            .finish_non_exhaustive()
    }
}

impl<T: Shareable> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Locked::deserialize(deserializer).map(Self)
    }
}
