//! A lock in a server that the thread which holds it may take again.
//!
//! Relies on threads of a client having numbers, and on `waiting.rs` for those who wait for it.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use procession_sys::Deadline;

use super::hold::Held;
use super::waiting::Waiting;
use super::{methods, patience, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Caller, Taken};

/// How many times one thread may hold an [`RLockProxy`] at the same time: more guards were forgotten, not nested.
pub const RLOCK_LEVELS_MAX: usize = 65_536;

methods! { "rlock":
    Acquire = "acquire" Exclusive,
    Release = "release" Exclusive,
    Depth = "depth" Shared,
    Waiters = "waiters" Shared,
}

/// The lock.
#[derive(Debug, Default)]
pub(crate) struct RLock {
    holder: Option<Holder>,
    /// How often it was acquired.
    acquired: u64,
    /// Whether who had it last has died with it, which the next one is told.
    has_died: bool,
    /// Those who wait for it, and their threads.
    waiting: Waiting<u64>,
}

#[derive(Debug)]
struct Holder {
    client: u64,
    thread: u64,
    /// Each time that it has it, and by which call of the client.
    levels: Vec<(u64, (u64, u64))>,
    /// Whether it was told that the one before it has died.
    was_told: bool,
}

impl RLock {
    /// Gives it to a thread, or once more; tells which acquisition that is, and whether the last holder has died.
    fn give(&mut self, call: (u64, u64), thread: u64) -> (u64, bool) {
        self.acquired += 1;
        let level = (self.acquired, call);
        if let Some(holder) = &mut self.holder {
            holder.levels.push(level);
            return (self.acquired, false);
        }
        let was_told = std::mem::take(&mut self.has_died);
        self.holder = Some(Holder { client: call.0, thread, levels: vec![level], was_told });
        (self.acquired, was_told)
    }

    fn acquire(&mut self, ask: &mut Ask) -> Result<Step, Refusal> {
        let (patience, thread): (Option<u64>, u64) = ask.tuple()?;
        let (client, _) = ask.call();
        match &self.holder {
            Some(holder) if (holder.client, holder.thread) != (client, thread) => {
                return Ok(self.waiting.join(ask, thread, patience));
            }
            Some(holder) if holder.levels.len() >= RLOCK_LEVELS_MAX => {
                let of = "times that one thread holds one lock".into();
                return Err(Refusal::Limit { of, limit: RLOCK_LEVELS_MAX as u64 });
            }
            _ => {}
        }
        let given = self.give(ask.call(), thread);
        ask.value(&given).map(|given| Step::Done(Ok(given)))
    }

    fn release(&mut self, ask: &mut Ask) -> Answer {
        let (acquired,): (u64,) = ask.tuple()?;
        let (client, _) = ask.call();
        let holder = self.holder.as_mut().filter(|holder| holder.client == client).ok_or(Refusal::NotHeld)?;
        let level = holder.levels.iter().rposition(|&(level, _)| level == acquired).ok_or(Refusal::NotHeld)?;
        holder.levels.remove(level);
        self.pass_on(&mut ask.answers);
        Ok(Vec::new())
    }

    /// Gives it to the next one, if its holder has no level of it any more.
    fn pass_on(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        if self.holder.as_ref().is_some_and(|holder| !holder.levels.is_empty()) {
            return;
        }
        self.holder = None;
        if let Some(next) = self.waiting.first() {
            let given = self.give(next.caller.call(), next.wants);
            let answer = Taken::of(next.caller.site(), &given).map(|taken| vec![taken]);
            answers.push((next.caller, answer));
        }
    }
}

impl Object for RLock {
    type Kind = Kind;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Depth => ask.value(&self.holder.as_ref().map_or(0, |holder| holder.levels.len() as u64)),
            Method::Waiters => ask.value(&(self.waiting.len() as u64)),
            Method::Acquire | Method::Release => unreachable!("they run alone"),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        match method {
            Method::Acquire => self.acquire(ask).unwrap_or_else(|refusal| Step::Done(Err(refusal))),
            Method::Release => Step::Done(self.release(ask)),
            Method::Depth | Method::Waiters => self.read(method, ask),
        }
    }

    fn settle(&mut self, call: (u64, u64), is_received: bool, answers: &mut Vec<(Caller, Answer)>) {
        self.waiting.abandon(call);
        let Some(holder) = self.holder.as_mut().filter(|_| !is_received) else { return };
        let Some(level) = holder.levels.iter().rposition(|&(_, of)| of == call) else { return };
        holder.levels.remove(level);
        self.has_died |= holder.was_told && holder.levels.is_empty();
        self.pass_on(answers);
    }

    fn part(&mut self, client: u64, answers: &mut Vec<(Caller, Answer)>) {
        self.waiting.part(client);
        if self.holder.take_if(|holder| holder.client == client).is_some() {
            self.has_died = true;
            self.pass_on(answers);
        }
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        self.waiting.tick(now, answers)
    }
}

/// The calling thread's number among its client's: not the kernel's, which may be another thread's later.
fn own_thread() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static OWN: u64 = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    OWN.with(|own| *own)
}

proxy! {
    /// A lock in a manager's server that the thread which holds it may take again.
    ///
    /// It is free when as many guards were dropped as were had, in any order. A holder is a thread of one client: a process
    /// that has connected twice is two.
    ///
    /// # When a client dies
    /// The lock is free at once, at whatever depth it was held; the next holder finds
    /// [`owner_died`](RLockProxyGuard::owner_died).
    ///
    /// # Python
    /// The proxy of `SyncManager.RLock`, which is never free again when its holder dies.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let lock = manager.rlock()?; // A handle: a child that gets it has the same lock.
    /// let outer = lock.lock()?;
    /// let inner = lock.lock()?; // The same thread: it does not wait for itself.
    /// assert_eq!(lock.depth()?, 2);
    /// drop(outer);
    /// assert!(lock.is_locked()?);
    /// drop(inner);
    /// assert!(!lock.is_locked()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    RLockProxy<>
}

impl RLockProxy {
    /// Waits until the lock is free or this thread's, and takes it.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::Limit`] when this thread has it [`RLOCK_LEVELS_MAX`] times.
    pub fn lock(&self) -> Result<RLockProxyGuard, CallError> {
        self.lock_until(Deadline::NEVER)
    }

    /// Takes the lock if it is free or this thread's.
    ///
    /// # Errors
    /// As [`lock`](Self::lock); [`CallError::Refused`] with [`Refusal::WouldBlock`] when another thread has it.
    pub fn try_lock(&self) -> Result<RLockProxyGuard, CallError> {
        self.lock_until(Deadline::NOW)
    }

    /// As [`lock`](Self::lock), for so long at most.
    ///
    /// # Errors
    /// As [`lock`](Self::lock); [`CallError::Refused`] with [`Refusal::TimedOut`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockProxyGuard, CallError> {
        self.lock_until(Deadline::after(timeout))
    }

    fn lock_until(&self, deadline: Deadline) -> Result<RLockProxyGuard, CallError> {
        let (acquired, owner_died) = self.raw.call(Method::Acquire.name(), &(patience(deadline), own_thread()))?;
        let _held = Held::new(&self.raw, Method::Release.name(), acquired);
        Ok(RLockProxyGuard { _held, owner_died, _not_send: PhantomData })
    }

    /// True if somebody has it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_locked(&self) -> Result<bool, CallError> {
        self.depth().map(|depth| depth > 0)
    }

    /// How many guards its holder has; zero when it is free.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn depth(&self) -> Result<u64, CallError> {
        self.raw.ask(Method::Depth.name())
    }

    /// How many threads wait until it is free, in all processes.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn waiters(&self) -> Result<usize, CallError> {
        self.raw.ask::<u64>(Method::Waiters.name()).map(super::count)
    }
}

/// One time that a thread holds the lock; dropping all of them, in any order, frees it, and so does the client's death.
///
/// It stays with its thread, by whose number the lock is held. In a forked child the copy of a guard is inert.
///
/// ```compile_fail,E0277
/// let lock = procession_manager::SyncManager::start()?.rlock()?;
/// let guard = lock.lock()?;
/// std::thread::scope(|scope| scope.spawn(move || drop(guard))); // Not this thread's.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it is given back as soon as its guard is dropped"]
pub struct RLockProxyGuard {
    _held: Held,
    owner_died: bool,
    _not_send: PhantomData<*const ()>,
}

impl RLockProxyGuard {
    /// True if who had the lock before has died with it: what it protects may be half changed. The holder's first guard
    /// tells.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_of_a_call_that_is_given_up_goes_alone() {
        let (mut lock, mut answers) = (RLock::default(), Vec::new());
        lock.give((1, 1), 7);
        lock.part(1, &mut answers);
        assert_eq!(lock.give((2, 1), 7), (2, true));
        assert_eq!(lock.give((2, 2), 7), (3, false));
        lock.settle((2, 2), false, &mut answers);
        assert_eq!(lock.holder.as_ref().unwrap().levels, [(2, (2, 1))]);
        lock.settle((2, 1), false, &mut answers);
        assert!(lock.holder.is_none());
        assert_eq!(lock.give((3, 1), 7), (4, true), "nobody has been told yet");
        assert!(answers.is_empty());
    }
}
