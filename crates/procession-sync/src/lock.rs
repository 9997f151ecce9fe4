//! The lock, and who holds one.
//!
//! Relies on `protocol/lock.rs` for its word and on `waiting.rs` for the kernel.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_shm::arena::{ArenaError, Owner, Slot};
use procession_sys::{Deadline, futex_sleepers, lower_half, monotonic_nanos, thread_id};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::LockError;
use crate::base::{BaseLock, Sealed};
use crate::keep::Keep;
use crate::protocol::lock::{self, Held, Refused, Taken};
use crate::waiting::Kernel;

/// What tells locks from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"lock\0\0\0\x01");
/// What tells locks that stand in front of what they guard.
pub(crate) const KIND_GUARDING: u64 = u64::from_le_bytes(*b"locked\0\x01");

const WORD: usize = 0;
/// Since when it is held, as nanoseconds of the monotonic clock; zero when nobody has asked.
const SINCE: usize = 1;
/// How many words a lock has.
pub(crate) const WORDS: usize = 2;

thread_local! {
    /// The word by which the calling thread took its last lock. Most often it is that of the next one, too, and the
    /// processor goes on with it while the name is still compared.
    static OWN: Cell<Held> = const { Cell::new(Held::NOBODY) };
}

#[cold]
fn remember(name: Owner) -> Held {
    let own = Held::by(name, thread_id());
    OWN.set(own);
    own
}

/// Who holds a lock, as it was when it was asked.
///
/// # Examples
/// ```
/// let lock = procession_sync::Lock::new()?;
/// let _guard = lock.lock()?;
/// let holder = lock.holder().expect("this thread");
/// println!("{} has held it for {:?}", holder.pid, holder.held_for);
/// assert!(holder.is_alive);
/// # Ok::<(), procession_sync::LockError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process, by its number in its own namespace; zero for one that no process is known by any more.
    pub pid: u32,
    /// Its thread, as `ps -L` shows it.
    pub thread: u32,
    /// For how long it has held it. Exactly so if it had to wait for it; otherwise since somebody first waited or asked,
    /// as a clock on the way of every taker would double the lock's price.
    pub held_for: Duration,
    /// False when the process is dead, so that the next taker gets [`LockError::OwnerDied`].
    pub is_alive: bool,
}

/// For how long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Not,
    Until(Deadline),
}

/// A lock that several processes share, and that survives whoever holds it: a handle, whose clones are the same lock.
///
/// Threads and processes exclude each other alike. A waiter looks at the lock for some microseconds and then sleeps in the
/// kernel. The lock is not fair: whoever comes while it is free takes it, also if others have waited longer. It costs
/// 24 bytes at most of a segment that all locks of a process share, and no descriptor of its own.
///
/// Taking it pairs with freeing it: whoever holds it sees all that its holders before have written.
///
/// # When a process dies
/// A holder that is killed, that ends with the lock held, or that executes another program is noticed within 100 ms by
/// whoever waits, at once by whoever comes. The next taker gets the guard in [`LockError::OwnerDied`], as what the lock
/// guards may be half changed; once, so later takers get `Ok`. If that taker dies as well, the next one is told. A waiter
/// that dies is as if it had not waited, also if it had been woken already.
///
/// A holder that is stopped (SIGSTOP) or that never frees it is alive: [`holder`](Self::holder) says who it is.
///
/// # Fork
/// A forked child has its parent's handles, and is another process: a lock that its parent holds is held by somebody
/// else. See [`LockGuard`].
///
/// Source: futex(2), fcntl_locking(2).
///
/// # Python
/// `multiprocessing.Lock`, which any process may release and which stays locked for ever when its holder is killed.
///
/// # Examples
/// ```
/// use procession_sync::{Lock, LockError};
/// use std::time::Duration;
///
/// let lock = Lock::new()?;
/// let guard = lock.lock()?;
/// assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
/// assert_eq!(lock.holder().map(|holder| holder.pid), Some(std::process::id()));
/// drop(guard);
/// drop(lock.lock_timeout(Duration::from_millis(10))?);
/// # Ok::<(), LockError>(())
/// ```
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

    /// The lock that is in a slot, alone or in front of what it guards.
    fn over(slot: Slot) -> Result<Self, LockError> {
        if slot.kind() == KIND_GUARDING {
            return Self::in_front(slot);
        }
        let slot = slot.expect(KIND)?;
        match slot.words().len() {
            WORDS => Ok(Self { slot }),
            _ => Err(ArenaError::Foreign { reason: "a lock has another size" }.into()),
        }
    }

    /// The lock whose words are the first ones of a slot.
    pub(crate) fn in_front(slot: Slot) -> Result<Self, LockError> {
        match slot.words().len() {
            ..WORDS => Err(ArenaError::Foreign { reason: "there is no room for a lock" }.into()),
            WORDS.. => Ok(Self { slot }),
        }
    }

    /// Where it is.
    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Waits until the lock is free and takes it.
    ///
    /// A holder that has died is noticed within 100 ms, whatever it died of. Whoever takes the lock then gets it in
    /// [`LockError::OwnerDied`], once; a waiter that dies is as if it had not waited.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::HeldByThisThread`]; [`LockError::Arena`] in a forked child
    /// whose handles could not be counted.
    ///
    /// # Python
    /// `Lock.acquire()`, `with lock:`.
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        match self.take_now() {
            Some(own) => Ok(self.guard(own)),
            None => self.settle(Wait::Until(Deadline::NEVER)),
        }
    }

    /// Takes the lock if it is free, or its holder dead.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], also for a thread that holds it itself; [`LockError::OwnerDied`] with the guard.
    ///
    /// # Python
    /// `Lock.acquire(block=False)`.
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        match self.take_now() {
            Some(own) => Ok(self.guard(own)),
            None => self.settle(Wait::Not),
        }
    }

    /// Waits until the lock is free, for so long at most, and takes it. One that is free is taken whatever the time is;
    /// a time that no clock can tell is for ever.
    ///
    /// # Errors
    /// [`LockError::Timeout`], [`LockError::OwnerDied`] with the guard, [`LockError::HeldByThisThread`].
    ///
    /// # Python
    /// `Lock.acquire(timeout=seconds)`.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        match self.take_now() {
            Some(own) => Ok(self.guard(own)),
            None => self.settle(Wait::Until(Deadline::after(timeout))),
        }
    }

    #[cold]
    fn settle(&self, wait: Wait) -> Result<LockGuard<'_>, LockError<LockGuard<'static>>> {
        let (own, taken) = self.take(wait).map_err(LockError::without_guard)?;
        let guard = self.guard(own);
        match taken {
            Taken::Free => Ok(guard),
            Taken::FromDead => Err(LockError::OwnerDied(guard.detach())),
        }
    }

    /// Takes it if it is free, and says as whom.
    #[inline]
    pub(crate) fn take_now(&self) -> Option<Held> {
        let own = self.own().ok()?;
        let [word, since, ..] = self.slot.words() else { return None };
        if !lock::take_free(word, own) {
            return None;
        }
        // What is to be written before the word is given back delays that; most often nobody has asked.
        if since.load(Relaxed) != 0 {
            since.store(0, Relaxed);
        }
        Some(own)
    }

    /// Takes it as soon as it can be had, and says as whom and from whom.
    #[cold]
    pub(crate) fn take(&self, wait: Wait) -> Result<(Held, Taken), LockError> {
        let own = self.own()?;
        let taken = match wait {
            Wait::Not => self.look(own)?,
            Wait::Until(deadline) => self.wait(own, deadline)?,
        };
        self.begin_now();
        Ok((own, taken))
    }

    /// Notes that it is held from now on.
    pub(crate) fn begin_now(&self) {
        self.slot.words()[SINCE].store(monotonic_nanos(), Relaxed);
    }

    fn look(&self, own: Held) -> Result<Taken, LockError> {
        let taken = lock::try_take(&Kernel::new(&self.slot, Deadline::NOW), self.word(), own);
        taken.map_err(|_| LockError::WouldBlock)
    }

    fn wait(&self, own: Held, deadline: Deadline) -> Result<Taken, LockError> {
        // Whoever waits for it notes since when at the latest it has been held.
        self.since();
        lock::take(&Kernel::new(&self.slot, deadline), self.word(), own).map_err(|refused| match refused {
            Refused::Held => LockError::Timeout,
            Refused::HeldBySelf => LockError::HeldByThisThread,
        })
    }

    /// Frees it if it is this process's, which a forked child is not that has copied its parent's guard.
    #[inline]
    pub(crate) fn give(&self, own: Held) {
        let Some(word) = self.slot.words().first() else { return };
        if self.is_own(own) && !lock::give_unmarked(word, own) {
            self.wake(own);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self, own: Held) {
        lock::give(&Kernel::new(&self.slot, Deadline::NEVER), self.word(), own);
    }

    /// True in the process by whose name it was taken.
    #[inline]
    pub(crate) fn is_own(&self, own: Held) -> bool {
        own.owner().is_some_and(|name| self.slot.is_own_name(name))
    }

    /// The word of the calling thread.
    #[inline]
    pub(crate) fn own(&self) -> Result<Held, ArenaError> {
        let name = self.slot.own_name()?;
        let last = OWN.get();
        Ok(if last.is_by(name) { last } else { remember(name) })
    }

    #[inline]
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.slot.words()[WORD]
    }

    /// The guard of a lock that has been taken.
    #[inline]
    fn guard(&self, own: Held) -> LockGuard<'_> {
        LockGuard { lock: Keep::borrowed(self), own, _not_send: PhantomData }
    }

    /// Since when it is held, as far as anybody knows.
    pub(crate) fn since(&self) -> u64 {
        held_since(&self.slot.words()[SINCE])
    }

    /// Who holds it; `None` when it is free. It may be somebody else's when this returns.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        held_by(&self.slot, self.word(), &self.slot.words()[SINCE])
    }

    /// How many threads sleep until it is free, in all processes.
    #[must_use]
    pub fn waiters(&self) -> usize {
        futex_sleepers(lower_half(self.word())).unwrap_or(0)
    }
}

/// Who holds a lock of which this is the word, and that the time since when it is held.
pub(crate) fn held_by(slot: &Slot, word: &AtomicU64, since: &AtomicU64) -> Option<Holder> {
    let held = Held::from_word(word.load(Relaxed))?;
    let owner = held.owner();
    Some(Holder {
        pid: owner.and_then(|owner| slot.pid_of(owner)).unwrap_or(0),
        thread: held.thread(),
        held_for: Duration::from_nanos(monotonic_nanos().saturating_sub(held_since(since))),
        is_alive: owner.is_some_and(|owner| slot.is_alive(owner)),
    })
}

/// The time since when a lock is held: now, if nobody has asked before.
pub(crate) fn held_since(since: &AtomicU64) -> u64 {
    let now = monotonic_nanos();
    since.compare_exchange(0, now, Relaxed, Relaxed).map_or_else(|since| since, |_| now)
}

/// A lock that is held; dropping this frees it.
///
/// It stays with its thread, by whose number the lock is held. One that is forgotten keeps the lock held until its
/// process ends; the next taker is told then. In a forked child the copy of a guard is inert: the parent holds the lock,
/// the child does not, and dropping the copy does nothing.
///
/// ```compile_fail,E0277
/// let lock = procession_sync::Lock::new()?;
/// let guard = lock.lock()?;
/// std::thread::scope(|scope| scope.spawn(move || drop(guard))); // Not this thread's.
/// # Ok::<(), procession_sync::LockError>(())
/// ```
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct LockGuard<'a> {
    lock: Keep<'a, Lock>,
    own: Held,
    _not_send: PhantomData<*const ()>,
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.give(self.own);
    }
}

impl LockGuard<'_> {
    /// The same guard with a handle of its own.
    fn detach(self) -> LockGuard<'static> {
        let detached = LockGuard { lock: self.lock.detach(), own: self.own, _not_send: PhantomData };
        std::mem::forget(self); // It borrows, so there is nothing to drop; the lock is the other one's to free.
        detached
    }

    /// Whether it holds this lock, for this process.
    #[inline]
    pub(crate) fn is_of(&self, lock: &Lock) -> bool {
        self.lock.is_own(self.own) && self.lock.slot.is_same(&lock.slot)
    }
}

impl From<LockError<LockGuard<'static>>> for LockError {
    fn from(error: LockError<LockGuard<'static>>) -> Self {
        error.map(drop)
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
        guard.is_of(self)
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
