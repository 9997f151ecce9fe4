//! A value with a lock.
//!
//! Relies on `locked.rs` for both.

use std::any::type_name;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::time::Duration;

use procession_shm::Shareable;
use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lock::Wait;
use crate::locked::{Hold, Locked};
use crate::{Holder, Lock, LockError, LockGuard};

/// A value that several processes share, with a lock: a handle, whose clones are the same value.
///
/// [`lock`](Self::lock) gives a guard through which the value is read and changed in place; [`get`](Self::get) and
/// [`set`](Self::set) take the lock for one access. Lock and value are in one cache line if they fit; a value of more
/// than some 4000 bytes is in a segment of its own.
///
/// # When a process dies
/// A holder that dies leaves the value as it was at that moment, perhaps half changed. The next taker is told, once:
/// [`lock`](Self::lock) gives [`LockError::OwnerDied`] with the guard in it, to check or repair the value;
/// [`get`](Self::get) and [`set`](Self::set) give the error and have done nothing.
///
/// # Python
/// `multiprocessing.Value`, whose `value += 1` is two steps that others come between, and whose lock an RLock.
///
/// # Examples
/// ```
/// use procession_sync::Value;
///
/// let counter = Value::<i64>::new(0)?;
/// *counter.lock()? += 1; // Passed to other processes, each could do so.
/// assert_eq!(counter.get()?, 1);
/// counter.set(7)?;
/// assert_eq!(*counter.lock()?, 7);
/// # Ok::<(), procession_sync::LockError>(())
/// ```
pub struct Value<T>(Locked<T>);

impl<T: Shareable> Value<T> {
    /// A value with a lock of its own.
    ///
    /// # Errors
    /// [`LockError::Arena`] or [`LockError::Memory`] when there is no memory or no descriptor for it.
    pub fn new(value: T) -> Result<Self, LockError> {
        Locked::fresh(1, Some(slice::from_ref(&value))).map(Self)
    }

    /// A value with a lock of one's own choice, which may be that of other values as well: who holds it reaches them by
    /// [`access`](Self::access).
    ///
    /// # Errors
    /// As [`Value::new`].
    ///
    /// # Python
    /// `Value(type, value, lock=lock)`.
    ///
    /// # Examples
    /// ```
    /// use procession_sync::{Lock, Value};
    ///
    /// let lock = Lock::new()?;
    /// let (from, to) = (Value::with_lock(10_i64, &lock)?, Value::with_lock(0_i64, &lock)?);
    /// let mut guard = lock.lock()?;
    /// *from.access(&mut guard)? -= 3; // Nobody sees the one without the other.
    /// *to.access(&mut guard)? += 3;
    /// drop(guard);
    /// assert_eq!((from.get()?, to.get()?), (7, 3));
    /// # Ok::<(), procession_sync::LockError>(())
    /// ```
    pub fn with_lock(value: T, lock: &Lock) -> Result<Self, LockError> {
        Locked::with_lock(1, Some(slice::from_ref(&value)), lock).map(Self)
    }

    /// Waits until the lock is free and takes it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::HeldByThisThread`]. [`LockError::Memory`] when the bits
    /// there are no `T`, as a peer may have written anything: the lock is free again, and [`set`](Self::set) makes it
    /// a value. [`LockError::Arena`] in a forked child whose handles could not be counted.
    #[inline]
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'static, T>>> {
        match self.0.take_now() {
            Some(hold) => Ok(ValueGuard(hold)),
            None => self.settle(Wait::Until(Deadline::NEVER)),
        }
    }

    /// Takes the lock if it is free, or its holder dead.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], also for a thread that holds it itself; otherwise as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'static, T>>> {
        match self.0.take_now() {
            Some(hold) => Ok(ValueGuard(hold)),
            None => self.settle(Wait::Not),
        }
    }

    /// Waits until the lock is free, for so long at most, and takes it.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; otherwise as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'static, T>>> {
        match self.0.take_now() {
            Some(hold) => Ok(ValueGuard(hold)),
            None => self.settle(Wait::Until(Deadline::after(timeout))),
        }
    }

    #[cold]
    fn settle(&self, wait: Wait) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'static, T>>> {
        self.0.take(wait).map(ValueGuard).map_err(|error| error.map(ValueGuard))
    }

    /// A copy of the value, made under the lock, which is waited for.
    ///
    /// # Errors
    /// As [`lock`](Self::lock); after [`LockError::OwnerDied`] the lock is free, and the next call is not told.
    ///
    /// # Python
    /// `value.value`.
    #[inline]
    pub fn get(&self) -> Result<T, LockError> {
        self.0.get(0)
    }

    /// Replaces the value, whatever bits were there, under the lock, which is waited for.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`], [`LockError::HeldByThisThread`], [`LockError::Arena`]: nothing was written. After the
    /// first the lock is free, and the next call is not told.
    ///
    /// # Python
    /// `value.value = new`.
    #[inline]
    pub fn set(&self, value: T) -> Result<(), LockError> {
        self.0.set(0, value)
    }

    /// The value, for whoever holds its lock already.
    ///
    /// # Errors
    /// [`LockError::NotItsLock`] for a guard of another lock; [`LockError::Memory`] when the bits there are no `T`.
    pub fn access<'g>(&'g self, guard: &'g mut LockGuard<'_>) -> Result<&'g mut T, LockError> {
        self.0.access(guard).map(|values| &mut values[0])
    }

    /// Its lock.
    ///
    /// # Python
    /// `value.get_lock()`.
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

/// A value of which the lock is held; dropping this frees it.
///
/// It stays with its thread, by whose number the lock is held. In a forked child the copy of a guard is inert: the
/// parent holds the lock, and the copy shows nothing. A reference that was had from a guard before the fork is not a
/// guard: it must not be used in the child, which cannot tell.
///
/// # Panics
/// Whoever uses a copy in a forked child.
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct ValueGuard<'a, T: Shareable>(Hold<'a, T>);

impl<T: Shareable> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.value()
    }
}

impl<T: Shareable> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.value_mut()
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Shareable> From<LockError<ValueGuard<'static, T>>> for LockError {
    fn from(error: LockError<ValueGuard<'static, T>>) -> Self {
        error.map(drop)
    }
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = self.0.lock_for_debug().holder();
        f.debug_struct("Value").field("type", &type_name::<T>()).field("holder", &holder).finish_non_exhaustive()
    }
}

impl<T: Shareable> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let locked = Locked::deserialize(deserializer)?;
        match locked.len() {
            1 => Ok(Self(locked)),
            _ => Err(serde::de::Error::custom("a value is one, and this is an array")),
        }
    }
}
