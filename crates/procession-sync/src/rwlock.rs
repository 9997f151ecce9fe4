//! The lock for readers and writers, and who holds one.
//!
//! Relies on `protocol/rwlock.rs` for its words and on `waiting.rs` for the kernel.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_shm::arena::{Owner, Slot};
use procession_sys::{Deadline, monotonic_nanos, thread_id};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::keep::Keep;
use crate::protocol::lock::{Held, Taken};
use crate::protocol::rwlock::{Gate, WRITER, given_back};
use crate::table::{HOLDERS, Table};
use crate::waiting::Kernel;
use crate::{Holder, LockError};

/// What tells these locks from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"rwlock\0\x01");

/// The own words: which writer is next, which thread writes, and since when.
const NEXT: usize = 0;
const WRITES: usize = 1;
const SINCE: usize = 2;

/// How a guard for reading is had, or not.
type Reading<'a> = Result<RwLockReadGuard<'a>, LockError<RwLockReadGuard<'static>>>;
/// How a guard for writing is had, or not.
type Writing<'a> = Result<RwLockWriteGuard<'a>, LockError<RwLockWriteGuard<'static>>>;

/// A lock that many read under at a time, or one writes: a handle, whose clones are the same lock.
///
/// New readers let a writer pass that waits, so a thread that reads must not begin to read again: between the two a writer
/// may have come, which waits for the first. There is no order otherwise.
///
/// At most 268,435,455 readers at a time: one more waits. At most [`HOLDERS`] processes, or as many as the builder was told.
/// A process keeps its place for as long as it has a handle of any object of the same arena.
///
/// # Crashes and fork
/// When a writer dies, exactly one taker is told, whether it reads or writes: it gets [`LockError::OwnerDied`] with its
/// guard, within 2 × [`RECHECK`](crate::RECHECK) if it waits. A reader that reads what a dead writer left cannot repair
/// it: it may want to drop the guard and write. Readers that die have changed nothing, and nobody is told. A dead one that
/// waited keeps nobody waiting. In a forked child the copy of a guard is inert: the parent holds the lock.
///
/// # Python
/// There is none in `multiprocessing`.
///
/// Source: futex(2), `pthread_rwlock_rdlock(3p)`.
///
/// # Examples
/// ```
/// use procession_sync::RwLock;
///
/// let lock = RwLock::new()?;
/// let (one, other) = (lock.read()?, lock.read()?);
/// assert!(lock.try_write().is_err());
/// drop((one, other));
/// let writes = lock.write()?;
/// assert!(lock.try_read().is_err());
/// # drop(writes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RwLock {
    table: Table,
}

/// Options of an [`RwLock`].
///
/// # Examples
/// ```
/// let lock = procession_sync::RwLock::builder().holders(256).build()?;
/// # drop(lock);
/// # Ok::<(), procession_sync::LockError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RwLockBuilder {
    holders: u32,
}

impl RwLockBuilder {
    /// How many processes can use it, [`HOLDERS`] unless it is said, [`HOLDERS_MAX`](crate::HOLDERS_MAX) at most. Each costs
    /// 12 bytes.
    #[must_use]
    pub fn holders(self, holders: u32) -> Self {
        Self { holders }
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`LockError::InvalidHolders`]; [`LockError::Arena`] when there is no memory or no descriptor for it.
    pub fn build(self) -> Result<RwLock, LockError> {
        Ok(RwLock { table: Table::new(KIND, self.holders)? })
    }
}

impl RwLock {
    /// A lock that is free.
    ///
    /// # Errors
    /// [`LockError::Arena`] when there is no memory or no descriptor for it.
    pub fn new() -> Result<Self, LockError> {
        Self::builder().build()
    }

    /// Options of a lock.
    #[must_use]
    pub fn builder() -> RwLockBuilder {
        RwLockBuilder { holders: HOLDERS }
    }

    /// Waits until nobody writes or waits to, and begins to read.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::TooManyHolders`]; [`LockError::HeldByThisThread`] if the thread
    /// writes; [`LockError::Arena`] in a forked child whose handles could not be counted.
    #[inline]
    pub fn read(&self) -> Reading<'_> {
        self.read_until(Deadline::NEVER)
    }

    /// Begins to read if nobody writes or waits to.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], [`LockError::OwnerDied`] with the guard, [`LockError::TooManyHolders`],
    /// [`LockError::Arena`].
    pub fn try_read(&self) -> Reading<'_> {
        let world = Kernel::new(self.table.slot(), Deadline::NOW);
        let (own, at) = self.claim(&world)?;
        let taken = self.gate().try_read(&world, at).ok_or(LockError::WouldBlock)?;
        self.reading(own, at, taken)
    }

    /// Waits until nobody writes or waits to, for so long at most, and begins to read.
    ///
    /// # Errors
    /// [`LockError::Timeout`], and those of [`RwLock::read`].
    pub fn read_timeout(&self, timeout: Duration) -> Reading<'_> {
        self.read_until(Deadline::after(timeout))
    }

    /// Waits until nobody reads or writes, and begins to write.
    ///
    /// # Errors
    /// Those of [`RwLock::read`].
    #[inline]
    pub fn write(&self) -> Writing<'_> {
        self.write_until(Deadline::NEVER)
    }

    /// Begins to write if nobody reads or writes.
    ///
    /// # Errors
    /// Those of [`RwLock::try_read`].
    pub fn try_write(&self) -> Writing<'_> {
        let world = Kernel::new(self.table.slot(), Deadline::NOW);
        let (own, at) = self.claim(&world)?;
        let held = Held::by(own, thread_id());
        let taken = self.gate().try_write(&world, at, held).ok_or(LockError::WouldBlock)?;
        self.writing(held, at, taken)
    }

    /// Waits until nobody reads or writes, for so long at most, and begins to write. Until then new readers wait.
    ///
    /// # Errors
    /// [`LockError::Timeout`], and those of [`RwLock::read`].
    pub fn write_timeout(&self, timeout: Duration) -> Writing<'_> {
        self.write_until(Deadline::after(timeout))
    }

    #[inline]
    fn read_until(&self, deadline: Deadline) -> Reading<'_> {
        let world = Kernel::new(self.table.slot(), deadline);
        let (own, at) = self.claim(&world)?;
        self.check(Held::by(own, thread_id()))?;
        let taken = self.gate().read(&world, at).ok_or(LockError::Timeout)?;
        self.reading(own, at, taken)
    }

    #[inline]
    fn write_until(&self, deadline: Deadline) -> Writing<'_> {
        let world = Kernel::new(self.table.slot(), deadline);
        let (own, at) = self.claim(&world)?;
        let held = Held::by(own, thread_id());
        self.check(held)?;
        let taken = self.gate().write(&world, at, held).ok_or(LockError::Timeout)?;
        self.writing(held, at, taken)
    }

    #[inline]
    fn claim<G>(&self, world: &Kernel<'_>) -> Result<(Owner, usize), LockError<G>> {
        self.table.claim(world, given_back)
    }

    /// Refuses a thread that would wait for itself.
    #[inline]
    fn check<G>(&self, own: Held) -> Result<(), LockError<G>> {
        // Only the thread itself writes its word there, and takes it away before it frees the lock.
        let is_own = self.table.own_word(WRITES).load(Relaxed) == own.word();
        if is_own { Err(LockError::HeldByThisThread) } else { Ok(()) }
    }

    #[inline]
    fn gate(&self) -> Gate<'_, AtomicU64> {
        Gate { ledger: self.table.ledger(), next: self.table.own_word(NEXT) }
    }

    #[inline]
    fn reading(&self, own: Owner, at: usize, taken: Taken) -> Reading<'_> {
        let guard = RwLockReadGuard { lock: Keep::borrowed(self), own, at, _not_send: PhantomData };
        match taken {
            Taken::Free => Ok(guard),
            Taken::FromDead => Err(LockError::OwnerDied(guard.detach())),
        }
    }

    #[inline]
    fn writing(&self, own: Held, at: usize, taken: Taken) -> Writing<'_> {
        self.table.own_word(SINCE).store(0, Relaxed);
        self.table.own_word(WRITES).store(own.word(), Relaxed);
        let guard = RwLockWriteGuard { lock: Keep::borrowed(self), own, at, _not_send: PhantomData };
        match taken {
            Taken::Free => Ok(guard),
            Taken::FromDead => Err(LockError::OwnerDied(guard.detach())),
        }
    }

    /// Who writes; `None` when nobody does. It may be somebody else when this returns.
    #[must_use]
    pub fn writer(&self) -> Option<Holder> {
        if self.table.value() & WRITER == 0 {
            return None;
        }
        let ledger = self.table.settled();
        let (name, _) = ledger.held().find(|(_, entry)| entry.has_top())?;
        let owner = Owner::from_word(name);
        let held = Held::from_word(self.table.own_word(WRITES).load(Relaxed)).filter(|held| held.owner() == owner);
        let now = monotonic_nanos();
        let since = self.table.own_word(SINCE).compare_exchange(0, now, Relaxed, Relaxed);
        Some(Holder {
            pid: owner.and_then(|owner| self.table.slot().pid_of(owner)).unwrap_or(0),
            thread: held.map_or(0, Held::thread),
            held_for: Duration::from_nanos(now.saturating_sub(since.map_or_else(|since| since, |_| now))),
            is_alive: owner.is_some_and(|owner| self.table.slot().is_alive(owner)),
        })
    }

    /// The processes that read: number, in its own namespace, and how often at a time.
    #[must_use]
    pub fn readers(&self) -> Vec<(u32, u32)> {
        let held = self.table.held().into_iter().map(|(pid, entry)| (pid, entry.count()));
        held.filter(|(_, count)| *count != 0).collect()
    }

    /// How many threads sleep until they can read or write, in all processes.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.table.waiters()
    }
}

/// A guard: how it is dropped, detached and shown.
macro_rules! guard {
    ($Name:ident, $owner:expr, $end:expr) => {
        impl $Name<'_> {
            /// The same guard with a handle of its own.
            fn detach(self) -> $Name<'static> {
                let (own, at) = (self.own, self.at);
                let detached = $Name { lock: self.lock.detach(), own, at, _not_send: PhantomData };
                std::mem::forget(self); // It borrows, so there is nothing to drop; the other one ends it.
                detached
            }
        }

        impl Drop for $Name<'_> {
            #[inline]
            fn drop(&mut self) {
                let own: Option<Owner> = $owner(self.own);
                // A copy in a forked child names the parent, which holds the lock.
                if self.lock.table.slot().own_name().ok() == own {
                    let world = Kernel::new(self.lock.table.slot(), Deadline::NEVER);
                    $end(&*self.lock, &world, self.at);
                }
            }
        }

        impl fmt::Debug for $Name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Name)).finish_non_exhaustive()
            }
        }

        impl From<LockError<$Name<'_>>> for LockError {
            fn from(error: LockError<$Name<'_>>) -> Self {
                error.map(drop)
            }
        }
    };
}

/// Nobody writes while this lives; dropping it ends that.
///
/// In a forked child the copy of a guard is inert.
#[must_use = "others may write as soon as the guard is dropped"]
pub struct RwLockReadGuard<'a> {
    lock: Keep<'a, RwLock>,
    own: Owner,
    at: usize,
    _not_send: PhantomData<*const ()>,
}

guard!(RwLockReadGuard, Some, |lock: &RwLock, world: &Kernel<'_>, at| lock.gate().end_read(world, at));

/// Nobody else reads or writes while this lives; dropping it ends that.
///
/// It stays with its thread. In a forked child the copy of a guard is inert.
#[must_use = "others may read and write as soon as the guard is dropped"]
pub struct RwLockWriteGuard<'a> {
    lock: Keep<'a, RwLock>,
    own: Held,
    at: usize,
    _not_send: PhantomData<*const ()>,
}

guard!(RwLockWriteGuard, Held::owner, |lock: &RwLock, world: &Kernel<'_>, at| {
    lock.table.own_word(WRITES).store(0, Relaxed);
    lock.gate().end_write(world, at);
});

impl fmt::Debug for RwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").field("writer", &self.writer()).field("readers", &self.readers()).finish()
    }
}

impl Serialize for RwLock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.table.slot().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RwLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = Table::over(Slot::deserialize(deserializer)?, KIND).map_err(de::Error::custom)?;
        Ok(Self { table })
    }
}
