//! The lock that its holder may take again.
//!
//! Relies on `protocol/rlock.rs` for its words and on `lock.rs` for the first of them.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_shm::arena::{ArenaError, Slot};
use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::base::{BaseLock, Sealed};
use crate::keep::Keep;
use crate::lock::{self, Wait};
use crate::protocol::lock::{Held, give_unmarked};
use crate::protocol::rlock::{self, Barred, Had, LEVELS_MAX};
use crate::waiting::Kernel;
use crate::{Holder, Lock, LockError};

/// What tells these locks from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"rlock\0\0\x01");

const LEVELS: usize = lock::WORDS;
const WORDS: usize = lock::WORDS + 1;

/// How many times one thread may hold an [`RLock`] at the same time: more guards were forgotten, not nested.
pub const RLOCK_DEPTH_MAX: u64 = LEVELS_MAX + 1;

/// A lock that several processes share and that the thread which holds it may take again: a handle, whose clones are the
/// same lock.
///
/// It is free when as many guards were dropped as were had, in any order. As several guards may be there at a time, none
/// of them gives exclusive access to anything: values have a [`Lock`].
///
/// # When a process dies
/// A holder that dies at any depth is noticed within 100 ms. The next taker gets the guard in
/// [`LockError::OwnerDied`], once; it holds the lock at depth one.
///
/// # Python
/// `multiprocessing.RLock`. A guard in place of `release` means that nobody can release what they do not hold.
///
/// # Examples
/// ```
/// use procession_sync::RLock;
///
/// let lock = RLock::new()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?; // The same thread: it does not wait for itself.
/// assert_eq!(lock.depth(), 2);
/// drop(outer);
/// assert!(lock.holder().is_some());
/// drop(inner);
/// assert_eq!(lock.holder(), None);
/// # Ok::<(), procession_sync::LockError>(())
/// ```
pub struct RLock {
    lock: Lock,
}

impl RLock {
    /// A lock that is free.
    ///
    /// # Errors
    /// [`LockError::Arena`] when there is no memory or no descriptor for it.
    pub fn new() -> Result<Self, LockError> {
        Self::over(Slot::allocate(WORDS * size_of::<u64>(), KIND)?)
    }

    /// The lock that is in a slot.
    fn over(slot: Slot) -> Result<Self, LockError> {
        let slot = slot.expect(KIND)?;
        match slot.words().len() {
            WORDS => Ok(Self { lock: Lock::in_front(slot)? }),
            _ => Err(ArenaError::Foreign { reason: "a lock has another size" }.into()),
        }
    }

    /// Takes the lock once more if this thread holds it, or waits until it is free and takes it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::TooDeep`]; [`LockError::Arena`] in a forked child whose
    /// handles could not be counted.
    ///
    /// # Python
    /// `RLock.acquire()`, `with lock:`.
    #[inline]
    pub fn lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'static>>> {
        match self.lock.take_now() {
            Some(own) => Ok(self.guard(own)),
            None => self.settle(Wait::Until(Deadline::NEVER)),
        }
    }

    /// Takes the lock if it is free, this thread's, or its holder dead.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], [`LockError::OwnerDied`] with the guard, [`LockError::TooDeep`].
    ///
    /// # Python
    /// `RLock.acquire(block=False)`.
    #[inline]
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'static>>> {
        match self.lock.take_now() {
            Some(own) => Ok(self.guard(own)),
            None => self.settle(Wait::Not),
        }
    }

    /// Takes the lock if it is this thread's, or waits until it is free, for so long at most, and takes it.
    ///
    /// # Errors
    /// [`LockError::Timeout`], [`LockError::OwnerDied`] with the guard, [`LockError::TooDeep`].
    ///
    /// # Python
    /// `RLock.acquire(timeout=seconds)`.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, LockError<RLockGuard<'static>>> {
        match self.lock.take_now() {
            Some(own) => Ok(self.guard(own)),
            None => self.settle(Wait::Until(Deadline::after(timeout))),
        }
    }

    #[cold]
    fn settle(&self, wait: Wait) -> Result<RLockGuard<'_>, LockError<RLockGuard<'static>>> {
        let own = self.lock.own()?;
        let (slot, word, levels) = (self.lock.slot(), self.lock.word(), self.levels());
        let had = match wait {
            Wait::Not => rlock::try_take(&Kernel::new(slot, Deadline::NOW), word, levels, own),
            Wait::Until(deadline) => {
                self.lock.since();
                rlock::take(&Kernel::new(slot, deadline), word, levels, own)
            }
        };
        let had = had.map_err(|barred| match (barred, wait) {
            (Barred::TooDeep, _) => LockError::TooDeep { limit: RLOCK_DEPTH_MAX },
            (Barred::Held, Wait::Not) => LockError::WouldBlock,
            (Barred::Held, Wait::Until(_)) => LockError::Timeout,
        })?;
        let guard = self.guard(own);
        match had {
            Had::Again => Ok(guard),
            Had::Free => {
                self.lock.begin_now();
                Ok(guard)
            }
            Had::FromDead => {
                self.lock.begin_now();
                Err(LockError::OwnerDied(guard.detach()))
            }
        }
    }

    #[inline]
    fn levels(&self) -> &AtomicU64 {
        &self.lock.slot().words()[LEVELS]
    }

    #[inline]
    fn guard(&self, own: Held) -> RLockGuard<'_> {
        RLockGuard { lock: Keep::borrowed(self), own, _not_send: PhantomData }
    }

    /// Who holds it; `None` when it is free. It may be somebody else's when this returns.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        self.lock.holder()
    }

    /// How many guards its holder has; zero when it is free.
    #[must_use]
    pub fn depth(&self) -> u64 {
        let levels = self.levels().load(Relaxed);
        if self.word_says_held() { levels.saturating_add(1) } else { 0 }
    }

    fn word_says_held(&self) -> bool {
        Held::from_word(self.lock.word().load(Relaxed)).is_some()
    }

    /// How many threads sleep until it is free, in all processes.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.lock.waiters()
    }
}

/// One time that a lock is held; dropping all of its thread's guards, in any order, frees it.
///
/// It stays with its thread, by whose number the lock is held. In a forked child the copy of a guard is inert.
#[must_use = "it is given back as soon as its guard is dropped"]
pub struct RLockGuard<'a> {
    lock: Keep<'a, RLock>,
    own: Held,
    _not_send: PhantomData<*const ()>,
}

impl Drop for RLockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let lock = &self.lock.lock;
        if !lock.is_own(self.own) {
            return;
        }
        let is_last = self.lock.levels().load(Relaxed) == 0;
        if !is_last || !give_unmarked(lock.word(), self.own) {
            self.give();
        }
    }
}

impl RLockGuard<'_> {
    /// The same guard with a handle of its own.
    fn detach(self) -> RLockGuard<'static> {
        let detached = RLockGuard { lock: self.lock.detach(), own: self.own, _not_send: PhantomData };
        std::mem::forget(self); // It borrows, so there is nothing to drop; the lock is the other one's to free.
        detached
    }

    #[cold]
    fn give(&self) {
        let lock = &self.lock.lock;
        let kernel = Kernel::new(lock.slot(), Deadline::NEVER);
        rlock::give(&kernel, lock.word(), self.lock.levels(), self.own);
    }
}

impl Sealed for RLock {}

impl BaseLock for RLock {
    type Guard<'a> = RLockGuard<'a>;
    type Saved = u64;

    fn take(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'static>>> {
        self.lock()
    }

    fn is_held_by(&self, guard: &RLockGuard<'_>) -> bool {
        guard.lock.lock.slot().is_same(self.lock.slot()) && self.lock.is_own(guard.own)
    }

    fn release_all(guard: RLockGuard<'_>) -> u64 {
        let levels = guard.lock.levels().swap(0, Relaxed); // Nobody else writes it while the lock is held.
        drop(guard);
        levels
    }

    fn restore(&self, levels: u64) -> Result<RLockGuard<'_>, LockError<RLockGuard<'static>>> {
        let taken = self.lock();
        if matches!(taken, Ok(_) | Err(LockError::OwnerDied(_))) {
            self.levels().store(levels, Relaxed);
        }
        taken
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLockGuard").finish_non_exhaustive()
    }
}

impl From<LockError<RLockGuard<'static>>> for LockError {
    fn from(error: LockError<RLockGuard<'static>>) -> Self {
        error.map(drop)
    }
}

impl Clone for RLock {
    fn clone(&self) -> Self {
        Self { lock: self.lock.clone() }
    }
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").field("holder", &self.holder()).field("depth", &self.depth()).finish()
    }
}

impl Serialize for RLock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.lock.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::over(Slot::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
