//! A queue in a server: items in order, taken by whoever comes first, also by those who wait.
//!
//! Relies on `waiting.rs` for those.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::waiting::Waiting;
use super::{Stored, count, methods, patience, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{self, Access, Answer, Ask, Host, Hosting, Object, Step};
use crate::server::{Caller, Given};
use crate::value::{Form, Values};

methods! { "queue":
    Put = "put" Exclusive,
    Get = "get" Exclusive,
    Len = "len" Shared,
    IsFull = "is_full" Shared,
    TaskDone = "task_done" Exclusive,
    Join = "join" Exclusive,
}

/// What one is called whose items are to be done, too.
const JOINABLE: &str = "joinable_queue";

/// What all queues have in common that are called so: the methods are the same, but whoever wants the one has no use for the
/// other.
pub(crate) struct Called(&'static str);

impl host::Kind for Called {
    type Method = Method;

    fn type_name(&self) -> &str {
        self.0
    }

    fn find(&self, signature: u64) -> Option<(Method, Access)> {
        Kind.find(signature)
    }

    fn methods(&self) -> Vec<(&'static str, u64)> {
        Kind.methods()
    }
}

/// A queue as an object.
pub(super) fn host(queue: Queue) -> Arc<dyn Hosting> {
    let kind = Called(if queue.is_joinable { JOINABLE } else { KIND });
    Arc::new(Host::new(kind, queue))
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    values: Values,
    /// In the order in which they were put, also those that were taken and have come back.
    items: VecDeque<Item>,
    /// How many have had a place.
    placed: u64,
    /// None is as many as there is memory for.
    items_max: Option<u64>,
    takers: Waiting<()>,
    /// Those who wait for room, with their items.
    putters: Waiting<Stored>,
    /// What was given to a client's call that has not said yet that it has it, in order.
    claimed: BTreeMap<(u64, u64), Item>,
    /// Whether what was taken is to be done as well: until then it is kept, for somebody else if who took it is gone.
    is_joinable: bool,
    /// What was taken and is not done, by the client and its call.
    taken: BTreeMap<(u64, u64), Item>,
    /// Those who wait until everything is done.
    joiners: Waiting<()>,
}

/// What was put, and which place it has among all that were: it stands there again if it comes back.
#[derive(Debug)]
struct Item {
    place: u64,
    value: Stored,
}

impl Queue {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        let (items_max, is_joinable, conversions) = given.read()?;
        Ok(Self::new(items_max, is_joinable, Values::named(conversions)))
    }

    /// One whose items are data, of as many items as are given, if that is said.
    pub(super) fn untyped(given: Given, is_joinable: bool) -> Result<Self, Refusal> {
        let (items_max,) = given.read()?;
        Ok(Self::new(items_max, is_joinable, Values::Data))
    }

    /// One of so many items at most. Without room for any nobody would ever get one: as in Python, 0 is as many as one likes.
    fn new(items_max: Option<u64>, is_joinable: bool, values: Values) -> Self {
        Self { items_max: items_max.filter(|&max| max > 0), is_joinable, values, ..Self::default() }
    }

    fn is_full(&self) -> bool {
        self.items_max.is_some_and(|max| self.items.len() as u64 >= max)
    }

    fn put(&mut self, ask: &mut Ask) -> Step {
        let patience = match ask.read::<Option<u64>>() {
            Ok(patience) => patience,
            Err(refusal) => return Step::Done(Err(refusal)),
        };
        let item = match ask.accept(self.values).and_then(Stored::keep) {
            Ok(item) => item,
            Err(refusal) => return Step::Done(Err(refusal)),
        };
        if self.is_full() {
            return self.putters.join(ask, item, patience);
        }
        self.push(item);
        self.serve(&mut ask.answers);
        Step::Done(Ok(Vec::new()))
    }

    fn get(&mut self, ask: &mut Ask) -> Step {
        let patience = match ask.read::<Option<u64>>() {
            Ok(patience) => patience,
            Err(refusal) => return Step::Done(Err(refusal)),
        };
        let Some(item) = self.items.pop_front() else { return self.takers.join(ask, (), patience) };
        // What came back to a full queue has made it longer than it may be.
        if !self.is_full()
            && let Some(putter) = self.putters.first()
        {
            self.push(putter.wants);
            ask.answers.push((putter.caller, Ok(Vec::new())));
        }
        let given = ask.keep_caller(None).map(|caller| self.give(caller, item));
        ask.answers.extend(given);
        Step::Later
    }

    /// Puts a value behind all others.
    fn push(&mut self, value: Stored) {
        self.items.push_back(Item { place: self.placed, value });
        self.placed += 1;
    }

    /// Gives the first items to those who wait for some.
    fn serve(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        while !self.items.is_empty()
            && let Some(taker) = self.takers.first()
            && let Some(item) = self.items.pop_front()
        {
            answers.push(self.give(taker.caller, item));
        }
    }

    /// Gives an item to somebody, which is his when he says that he has it.
    fn give(&mut self, caller: Caller, item: Item) -> (Caller, Answer) {
        let copy = item.value.copy(self.values);
        self.claimed.insert(caller.call(), item);
        (caller.claiming(), Ok(vec![copy]))
    }

    /// Somebody is done with the item that it has had longest.
    fn task_done(&mut self, ask: &mut Ask) -> Answer {
        let (client, _) = ask.call();
        let taken = self.taken.range((client, 0)..=(client, u64::MAX)).next().map(|(&call, _)| call);
        let taken = taken.ok_or(Refusal::NotHeld)?;
        self.taken.remove(&taken);
        self.tell_joiners(&mut ask.answers);
        Ok(Vec::new())
    }

    fn is_done(&self) -> bool {
        self.items.is_empty() && self.putters.is_empty() && self.claimed.is_empty() && self.taken.is_empty()
    }

    fn tell_joiners(&mut self, answers: &mut Vec<(Caller, Answer)>) {
        while self.is_done() {
            let Some(joiner) = self.joiners.first() else { return };
            answers.push((joiner.caller, Ok(Vec::new())));
        }
    }

    fn join(&mut self, ask: &mut Ask) -> Step {
        match ask.read::<Option<u64>>() {
            Ok(_) if self.is_done() => Step::Done(Ok(Vec::new())),
            Ok(patience) => self.joiners.join(ask, (), patience),
            Err(refusal) => Step::Done(Err(refusal)),
        }
    }

    /// Puts an item where it stood that somebody did not get, or is not done with.
    fn put_back(&mut self, item: Item) {
        let at = self.items.partition_point(|other| other.place < item.place);
        self.items.insert(at, item);
    }
}

impl Object for Queue {
    type Kind = Called;

    fn form(&self) -> Form {
        self.values.form()
    }

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Len => ask.value(&(self.items.len() as u64)),
            Method::IsFull => ask.value(&self.is_full()),
            Method::Put | Method::Get | Method::TaskDone | Method::Join => unreachable!("they run alone"),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        match method {
            Method::Put => self.put(ask),
            Method::Get => self.get(ask),
            Method::TaskDone => Step::Done(self.task_done(ask)),
            Method::Join => self.join(ask),
            Method::Len | Method::IsFull => self.read(method, ask),
        }
    }

    fn settle(&mut self, call: (u64, u64), is_received: bool, answers: &mut Vec<(Caller, Answer)>) {
        match self.claimed.remove(&call) {
            Some(item) if !is_received => {
                self.put_back(item);
                self.serve(answers);
            }
            Some(item) if self.is_joinable => drop(self.taken.insert(call, item)),
            Some(_) => {}
            None => {
                self.takers.abandon(call);
                self.putters.abandon(call);
                self.joiners.abandon(call);
            }
        }
        self.tell_joiners(answers);
    }

    /// An item that cannot be told to who took it, or that he cannot read, goes to the end: there it keeps nobody from those
    /// behind it, and somebody else finds it who can.
    fn undelivered(&mut self, call: (u64, u64), answers: &mut Vec<(Caller, Answer)>) {
        let Some(item) = self.claimed.remove(&call) else { return };
        self.push(item.value);
        self.serve(answers);
    }

    fn part(&mut self, client: u64, answers: &mut Vec<(Caller, Answer)>) {
        self.takers.part(client);
        self.putters.part(client);
        self.joiners.part(client);
        let all = (client, 0)..=(client, u64::MAX);
        let had =
            [&mut self.taken, &mut self.claimed].map(|items| items.extract_if(all.clone(), |_, _| true).collect());
        let [taken, claimed]: [Vec<((u64, u64), Item)>; 2] = had;
        let mut had: Vec<Item> = taken.into_iter().chain(claimed).map(|(_, item)| item).collect();
        // The last one first: each of the others goes before it, and moves none.
        had.sort_unstable_by_key(|item| Reverse(item.place));
        had.into_iter().for_each(|item| self.put_back(item));
        self.serve(answers); // When all are there: the first one goes first.
        self.tell_joiners(answers);
    }

    fn waiting(&self) -> usize {
        self.takers.len() + self.putters.len() + self.joiners.len()
    }

    fn tick(&mut self, now: Instant, answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        let ticks = [self.takers.tick(now, answers), self.putters.tick(now, answers), self.joiners.tick(now, answers)];
        ticks.into_iter().flatten().min()
    }
}

proxy! {
    /// A queue in a manager's server: any number of processes, on any machine, put items and take them.
    ///
    /// # Python
    /// The proxy of `SyncManager.Queue`.
    QueueProxy<T>
}

proxy! {
    /// A queue in a manager's server whose items are to be done, too: what a client has taken and is not done with goes to
    /// somebody else when that client is gone, however it ended.
    ///
    /// # Python
    /// The proxy of `SyncManager.JoinableQueue`, which loses what a dead client has taken.
    JoinableQueueProxy<T> = JOINABLE
}

/// What both queues do.
macro_rules! verbs {
    ($name:ident) => {
        impl<T: Serialize + DeserializeOwned + 'static> $name<T> {
            /// Puts an item at the end; waits while the queue is full.
            ///
            /// # Errors
            /// [`CallError`].
            pub fn put(&self, item: &T) -> Result<(), CallError> {
                self.put_until(item, Deadline::NEVER)
            }

            /// As [`put`](Self::put), without a wait.
            ///
            /// # Errors
            /// [`CallError::Refused`] with [`Refusal::WouldBlock`] when it is full.
            pub fn try_put(&self, item: &T) -> Result<(), CallError> {
                self.put_until(item, Deadline::NOW)
            }

            /// As [`put`](Self::put), for so long at most.
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
            /// [`CallError`]; with [`CallError::Output`] the item is no `T`, and goes to the end, for who asks for what it is.
            pub fn get(&self) -> Result<T, CallError> {
                self.get_until(Deadline::NEVER)
            }

            /// As [`get`](Self::get), without a wait.
            ///
            /// # Errors
            /// [`CallError::Refused`] with [`Refusal::WouldBlock`] when there is none.
            pub fn try_get(&self) -> Result<T, CallError> {
                self.get_until(Deadline::NOW)
            }

            /// As [`get`](Self::get), for so long at most.
            ///
            /// # Errors
            /// [`CallError::Refused`] with [`Refusal::TimedOut`] when there was none all the time.
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, CallError> {
                self.get_until(Deadline::after(timeout))
            }

            fn get_until(&self, deadline: Deadline) -> Result<T, CallError> {
                let method = Method::Get.name();
                let patience = self.raw.pack(method, &patience(deadline))?;
                self.raw.one(method, vec![patience])
            }

            /// How many items it has.
            ///
            /// # Errors
            /// [`CallError`].
            pub fn len(&self) -> Result<usize, CallError> {
                self.raw.ask::<u64>(Method::Len.name()).map(count)
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
    };
}

verbs!(QueueProxy);
verbs!(JoinableQueueProxy);

impl<T: Serialize + DeserializeOwned + 'static> JoinableQueueProxy<T> {
    /// Says that this process is done with the item that it took, or with the first of those that it took.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NotHeld`] when it has none.
    pub fn task_done(&self) -> Result<(), CallError> {
        self.raw.call_packed(Method::TaskDone.name(), Vec::new()).map(drop)
    }

    /// Waits until everything that was put was taken and is done.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn join(&self) -> Result<(), CallError> {
        self.join_until(Deadline::NEVER)
    }

    /// As [`join`](Self::join), for so long at most.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::TimedOut`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), CallError> {
        self.join_until(Deadline::after(timeout))
    }

    fn join_until(&self, deadline: Deadline) -> Result<(), CallError> {
        let method = Method::Join.name();
        let patience = self.raw.pack(method, &patience(deadline))?;
        self.raw.call_packed(method, vec![patience]).map(drop)
    }
}
