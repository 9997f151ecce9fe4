//! What comes back to an object: items that nobody received, kept or could read, and those who wait for one that ends.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod, current_process};
use procession_manager::{
    BaseManager, CallError, EventProxy, JoinableQueueProxy, MethodName, Pending, Proxy, QueueProxy, Refusal,
    SyncManager, shared,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use common::{await_objects, manager, methods, refusal, warm_up};

/// Ten times what a dead process may cost until others know.
const SOON: Duration = Duration::from_secs(10);

/// What is put as a text and asked for as this cannot be read: one text is not two.
type Pair = (String, String);

/// One whose method others wait for, and which calls objects of its own server.
#[derive(Debug, Default)]
pub(crate) struct Insider;

#[shared]
impl Insider {
    pub(crate) fn new() -> Self {
        Self
    }

    /// Says that it has begun, and waits until it may go on.
    pub(crate) fn pauses(&mut self, begun: EventProxy, may_go_on: EventProxy) {
        begun.set().unwrap();
        may_go_on.wait().unwrap();
    }

    /// Stands in line meanwhile.
    pub(crate) fn passes(&mut self) -> bool {
        true
    }

    /// Waits for an item of a queue that nobody refers to any more.
    pub(crate) fn outlives(&self, queue: QueueProxy<u64>, is_sent: EventProxy) -> bool {
        let pending = queue.get_later().unwrap();
        drop(queue);
        is_sent.set().unwrap();
        is_gone(pending.get())
    }

    /// Takes texts as what they are not.
    pub(crate) fn misreads(&self, texts: QueueProxy<Pair>) -> bool {
        is_misread(&texts.try_get()) && is_misread(&texts.get_later().unwrap().get())
    }
}

/// A value of a type whose own code fails when it is read.
#[derive(Debug, Serialize)]
struct Explodes;

impl<'de> Deserialize<'de> for Explodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        assert_ne!(text, "1", "as it was asked to");
        Err(D::Error::custom(text))
    }
}

fn with_insider(method: StartMethod) -> SyncManager {
    BaseManager::builder().context(Context::new(method)).register::<Insider>("Insider").start().unwrap().into()
}

fn is_misread<T>(taken: &Result<T, CallError>) -> bool {
    matches!(taken, Err(CallError::Output { .. }))
}

fn is_gone<T: std::fmt::Debug>(waited: Result<T, CallError>) -> bool {
    matches!(refusal(waited), Refusal::NoObject { .. })
}

fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "it does not become so");
        std::thread::yield_now();
    }
}

/// Another client of the server, with the jobs that it finds there.
fn client(manager: &SyncManager) -> (SyncManager, JoinableQueueProxy<u64>) {
    let key = current_process().authkey();
    let client = SyncManager::connect(manager.address().clone(), key.as_bytes()).unwrap();
    let jobs = client.get("jobs").unwrap();
    (client, jobs)
}

fn what_is_dropped_in_any_order_stands_where_it_stood(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<u64>().unwrap();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        (1..=5).for_each(|n| queue.put(&n).unwrap());
        let mut taken: Vec<_> = (0..3).map(|_| Some(queue.get_later().unwrap())).collect();
        assert_eq!(queue.len().unwrap(), 2);
        order.into_iter().for_each(|n: usize| drop(taken[n].take()));
        assert!((1..=5).all(|n| queue.get().unwrap() == n), "{order:?}");
    }
}

fn what_goes_from_one_that_waits_to_the_next_keeps_its_place(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<u64>().unwrap();
    let mut waits: Vec<_> = (0..4).map(|_| queue.get_later().unwrap()).collect();
    (1..=3).for_each(|n| queue.put(&n).unwrap());
    assert!(waits[..3].iter_mut().all(|pending| pending.wait_timeout(SOON)));
    let last = waits.pop().unwrap();
    drop(waits); // The first one's goes to the last one, and the others' to the queue.
    assert_eq!(queue.len().unwrap(), 2);
    drop(last);
    assert!((1..=3).all(|n| queue.get().unwrap() == n));
}

fn what_the_dead_had_stands_where_it_stood(method: StartMethod) {
    let manager = manager(method);
    let jobs = manager.joinable_queue::<u64>().unwrap();
    manager.publish("jobs", &jobs).unwrap();
    (1..=8).for_each(|n| jobs.put(&n).unwrap());
    let mut clients: Vec<_> = (0..3).map(|_| Some(client(&manager))).collect();
    for n in 1..=6_u64 {
        let (_, theirs) = clients[n as usize % 3].as_ref().unwrap();
        assert_eq!(theirs.get().unwrap(), n);
    }
    for (who, count) in [(1, 4), (0, 6), (2, 8)] {
        drop(clients[who].take());
        until(|| jobs.len().unwrap() == count);
    }
    for n in 1..=8 {
        assert_eq!(jobs.get().unwrap(), n);
        jobs.task_done().unwrap();
    }
    jobs.join().unwrap();
}

fn who_waits_gets_the_first_of_what_the_dead_had(method: StartMethod) {
    let manager = manager(method);
    let jobs = manager.joinable_queue::<u64>().unwrap();
    manager.publish("jobs", &jobs).unwrap();
    let (there, theirs) = client(&manager);
    (1..=3).for_each(|n| jobs.put(&n).unwrap());
    assert!((1..=3).all(|n| theirs.get().unwrap() == n));
    let waits = [jobs.get_later().unwrap(), jobs.get_later().unwrap()];
    assert_eq!(jobs.len().unwrap(), 0);
    drop((there, theirs));
    assert_eq!(waits.map(|pending| pending.get_timeout(SOON).unwrap()), [1, 2]);
    assert_eq!(jobs.get_timeout(SOON).unwrap(), 3);
}

fn who_waits_for_an_object_that_ends_is_told(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<u64>().unwrap();
    let takes = [queue.get_later().unwrap(), queue.get_later().unwrap()];
    let full = manager.bounded_queue::<u64>(1).unwrap();
    full.put(&1).unwrap();
    let puts = full.put_later(&2).unwrap();
    drop((queue, full));
    assert!(takes.into_iter().all(|pending| is_gone(pending.get_timeout(SOON))));
    assert!(is_gone(puts.get_timeout(SOON)));
    await_objects(&manager, 0);
}

/// FNV-1a of a method's name, as calls have it.
fn named(name: &'static str) -> MethodName {
    let next = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    MethodName { name, signature: name.bytes().fold(0xcbf2_9ce4_8422_2325, next) }
}

/// Calls a method and does not wait, whatever it is to return.
fn later<A: Serialize>(proxy: &impl Proxy, name: &'static str, arguments: &A) -> Pending<()> {
    proxy.as_raw().later(named(name), arguments).unwrap()
}

fn who_waits_at_what_ends_is_told_whatever_that_is(method: StartMethod) {
    let manager = manager(method);
    let forever = (None::<u64>,);
    let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
    let (rlock, semaphore) = (manager.rlock().unwrap(), manager.semaphore(0).unwrap());
    let (event, barrier) = (manager.event().unwrap(), manager.barrier(2).unwrap());
    let jobs = manager.joinable_queue::<u64>().unwrap();
    jobs.put(&1).unwrap();
    let had = [
        later(&lock, "lock.acquire", &forever),
        later(&condition, "condition.acquire", &forever),
        later(&rlock, "rlock.acquire", &(None::<u64>, 1_u64)),
    ];
    let waits = [
        later(&lock, "lock.acquire", &forever),
        later(&condition, "condition.acquire", &forever),
        later(&rlock, "rlock.acquire", &(None::<u64>, 2_u64)),
        later(&semaphore, "semaphore.acquire", &forever),
        later(&event, "event.wait", &forever),
        later(&barrier, "barrier.wait", &(None::<u64>, false)),
        later(&jobs, "queue.join", &None::<u64>),
    ];
    until(|| manager.objects().unwrap().iter().all(|object| object.waiting == 1));
    drop((lock, condition, rlock, semaphore, event, barrier, jobs));
    for (n, pending) in waits.into_iter().enumerate() {
        assert!(is_gone(pending.get_timeout(SOON)), "{n}");
    }
    drop(had);
    await_objects(&manager, 0);
}

fn what_stands_in_line_is_done_before_its_object_ends(method: StartMethod) {
    let manager = with_insider(method);
    let (begun, may_go_on) = (manager.event().unwrap(), manager.event().unwrap());
    let insider = manager.create::<Insider>(()).unwrap();
    let pauses = insider.pauses_later(begun.clone(), may_go_on.clone()).unwrap();
    let passes = insider.passes_later().unwrap();
    begun.wait().unwrap();
    drop(insider);
    assert_eq!(manager.number_of_objects().unwrap(), 3, "its call goes on");
    may_go_on.set().unwrap();
    pauses.get_timeout(SOON).unwrap();
    assert!(passes.get_timeout(SOON).unwrap());
    await_objects(&manager, 2);
}

fn who_waits_within_the_server_for_what_ends_is_told(method: StartMethod) {
    let manager = with_insider(method);
    let (insider, is_sent) = (manager.create::<Insider>(()).unwrap(), manager.event().unwrap());
    let queue = manager.queue::<u64>().unwrap();
    let outlives = insider.outlives_later(queue.clone(), is_sent.clone()).unwrap();
    is_sent.wait().unwrap();
    drop(queue);
    assert!(outlives.get_timeout(SOON).unwrap());
}

/// Perhaps nobody can read it: those behind it do not wait for that.
fn what_its_taker_cannot_read_keeps_nobody(method: StartMethod) {
    let manager = manager(method);
    let texts = manager.queue::<String>().unwrap();
    manager.publish("texts", &texts).unwrap();
    let pairs: QueueProxy<Pair> = manager.get("texts").unwrap();
    let pair = ("a".to_owned(), "b".to_owned());
    texts.put(&"1".to_owned()).unwrap();
    pairs.put(&pair).unwrap();
    assert!(is_misread(&pairs.get()));
    assert_eq!(pairs.get().unwrap(), pair);
    assert_eq!(texts.get().unwrap(), "1");
}

fn what_its_taker_cannot_read_stays(method: StartMethod) {
    let manager = manager(method);
    let texts = manager.joinable_queue::<String>().unwrap();
    manager.publish("texts", &texts).unwrap();
    ["1", "2"].into_iter().for_each(|text| texts.put(&text.to_owned()).unwrap());
    let pairs: JoinableQueueProxy<Pair> = manager.get("texts").unwrap();
    assert!(is_misread(&pairs.get()) && is_misread(&pairs.try_get()) && is_misread(&pairs.get_timeout(SOON)));
    let ahead = [pairs.get_later().unwrap(), pairs.get_later().unwrap()];
    assert!(ahead.into_iter().all(|pending| is_misread(&pending.get())));
    let bombs: JoinableQueueProxy<Explodes> = manager.get("texts").unwrap();
    assert!(is_misread(&bombs.get()));
    assert!(catch_unwind(AssertUnwindSafe(|| bombs.get())).is_err());
    assert_eq!(texts.len().unwrap(), 2);
    assert_eq!(refusal(texts.task_done()), Refusal::NotHeld);
    assert_eq!((texts.get().unwrap().as_str(), texts.get().unwrap().as_str()), ("2", "1"));
}

fn what_its_taker_cannot_read_stays_within_the_server(method: StartMethod) {
    let manager = with_insider(method);
    let (insider, texts) = (manager.create::<Insider>(()).unwrap(), manager.queue::<String>().unwrap());
    manager.publish("texts", &texts).unwrap();
    texts.put(&"1".to_owned()).unwrap();
    assert!(insider.misreads(manager.get("texts").unwrap()).unwrap());
    assert_eq!(texts.try_get().unwrap(), "1");
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        what_is_dropped_in_any_order_stands_where_it_stood,
        what_goes_from_one_that_waits_to_the_next_keeps_its_place,
        what_the_dead_had_stands_where_it_stood,
        who_waits_gets_the_first_of_what_the_dead_had,
        who_waits_for_an_object_that_ends_is_told,
        who_waits_at_what_ends_is_told_whatever_that_is,
        what_stands_in_line_is_done_before_its_object_ends,
        who_waits_within_the_server_for_what_ends_is_told,
        what_its_taker_cannot_read_keeps_nobody,
        what_its_taker_cannot_read_stays,
        what_its_taker_cannot_read_stays_within_the_server,
    ];
}
