//! A flag in a server that clients wait for.
//!
//! Relies on `waiting.rs` for those who wait. It is nobody's, so no death changes it.

use std::time::{Duration, Instant};

use procession_sys::Deadline;

use super::waiting::Waiting;
use super::{command, in_time, methods, patience, proxy};
use crate::error::CallError;
use crate::host::{Answer, Ask, Object, Step};
use crate::server::Caller;

methods! { "event":
    Set = "set" Exclusive,
    Clear = "clear" Exclusive,
    IsSet = "is_set" Shared,
    Wait = "wait" Exclusive,
    Waiters = "waiters" Shared,
}

/// The flag.
#[derive(Debug, Default)]
pub(crate) struct Event {
    is_set: bool,
    waiting: Waiting<()>,
}

impl Event {
    fn set(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        self.is_set = true;
        while let Some(waiter) = self.waiting.first() {
            answers.push((waiter.caller, Ok(Vec::new())));
        }
    }

    fn wait(&mut self, ask: &mut Ask) -> Step {
        match ask.tuple::<(Option<u64>,)>() {
            Ok(_) if self.is_set => Step::Done(Ok(Vec::new())),
            Ok((patience,)) => self.waiting.join(ask, (), patience),
            Err(refusal) => Step::Done(Err(refusal)),
        }
    }
}

impl Object for Event {
    type Kind = Kind;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::IsSet => ask.value(&self.is_set),
            Method::Waiters => ask.value(&(self.waiting.len() as u64)),
            Method::Set | Method::Clear | Method::Wait => unreachable!("they run alone"),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        match method {
            Method::Wait => return self.wait(ask),
            Method::Set => self.set(&mut ask.answers),
            Method::Clear => self.is_set = false,
            Method::IsSet | Method::Waiters => return self.read(method, ask),
        }
        Step::Done(Ok(Vec::new()))
    }

    fn settle(&mut self, call: (u64, u64), _: bool, _: &mut Vec<(Caller, Answer)>) {
        self.waiting.abandon(call);
    }

    fn part(&mut self, client: u64, _: &mut Vec<(Caller, Answer)>) {
        self.waiting.part(client);
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        self.waiting.tick(now, answers)
    }
}

proxy! {
    /// A flag in a manager's server, which any number of processes, on any machine, set and wait for.
    ///
    /// # When a client dies
    /// The flag stays as it is: it is nobody's. One that waited waits no more.
    ///
    /// # Python
    /// The proxy of `SyncManager.Event`.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let stop = manager.event()?; // A handle: a child that gets it has the same event.
    /// std::thread::scope(|scope| {
    ///     let waits = scope.spawn(|| stop.wait());
    ///     stop.set()?;
    ///     waits.join().expect("it does not panic")
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    EventProxy<>
}

impl EventProxy {
    /// Sets it: everybody that waits goes on.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set(&self) -> Result<(), CallError> {
        command(&self.raw, Method::Set.name(), &())
    }

    /// Clears it: who comes from now on waits. Whoever was waiting when it was set goes on all the same.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn clear(&self) -> Result<(), CallError> {
        command(&self.raw, Method::Clear.name(), &())
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_set(&self) -> Result<bool, CallError> {
        self.raw.ask(Method::IsSet.name())
    }

    /// Waits until it is set. Returns also if it was set during the call and is not any more.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait(&self) -> Result<(), CallError> {
        command(&self.raw, Method::Wait.name(), &(patience(Deadline::NEVER),))
    }

    /// As [`wait`](Self::wait), for so long at most; true if it was set. A timeout of zero asks.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, CallError> {
        in_time(command(&self.raw, Method::Wait.name(), &(patience(Deadline::after(timeout)),)))
    }

    /// How many threads wait until it is set, in all processes.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn waiters(&self) -> Result<usize, CallError> {
        self.raw.ask::<u64>(Method::Waiters.name()).map(super::count)
    }
}
