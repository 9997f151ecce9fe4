//! What a server does not take, and what it tells of itself.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod, current_process};
use procession_manager::{
    BaseManager, CallError, Limits, ListProxy, LockProxy, ManagerBuilder, ManagerError, Proxy, QueueProxy, RawProxy,
    Refusal, SyncManager, THREADS_MAX, ValueProxy, managed, shared,
};
use procession_wire::Descriptor;

use common::{await_objects, methods, refusal, warm_up};

/// Ten times what anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// Something whose methods take as long as the test likes.
#[derive(Debug, Default)]
pub(crate) struct Gate;

#[shared]
impl Gate {
    /// A gate.
    pub(crate) fn new() -> Self {
        Self
    }

    /// Waits until the test goes on.
    pub(crate) fn pass(&self, port: u16) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _ = std::io::Read::read(&mut stream, &mut [0]);
    }

    /// Panics.
    pub(crate) fn fail(&mut self) {
        panic!("no such luck")
    }

    /// How much it is given.
    pub(crate) fn weigh(&mut self, bytes: Vec<u8>) -> usize {
        bytes.len()
    }
}

/// Something that takes as long as the test likes to be made.
#[derive(Debug)]
pub(crate) struct Late;

#[shared]
impl Late {
    /// Waits until the test goes on.
    pub(crate) fn new(port: u16) -> Self {
        Gate.pass(port);
        Self
    }

    /// Is called when it is made.
    pub(crate) fn is_made(&self) -> bool {
        true
    }
}

fn builder(method: StartMethod, limits: Limits) -> ManagerBuilder {
    let builder = BaseManager::builder().context(Context::new(method)).limits(limits);
    builder.register::<Gate>("Gate").register::<Late>("Late")
}

fn limited(method: StartMethod, limits: Limits) -> SyncManager {
    builder(method, limits).start().unwrap().into()
}

/// As another client of the same server.
fn another(manager: &BaseManager) -> Result<SyncManager, ManagerError> {
    SyncManager::connect(manager.address().clone(), current_process().authkey().as_bytes())
}

fn null() -> Descriptor {
    std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap()).into()
}

#[track_caller]
fn limit_of<T: std::fmt::Debug>(result: Result<T, CallError>) -> u64 {
    match refusal(result) {
        Refusal::Limit { limit, .. } => limit,
        other => panic!("it was refused otherwise: {other}"),
    }
}

/// Asks until what was let go of has gone.
#[track_caller]
fn once_there_is_room<T>(ask: impl Fn() -> Result<T, CallError>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(CallError::Refused { refusal: Refusal::Limit { .. }, .. }) if begun.elapsed() < SOON => {}
            other => return other.unwrap(),
        }
    }
}

fn objects_are_limited(method: StartMethod) {
    let manager = limited(method, Limits { objects: 3, ..Limits::default() });
    let lists: Vec<ListProxy<u8>> = (0..3).map(|_| manager.list().unwrap()).collect();
    assert_eq!(limit_of(manager.list::<u8>()), 3);
    assert_eq!(limit_of(another(&manager).unwrap().dict::<u8, u8>()), 3, "of all clients together");
    lists[0].push(1).unwrap();
    drop(lists);
    once_there_is_room(|| manager.list::<u8>());
}

fn references_of_one_client_are_limited(method: StartMethod) {
    let manager = limited(method, Limits { references: 3, ..Limits::default() });
    let mut lists: Vec<ListProxy<u8>> = (0..3).map(|_| manager.list().unwrap()).collect();
    assert_eq!(limit_of(manager.list::<u8>()), 3);
    let other = another(&manager).unwrap();
    other.publish("other", &other.list::<u8>().unwrap()).unwrap();
    assert_eq!(limit_of(manager.get::<ListProxy<u8>>("other")), 3);
    lists[0].push(1).unwrap();
    drop(lists.pop());
    let other = once_there_is_room(|| manager.get::<ListProxy<u8>>("other"));
    assert_eq!(other.len().unwrap(), 0);
}

fn what_is_being_made_counts_as_references(method: StartMethod) {
    let manager = limited(method, Limits { references: 2, ..Limits::default() });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        let making = [(); 2].map(|()| {
            let makes = scope.spawn(|| manager.create::<Late>((port,)));
            (makes, listener.accept().unwrap())
        });
        assert_eq!(limit_of(manager.create::<Late>((port,))), 2);
        assert_eq!(limit_of(manager.list::<u8>()), 2);
        let made = making.map(|(makes, guest)| {
            drop(guest);
            makes.join().unwrap().unwrap()
        });
        assert!(made.iter().all(|late| late.is_made().unwrap()));
        assert_eq!(limit_of(manager.list::<u8>()), 2);
        drop(made);
    });
    once_there_is_room(|| manager.list::<u8>());
}

fn what_is_registered_is_there_as_soon_as_there_is_room(method: StartMethod) {
    const BYTES: u64 = 10_000;
    let builder = builder(method, Limits { objects: 2, bytes: BYTES, ..Limits::default() });
    let builder = builder.register_object("jobs", managed::queue::<u8>());
    let builder = builder.register_object("large", managed::value(vec![7_u8; 5000]));
    let manager: SyncManager = builder.start().unwrap().into();
    let (value, list) = (manager.value(vec![1_u8; 8000]).unwrap(), manager.list::<u8>().unwrap());
    let (jobs, large) = (|| manager.get::<QueueProxy<u8>>("jobs"), || manager.get::<ValueProxy<Vec<u8>>>("large"));
    for _ in 0..2 {
        assert_eq!((limit_of(jobs()), limit_of(large())), (2, BYTES));
        let taken = refusal(manager.publish("jobs", &list));
        assert!(matches!(taken, Refusal::NameTaken { .. }), "{taken}");
    }
    drop(list);
    once_there_is_room(jobs).put(&1).unwrap();
    assert_eq!(jobs().unwrap().get().unwrap(), 1, "it is the same one");
    assert_eq!(limit_of(large()), BYTES);
    drop(value);
    assert_eq!(once_there_is_room(large).get().unwrap(), [7; 5000]);
}

fn who_takes_too_many_references_out_is_put_out(method: StartMethod) {
    let manager = limited(method, Limits { references: 8, ..Limits::default() });
    let outer: ListProxy<ListProxy<u8>> = manager.list().unwrap();
    for _ in 0..40 {
        outer.push(manager.list().unwrap()).unwrap();
    }
    manager.publish("outer", &outer).unwrap();
    let greedy = another(&manager).unwrap();
    let all: ListProxy<ListProxy<u8>> = greedy.get("outer").unwrap();
    let taken = all.to_vec();
    let begun = Instant::now();
    while all.len().is_ok() {
        assert!(begun.elapsed() < SOON, "it has {:?}", taken.as_ref().map(Vec::len));
        std::thread::yield_now();
    }
    assert_eq!(outer.len().unwrap(), 40, "nobody else is");
}

fn bytes_of_a_request_are_limited(method: StartMethod) {
    let manager = limited(method, Limits { request_bytes: 1000, ..Limits::default() });
    let queue: QueueProxy<Vec<u8>> = manager.queue().unwrap();
    assert_eq!(limit_of(queue.put(&vec![1; 2000])), 1000);
    queue.put(&vec![1; 500]).unwrap();
    assert_eq!(queue.get().unwrap().len(), 500);
}

fn bytes_that_are_held_are_limited(method: StartMethod) {
    const BYTES: u64 = 10_000;
    let manager = limited(method, Limits { bytes: BYTES, ..Limits::default() });
    let (dict, queue) = (manager.dict::<u64, Vec<u8>>().unwrap(), manager.queue::<Vec<u8>>().unwrap());
    let (set, value) = (manager.set::<u64>().unwrap(), manager.value(vec![1_u8; 100]).unwrap());
    let insert = |key| dict.insert(key, vec![7; 1000]);
    let full = (0..100).find(|key| insert(*key).is_err()).unwrap();
    assert!((8..10).contains(&full), "{full} values of a kilobyte");
    assert_eq!(limit_of(insert(full)), BYTES);
    assert_eq!(limit_of(queue.put(&vec![7; 1000])), BYTES);
    assert_eq!(limit_of(value.set(vec![7; 1000])), BYTES);
    assert_eq!(limit_of(dict.update(0, |value| [value.unwrap(), vec![8; 1000]].concat())), BYTES);
    assert_eq!(limit_of((0..BYTES).try_for_each(|key| set.insert(key).map(drop))), BYTES);
    // What was refused has changed nothing, and what is there can be taken out.
    assert_eq!((dict.get(&0).unwrap(), dict.len().unwrap()), (Some(vec![7; 1000]), full as usize));
    assert_eq!((value.get().unwrap(), queue.len().unwrap()), (vec![1; 100], 0));
    dict.remove(&0).unwrap();
    insert(100).unwrap();
    drop((dict, set));
    for _ in 0..3 {
        (0..8).for_each(|_| queue.put(&vec![7; 1000]).unwrap());
        (0..8).for_each(|_| drop(queue.get().unwrap()));
    }
}

fn descriptors_that_are_held_are_limited(method: StartMethod) {
    const SOME: usize = 10;
    let manager = limited(method, Limits { descriptors: SOME, ..Limits::default() });
    let files = |count| -> Vec<Descriptor> { (0..count).map(|_| null()).collect() };
    let (queue, list) = (manager.queue::<Vec<Descriptor>>().unwrap(), manager.list::<Descriptor>().unwrap());
    for _ in 0..2 {
        (0..SOME / 2).for_each(|_| queue.put(&files(2)).unwrap());
        assert_eq!(limit_of(queue.put(&files(1))), SOME as u64);
        assert_eq!(limit_of(list.push(null())), SOME as u64, "of all objects together");
        assert_eq!(limit_of(manager.value(files(SOME))), SOME as u64);
        queue.put(&Vec::new()).unwrap(); // What has none is taken.
        assert_eq!((queue.get().unwrap().len(), queue.len().unwrap()), (2, SOME / 2), "what is there can be taken out");
        (0..2).for_each(|_| list.push(null()).unwrap());
        assert_eq!(limit_of(list.push(null())), SOME as u64);
        list.clear().unwrap();
        (0..SOME / 2).for_each(|_| drop(queue.get().unwrap()));
    }
}

fn bytes_of_calls_in_line_are_limited(method: StartMethod) {
    const BYTES: u64 = 100_000;
    const SOME: usize = 60_000;
    let manager = limited(method, Limits { bytes: BYTES, ..Limits::default() });
    let (gate, queue) = (manager.create::<Gate>(()).unwrap(), manager.queue::<Vec<u8>>().unwrap());
    queue.put(&vec![7; 10]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for _ in 0..2 {
        std::thread::scope(|scope| {
            let passes = scope.spawn(|| gate.pass(port));
            let guest = listener.accept().unwrap();
            let weighed = gate.weigh_later(vec![1; SOME]).unwrap();
            assert_eq!(limit_of(gate.weigh(vec![2; SOME])), BYTES);
            assert_eq!(limit_of(queue.put(&vec![3; SOME])), BYTES, "it is the same memory");
            let little = gate.weigh_later(vec![4; 10]).unwrap();
            assert!(!weighed.is_ready() && !little.is_ready(), "they stand in line");
            drop(guest);
            passes.join().unwrap().unwrap();
            assert_eq!((weighed.get().unwrap(), little.get().unwrap()), (SOME, 10));
        });
        queue.put(&vec![5; SOME]).unwrap(); // Nothing is counted any more that stood there.
        assert_eq!((queue.get().unwrap().len(), queue.len().unwrap()), (10, 1));
        assert_eq!(queue.get().unwrap().len(), SOME);
        queue.put(&vec![7; 10]).unwrap();
    }
}

fn what_stood_in_line_is_counted_once(method: StartMethod) {
    let manager = limited(method, Limits { bytes: 100_000, ..Limits::default() });
    let (list, other) = (manager.list::<Vec<u8>>().unwrap(), another(&manager).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    list.push(port.to_le_bytes().to_vec()).unwrap();
    manager.publish("list", &list).unwrap();
    let same: ListProxy<Vec<u8>> = other.get("list").unwrap();
    std::thread::scope(|scope| {
        let passes = scope.spawn(|| list.with(0, |port, (): ()| Gate.pass(u16::from_le_bytes([port[0], port[1]])), ()));
        let guest = listener.accept().unwrap();
        let pushed = same.push_later(vec![1; 60_000]).unwrap();
        let begun = Instant::now();
        while manager.objects().unwrap()[0].waiting == 0 {
            assert!(begun.elapsed() < SOON);
        }
        drop(guest);
        passes.join().unwrap().unwrap();
        pushed.get().unwrap();
    });
    assert_eq!(list.len().unwrap(), 2);
}

fn bytes_of_names_are_limited(method: StartMethod) {
    const BYTES: u64 = 20_000;
    let manager = limited(method, Limits { bytes: BYTES, ..Limits::default() });
    let (space, long) = (manager.namespace().unwrap(), "n".repeat(6000));
    space.set(&long, 1_u8).unwrap();
    space.set(&long, 2_u8).unwrap();
    assert_eq!(limit_of(space.set(&"m".repeat(14_000), 1_u8)), BYTES);
    assert_eq!(limit_of(manager.publish(&"p".repeat(14_000), &space)), BYTES);
    assert_eq!(space.names().unwrap(), [long.as_str()]);
    assert!(space.remove(&long).unwrap());
    manager.publish(&"p".repeat(14_000), &space).unwrap();
    assert_eq!(limit_of(space.set(&long, 1_u8)), BYTES, "a published name stays");
    space.set("short", 1_u8).unwrap();
}

fn clients_are_limited(method: StartMethod) {
    for address in [None, Some("127.0.0.1:0")] {
        let builder = builder(method, Limits { clients: 2, ..Limits::default() });
        let builder = address.into_iter().fold(builder, ManagerBuilder::address);
        let manager: SyncManager = builder.start().unwrap().into();
        let second = another(&manager).unwrap();
        for _ in 0..3 {
            let refused = another(&manager).unwrap_err();
            assert!(matches!(refused, ManagerError::TooManyClients { limit: 2, .. }), "{refused:?}");
            let said = refused.to_string();
            assert!(["2 clients", "`Limits::clients`"].iter().all(|part| said.contains(part)), "{said}");
        }
        assert_eq!(manager.clients().unwrap().len(), 2);
        drop(second);
        let begun = Instant::now();
        while another(&manager).is_err() {
            assert!(begun.elapsed() < SOON);
        }
    }
}

fn who_asks_too_often_is_slowed_down_alone(method: StartMethod) {
    let rate = NonZeroU32::new(200);
    let manager = limited(method, Limits { rate, ..Limits::default() });
    let queue: QueueProxy<u8> = manager.queue().unwrap();
    let begun = Instant::now();
    for _ in 0..200 {
        queue.put(&1).unwrap();
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(500), "200 requests, less what may come at once, took {took:?}");
    let other = another(&manager).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hammers = scope.spawn(|| {
            while !is_over.load(SeqCst) {
                queue.put(&1).unwrap();
            }
        });
        let asks = || {
            let begun = Instant::now();
            (0..5).for_each(|_| assert!(other.number_of_objects().is_ok()));
            begun.elapsed()
        };
        // So few that they may all come at once.
        let least = (0..3).map(|_| asks()).min();
        is_over.store(true, SeqCst);
        hammers.join().unwrap();
        assert!(least < Some(Duration::from_millis(400)), "{least:?}");
    });
}

fn three_hundred_slow_calls_leave_room_for_quick_ones(method: StartMethod) {
    const SLOW: usize = 300;
    let manager = limited(method, Limits::default());
    let (gate, dict) = (manager.create::<Gate>(()).unwrap(), manager.dict::<usize, usize>().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (passing, refused, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let guests = scope.spawn(|| {
            let guests = listener.incoming().map(Result::unwrap).take_while(|_| !is_over.load(SeqCst));
            let count = |guest| {
                passing.fetch_add(1, SeqCst);
                guest
            };
            guests.map(count).collect::<Vec<_>>()
        });
        for _ in 0..SLOW {
            scope.spawn(|| {
                if let Err(error) = gate.pass(port) {
                    assert_eq!(limit_of::<()>(Err(error)), THREADS_MAX as u64);
                    refused.fetch_add(1, SeqCst);
                }
            });
        }
        let begun = Instant::now();
        while passing.load(SeqCst) + refused.load(SeqCst) < SLOW {
            assert!(begun.elapsed() < SOON, "{passing:?} pass, {refused:?} are refused");
            let n = dict.len().unwrap();
            dict.insert(n, n).unwrap();
        }
        let count = passing.load(SeqCst);
        // A thread that was slow to stand by again counts as well.
        assert!((THREADS_MAX - 16..=THREADS_MAX).contains(&count), "{count}");
        assert_eq!(limit_of(gate.pass(port)), THREADS_MAX as u64);
        assert_eq!(limit_of(manager.create::<Gate>(())), THREADS_MAX as u64);
        dict.insert(0, 1).unwrap();
        is_over.store(true, SeqCst);
        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
        drop(guests.join().unwrap());
    });
    drop(manager.create::<Gate>(()).unwrap());
    std::thread::scope(|scope| {
        let passes = scope.spawn(|| gate.pass(port));
        drop(listener.accept().unwrap());
        passes.join().unwrap().unwrap();
    });
}

fn a_long_row_of_objects_ends_at_once(method: StartMethod) {
    let manager = limited(method, Limits::default());
    let mut outer: ListProxy<RawProxy> = manager.list().unwrap();
    for _ in 0..10_000 {
        let next = manager.list().unwrap();
        next.push(outer.as_raw().clone()).unwrap();
        outer = next;
    }
    drop(outer);
    await_objects(&manager, 0);
}

fn a_server_tells_what_it_has(method: StartMethod) {
    let manager = limited(method, Limits::default());
    let (lock, gate): (LockProxy, GateProxy) = (manager.lock().unwrap(), manager.create::<Gate>(()).unwrap());
    let guard = lock.lock().unwrap();
    let other = another(&manager).unwrap();
    manager.publish("lock", &lock).unwrap();
    let same: LockProxy = other.get("lock").unwrap();
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            barrier.wait();
            drop(same.lock().unwrap());
        });
        barrier.wait();
        let begun = Instant::now();
        let of_lock = || manager.objects().unwrap().into_iter().find(|object| object.type_name == "lock").unwrap();
        while of_lock().waiting == 0 {
            assert!(begun.elapsed() < SOON);
        }
        let info = of_lock();
        assert_eq!((info.references, info.calls, info.waiting), (3, 2, 1), "two clients, a name: {info}");
        assert!(info.busy > Duration::ZERO && info.busy < SOON && !info.is_poisoned);
        drop(guard);
        waits.join().unwrap();
        assert_eq!(of_lock().waiting, 0);
    });
    let _ = gate.fail();
    let objects = manager.objects().unwrap();
    assert!(objects.iter().any(|object| object.type_name == "Gate" && object.is_poisoned), "{objects:?}");
    assert_eq!(objects.len() as u64, manager.number_of_objects().unwrap());
    let clients = manager.clients().unwrap();
    assert_eq!(clients.len(), 2);
    assert!(clients.iter().all(|client| client.pid == std::process::id()));
    assert_eq!(clients.iter().map(|client| client.references).sum::<u64>(), 3);
    drop((same, other));
    let begun = Instant::now();
    while manager.clients().unwrap().len() > 1 {
        assert!(begun.elapsed() < SOON);
    }
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        objects_are_limited,
        references_of_one_client_are_limited,
        what_is_being_made_counts_as_references,
        what_is_registered_is_there_as_soon_as_there_is_room,
        who_takes_too_many_references_out_is_put_out,
        bytes_of_a_request_are_limited,
        bytes_that_are_held_are_limited,
        descriptors_that_are_held_are_limited,
        bytes_of_calls_in_line_are_limited,
        what_stood_in_line_is_counted_once,
        bytes_of_names_are_limited,
        clients_are_limited,
        who_asks_too_often_is_slowed_down_alone,
        three_hundred_slow_calls_leave_room_for_quick_ones,
        a_long_row_of_objects_ends_at_once within 60,
        a_server_tells_what_it_has,
    ];
}
