//! A semaphore in a server: permits that clients take, and that come back when a client is gone.
//!
//! Relies on `waiting.rs` for those who wait for one. Each permit that is taken has a number of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use procession_sys::Deadline;

use super::hold::Held;
use super::waiting::Waiting;
use super::{command, methods, patience, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Caller, Given, Site, Taken};

methods! { "semaphore":
    Acquire = "acquire" Exclusive,
    Give = "give" Exclusive,
    Forget = "forget" Exclusive,
    Release = "release" Exclusive,
    Available = "available" Shared,
    Waiters = "waiters" Shared,
}

/// The semaphore.
#[derive(Debug, Default)]
pub(crate) struct Semaphore {
    available: u64,
    /// Those that were forgotten and may come back, if it is bounded.
    forgotten: Option<u64>,
    /// Those that are somebody's: the client and its call.
    taken: BTreeMap<u64, (u64, u64)>,
    /// How often one was taken.
    acquired: u64,
    waiting: Waiting<()>,
}

impl Semaphore {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        let (permits, is_bounded) = given.read()?;
        Ok(Self::new(permits, is_bounded))
    }

    /// One with as many permits as are given.
    pub(super) fn of(given: Given, is_bounded: bool) -> Result<Self, Refusal> {
        let (permits,) = given.read()?;
        Ok(Self::new(permits, is_bounded))
    }

    fn new(permits: u32, is_bounded: bool) -> Self {
        Self { available: permits.into(), forgotten: is_bounded.then_some(0), ..Self::default() }
    }

    /// Gives one to somebody, who is told which it is.
    fn give(&mut self, call: (u64, u64), site: Site) -> Answer {
        self.available -= 1;
        self.acquired += 1;
        self.taken.insert(self.acquired, call);
        Taken::of(site, &self.acquired).map(|taken| vec![taken])
    }

    fn acquire(&mut self, ask: &mut Ask) -> Step {
        match ask.tuple::<(Option<u64>,)>() {
            Ok((patience,)) if self.available == 0 => self.waiting.join(ask, (), patience),
            Ok(_) => Step::Done(self.give(ask.call(), ask.site)),
            Err(refusal) => Step::Done(Err(refusal)),
        }
    }

    /// Takes one from who has it.
    fn take(&mut self, ask: &mut Ask) -> Result<(), Refusal> {
        let (permit,): (u64,) = ask.tuple()?;
        let (client, _) = ask.call();
        match self.taken.get(&permit) {
            Some((taker, _)) if *taker == client => self.taken.remove(&permit),
            _ => return Err(Refusal::NotHeld),
        };
        Ok(())
    }

    fn add(&mut self, permits: u64, answers: &mut Vec<(Caller, Answer)>) {
        self.available = self.available.saturating_add(permits); // It would take 2^32 releases.
        while self.available > 0 {
            let Some(next) = self.waiting.first() else { return };
            let answer = self.give(next.caller.call(), next.caller.site());
            answers.push((next.caller, answer));
        }
    }

    fn release(&mut self, ask: &mut Ask) -> Result<(), Refusal> {
        let (permits,): (u32,) = ask.tuple()?;
        if let Some(forgotten) = &mut self.forgotten {
            *forgotten = forgotten.checked_sub(permits.into()).ok_or(Refusal::NotHeld)?;
        }
        self.add(permits.into(), &mut ask.answers);
        Ok(())
    }

    fn change(&mut self, method: Method, ask: &mut Ask) -> Answer {
        match method {
            Method::Give => {
                self.take(ask)?;
                self.add(1, &mut ask.answers);
            }
            Method::Forget => {
                self.take(ask)?;
                self.forgotten.iter_mut().for_each(|forgotten| *forgotten += 1);
            }
            _ => self.release(ask)?,
        }
        Ok(Vec::new())
    }

    /// Takes back those of calls that are not wanted, or of clients that are gone.
    fn take_back(&mut self, is_it: impl Fn((u64, u64)) -> bool, answers: &mut Vec<(Caller, Answer)>) {
        let before = self.taken.len();
        self.taken.retain(|_, call| !is_it(*call));
        self.add((before - self.taken.len()) as u64, answers);
    }
}

impl Object for Semaphore {
    type Kind = Kind;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Available => ask.value(&self.available),
            Method::Waiters => ask.value(&(self.waiting.len() as u64)),
            Method::Acquire | Method::Give | Method::Forget | Method::Release => unreachable!("they run alone"),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        match method {
            Method::Acquire => self.acquire(ask),
            Method::Give | Method::Forget | Method::Release => Step::Done(self.change(method, ask)),
            Method::Available | Method::Waiters => self.read(method, ask),
        }
    }

    fn settle(&mut self, call: (u64, u64), is_received: bool, answers: &mut Vec<(Caller, Answer)>) {
        self.waiting.abandon(call);
        if !is_received {
            self.take_back(|taker| taker == call, answers);
        }
    }

    fn part(&mut self, client: u64, answers: &mut Vec<(Caller, Answer)>) {
        self.waiting.part(client);
        self.take_back(|(taker, _)| taker == client, answers);
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        self.waiting.tick(now, answers)
    }
}

proxy! {
    /// A semaphore in a manager's server: permits that processes share, on any machine.
    ///
    /// A permit belongs to the client that took it, until it is dropped or forgotten. Who signals rather than guards forgets
    /// the permits that it takes, and adds new ones with [`release`](Self::release): those are nobody's. A bounded one never
    /// has more permits than at first: `release` refuses what nobody has forgotten. Those that wait are served in order.
    ///
    /// # When a client dies
    /// Its permits come back, at once. Forgotten ones do not.
    ///
    /// # Python
    /// The proxy of `SyncManager.Semaphore` and `SyncManager.BoundedSemaphore`, where the permits of a dead client are lost.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let semaphore = manager.bounded_semaphore(2)?;
    /// let permit = semaphore.acquire()?;
    /// semaphore.acquire()?.forget()?;
    /// assert!(semaphore.try_acquire().is_err());
    /// drop(permit);
    /// semaphore.release(1)?; // The one that was forgotten.
    /// assert!(semaphore.release(1).is_err());
    /// assert_eq!(semaphore.available()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    SemaphoreProxy<>
}

impl SemaphoreProxy {
    /// Waits until there is a permit and takes it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn acquire(&self) -> Result<SemaphoreProxyPermit, CallError> {
        self.acquire_until(Deadline::NEVER)
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::WouldBlock`] when there is none.
    pub fn try_acquire(&self) -> Result<SemaphoreProxyPermit, CallError> {
        self.acquire_until(Deadline::NOW)
    }

    /// As [`acquire`](Self::acquire), for so long at most.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::TimedOut`] when there was none all the time.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphoreProxyPermit, CallError> {
        self.acquire_until(Deadline::after(timeout))
    }

    fn acquire_until(&self, deadline: Deadline) -> Result<SemaphoreProxyPermit, CallError> {
        let permit = self.raw.call(Method::Acquire.name(), &(patience(deadline),))?;
        Ok(SemaphoreProxyPermit { held: Held::new(&self.raw, Method::Give.name(), permit) })
    }

    /// Adds permits that are nobody's, for those that wait and those that come. With 0 nothing happens.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NotHeld`], and no new permit, if it is bounded and fewer are forgotten: of two
    /// that release the same permit at once, one gets this.
    pub fn release(&self, count: u32) -> Result<(), CallError> {
        command(&self.raw, Method::Release.name(), &(count,))
    }

    /// How many permits are there.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn available(&self) -> Result<u64, CallError> {
        self.raw.ask(Method::Available.name())
    }

    /// How many threads wait for a permit, in all processes.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn waiters(&self) -> Result<usize, CallError> {
        self.raw.ask::<u64>(Method::Waiters.name()).map(super::count)
    }
}

/// A permit that this process has; dropping it gives it back, and so does the end of the process.
///
/// Any thread of the process may drop it. In a forked child its copy is inert.
#[derive(Debug)]
#[must_use = "a permit is given back as soon as it is dropped"]
pub struct SemaphoreProxyPermit {
    held: Held,
}

impl SemaphoreProxyPermit {
    /// Makes it nobody's: it comes back when somebody calls [`SemaphoreProxy::release`], and by nothing else.
    ///
    /// # Errors
    /// [`CallError`]; then it is given back.
    pub fn forget(self) -> Result<(), CallError> {
        command(&self.held.raw, Method::Forget.name(), &(self.held.acquired,))?;
        self.held.give_up();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectId;

    #[test]
    fn a_permit_of_a_call_that_is_given_up_goes_to_the_next() {
        let mut semaphore = Semaphore { available: 2, ..Semaphore::default() };
        semaphore.give((1, 1), ObjectId::SERVER.into()).unwrap();
        semaphore.give((1, 2), ObjectId::SERVER.into()).unwrap();
        let (next, _reply) = Caller::here(ObjectId::SERVER.into());
        let third = next.call();
        semaphore.waiting.push(next, ());
        let mut answers = Vec::new();
        semaphore.settle((1, 1), true, &mut answers);
        assert!(answers.is_empty(), "it has it");
        semaphore.settle((1, 2), false, &mut answers);
        assert_eq!((answers.len(), semaphore.available), (1, 0));
        assert_eq!(semaphore.taken.into_values().collect::<Vec<_>>(), [(1, 1), third]);
    }
}
