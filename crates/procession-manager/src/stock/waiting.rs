//! Those who wait for an object to change, in the order in which they came.
//!
//! Relies on nothing: an object answers them when it changes, when their time is over, and forgets those that are gone. Those
//! that wait for an object when it ends are told that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::Refusal;
use crate::host::{Answer, Ask, Step};
use crate::server::Caller;

/// How many may wait for one object.
pub const WAITING_MAX: usize = 65_536;

/// Some who wait, each with what it wants.
#[derive(Debug)]
pub(crate) struct Waiting<W>(VecDeque<Waiter<W>>);

#[derive(Debug)]
pub(crate) struct Waiter<W> {
    pub(crate) caller: Caller,
    pub(crate) wants: W,
    until: Option<Instant>,
}

impl<W> Default for Waiting<W> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

/// With its object: nobody refers to that any more, so nothing would ever come of the wait.
impl<W> Drop for Waiting<W> {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|waiter| waiter.caller.orphan());
    }
}

impl<W> Waiting<W> {
    /// Has the caller wait for so many nanoseconds, or as long as it takes.
    pub(crate) fn join(&mut self, ask: &mut Ask, wants: W, patience: Option<u64>) -> Step {
        if patience == Some(0) {
            return Step::Done(Err(Refusal::WouldBlock));
        }
        if self.0.len() >= WAITING_MAX {
            let of = "calls that wait for one object to change".into();
            return Step::Done(Err(Refusal::Limit { of, limit: WAITING_MAX as u64 }));
        }
        let until = patience.and_then(|nanos| Instant::now().checked_add(Duration::from_nanos(nanos)));
        if let Some(caller) = ask.keep_caller(until) {
            self.0.push_back(Waiter { caller, wants, until });
        }
        Step::Later
    }

    /// The one that has waited longest.
    pub(crate) fn first(&mut self) -> Option<Waiter<W>> {
        self.0.pop_front()
    }

    /// Has somebody wait who is here already, as long as it takes.
    pub(crate) fn push(&mut self, caller: Caller, wants: W) {
        self.0.push_back(Waiter { caller, wants, until: None });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets a call that is not wanted any more; gives it back.
    pub(crate) fn abandon(&mut self, call: (u64, u64)) -> VecDeque<Waiter<W>> {
        self.extract(|waiter| waiter.caller.call() == call)
    }

    /// Forgets those of a client that is gone; gives them back.
    pub(crate) fn part(&mut self, client: u64) -> VecDeque<Waiter<W>> {
        self.extract(|waiter| waiter.caller.client() == client)
    }

    /// Answers those whose time is over; when the next one's is.
    pub(crate) fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        let (late, next) = self.late(now);
        answers.extend(late.into_iter().map(|waiter| (waiter.caller, Err(Refusal::TimedOut))));
        next
    }

    /// Those whose time is over; when the next one's is.
    pub(crate) fn late(&mut self, now: Instant) -> (VecDeque<Waiter<W>>, Option<Instant>) {
        let late = self.extract(|waiter| waiter.until.is_some_and(|until| until <= now));
        (late, self.0.iter().filter_map(|waiter| waiter.until).min())
    }

    fn extract(&mut self, is_it: impl Fn(&Waiter<W>) -> bool) -> VecDeque<Waiter<W>> {
        if !self.0.iter().any(&is_it) {
            return VecDeque::new();
        }
        let (extracted, rest) = self.0.drain(..).partition(is_it);
        self.0 = rest;
        extracted
    }
}
