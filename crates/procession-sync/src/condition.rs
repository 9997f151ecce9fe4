//! The condition: threads of several processes wait for a change under a lock, and are told of it one by one or all.
//!
//! Relies on `protocol/condition.rs` for the table of those that wait, on `base.rs` for the lock, and on `waiting.rs` for
//! the kernel.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use procession_shm::arena::{ArenaError, Slot};
use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::base::BaseLock;
use crate::protocol::condition::{self, Table};
use crate::waiting::Kernel;
use crate::{Lock, LockError};

/// What tells conditions from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"cond\0\0\0\x01");

/// How many threads of all processes can wait at one condition at the same time: as many as there is room for in a slot of
/// the arena, a page. A dead process's places are given to those who come.
pub const WAITERS_MAX: u32 = 511;

const WORDS: usize = 1 + WAITERS_MAX as usize;

/// Why a waiter has no guard.
type NoGuard<L> = LockError<<L as BaseLock>::Guard<'static>>;

/// A lock under which threads of several processes wait until one of them says that something has changed: a handle, whose
/// clones are the same condition.
///
/// Its lock is its own, or one that it was made with. A notification goes to the one that has waited for longest; who
/// notifies waits for nobody. The change itself is in what the lock guards, so look at that: [`Condition::wait_for`] does.
///
/// # When a process dies
/// One that is killed while it waits is no longer there. If it was notified before it was killed, somebody else that was
/// waiting then goes on in its place, within [`RECHECK`](crate::RECHECK); [`Condition::notify`] may lose what was given to
/// a process that is killed when it has left the table and is about to take the lock. [`Condition::notify_all`] loses
/// nobody. One that notifies and is killed has notified those to whom it came. A holder of the lock that is killed is what
/// the next taker is told of, also one that comes back from waiting: [`LockError::OwnerDied`].
///
/// # Python
/// `multiprocessing.Condition`, which is over an `RLock` unless it is given a lock. There a notifier waits for answers, so
/// one that is killed while it waits can stop everybody.
///
/// Source: futex(2).
///
/// # Examples
/// ```
/// use procession_sync::{Condition, Event, LockError};
///
/// let (condition, ready) = (Condition::new()?, Event::new()?);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let _guard = condition.lock().map_err(|error| error.map(drop))?;
///         ready.set(); // What it is about: anything that the lock guards.
///         condition.notify_all();
///         Ok::<(), LockError>(())
///     });
///     let guard = condition.wait_for(condition.lock()?, || ready.is_set())?;
///     drop(guard);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Condition<L = Lock> {
    lock: L,
    slot: Slot,
}

impl Condition {
    /// A condition with a lock of its own.
    ///
    /// # Errors
    /// [`LockError::Arena`] when there is no memory or no descriptor for it.
    pub fn new() -> Result<Self, LockError> {
        Self::with_lock(&Lock::new()?)
    }
}

impl<L: BaseLock> Condition<L> {
    /// A condition over a lock, which may have other conditions, and may be used without any.
    ///
    /// # Errors
    /// As [`Condition::new`].
    pub fn with_lock(lock: &L) -> Result<Self, LockError> {
        Self::over(lock.clone(), Slot::allocate(WORDS * size_of::<u64>(), KIND)?)
    }

    /// The condition that is in a slot.
    fn over(lock: L, slot: Slot) -> Result<Self, LockError> {
        let slot = slot.expect(KIND)?;
        match slot.words().len() {
            WORDS => Ok(Self { lock, slot }),
            _ => Err(ArenaError::Foreign { reason: "a condition has another size" }.into()),
        }
    }

    /// Waits until its lock is free and takes it, as the lock's own `lock` does.
    ///
    /// # Errors
    /// Those of the lock.
    pub fn lock(&self) -> Result<L::Guard<'_>, NoGuard<L>> {
        self.lock.take()
    }

    /// Its lock.
    #[must_use]
    pub fn base(&self) -> &L {
        &self.lock
    }

    /// Frees the lock, waits to be notified, and takes the lock again. Signals do not end the wait.
    ///
    /// A lock that the thread holds several times is freed altogether, and held as often when this returns.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard: the wait is over, and a holder of the lock has died meanwhile.
    /// [`LockError::NotItsLock`], [`LockError::TooManyWaiters`]; with these the guard is dropped, and nobody has waited.
    pub fn wait<'a>(&'a self, guard: L::Guard<'_>) -> Result<L::Guard<'a>, NoGuard<L>> {
        Ok(self.wait_until(guard, Deadline::NEVER)?.0)
    }

    /// As [`Condition::wait`], for so long at most; true if it was notified. The lock is waited for as long as it takes.
    ///
    /// Who is notified at the last moment is told so: no notification is given to one that has left.
    ///
    /// # Errors
    /// As [`Condition::wait`]. [`LockError::OwnerDied`] does not say whether it was notified.
    pub fn wait_timeout<'a>(
        &'a self,
        guard: L::Guard<'_>,
        timeout: Duration,
    ) -> Result<(L::Guard<'a>, bool), NoGuard<L>> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    /// Waits until it is so, and looks under the lock: first at once, then whenever it is notified.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    pub fn wait_for<'a>(
        &'a self,
        guard: L::Guard<'a>,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<L::Guard<'a>, NoGuard<L>> {
        let mut guard = guard;
        while !is_so() {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`Condition::wait_for`], for so long at most; what it has found when it last looked.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    pub fn wait_for_timeout<'a>(
        &'a self,
        guard: L::Guard<'a>,
        timeout: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<(L::Guard<'a>, bool), NoGuard<L>> {
        let (mut guard, deadline) = (guard, Deadline::after(timeout));
        loop {
            if is_so() {
                return Ok((guard, true));
            }
            let (again, was_notified) = self.wait_until(guard, deadline)?;
            guard = again;
            if !was_notified {
                return Ok((guard, is_so()));
            }
        }
    }

    fn wait_until<'a>(&'a self, guard: L::Guard<'_>, deadline: Deadline) -> Result<(L::Guard<'a>, bool), NoGuard<L>> {
        let own = self.slot.own_name()?;
        if !self.lock.is_held_by(&guard) {
            return Err(LockError::NotItsLock);
        }
        let (world, table) = (Kernel::new(&self.slot, deadline), self.table());
        // Before the lock is free, so that whoever notifies under it finds this thread.
        let place = condition::enter(&world, &table, own).ok_or(LockError::TooManyWaiters { limit: WAITERS_MAX })?;
        let saved = L::release_all(guard);
        let was_notified = condition::wait(&world, &table, &place);
        Ok((self.lock.restore(saved)?, was_notified))
    }

    /// Lets the one go on that has waited for longest; nothing happens when none waits.
    ///
    /// With the lock held or without; with it, nobody changes anything between this and what it tells of.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Lets those go on that have waited for longest, so many at most.
    pub fn notify(&self, count: usize) {
        condition::notify(&self.world(), &self.table(), count);
    }

    /// Lets all go on that wait.
    pub fn notify_all(&self) {
        condition::notify_all(&self.world(), &self.table());
    }

    /// How many threads wait to be notified, in all processes.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.table().waiters(&self.world())
    }

    fn world(&self) -> Kernel<'_> {
        Kernel::new(&self.slot, Deadline::NEVER)
    }

    fn table(&self) -> Table<'_, AtomicU64> {
        Table::over(self.slot.words()).expect("as many words as a condition has, which `over` has counted")
    }
}

impl<L: Clone> Clone for Condition<L> {
    fn clone(&self) -> Self {
        Self { lock: self.lock.clone(), slot: self.slot.clone() }
    }
}

impl<L: BaseLock> fmt::Debug for Condition<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("lock", &self.lock).field("waiters", &self.waiters()).finish()
    }
}

impl<L: BaseLock> Serialize for Condition<L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.lock, &self.slot).serialize(serializer)
    }
}

impl<'de, L: BaseLock> Deserialize<'de> for Condition<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (lock, slot) = <(L, Slot)>::deserialize(deserializer)?;
        Self::over(lock, slot).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;
    use crate::hostile::fill_and;

    #[test]
    fn whatever_its_words_say_every_verb_returns() {
        let condition = Condition::new().unwrap();
        fill_and(condition.slot.words(), || {
            let guard = condition.lock().unwrap();
            // Nobody who lives is in there, so there is room.
            let (guard, _) = condition.wait_timeout(guard, Duration::ZERO).unwrap();
            drop(condition.wait_timeout(guard, Duration::from_micros(1)).unwrap());
            condition.notify_one();
            assert!(condition.waiters() < WORDS);
            condition.notify(usize::MAX);
            condition.notify_all();
            assert_eq!(condition.waiters(), 0);
        });
    }

    #[test]
    fn one_too_many_is_refused_and_the_lock_is_free() {
        let condition = Condition::new().unwrap();
        let own = u64::from(condition.slot.own_name().unwrap().word()) << 32 | 1;
        let words = condition.slot.words();
        words[1..].iter().for_each(|word| word.store(own, SeqCst));
        let refused = condition.wait(condition.lock().unwrap()).unwrap_err();
        assert!(matches!(refused, LockError::TooManyWaiters { limit: WAITERS_MAX }), "{refused}");
        words[WAITERS_MAX as usize].store(0, SeqCst);
        let (_guard, was_notified) = condition.wait_timeout(condition.lock().unwrap(), Duration::ZERO).unwrap();
        assert!(!was_notified);
        words.iter().for_each(|word| word.store(0, SeqCst));
    }
}
