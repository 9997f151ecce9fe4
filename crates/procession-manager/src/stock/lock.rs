//! A lock in a server: held by one thread of one client, and given back when that client is gone.
//!
//! Relies on `waiting.rs` for those who wait for it.

use std::time::{Duration, Instant};

use procession_sys::Deadline;

use super::waiting::Waiting;
use super::{methods, patience, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Caller, Taken};

methods! { "lock":
    Acquire = "acquire" Exclusive,
    Release = "release" Exclusive,
    IsLocked = "is_locked" Shared,
}

/// The lock.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    holder: Option<Holder>,
    /// How often it was acquired: what tells one holder from the next.
    acquired: u64,
    /// Whether who had it last has died with it, which the next one is told.
    has_died: bool,
    waiting: Waiting<()>,
}

#[derive(Debug)]
struct Holder {
    /// The client and its call; none within the server.
    call: Option<(u64, u64)>,
    acquired: u64,
}

impl Lock {
    /// Gives it to somebody, who is told which acquisition that is, and whether the last holder has died.
    fn give(&mut self, call: Option<(u64, u64)>, server: crate::ObjectId) -> Answer {
        self.acquired += 1;
        self.holder = Some(Holder { call, acquired: self.acquired });
        let told = (self.acquired, std::mem::take(&mut self.has_died));
        Taken::of(server, &told).map(|taken| vec![taken])
    }

    fn acquire(&mut self, ask: &mut Ask) -> Step {
        let patience = match ask.read::<Option<u64>>() {
            Ok(patience) => patience,
            Err(refusal) => return Step::Done(Err(refusal)),
        };
        if self.holder.is_some() {
            return self.waiting.join(ask, (), patience);
        }
        Step::Done(self.give(ask.call(), ask.server))
    }

    fn release(&mut self, ask: &mut Ask) -> Answer {
        let acquired: u64 = ask.read()?;
        if self.holder.take_if(|holder| holder.acquired == acquired).is_none() {
            return Err(Refusal::NotHeld);
        }
        self.pass_on(&mut ask.answers);
        Ok(Vec::new())
    }

    fn pass_on(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        if let Some(next) = self.waiting.first() {
            let answer = self.give(next.caller.call(), next.caller.server());
            answers.push((next.caller, answer));
        }
    }
}

impl Object for Lock {
    type Kind = Kind;

    fn read(&self, _: Method, ask: &mut Ask) -> Step {
        Step::Done(ask.value(&self.holder.is_some()))
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
        if !is_received && self.holder.take_if(|holder| holder.call == Some(call)).is_some() {
            self.pass_on(answers);
        }
    }

    fn part(&mut self, client: u64, answers: &mut Vec<(Caller, Answer)>) {
        self.waiting.part(client);
        if self.holder.take_if(|holder| holder.call.is_some_and(|(holder, _)| holder == client)).is_some() {
            self.has_died = true;
            self.pass_on(answers);
        }
    }

    fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        self.waiting.tick(now, answers)
    }
}

proxy! {
    /// A lock in a manager's server.
    ///
    /// # Python
    /// The proxy of `SyncManager.Lock`.
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
    /// [`CallError::Refused`] with [`Refusal::WouldBlock`] when it is not.
    pub fn try_lock(&self) -> Result<LockProxyGuard, CallError> {
        self.lock_until(Deadline::NOW)
    }

    /// As [`LockProxy::lock`], for so long at most.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::TimedOut`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockProxyGuard, CallError> {
        self.lock_until(Deadline::after(timeout))
    }

    fn lock_until(&self, deadline: Deadline) -> Result<LockProxyGuard, CallError> {
        let method = Method::Acquire.name();
        let patience = self.raw.pack(method, &patience(deadline))?;
        let results = self.raw.call_packed(method, vec![patience])?;
        let (acquired, owner_died) = results.into_iter().next().unwrap_or_default().result(method)?;
        Ok(LockProxyGuard { lock: self.clone(), acquired, owner_died })
    }

    /// True if somebody has it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_locked(&self) -> Result<bool, CallError> {
        self.raw.ask(Method::IsLocked.name())
    }
}

/// Gives the lock back when it is dropped; a client that dies gives back what it has.
#[derive(Debug)]
pub struct LockProxyGuard {
    lock: LockProxy,
    acquired: u64,
    owner_died: bool,
}

impl LockProxyGuard {
    /// True if who had the lock before has died with it: what it protects may be half changed.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }
}

impl Drop for LockProxyGuard {
    fn drop(&mut self) {
        let method = Method::Release.name();
        if let Ok(acquired) = self.lock.raw.pack(method, &self.acquired) {
            let _ = self.lock.raw.call_packed(method, vec![acquired]); // A server that is gone has no locks.
        }
    }
}
