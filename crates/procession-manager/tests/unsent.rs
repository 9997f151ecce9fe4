//! Answers that cannot be sent to who asked, or not yet: that call is told so, and nobody else notices.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::fs::File;
use std::time::Duration;

use procession_launch::{StartMethod, current_process};
use procession_manager::{
    BaseManager, CALLS_AHEAD_MAX, CallError, JoinableQueueProxy, Pending, QueueProxy, Refusal, SyncManager,
    UNREAD_BYTES_MAX, shared,
};
use procession_wire::Descriptor;

use common::{manager, refusal, warm_up};

/// Ten times what anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// With as many calls as these have, one within the other would not fit on a stack.
const CLIENTS: usize = 12;

/// Too short for anything that does not happen.
const SHORT: Duration = Duration::from_millis(300);

fn null() -> Descriptor {
    std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap()).into()
}

/// Has files, which no stream carries.
#[derive(Debug, Default)]
pub(crate) struct Drawer;

#[shared]
impl Drawer {
    pub(crate) fn new() -> Self {
        Self
    }

    /// A file.
    pub(crate) fn open(&self) -> Descriptor {
        null()
    }

    /// Puts one in a queue.
    pub(crate) fn put(&self, queue: QueueProxy<Option<Descriptor>>) {
        queue.put(&Some(null())).unwrap();
    }

    /// The same with one whose items are to be done.
    pub(crate) fn put_to_do(&self, queue: JoinableQueueProxy<Option<Descriptor>>) {
        queue.put(&Some(null())).unwrap();
    }
}

/// A manager that carries no files.
fn by_tcp() -> SyncManager {
    BaseManager::builder().address("127.0.0.1:0").register::<Drawer>("Drawer").start().unwrap().into()
}

#[track_caller]
fn is_unsent<T: std::fmt::Debug>(result: Result<T, CallError>) {
    let refused = refusal(result);
    assert!(matches!(refused, Refusal::Output { .. }), "{refused}");
}

fn what_cannot_be_sent_is_an_error_of_that_call() {
    let manager = by_tcp();
    let drawer = manager.create::<Drawer>(()).unwrap();
    let lock = manager.lock().unwrap();
    let guard = lock.lock().unwrap();
    is_unsent(drawer.open());
    let (opened, count) = (drawer.open_later().unwrap(), manager.number_of_objects());
    is_unsent(opened.get());
    assert_eq!(count.unwrap(), 2);
    assert!(lock.is_locked().unwrap(), "its client was not put out");
    drop(guard);
    assert!(!lock.is_locked().unwrap());
}

fn an_item_that_cannot_be_sent_keeps_nobody_from_others() {
    let manager = by_tcp();
    let drawer = manager.create::<Drawer>(()).unwrap();
    let queue = manager.joinable_queue::<Option<Descriptor>>().unwrap();
    drawer.put_to_do(queue.clone()).unwrap();
    queue.put(&None).unwrap();
    is_unsent(queue.get());
    assert!(queue.get().unwrap().is_none(), "what stood behind it comes");
    queue.task_done().unwrap();
    is_unsent(queue.try_get());
    assert_eq!(queue.len().unwrap(), 1, "it is still there, for who can be sent it");
    assert_eq!(refusal(queue.task_done()), Refusal::NotHeld);
    assert_eq!(refusal(queue.join_timeout(Duration::from_millis(1))), Refusal::TimedOut);
}

fn an_item_that_nobody_of_many_can_be_sent_ends_the_wait_of_each() {
    let manager = by_tcp();
    let drawer = manager.create::<Drawer>(()).unwrap();
    let queue = manager.queue::<Option<Descriptor>>().unwrap();
    manager.publish("queue", &queue).unwrap();
    let waits_often = || {
        let key = current_process().authkey();
        let client = SyncManager::connect(manager.address().clone(), key.as_bytes()).unwrap();
        let queue: QueueProxy<Option<Descriptor>> = client.get("queue").unwrap();
        let waiting: Vec<Pending<_>> = (1..CALLS_AHEAD_MAX).map(|_| queue.get_later().unwrap()).collect();
        queue.len().unwrap(); // They wait.
        (client, waiting)
    };
    let clients: Vec<(SyncManager, Vec<Pending<_>>)> = (0..CLIENTS).map(|_| waits_often()).collect();
    drawer.put(queue.clone()).unwrap();
    clients.into_iter().flat_map(|(_, waiting)| waiting).for_each(|pending| is_unsent(pending.get_timeout(SOON)));
    assert_eq!(queue.len().unwrap(), 1);
}

fn an_answer_waits_until_there_are_descriptors() {
    let manager = manager(StartMethod::Spawn);
    let (value, list) = (manager.value(null()).unwrap(), manager.list::<u8>().unwrap());
    value.get().unwrap();
    procession_sys::set_file_limit([256; 2]).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let mut asked = value.get_later().unwrap();
    assert!(!asked.wait_timeout(SHORT), "{:?}", asked.get());
    drop(files);
    assert!(asked.wait_timeout(SOON));
    asked.get().unwrap();
    list.push(1).unwrap();
}

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        what_cannot_be_sent_is_an_error_of_that_call,
        an_item_that_cannot_be_sent_keeps_nobody_from_others,
        an_item_that_nobody_of_many_can_be_sent_ends_the_wait_of_each,
        an_answer_waits_until_there_are_descriptors,
        who_reads_is_not_put_out_for_what_waits_for_it within 60,
    ];
}

/// More bytes than may wait for one client, in answers that are asked for at once.
fn who_reads_is_not_put_out_for_what_waits_for_it() {
    const BYTES: usize = 30 << 20;
    const READERS: usize = 2 * UNREAD_BYTES_MAX / BYTES;
    let manager = manager(StartMethod::Spawn);
    let (dict, lock) = (manager.dict::<u8, Vec<u8>>().unwrap(), manager.lock().unwrap());
    dict.insert(1, vec![7; BYTES]).unwrap();
    let guard = lock.lock().unwrap();
    let asked: Vec<Pending<Option<Vec<u8>>>> = (0..READERS).map(|_| dict.get_later(&1).unwrap()).collect();
    let mut n_read = 0;
    for answer in asked {
        match answer.get() {
            Ok(bytes) => n_read += usize::from(bytes.is_some_and(|bytes| bytes.len() == BYTES)),
            Err(CallError::Refused { refusal: Refusal::Limit { limit, .. }, .. }) => {
                assert_eq!(limit, UNREAD_BYTES_MAX as u64);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(n_read > 0);
    assert!(lock.try_lock().is_err(), "it has its lock still");
    drop(guard);
    drop(lock.try_lock().unwrap());
    assert_eq!(dict.get(&1).unwrap().unwrap().len(), BYTES);
}
