//! A lock before what has none of its own.
//!
//! Relies on `lock.rs`.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Holder, Lock, LockError, LockGuard};

/// A handle that is used under a lock, such as a shared array that several processes change: a handle itself, whose
/// clones are the same lock and the same object.
///
/// The guard shows the handle, and what can be done with it is what the handle offers: an array in memory that others map
/// as well is never a `&mut [T]`, as nothing keeps them from using another handle of it. Where the array is yours alone,
/// take an [`Array`](crate::Array).
///
/// # When a process dies
/// What it has written stays; the next taker is told, once, by [`LockError::OwnerDied`] with the guard in it.
///
/// # Python
/// A `SharedMemory` or a `ShareableList`, and beside it a `Lock` that everybody remembers to take.
///
/// # Examples
/// ```
/// use procession_shm::SharedArray;
/// use procession_sync::Guarded;
///
/// let balances = Guarded::new(SharedArray::from_slice(&[100_i64, 0])?)?;
/// let array = balances.lock()?;
/// array.set(0, array.get(0)? - 30)?;
/// array.set(1, array.get(1)? + 30)?;
/// drop(array);
/// assert_eq!(balances.lock()?.to_vec()?, [70, 30]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Guarded<H> {
    lock: Lock,
    handle: H,
}

impl<H> Guarded<H> {
    /// A handle with a lock of its own.
    ///
    /// # Errors
    /// [`LockError::Arena`] when there is no memory or no descriptor for the lock.
    pub fn new(handle: H) -> Result<Self, LockError> {
        Ok(Self { lock: Lock::new()?, handle })
    }

    /// A handle with a lock of one's own choice, which may be that of others as well.
    #[must_use]
    pub fn with_lock(handle: H, lock: &Lock) -> Self {
        Self { lock: lock.clone(), handle }
    }

    /// Its lock.
    #[must_use]
    pub fn lock_handle(&self) -> &Lock {
        &self.lock
    }

    /// The handle itself, by which it can be used without the lock.
    #[must_use]
    pub fn unguarded(&self) -> &H {
        &self.handle
    }

    /// Who holds its lock; `None` when it is free. It may be somebody else's when this returns.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        self.lock.holder()
    }
}

impl<H: Clone> Guarded<H> {
    /// Waits until the lock is free and takes it.
    ///
    /// # Errors
    /// As [`Lock::lock`].
    pub fn lock(&self) -> Result<Guard<'_, H>, LockError<Guard<'static, H>>> {
        self.shown(self.lock.lock())
    }

    /// Takes the lock if it is free, or its holder dead.
    ///
    /// # Errors
    /// As [`Lock::try_lock`].
    pub fn try_lock(&self) -> Result<Guard<'_, H>, LockError<Guard<'static, H>>> {
        self.shown(self.lock.try_lock())
    }

    /// Waits until the lock is free, for so long at most, and takes it.
    ///
    /// # Errors
    /// As [`Lock::lock_timeout`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Guard<'_, H>, LockError<Guard<'static, H>>> {
        self.shown(self.lock.lock_timeout(timeout))
    }

    fn shown<'a>(
        &'a self,
        locked: Result<LockGuard<'a>, LockError<LockGuard<'static>>>,
    ) -> Result<Guard<'a, H>, LockError<Guard<'static, H>>> {
        match locked {
            Ok(lock) => Ok(Guard { handle: Shown::Borrowed(&self.handle), lock }),
            Err(error) => Err(error.map(|lock| Guard { handle: Shown::Owned(self.handle.clone()), lock })),
        }
    }
}

/// A handle of which the lock is held; dropping this frees it.
///
/// It stays with its thread. In a forked child the copy of a guard is inert: it shows the handle, but the parent holds the
/// lock, and dropping the copy does nothing.
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct Guard<'a, H> {
    handle: Shown<'a, H>,
    lock: LockGuard<'a>,
}

enum Shown<'a, H> {
    Borrowed(&'a H),
    Owned(H),
}

impl<H> Deref for Guard<'_, H> {
    type Target = H;

    fn deref(&self) -> &H {
        match &self.handle {
            Shown::Borrowed(handle) => handle,
            Shown::Owned(handle) => handle,
        }
    }
}

impl<'a, H> Guard<'a, H> {
    /// The guard of the lock alone, such as for waiting on a condition; the lock stays held.
    pub fn into_lock_guard(guard: Self) -> LockGuard<'a> {
        guard.lock
    }
}

impl<H> From<LockError<Guard<'static, H>>> for LockError {
    fn from(error: LockError<Guard<'static, H>>) -> Self {
        error.map(drop)
    }
}

impl<H: fmt::Debug> fmt::Debug for Guard<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<H: fmt::Debug> fmt::Debug for Guarded<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("handle", &self.handle).field("holder", &self.holder()).finish()
    }
}
