//! The lock, and who holds one.
//!
//! Relies on `protocol/lock.rs` for its word and on `waiting.rs` for the kernel.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_shm::arena::{ArenaError, Slot};
use procession_sys::{Deadline, futex_sleepers, lower_half, monotonic_nanos, thread_id};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::LockError;
use crate::base::{BaseLock, Sealed};
use crate::keep::Keep;
use crate::protocol::lock::{self, Held, Refused, Taken};
use crate::waiting::Kernel;

/// What tells locks from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"lock\0\0\0\x01");

const WORD: usize = 0;
/// Since when it is held, as nanoseconds of the monotonic clock; zero when nobody has asked.
const SINCE: usize = 1;
const WORDS: usize = 2;

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process, by its number in its own namespace.
    pub pid: u32,
    /// Its thread, as `ps -L` shows it.
    pub thread: u32,
    /// For how long it has held it. Exactly so if it had to wait for it; otherwise since somebody first waited or asked,
    /// as a clock on the way of every taker would double the lock's price.
    pub held_for: Duration,
    /// False when the process is dead, so that the next taker gets [`LockError::OwnerDied`].
    pub is_alive: bool,
}

/// A lock that several processes share, and that survives whoever holds it: a handle, whose clones are the same lock.
pub struct Lock {
    slot: Slot,
}

impl Lock {
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
            WORDS => Ok(Self { slot }),
            _ => Err(ArenaError::Foreign { reason: "a lock has another size" }.into()),
        }
    }

    /// Waits until the lock is free and takes it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::HeldByThisThread`]; [`LockError::Arena`] in a forked child
    /// whose handles could not be counted.
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        let own = self.own()?;
        if lock::take_free(self.word(), own) { Ok(self.begun(own, 0)) } else { self.wait(own, Deadline::NEVER) }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], also for a thread that holds it itself; [`LockError::OwnerDied`] with the guard.
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        let own = self.own()?;
        if lock::take_free(self.word(), own) { Ok(self.begun(own, 0)) } else { self.look(own) }
    }

    /// Waits until the lock is free, for so long at most, and takes it.
    ///
    /// # Errors
    /// [`LockError::Timeout`], [`LockError::OwnerDied`] with the guard, [`LockError::HeldByThisThread`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        let own = self.own()?;
        if lock::take_free(self.word(), own) {
            Ok(self.begun(own, 0))
        } else {
            self.wait(own, Deadline::after(timeout))
        }
    }

    #[cold]
    fn look(&self, own: Held) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        let taken = lock::try_take(&Kernel::new(&self.slot, Deadline::NOW), self.word(), own);
        self.settle(own, taken.map_err(|_| LockError::WouldBlock))
    }

    #[cold]
    fn wait(&self, own: Held, deadline: Deadline) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        // Whoever waits for it notes since when at the latest it has been held.
        self.since();
        let taken = lock::take(&Kernel::new(&self.slot, deadline), self.word(), own);
        self.settle(
            own,
            taken.map_err(|refused| match refused {
                Refused::Held => LockError::Timeout,
                Refused::HeldBySelf => LockError::HeldByThisThread,
            }),
        )
    }

    fn settle(
        &self,
        own: Held,
        taken: Result<Taken, LockError<LockGuard<'static>>>,
    ) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        let taken = taken?;
        let guard = self.begun(own, monotonic_nanos());
        match taken {
            Taken::Free => Ok(guard),
            Taken::FromDead => Err(LockError::OwnerDied(guard.detach())),
        }
    }

    /// The word of the calling thread.
    #[inline]
    fn own(&self) -> Result<Held, ArenaError> {
        Ok(Held::by(self.slot.own_name()?, thread_id()))
    }

    #[inline]
    fn word(&self) -> &AtomicU64 {
        &self.slot.words()[WORD]
    }

    /// The guard of a lock that has been taken.
    #[inline]
    fn begun(&self, own: Held, since: u64) -> LockGuard<'_> {
        self.slot.words()[SINCE].store(since, Relaxed);
        LockGuard { lock: Keep::borrowed(self), own, _not_send: PhantomData }
    }

    /// Since when it is held, as far as anybody knows.
    fn since(&self) -> u64 {
        let now = monotonic_nanos();
        self.slot.words()[SINCE].compare_exchange(0, now, Relaxed, Relaxed).map_or_else(|since| since, |_| now)
    }

    /// Who holds it; `None` when it is free. It may be somebody else's when this returns.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        let held = Held::from_word(self.word().load(Relaxed))?;
        let owner = held.owner();
        Some(Holder {
            pid: owner.and_then(|owner| self.slot.pid_of(owner)).unwrap_or(0),
            thread: held.thread(),
            held_for: Duration::from_nanos(monotonic_nanos().saturating_sub(self.since())),
            is_alive: owner.is_some_and(|owner| self.slot.is_alive(owner)),
        })
    }

    /// How many threads sleep until it is free, in all processes.
    #[must_use]
    pub fn waiters(&self) -> usize {
        futex_sleepers(lower_half(self.word())).unwrap_or(0)
    }
}

/// A lock that is held; dropping this frees it.
///
/// It stays with its thread, by whose number the lock is held. In a forked child the copy of a guard is inert: the
/// parent holds the lock, the child does not, and dropping the copy does nothing.
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct LockGuard<'a> {
    lock: Keep<'a, Lock>,
    own: Held,
    _not_send: PhantomData<*const ()>,
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // A copy in a forked child names the parent, which holds the lock.
        if self.lock.slot.own_name().ok() == self.own.owner() && !lock::give_unmarked(self.lock.word(), self.own) {
            self.wake();
        }
    }
}

impl LockGuard<'_> {
    /// The same guard with a handle of its own.
    fn detach(self) -> LockGuard<'static> {
        let detached = LockGuard { lock: self.lock.detach(), own: self.own, _not_send: PhantomData };
        std::mem::forget(self); // It borrows, so there is nothing to drop; the lock is the other one's to free.
        detached
    }

    #[cold]
    fn wake(&self) {
        lock::give(&Kernel::new(&self.lock.slot, Deadline::NEVER), self.lock.word(), self.own);
    }
}

impl Sealed for Lock {}

impl BaseLock for Lock {
    type Guard<'a> = LockGuard<'a>;
    type Saved = ();

    fn take(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        self.lock()
    }

    fn is_held_by(&self, guard: &LockGuard<'_>) -> bool {
        guard.lock.slot.is_same(&self.slot) && self.slot.own_name().ok() == guard.own.owner()
    }

    fn release_all(guard: LockGuard<'_>) {
        drop(guard);
    }

    fn restore(&self, (): ()) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        self.lock()
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").finish_non_exhaustive()
    }
}

impl Clone for Lock {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone() }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("holder", &self.holder()).finish()
    }
}

impl Serialize for Lock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.slot.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Lock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::over(Slot::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
