//! Connections that became rings between programs that are not related: the same promises as a pipe's, and nothing shared
//! but the connection.
//!
//! Relies on the test kit. The other program is this file's own, executed anew with a socket as its standard input.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_ipc::upgrade::{offer_to, take_from};
use procession_ipc::{Connection, Queue, RecvError, SendError, Waitable, wait_ready, wait_ready_timeout};
use procession_launch::StartMethod;
use procession_shm::arena::{collect, statistics};
use procession_sync::{Lock, RECHECK};
use procession_sys::send_signal;
use procession_testkit::{assert_cost, open_descriptors, open_descriptors_of, program};
use procession_wire::Descriptor;
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        strangers_talk_in_both_directions,
        what_is_large_goes_whole,
        handles_travel_between_strangers,
        a_stranger_sees_nothing_but_the_connection,
        who_is_killed_is_gone_for_its_stranger,
        who_waits_for_room_is_told_of_a_killed_stranger,
        who_is_killed_in_the_middle_costs_the_other_nothing within 120,
        who_is_stopped_keeps_nobody_longer_than_asked,
        a_limit_holds_in_both_directions,
        an_end_costs_three_descriptors,
        a_hundred_connections_to_one_stranger_are_apart,
        an_offer_that_nobody_takes_is_a_gone_peer,
    ];
    cases for methods(), [
        an_end_goes_on_to_children_of_both,
        a_child_of_a_holder_keeps_the_connection_alive,
    ];
    programs: [
        echoes, echoes_large, offers, uses_a_kit, shows_files, hears_nothing, sends_one_more, takes_many, has_children_answer,
    ];
}

/// Ten times what is promised of any of these.
const FENCE: Duration = common::SOON;
const UNLIMITED: u64 = u64::MAX;
const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;

type Item = (u64, Vec<u8>);

/// A program of this file, and the connection to it.
struct Stranger<S, R> {
    child: Child,
    connection: Connection<S, R>,
    /// What it reads the end of as its standard input when this is dropped.
    socket: UnixStream,
}

impl<S, R> Stranger<S, R> {
    fn start(name: &str) -> Self {
        Self::limited(name, UNLIMITED)
    }

    fn limited(name: &str, bytes_max: u64) -> Self {
        let (child, socket) = stranger_of(name);
        Self { child, connection: offer_to(socket.try_clone().unwrap(), bytes_max).unwrap(), socket }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// That it has ended as it should.
    fn end(mut self) {
        drop((self.connection, self.socket));
        assert!(self.child.wait().unwrap().success());
    }
}

fn stranger_of(name: &str) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = program(name).stdin(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
    (child, ours)
}

/// What a program was given as its standard input.
fn socket() -> UnixStream {
    std::io::stdin().as_fd().try_clone_to_owned().unwrap().into()
}

fn taken<S, R>() -> Connection<S, R> {
    take_from(socket(), UNLIMITED).unwrap()
}

fn echoes() {
    echo(taken());
}

fn echo(connection: Connection<Item, Item>) {
    while let Ok(item) = connection.recv() {
        if connection.send(&item).is_err() {
            return;
        }
    }
}

fn strangers_talk_in_both_directions() {
    let stranger = Stranger::<Item, Item>::start("echoes");
    for number in 0..10_000 {
        stranger.connection.send(&(number, vec![7; number as usize % 50])).unwrap();
        if number % 3 == 0 {
            assert!(!wait_ready([&stranger.connection as &dyn Waitable]).unwrap().is_empty());
        }
        assert_eq!(stranger.connection.recv().unwrap(), (number, vec![7; number as usize % 50]));
    }
    assert!(matches!(stranger.connection.try_recv(), Err(RecvError::WouldBlock)));
    assert!(!stranger.connection.poll().unwrap());
    stranger.end();
}

/// Bytes that go as they are in memory, and with others.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Large {
    #[serde(with = "procession_wire::bulk")]
    bytes: Vec<u8>,
    times: u8,
}

fn echoes_large() {
    let connection: Connection<Large, Large> = taken();
    while let Ok(large) = connection.recv() {
        connection.send(&large).unwrap();
    }
}

fn what_is_large_goes_whole() {
    let stranger = Stranger::<Large, Large>::start("echoes_large");
    for bytes in [0, 16 << 10, 64 << 10, 1 << 20, (64 << 20) + 1] {
        let item = Large { bytes: vec![9; bytes], times: 1 };
        stranger.connection.send(&item).unwrap();
        assert!(stranger.connection.recv().unwrap() == item);
    }
    stranger.end();
}

#[derive(Serialize, Deserialize)]
struct Kit {
    lock: Lock,
    queue: Queue<String>,
    file: Descriptor,
    answer: Connection<String, ()>,
}

fn uses_a_kit() {
    let kits: Connection<(), Kit> = taken();
    let kit = kits.recv().unwrap();
    assert!(kit.lock.try_lock().is_err(), "the other one has it");
    kit.queue.put("by the queue".to_owned()).unwrap();
    File::from(kit.file.into_owned().unwrap()).write_all(b"by the file").unwrap();
    kit.answer.send(&"by the pipe".to_owned()).unwrap();
    let _guard = kit.lock.lock().unwrap();
}

fn handles_travel_between_strangers() {
    let mut stranger = Stranger::<Kit, ()>::start("uses_a_kit");
    let (lock, queue) = (Lock::new().unwrap(), Queue::unbounded().unwrap());
    let ((mine, answer), (read, write)) = (procession_ipc::pipe::<(), String>().unwrap(), pipe());
    let guard = lock.lock().unwrap();
    let kit = Kit { lock: lock.clone(), queue: queue.clone(), file: write, answer };
    stranger.connection.send(&kit).unwrap();
    drop(kit);
    assert_eq!(queue.get().unwrap(), "by the queue");
    assert_eq!(mine.recv().unwrap(), "by the pipe");
    drop(guard);
    assert!(stranger.child.wait().unwrap().success());
    let mut text = String::new();
    File::from(read.into_owned().unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "by the file");
    assert!(matches!(mine.recv(), Err(RecvError::Disconnected)));
    drop(lock.lock().unwrap());
}

/// What memory files are called.
const LABELS: [&str; 2] = ["memfd:procession-arena", "memfd:procession-channel"];

/// The memory files of ours that this process has mapped or open, by their numbers.
fn own_files() -> BTreeSet<u64> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter(|line| LABELS.iter().any(|label| line.contains(label)));
    let mapped = mapped.map(|line| line.split_ascii_whitespace().nth(4).unwrap().parse().unwrap());
    let fds = fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path());
    let ours = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|to| LABELS.iter().any(|label| to.to_string_lossy().contains(label)))
    };
    let open = fds.filter(ours).filter_map(|path| Some(fs::metadata(path).ok()?.ino()));
    mapped.chain(open).collect()
}

fn shows_files() {
    let connection: Connection<Vec<u64>, ()> = taken();
    let lock = Lock::new().unwrap();
    connection.send(&own_files().into_iter().collect()).unwrap();
    assert!(matches!(connection.recv(), Err(RecvError::Disconnected)));
    drop(lock);
}

/// Whatever this process shares with its own tree, before or after, is out of the stranger's reach, and the other way.
fn a_stranger_sees_nothing_but_the_connection() {
    let before = Lock::new().unwrap();
    let private = own_files();
    assert_eq!(private.len(), 1, "the arena of everything");
    let stranger = Stranger::<(), Vec<u64>>::start("shows_files");
    let (after, queue) = (Lock::new().unwrap(), Queue::<u8>::unbounded().unwrap());
    let theirs: BTreeSet<u64> = stranger.connection.recv().unwrap().into_iter().collect();
    let shared: Vec<_> = own_files().intersection(&theirs).copied().collect();
    assert_eq!(shared.len(), 2, "an arena and a file of messages");
    assert!(private.is_disjoint(&theirs));
    assert_eq!(theirs.len(), 3, "and the arena of what is its own");
    let of_connection: BTreeSet<u64> = shared.into_iter().collect();
    stranger.end();
    assert!(own_files().is_disjoint(&of_connection), "with the connection they are gone");
    drop((before, after, queue));
    // Nor does anything come to be in a connection's arena because that was there first.
    let stranger = Stranger::<(), Vec<u64>>::start("shows_files");
    let lock = Lock::new().unwrap();
    let theirs: BTreeSet<u64> = stranger.connection.recv().unwrap().into_iter().collect();
    assert_eq!(own_files().difference(&theirs).count(), 1);
    drop(lock);
    stranger.end();
}

fn offers() {
    let connection: Connection<Item, Item> = offer_to(socket(), UNLIMITED).unwrap();
    echo(connection);
}

/// A stranger that has made the connection, or has been offered it.
fn either() -> [Stranger<Item, Item>; 2] {
    let (child, socket) = stranger_of("offers");
    let connection = take_from(socket.try_clone().unwrap(), UNLIMITED).unwrap();
    [Stranger::start("echoes"), Stranger { child, connection, socket }]
}

fn who_is_killed_is_gone_for_its_stranger() {
    assert_cost(10 * RECHECK, || {
        let mut longest = Duration::ZERO;
        for mut stranger in either() {
            stranger.connection.send(&(1, Vec::new())).unwrap();
            stranger.connection.recv().unwrap();
            let waiting = stranger.connection.clone();
            let (read, write) = pipe();
            let waits = thread::spawn(move || {
                tell(&write);
                (waiting.recv(), Instant::now())
            });
            hear(&read);
            stranger.kill();
            let killed = Instant::now();
            let (told, when) = waits.join().unwrap();
            assert!(matches!(told, Err(RecvError::Disconnected)), "{told:?}");
            longest = longest.max(when.saturating_duration_since(killed));
            assert!(stranger.connection.poll().unwrap());
            assert_eq!(wait_ready([&stranger.connection as &dyn Waitable]).unwrap(), [0]);
            let sent = (0..=256).find_map(|number| stranger.connection.send(&(number, Vec::new())).err());
            assert!(matches!(sent, Some(SendError::Disconnected)), "{sent:?}");
        }
        longest
    });
}

/// Has an end, and receives nothing.
fn hears_nothing() {
    let connection: Connection<(), ()> = taken();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(connection);
}

fn who_waits_for_room_is_told_of_a_killed_stranger() {
    assert_cost(10 * RECHECK, || {
        let mut stranger = Stranger::<Item, ()>::start("hears_nothing");
        let megabyte = (0, vec![0; 1 << 20]);
        while stranger.connection.try_send(&megabyte).is_ok() {}
        let waiting = stranger.connection.clone();
        let (read, write) = pipe();
        let waits = thread::spawn(move || {
            tell(&write);
            (waiting.send(&(0, vec![0; 1 << 20])), Instant::now())
        });
        hear(&read);
        stranger.kill();
        let killed = Instant::now();
        let (sent, when) = waits.join().unwrap();
        assert!(matches!(sent, Err(SendError::Disconnected)), "{sent:?}");
        when.saturating_duration_since(killed)
    });
}

/// Whatever it was doing: each message comes whole, and then the end.
fn who_is_killed_in_the_middle_costs_the_other_nothing() {
    for round in 0..60 {
        for mut stranger in either() {
            let connection = stranger.connection.clone();
            let sender = thread::spawn(move || {
                (0..).find_map(|number| {
                    connection.send(&(number, vec![number as u8; 7 * number as usize % 30_000])).err()
                })
            });
            for number in 0..round {
                assert_eq!(stranger.connection.recv().unwrap().0, number);
            }
            stranger.kill();
            let since = Instant::now();
            let mut next = round;
            let end = loop {
                match stranger.connection.recv() {
                    Ok((number, bytes)) => {
                        assert_eq!((number, bytes.len()), (next, 7 * number as usize % 30_000));
                        assert!(bytes.iter().all(|byte| *byte == number as u8));
                        next += 1;
                    }
                    Err(error) => break error,
                }
            };
            assert!(matches!(end, RecvError::Disconnected), "{end}");
            assert!(matches!(sender.join().unwrap(), Some(SendError::Disconnected)));
            assert!(since.elapsed() < FENCE);
        }
    }
}

/// A stranger that is stopped wherever it just is, perhaps having a lock, keeps nobody longer than asked; and when it goes
/// on nothing is lost.
fn who_is_stopped_keeps_nobody_longer_than_asked() {
    let stranger = Stranger::<Item, Item>::start("echoes");
    let connection = &stranger.connection;
    let (mut sent, mut received) = (0, 0);
    for round in 0..100 {
        for _ in 0..50 {
            connection.send(&(sent, vec![1; round])).unwrap();
            sent += 1;
        }
        send_signal(stranger.child.id(), SIGSTOP).unwrap();
        let since = Instant::now();
        let mut note = |result: Result<Item, RecvError>| {
            if let Ok((number, _)) = &result {
                assert_eq!(*number, received);
                received += 1;
            }
            result
        };
        while note(connection.try_recv()).is_ok() {}
        let late = note(connection.recv_timeout(Duration::from_millis(1)));
        assert!(matches!(late, Ok(_) | Err(RecvError::Timeout | RecvError::Busy)), "{late:?}");
        match connection.try_send(&(sent, Vec::new())) {
            Ok(()) => sent += 1,
            Err(SendError::Busy | SendError::WouldBlock) => {}
            Err(other) => panic!("{other}"),
        }
        assert!(since.elapsed() < FENCE);
        send_signal(stranger.child.id(), SIGCONT).unwrap();
    }
    while received < sent {
        assert_eq!(connection.recv().unwrap().0, received);
        received += 1;
    }
    stranger.end();
}

fn sends_one_more() {
    let connection: Connection<Vec<u8>, u64> = taken();
    let bytes = connection.recv().unwrap() as usize;
    connection.send(&vec![7; bytes + 1]).unwrap();
    assert!(matches!(connection.recv(), Err(RecvError::Disconnected)));
}

/// What is longer than an end allows is refused before memory is taken, though the other end allows more, and wherever its
/// bytes are: in a record, a block, a file.
fn a_limit_holds_in_both_directions() {
    for bytes in [100, 15_000, 17_000, 1 << 20, 65 << 20] {
        let stranger = Stranger::<u64, Vec<u8>>::limited("sends_one_more", bytes);
        stranger.connection.send(&bytes).unwrap();
        assert!(stranger.connection.poll_timeout(Duration::MAX).unwrap());
        let had = own_memory();
        for _ in 0..2 {
            let refused = stranger.connection.recv().unwrap_err();
            let RecvError::TooLarge { bytes: found, bytes_max } = refused else { panic!("{refused}") };
            assert!(found > bytes && bytes_max == bytes, "{found} {bytes_max}");
            assert!(stranger.connection.poll().unwrap());
            assert_eq!(wait_ready_timeout([&stranger.connection as &dyn Waitable], FENCE).unwrap(), [0]);
        }
        assert!(own_memory() < had + bytes / 2048 + 1024, "{bytes}: KiB from {had} to {}", own_memory());
        stranger.end();
        let stranger = Stranger::<Vec<u8>, ()>::limited("hears_nothing", bytes);
        let refused = stranger.connection.send(&vec![7; bytes as usize + 1]).unwrap_err();
        assert!(matches!(refused, SendError::TooLarge { .. }), "{refused}");
        stranger.connection.send(&vec![7; bytes as usize - 10]).unwrap();
        stranger.end();
    }
}

/// The most memory that this process had, in KiB.
fn own_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn an_end_costs_three_descriptors() {
    let before = open_descriptors().len();
    let stranger = Stranger::<Item, Item>::start("echoes");
    stranger.connection.send(&(1, Vec::new())).unwrap();
    stranger.connection.recv().unwrap();
    assert_eq!(open_descriptors().len(), before + 3 + 1, "one more is its standard input");
    let theirs = open_descriptors_of(stranger.child.id()).unwrap();
    let count = |kind: &str| theirs.iter().filter(|open| open.target.contains(kind)).count();
    assert_eq!((count("memfd:procession"), count("socket:")), (2, 2), "one socket is its standard input");
    stranger.end();
    assert_eq!(open_descriptors().len(), before);
}

const MANY: usize = 100;

fn takes_many() {
    let sockets: Connection<(), Descriptor> = taken();
    let connections: Vec<Connection<Item, Item>> = (0..MANY)
        .map(|_| take_from(sockets.recv().unwrap().into_owned().unwrap().into(), UNLIMITED).unwrap())
        .collect();
    loop {
        let things: Vec<&dyn Waitable> = connections.iter().map(|one| one as &dyn Waitable).collect();
        for ready in wait_ready(things).unwrap() {
            let item = connections[ready].recv().unwrap();
            connections[ready].send(&item).unwrap();
        }
    }
}

fn a_hundred_connections_to_one_stranger_are_apart() {
    let mut stranger = Stranger::<Descriptor, ()>::start("takes_many");
    let connections: Vec<Connection<Item, Item>> = (0..MANY)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            stranger.connection.send(&OwnedFd::from(theirs).into()).unwrap();
            offer_to(ours, UNLIMITED).unwrap()
        })
        .collect();
    assert_eq!(statistics().arenas as usize, MANY + 1);
    for (number, connection) in connections.iter().enumerate() {
        connection.send(&(number as u64, Vec::new())).unwrap();
    }
    for (number, connection) in connections.iter().enumerate().rev() {
        assert_eq!(connection.recv().unwrap().0, number as u64);
    }
    stranger.kill();
    assert!(matches!(connections[0].recv(), Err(RecvError::Disconnected)));
    let since = Instant::now();
    assert!(connections.iter().all(|connection| matches!(connection.try_recv(), Err(RecvError::Disconnected))));
    assert!(since.elapsed() < FENCE, "{:?}", since.elapsed());
    collect();
    assert_eq!(statistics().owners as usize, MANY + 1, "the dead are swept away");
    drop((connections, stranger));
    assert_eq!(statistics().arenas, 0);
}

fn an_offer_that_nobody_takes_is_a_gone_peer() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let connection: Connection<u8, u8> = offer_to(ours, UNLIMITED).unwrap();
    assert!(matches!(connection.try_recv(), Err(RecvError::WouldBlock)), "it is on its way");
    connection.send(&1).unwrap();
    drop(theirs);
    assert!(matches!(connection.recv(), Err(RecvError::Disconnected)));
}

/// Answers so many times, then leaves.
fn answers(connection: Connection<Item, Item>, times: usize) {
    for _ in 0..times {
        connection.send(&connection.recv().unwrap()).unwrap();
    }
}

fn has_children_answer() {
    let connection: Connection<Item, Item> = taken();
    for (_, method) in methods() {
        start(method, answers, (connection.clone(), 10)).join().unwrap();
    }
    // The last one has the end when this process has none.
    let (read, write) = pipe();
    let child = start(methods()[0].1, answers_later, (connection, read));
    tell(&write);
    child.join().unwrap();
}

fn answers_later(connection: Connection<Item, Item>, told: Descriptor) {
    hear(&told);
    answers(connection, 10);
}

/// A child of ours, by each method, talks to children of the stranger's by each method, and they to it.
fn an_end_goes_on_to_children_of_both(method: StartMethod) {
    let mut stranger = Stranger::<Item, Item>::start("has_children_answer");
    let child = start(method, asks, (stranger.connection.clone(), 10 * (methods().len() + 1)));
    child.join().unwrap();
    assert!(stranger.child.wait().unwrap().success());
    assert!(matches!(stranger.connection.recv(), Err(RecvError::Disconnected)));
    let connection = stranger.connection.clone();
    drop(stranger);
    assert_eq!(statistics().arenas, 1);
    drop(connection);
}

fn asks(connection: Connection<Item, Item>, times: usize) {
    for number in 0..times as u64 {
        connection.send(&(number, vec![1; 20_000])).unwrap();
        assert_eq!(connection.recv().unwrap().0, number);
    }
}

fn holds(_connection: Connection<Item, Item>, told: Descriptor) {
    hear(&told);
}

/// The end of the stream comes when the last holder is gone, whoever that is.
fn a_child_of_a_holder_keeps_the_connection_alive(method: StartMethod) {
    let Stranger { mut child, connection, .. } = Stranger::start("echoes");
    let (read, write) = pipe();
    let holder = start(method, holds, (connection.clone(), read));
    connection.send(&(1, Vec::new())).unwrap();
    connection.recv().unwrap();
    drop(connection);
    assert!(child.try_wait().unwrap().is_none(), "it waits for more");
    holder.kill().unwrap();
    let _ = holder.join();
    assert!(child.wait().unwrap().success());
    drop(write);
}
