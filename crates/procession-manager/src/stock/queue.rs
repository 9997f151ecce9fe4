//! A queue in a server: items in order, taken by whoever comes first, also by those who wait.
//!
//! Relies on `waiting.rs` for those.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::waiting::Waiting;
use super::{Stored, methods, patience, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Caller, Given};

methods! { "queue":
    Put = "put" Exclusive,
    Get = "get" Exclusive,
    Len = "len" Shared,
    IsFull = "is_full" Shared,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Stored>,
    /// None is as many as there is memory for.
    items_max: Option<u64>,
    takers: Waiting<()>,
    /// Those who wait for room, with their items.
    putters: Waiting<Stored>,
    /// What was given to a client's call that has not said yet that it has it, in order.
    claimed: BTreeMap<(u64, u64), Stored>,
}

impl Queue {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        Ok(Self { items_max: given.read()?, ..Self::default() })
    }

    fn is_full(&self) -> bool {
        self.items_max.is_some_and(|max| self.items.len() as u64 >= max)
    }

    fn put(&mut self, ask: &mut Ask) -> Step {
        let patience = match ask.read::<Option<u64>>() {
            Ok(patience) => patience,
            Err(refusal) => return Step::Done(Err(refusal)),
        };
        let item = Stored::new(ask.next());
        if let Some(taker) = self.takers.first() {
            let given = self.give(taker.caller, item);
            ask.answers.push(given);
            return Step::Done(Ok(Vec::new()));
        }
        if self.is_full() {
            return self.putters.join(ask, item, patience);
        }
        self.items.push_back(item);
        Step::Done(Ok(Vec::new()))
    }

    fn get(&mut self, ask: &mut Ask) -> Step {
        let patience = match ask.read::<Option<u64>>() {
            Ok(patience) => patience,
            Err(refusal) => return Step::Done(Err(refusal)),
        };
        let Some(item) = self.items.pop_front() else { return self.takers.join(ask, (), patience) };
        if let Some(putter) = self.putters.first() {
            self.items.push_back(putter.wants);
            ask.answers.push((putter.caller, Ok(Vec::new())));
        }
        let given = ask.keep_caller(None).map(|caller| self.give(caller, item));
        ask.answers.extend(given);
        Step::Later
    }

    /// Gives an item to somebody, which is his when he says that he has it.
    fn give(&mut self, caller: Caller, item: Stored) -> (Caller, Answer) {
        match caller.call() {
            Some(call) => {
                let copy = item.copy();
                self.claimed.insert(call, item);
                (caller.claiming(), Ok(vec![copy]))
            }
            None => (caller, Ok(vec![item.take()])),
        }
    }

    /// Puts an item first that somebody did not get.
    fn put_back(&mut self, item: Stored, answers: &mut Vec<(Caller, Answer)>) {
        match self.takers.first() {
            Some(taker) => answers.push(self.give(taker.caller, item)),
            None => self.items.push_front(item),
        }
    }
}

impl Object for Queue {
    type Kind = Kind;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Len => ask.value(&(self.items.len() as u64)),
            Method::IsFull => ask.value(&self.is_full()),
            Method::Put | Method::Get => unreachable!("they run alone"),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        match method {
            Method::Put => self.put(ask),
            Method::Get => self.get(ask),
            Method::Len | Method::IsFull => self.read(method, ask),
        }
    }

    fn settle(&mut self, call: (u64, u64), is_received: bool, answers: &mut Vec<(Caller, Answer)>) {
        match self.claimed.remove(&call) {
            Some(item) if !is_received => self.put_back(item, answers),
            Some(_) => {}
            None => {
                self.takers.abandon(call);
                self.putters.abandon(call);
            }
        }
    }

    fn part(&mut self, client: u64, answers: &mut Vec<(Caller, Answer)>) {
        self.takers.part(client);
        self.putters.part(client);
        let calls = self.claimed.range((client, 0)..=(client, u64::MAX));
        let calls: Vec<(u64, u64)> = calls.map(|(&call, _)| call).rev().collect();
        for call in calls {
            if let Some(item) = self.claimed.remove(&call) {
                self.put_back(item, answers);
            }
        }
    }

    fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        [self.takers.tick(now, answers), self.putters.tick(now, answers)].into_iter().flatten().min()
    }
}

proxy! {
    /// A queue in a manager's server: any number of processes, on any machine, put items and take them.
    ///
    /// # Python
    /// The proxy of `SyncManager.Queue`.
    QueueProxy<T>
}

impl<T: Serialize + DeserializeOwned + 'static> QueueProxy<T> {
    /// Puts an item at the end; waits while the queue is full.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn put(&self, item: &T) -> Result<(), CallError> {
        self.put_until(item, Deadline::NEVER)
    }

    /// As [`QueueProxy::put`], without a wait.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::WouldBlock`] when it is full.
    pub fn try_put(&self, item: &T) -> Result<(), CallError> {
        self.put_until(item, Deadline::NOW)
    }

    /// As [`QueueProxy::put`], for so long at most.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::TimedOut`] when it was full all the time.
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<(), CallError> {
        self.put_until(item, Deadline::after(timeout))
    }

    fn put_until(&self, item: &T, deadline: Deadline) -> Result<(), CallError> {
        let method = Method::Put.name();
        let arguments = vec![self.raw.pack(method, &patience(deadline))?, self.raw.pack(method, item)?];
        self.raw.call_packed(method, arguments).map(drop)
    }

    /// Takes the first item; waits while there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn get(&self) -> Result<T, CallError> {
        self.get_until(Deadline::NEVER)
    }

    /// As [`QueueProxy::get`], without a wait.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::WouldBlock`] when there is none.
    pub fn try_get(&self) -> Result<T, CallError> {
        self.get_until(Deadline::NOW)
    }

    /// As [`QueueProxy::get`], for so long at most.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::TimedOut`] when there was none all the time.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, CallError> {
        self.get_until(Deadline::after(timeout))
    }

    fn get_until(&self, deadline: Deadline) -> Result<T, CallError> {
        let method = Method::Get.name();
        let patience = self.raw.pack(method, &patience(deadline))?;
        self.raw.call_packed(method, vec![patience])?.pop().unwrap_or_default().result(method)
    }

    /// How many items it has.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn len(&self) -> Result<usize, CallError> {
        let len: u64 = self.raw.ask(Method::Len.name())?;
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// True if it has none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_empty(&self) -> Result<bool, CallError> {
        self.len().map(|len| len == 0)
    }

    /// True if the next item would have to wait for room.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_full(&self) -> Result<bool, CallError> {
        self.raw.ask(Method::IsFull.name())
    }
}
