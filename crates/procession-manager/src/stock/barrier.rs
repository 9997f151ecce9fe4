//! A barrier in a server: parties that wait for each other.
//!
//! Relies on `waiting.rs` for those that have come. The last one to come is never kept: it lets all pass.

use std::time::{Duration, Instant};

use procession_sys::Deadline;

use super::waiting::{WAITING_MAX, Waiting};
use super::{command, methods, patience, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Caller, Given, Taken};

methods! { "barrier":
    Wait = "wait" Exclusive,
    Abort = "abort" Exclusive,
    Reset = "reset" Exclusive,
    Parties = "parties" Shared,
    Waiters = "n_waiting" Shared,
    IsBroken = "is_broken" Shared,
}

/// The barrier.
#[derive(Debug)]
pub(crate) struct Barrier {
    parties: u64,
    /// Those that have come; none at a broken one.
    waiting: Waiting<()>,
    is_broken: bool,
}

impl Barrier {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        let (parties,): (u64,) = given.read()?;
        if parties == 0 {
            return Err(Refusal::Construct { reason: "a barrier has at least one party".into() });
        }
        if parties > WAITING_MAX as u64 {
            return Err(Refusal::Limit { of: "parties of a barrier".into(), limit: WAITING_MAX as u64 });
        }
        Ok(Self { parties, waiting: Waiting::default(), is_broken: false })
    }

    fn wait(&mut self, ask: &mut Ask) -> Result<Step, Refusal> {
        let (patience, only_last): (Option<u64>, bool) = ask.tuple()?;
        if self.is_broken {
            return Err(Refusal::Broken);
        }
        if self.waiting.len() as u64 + 1 == self.parties {
            self.pass(&mut ask.answers);
            return ask.value(&(self.parties - 1)).map(|passed| Step::Done(Ok(passed)));
        }
        match patience {
            _ if only_last => Err(Refusal::WouldBlock),
            Some(0) => {
                self.abort(&mut ask.answers);
                Err(Refusal::TimedOut)
            }
            patience => Ok(self.waiting.join(ask, (), patience)),
        }
    }

    /// Lets all pass.
    fn pass(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        let mut index = 0_u64;
        while let Some(waiter) = self.waiting.first() {
            let passed = Taken::of(waiter.caller.site(), &index).map(|taken| vec![taken]);
            answers.push((waiter.caller, passed));
            index += 1;
        }
    }

    /// Tells all that have come that there is nothing to wait for.
    fn disband(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        while let Some(waiter) = self.waiting.first() {
            answers.push((waiter.caller, Err(Refusal::Broken)));
        }
    }

    fn abort(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        self.is_broken = true;
        self.disband(answers);
    }
}

impl Object for Barrier {
    type Kind = Kind;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Parties => ask.value(&self.parties),
            Method::Waiters => ask.value(&(self.waiting.len() as u64)),
            Method::IsBroken => ask.value(&self.is_broken),
            Method::Wait | Method::Abort | Method::Reset => unreachable!("they run alone"),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        match method {
            Method::Wait => return self.wait(ask).unwrap_or_else(|refusal| Step::Done(Err(refusal))),
            Method::Abort => self.abort(&mut ask.answers),
            Method::Reset => {
                self.disband(&mut ask.answers);
                self.is_broken = false;
            }
            Method::Parties | Method::Waiters | Method::IsBroken => return self.read(method, ask),
        }
        Step::Done(Ok(Vec::new()))
    }

    fn settle(&mut self, call: (u64, u64), _: bool, answers: &mut Vec<(Caller, Answer)>) {
        if !self.waiting.abandon(call).is_empty() {
            self.abort(answers);
        }
    }

    fn part(&mut self, client: u64, answers: &mut Vec<(Caller, Answer)>) {
        if !self.waiting.part(client).is_empty() {
            self.abort(answers);
        }
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        let (late, next) = self.waiting.late(now);
        if late.is_empty() {
            return next;
        }
        answers.extend(late.into_iter().map(|waiter| (waiter.caller, Err(Refusal::TimedOut))));
        self.abort(answers);
        None
    }
}

proxy! {
    /// A barrier in a manager's server: a place that none of several parties passes before all of them are there.
    ///
    /// A party is a thread of any process, on any machine, as long as it waits. When the last one comes, all pass, and the
    /// barrier is as new. If a round cannot end well it breaks, for all its parties, and stays broken until somebody resets
    /// it.
    ///
    /// # When a client dies
    /// The round that it waits in breaks at once, and so does one whose party gives up because of its `call_timeout`. Who
    /// died before it came is one that never comes: wait with a timeout.
    ///
    /// # Python
    /// The proxy of `SyncManager.Barrier`, where the death of a party is not noticed.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let barrier = manager.barrier(2)?; // A handle: a child that gets it has the same barrier.
    /// std::thread::scope(|scope| {
    ///     let other = scope.spawn(|| barrier.wait());
    ///     let indexes = [barrier.wait()?, other.join().expect("it does not panic")?];
    ///     assert_eq!(indexes.iter().sum::<usize>(), 1); // One of them is the first, 0.
    ///     Ok::<(), procession_manager::CallError>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    BarrierProxy<>
}

impl BarrierProxy {
    /// Waits until all parties are there; gives how many came before this one, which is another number for each.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::Broken`].
    pub fn wait(&self) -> Result<usize, CallError> {
        self.wait_until(Deadline::NEVER, false)
    }

    /// As [`wait`](Self::wait), for so long at most.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::TimedOut`] for the one whose time was over, which breaks the round for the
    /// others; with [`Refusal::Broken`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, CallError> {
        self.wait_until(Deadline::after(timeout), false)
    }

    /// Passes if all others are there.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::WouldBlock`] if they are not, which breaks nothing; with
    /// [`Refusal::Broken`].
    pub fn try_wait(&self) -> Result<usize, CallError> {
        self.wait_until(Deadline::NOW, true)
    }

    fn wait_until(&self, deadline: Deadline, only_last: bool) -> Result<usize, CallError> {
        self.raw.call::<_, u64>(Method::Wait.name(), &(patience(deadline), only_last)).map(super::count)
    }

    /// Breaks the barrier: whoever waits gets [`Refusal::Broken`], and so does whoever comes, until it is reset.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn abort(&self) -> Result<(), CallError> {
        command(&self.raw, Method::Abort.name(), &())
    }

    /// Makes the barrier as new: whoever waits gets [`Refusal::Broken`], and whoever comes is the first.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn reset(&self) -> Result<(), CallError> {
        command(&self.raw, Method::Reset.name(), &())
    }

    /// How many parties it is for.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn parties(&self) -> Result<usize, CallError> {
        self.raw.ask::<u64>(Method::Parties.name()).map(super::count)
    }

    /// How many have come that have not passed; none at a broken barrier.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn n_waiting(&self) -> Result<usize, CallError> {
        self.raw.ask::<u64>(Method::Waiters.name()).map(super::count)
    }

    /// Whether it is broken.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_broken(&self) -> Result<bool, CallError> {
        self.raw.ask(Method::IsBroken.name())
    }
}
