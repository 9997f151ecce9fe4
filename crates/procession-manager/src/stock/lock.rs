//! A lock in a server: held by one thread of one client, and given back when that client is gone.
//!
//! Relies on `hold.rs` for who has it, and on `waiting.rs` for those who wait for it.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use procession_sys::Deadline;

use super::hold::{Held, Hold};
use super::waiting::Waiting;
use super::{methods, patience, proxy};
use crate::error::CallError;
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Caller, Site, Taken};

methods! { "lock":
    Acquire = "acquire" Exclusive,
    Release = "release" Exclusive,
    IsLocked = "is_locked" Shared,
}

/// The lock.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    hold: Hold,
    waiting: Waiting<()>,
}

impl Lock {
    /// Gives it to somebody, who is told which acquisition that is, and whether the last holder has died.
    fn give(&mut self, call: (u64, u64), site: Site) -> Answer {
        Taken::of(site, &self.hold.give(call)).map(|taken| vec![taken])
    }

    fn acquire(&mut self, ask: &mut Ask) -> Step {
        match ask.tuple::<(Option<u64>,)>() {
            Ok((patience,)) if self.hold.is_held() => self.waiting.join(ask, (), patience),
            Ok(_) => Step::Done(self.give(ask.call(), ask.site)),
            Err(refusal) => Step::Done(Err(refusal)),
        }
    }

    fn release(&mut self, ask: &mut Ask) -> Answer {
        let (acquired,) = ask.tuple()?;
        self.hold.release(acquired, ask.call())?;
        self.pass_on(&mut ask.answers);
        Ok(Vec::new())
    }

    fn pass_on(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        if let Some(next) = self.waiting.first() {
            let answer = self.give(next.caller.call(), next.caller.site());
            answers.push((next.caller, answer));
        }
    }
}

impl Object for Lock {
    type Kind = Kind;

    fn read(&self, _: Method, ask: &mut Ask) -> Step {
        Step::Done(ask.value(&self.hold.is_held()))
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        match method {
            Method::Acquire => self.acquire(ask),
            Method::Release => Step::Done(self.release(ask)),
            Method::IsLocked => self.read(method, ask),
        }
    }

    fn settle(&mut self, call: (u64, u64), is_received: bool, answers: &mut Vec<(Caller, Answer)>) {
        self.waiting.abandon(call);
        if !is_received && self.hold.abandon(call) {
            self.pass_on(answers);
        }
    }

    fn part(&mut self, client: u64, answers: &mut Vec<(Caller, Answer)>) {
        self.waiting.part(client);
        if self.hold.part(client) {
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

proxy! {
    /// A lock in a manager's server. Those that wait for it are served in order.
    ///
    /// # When a client dies
    /// The lock is free at once; the next holder finds [`owner_died`](LockProxyGuard::owner_died).
    ///
    /// # Python
    /// The proxy of `SyncManager.Lock`, which is never free again when its holder dies.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let lock = manager.lock()?; // A handle: a child that gets it has the same lock.
    /// let guard = lock.lock()?;
    /// assert!(lock.try_lock().is_err());
    /// drop(guard);
    /// assert!(!lock.is_locked()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    LockProxy<>
}

impl LockProxy {
    /// Waits until the lock is free, and takes it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn lock(&self) -> Result<LockProxyGuard, CallError> {
        self.lock_until(Deadline::NEVER)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::WouldBlock`](crate::Refusal::WouldBlock) when it is not.
    pub fn try_lock(&self) -> Result<LockProxyGuard, CallError> {
        self.lock_until(Deadline::NOW)
    }

    /// As [`LockProxy::lock`], for so long at most.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::TimedOut`](crate::Refusal::TimedOut).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockProxyGuard, CallError> {
        self.lock_until(Deadline::after(timeout))
    }

    fn lock_until(&self, deadline: Deadline) -> Result<LockProxyGuard, CallError> {
        let (acquired, owner_died) = self.raw.call(Method::Acquire.name(), &(patience(deadline),))?;
        let _held = Held::new(&self.raw, Method::Release.name(), acquired);
        Ok(LockProxyGuard { _held, owner_died, _not_send: PhantomData })
    }

    /// True if somebody has it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_locked(&self) -> Result<bool, CallError> {
        self.raw.ask(Method::IsLocked.name())
    }
}

/// Gives the lock back when it is dropped; a client that dies gives back what it has. In a forked child its copy is inert.
#[derive(Debug)]
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct LockProxyGuard {
    _held: Held,
    owner_died: bool,
    _not_send: PhantomData<*const ()>,
}

impl LockProxyGuard {
    /// True if who had the lock before has died with it: what it protects may be half changed.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }
}
