//! A condition in a server: a lock, and those who wait for a change of what it protects.
//!
//! Relies on `hold.rs` for who has the lock, and on `waiting.rs` twice: for those who are to be notified, and for those who
//! want the lock, which are those who come and those whose wait is over. Every step is one change of this state, so that no
//! notification comes between a lock that is given back and the wait.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use procession_sys::Deadline;

use super::hold::{Held, Hold};
use super::waiting::{Waiter, Waiting};
use super::{command, methods, patience, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Caller, Site, Taken};

methods! { "condition":
    Acquire = "acquire" Exclusive,
    Release = "release" Exclusive,
    Wait = "wait" Exclusive,
    Notify = "notify" Exclusive,
    IsLocked = "is_locked" Shared,
    Waiters = "waiters" Shared,
}

/// Why somebody wants the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Comes,
    /// It has waited, and its time is over.
    IsLate,
    /// It has waited, and was notified, as all were.
    Notified,
    /// The same, and if it does not go on somebody else is to.
    NotifiedAlone,
}

/// The condition.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    hold: Hold,
    /// Whether who has the lock has a notification that nobody else has.
    is_notified: bool,
    takers: Waiting<Why>,
    waiters: Waiting<()>,
}

impl Condition {
    /// Gives the lock to somebody, who is told which acquisition that is, whether the last holder has died, and whether it
    /// was notified.
    fn give(&mut self, call: (u64, u64), site: Site, why: Why) -> Answer {
        let (acquired, owner_died) = self.hold.give(call);
        self.is_notified = why == Why::NotifiedAlone;
        let was_notified = matches!(why, Why::Notified | Why::NotifiedAlone);
        Taken::of(site, &(acquired, owner_died, was_notified)).map(|taken| vec![taken])
    }

    fn acquire(&mut self, ask: &mut Ask) -> Step {
        match ask.tuple::<(Option<u64>,)>() {
            Ok((patience,)) if self.hold.is_held() => self.takers.join(ask, Why::Comes, patience),
            Ok(_) => Step::Done(self.give(ask.call(), ask.site, Why::Comes)),
            Err(refusal) => Step::Done(Err(refusal)),
        }
    }

    fn release(&mut self, ask: &mut Ask) -> Answer {
        let (acquired,) = ask.tuple()?;
        self.hold.release(acquired, ask.call())?;
        self.pass_on(&mut ask.answers);
        Ok(Vec::new())
    }

    fn wait(&mut self, ask: &mut Ask) -> Result<Step, Refusal> {
        let (acquired, patience): (u64, Option<u64>) = ask.tuple()?;
        let call = ask.call();
        self.hold.check(acquired, call)?;
        if patience == Some(0) {
            ask.keep_caller(None).into_iter().for_each(|caller| self.takers.push(caller, Why::IsLate));
        } else if let Step::Done(refused) = self.waiters.join(ask, (), patience) {
            return Ok(Step::Done(refused));
        }
        self.hold.release(acquired, call)?;
        self.pass_on(&mut ask.answers);
        Ok(Step::Later)
    }

    fn notify(&mut self, count: u64, why: Why, answers: &mut Vec<(Caller, Answer)>) {
        for _ in 0..count {
            let Some(waiter) = self.waiters.first() else { break };
            self.takers.push(waiter.caller, why);
        }
        self.pass_on(answers);
    }

    /// Gives the lock to the next one, if it is free.
    fn pass_on(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        if self.hold.is_held() {
            return;
        }
        self.is_notified = false;
        if let Some(next) = self.takers.first() {
            let answer = self.give(next.caller.call(), next.caller.site(), next.wants);
            answers.push((next.caller, answer));
        }
    }

    /// Notifies others in place of those that will not go on.
    fn replace(
        &mut self,
        gone: impl IntoIterator<Item = Waiter<Why>>,
        had_lock: bool,
        answers: &mut Vec<(Caller, Answer)>,
    ) {
        let notified = gone.into_iter().filter(|taker| taker.wants == Why::NotifiedAlone).count();
        let notified = notified as u64 + u64::from(had_lock && self.is_notified);
        self.notify(notified, Why::NotifiedAlone, answers);
    }
}

impl Object for Condition {
    type Kind = Kind;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::IsLocked => ask.value(&self.hold.is_held()),
            Method::Waiters => ask.value(&(self.waiters.len() as u64)),
            Method::Acquire | Method::Release | Method::Wait | Method::Notify => unreachable!("they run alone"),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        match method {
            Method::Acquire => self.acquire(ask),
            Method::Release => Step::Done(self.release(ask)),
            Method::Wait => self.wait(ask).unwrap_or_else(|refusal| Step::Done(Err(refusal))),
            Method::Notify => Step::Done(ask.tuple::<(Option<u64>,)>().map(|(count,)| {
                let why = if count.is_some() { Why::NotifiedAlone } else { Why::Notified };
                self.notify(count.unwrap_or(u64::MAX), why, &mut ask.answers);
                Vec::new()
            })),
            Method::IsLocked | Method::Waiters => self.read(method, ask),
        }
    }

    fn settle(&mut self, call: (u64, u64), is_received: bool, answers: &mut Vec<(Caller, Answer)>) {
        self.waiters.abandon(call);
        let gone = self.takers.abandon(call);
        let had_lock = !is_received && self.hold.abandon(call);
        self.replace(gone, had_lock, answers);
    }

    fn part(&mut self, client: u64, answers: &mut Vec<(Caller, Answer)>) {
        self.waiters.part(client);
        let gone = self.takers.part(client);
        let had_lock = self.hold.part(client);
        self.replace(gone, had_lock, answers);
    }

    fn waiting(&self) -> usize {
        self.takers.len() + self.waiters.len()
    }

    fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        let (late, next) = self.waiters.late(now);
        late.into_iter().for_each(|waiter| self.takers.push(waiter.caller, Why::IsLate));
        let next_taker = self.takers.tick(now, answers);
        self.pass_on(answers);
        [next, next_taker].into_iter().flatten().min()
    }
}

proxy! {
    /// A condition in a manager's server: a lock under which threads of any process, on any machine, wait until one of them
    /// says that something has changed.
    ///
    /// Its lock is its own. A notification goes to the one that has waited for longest; who notifies waits for nobody. The
    /// change itself is in what the lock protects, so look at that: [`wait_for`](Self::wait_for) does.
    ///
    /// # When a client dies
    /// One that waits waits no more. If it was notified by [`notify`](Self::notify), and dies before it has given the lock
    /// back, somebody else that waits goes on in its place. One that has the lock gives it back; the next holder finds
    /// [`owner_died`](ConditionProxyGuard::owner_died), also one that comes back from waiting.
    ///
    /// # Python
    /// The proxy of `SyncManager.Condition`, which is over an `RLock`; this one's lock cannot be taken again by its holder.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let (condition, ready) = (manager.condition()?, manager.event()?);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let _guard = condition.lock()?;
    ///         ready.set()?; // What it is about: anything that the lock protects.
    ///         condition.notify_all()
    ///     });
    ///     condition.wait_for(condition.lock()?, || ready.is_set()).map(drop)
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ConditionProxy<>
}

impl ConditionProxy {
    /// Waits until its lock is free, and takes it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn lock(&self) -> Result<ConditionProxyGuard, CallError> {
        self.lock_until(Deadline::NEVER)
    }

    /// Takes its lock if it is free.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::WouldBlock`] when it is not.
    pub fn try_lock(&self) -> Result<ConditionProxyGuard, CallError> {
        self.lock_until(Deadline::NOW)
    }

    /// As [`lock`](Self::lock), for so long at most.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::TimedOut`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ConditionProxyGuard, CallError> {
        self.lock_until(Deadline::after(timeout))
    }

    fn lock_until(&self, deadline: Deadline) -> Result<ConditionProxyGuard, CallError> {
        let arguments = (patience(deadline),);
        let (acquired, owner_died, _) = self.raw.call::<_, (u64, bool, bool)>(Method::Acquire.name(), &arguments)?;
        let held = Held::new(&self.raw, Method::Release.name(), acquired);
        Ok(ConditionProxyGuard { held, owner_died, _not_send: PhantomData })
    }

    /// Frees the lock, waits to be notified, and takes the lock again.
    ///
    /// # Errors
    /// [`CallError`], and the lock is not held any more: [`CallError::Refused`] with [`Refusal::NotHeld`] for the guard of
    /// another condition, with [`Refusal::Limit`] when too many wait; [`CallError::TimedOut`] after the client's
    /// `call_timeout`.
    pub fn wait(&self, guard: ConditionProxyGuard) -> Result<ConditionProxyGuard, CallError> {
        self.wait_until(guard, Deadline::NEVER).map(|(guard, _)| guard)
    }

    /// As [`wait`](Self::wait), for so long at most; true if it was notified. The lock is waited for as long as it takes.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(
        &self,
        guard: ConditionProxyGuard,
        timeout: Duration,
    ) -> Result<(ConditionProxyGuard, bool), CallError> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    /// Waits until it is so, and looks under the lock: first at once, then whenever it is notified.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and what looking returns.
    pub fn wait_for(
        &self,
        mut guard: ConditionProxyGuard,
        mut is_so: impl FnMut() -> Result<bool, CallError>,
    ) -> Result<ConditionProxyGuard, CallError> {
        while !is_so()? {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_for`](Self::wait_for), for so long at most; what it has found when it last looked.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_for_timeout(
        &self,
        mut guard: ConditionProxyGuard,
        timeout: Duration,
        mut is_so: impl FnMut() -> Result<bool, CallError>,
    ) -> Result<(ConditionProxyGuard, bool), CallError> {
        let deadline = Deadline::after(timeout);
        while !is_so()? {
            let (again, was_notified) = self.wait_until(guard, deadline)?;
            if !was_notified {
                return Ok((again, is_so()?));
            }
            guard = again;
        }
        Ok((guard, true))
    }

    fn wait_until(
        &self,
        mut guard: ConditionProxyGuard,
        deadline: Deadline,
    ) -> Result<(ConditionProxyGuard, bool), CallError> {
        let method = Method::Wait.name();
        if guard.held.raw != self.raw {
            let server = self.raw.server_address();
            return Err(CallError::refused(method.name, server, Refusal::NotHeld).about(|| self.raw.called()));
        }
        // If this fails the guard gives the lock back, unless the server has it: then it gives back nothing.
        let arguments = (guard.held.acquired, patience(deadline));
        let (acquired, owner_died, was_notified) = self.raw.call::<_, (u64, bool, bool)>(method, &arguments)?;
        (guard.held.acquired, guard.owner_died) = (acquired, owner_died);
        Ok((guard, was_notified))
    }

    /// Lets the one go on that has waited for longest; nothing happens when none waits.
    ///
    /// With the lock held or without; with it, nobody changes anything between this and what it tells of.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn notify_one(&self) -> Result<(), CallError> {
        self.notify(1)
    }

    /// Lets those go on that have waited for longest, so many at most.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn notify(&self, count: usize) -> Result<(), CallError> {
        command(&self.raw, Method::Notify.name(), &(Some(count as u64),))
    }

    /// Lets all go on that wait.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn notify_all(&self) -> Result<(), CallError> {
        command(&self.raw, Method::Notify.name(), &(None::<u64>,))
    }

    /// True if somebody has its lock.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_locked(&self) -> Result<bool, CallError> {
        self.raw.ask(Method::IsLocked.name())
    }

    /// How many threads wait to be notified, in all processes.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn waiters(&self) -> Result<usize, CallError> {
        self.raw.ask::<u64>(Method::Waiters.name()).map(super::count)
    }
}

/// Gives the condition's lock back when it is dropped; a client that dies gives back what it has.
///
/// It stays with its thread. In a forked child its copy is inert.
#[derive(Debug)]
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct ConditionProxyGuard {
    held: Held,
    owner_died: bool,
    _not_send: PhantomData<*const ()>,
}

impl ConditionProxyGuard {
    /// True if who had the lock before has died with it: what it protects may be half changed. After a wait it tells of the
    /// one that had it last.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectId;

    #[test]
    fn a_notification_of_a_call_that_is_given_up_goes_to_the_next() {
        for (why, goes_on) in [(Why::NotifiedAlone, 1), (Why::Notified, 0), (Why::Comes, 0)] {
            let (mut condition, mut answers) = (Condition::default(), Vec::new());
            condition.give((1, 1), ObjectId::SERVER.into(), why).unwrap();
            condition.waiters.push(Caller::here(ObjectId::SERVER.into()).0, ());
            condition.settle((1, 1), false, &mut answers);
            assert_eq!((answers.len(), condition.hold.is_held()), (goes_on, goes_on == 1), "{why:?}");
            assert_eq!(condition.waiters.len(), 1 - goes_on);
        }
    }
}
