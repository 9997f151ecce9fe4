//! What travels in a queue's items: any size, descriptors, and handles of everything; and what becomes of it when that
//! cannot be.
//!
//! Relies on the test kit.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use common::{methods, start};
use procession_ipc::{Consumer, GetError, JoinableQueue, Producer, PutError, Queue, SimpleQueue};
use procession_launch::StartMethod;
use procession_sync::{Lock, LockError};
use procession_sys::{Scarcity, become_user, dev_null, is_root, limit, raise_file_limit};
use procession_testkit::{open_descriptors, program};
use procession_wire::Descriptor;
use serde::{Deserialize, Serialize, Serializer, ser};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        handles_of_all_kinds_travel_in_items,
        three_hundred_descriptors_travel_in_one_item,
        three_hundred_items_travel_with_one_descriptor_each,
        items_of_every_size_come_as_they_were,
    ];
    cases: [
        a_queue_costs_three_descriptors_and_a_side_two,
        an_item_of_300_mb_comes_as_it_was within 120,
        descriptors_of_high_numbers_travel,
        a_receiver_without_descriptors_leaves_the_item,
        what_cannot_be_encoded_comes_back_and_leaves_nothing,
        descriptors_that_nobody_takes_are_gone_with_the_queue,
        too_many_descriptors_in_flight_are_an_error_that_says_so,
        a_queue_has_three_descriptors_and_a_side_two,
    ];
    programs: [floods_as_somebody_else];
}

fn null() -> Descriptor {
    dev_null().unwrap().into()
}

#[derive(Serialize, Deserialize)]
struct Kit {
    queue: Queue<String>,
    side: Producer<u32>,
    joinable: JoinableQueue<u32>,
    simple: SimpleQueue<u32>,
    lock: Lock,
    file: Descriptor,
    socket: Descriptor,
}

fn use_all(kits: Queue<Kit>) {
    let kit = kits.get().unwrap();
    kit.queue.put("from the child".to_owned()).unwrap();
    kit.side.put(1).unwrap();
    kit.joinable.put(2).unwrap();
    kit.simple.put(3).unwrap();
    assert!(matches!(kit.lock.try_lock(), Err(LockError::WouldBlock)));
    let mut file = File::from(kit.file.into_owned().unwrap());
    file.write_all(b"written").unwrap();
    let mut socket = UnixStream::from(kit.socket.into_owned().unwrap());
    socket.write_all(b"sent").unwrap();
}

fn handles_of_all_kinds_travel_in_items(method: StartMethod) {
    let kits = Queue::unbounded().unwrap();
    let (queue, (side, from)) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap().split().unwrap());
    let (joinable, simple) = (JoinableQueue::unbounded().unwrap(), SimpleQueue::new().unwrap());
    let lock = Lock::new().unwrap();
    let name = std::env::temp_dir().join(procession_testkit::unique_name());
    let mut file = File::options().read(true).write(true).create_new(true).open(&name).unwrap();
    std::fs::remove_file(&name).unwrap();
    let (mut here, there) = UnixStream::pair().unwrap();
    let guard = lock.lock().unwrap();
    let kit = Kit {
        queue: queue.clone(),
        side,
        joinable: joinable.clone(),
        simple: simple.clone(),
        lock: lock.clone(),
        file: OwnedFd::from(file.try_clone().unwrap()).into(),
        socket: OwnedFd::from(there).into(),
    };
    kits.put(kit).unwrap();
    start(method, use_all, (kits,)).join().unwrap();
    drop(guard);
    assert_eq!((queue.get().unwrap().as_str(), from.get().unwrap()), ("from the child", 1));
    assert_eq!((joinable.get().unwrap(), simple.get().unwrap()), (2, 3));
    assert!(matches!(from.get(), Err(GetError::Disconnected)), "the only producer was in the item");
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    here.read_to_string(&mut text).unwrap();
    assert_eq!(text, "writtensent");
}

/// Files that are told apart by what is in them.
fn files(count: usize) -> Vec<Descriptor> {
    let file = |number: usize| {
        let fd = procession_sys::sealed_file("cargo", &[&number.to_le_bytes()]).unwrap();
        Descriptor::from(fd)
    };
    (0..count).map(file).collect()
}

fn number_in(file: Descriptor) -> usize {
    let mut number = [0; size_of::<usize>()];
    let file = File::from(file.into_owned().unwrap());
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut number, 0).unwrap();
    usize::from_le_bytes(number)
}

const MANY: usize = 300;

fn count_in_one(from: Consumer<Vec<Descriptor>>) -> Vec<usize> {
    from.get().unwrap().into_iter().map(number_in).collect()
}

fn three_hundred_descriptors_travel_in_one_item(method: StartMethod) {
    let (to, from) = Queue::unbounded().unwrap().split().unwrap();
    let before = open_descriptors().len();
    to.put(files(MANY)).unwrap();
    assert_eq!(open_descriptors().len(), before, "they are the item's");
    let had = start(method, count_in_one, (from,)).join().unwrap();
    assert_eq!(had, (0..MANY).collect::<Vec<_>>());
}

fn count_each(from: Consumer<(usize, Descriptor)>) -> usize {
    let mut count = 0;
    while let Ok((number, file)) = from.get() {
        assert_eq!((number, number_in(file)), (count, number));
        count += 1;
    }
    count
}

fn three_hundred_items_travel_with_one_descriptor_each(method: StartMethod) {
    let (to, from) = Queue::unbounded().unwrap().split().unwrap();
    for item in files(MANY).into_iter().enumerate() {
        to.try_put(item).unwrap(); // Before anybody takes one.
    }
    assert_eq!(from.len(), MANY);
    drop(to);
    assert_eq!(start(method, count_each, (from,)).join().unwrap(), MANY);
}

const SIZES: [usize; 12] = [0, 1, 7, 8, 16_380, 16_384, 16_385, 65_536, 65_537, 1 << 20, 10_000_019, 70 << 20];

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ at >> 8 ^ len) as u8).collect()
}

fn send_back(from: Consumer<(Vec<u8>, String)>, to: Producer<Vec<u8>>) {
    for _ in SIZES.into_iter().filter(|len| *len < 1 << 20) {
        let (bytes, text) = from.get().unwrap();
        assert_eq!(text.len(), bytes.len() / 100);
        to.put(bytes).unwrap();
    }
}

fn items_of_every_size_come_as_they_were(method: StartMethod) {
    let (to, from) = Queue::unbounded().unwrap().split().unwrap();
    let (back_to, back) = Queue::unbounded().unwrap().split().unwrap();
    let child = start(method, send_back, (from, back_to));
    for len in SIZES.into_iter().filter(|len| *len < 1 << 20) {
        to.put((content(len), "x".repeat(len / 100))).unwrap();
        assert_eq!(back.get().unwrap(), content(len), "{len}");
    }
    child.join().unwrap();
    let (to, from) = Queue::unbounded().unwrap().split().unwrap();
    for len in SIZES {
        to.put(content(len)).unwrap();
        assert!(from.get().unwrap() == content(len), "{len}");
    }
}

fn an_item_of_300_mb_comes_as_it_was() {
    let (to, from) = Queue::unbounded().unwrap().split().unwrap();
    let child =
        start(StartMethod::Spawn, |to: Producer<Vec<u64>>| to.put((0..300_000_000 / 8).collect()).unwrap(), (to,));
    let had = from.get().unwrap();
    assert_eq!(had.len(), 300_000_000 / 8);
    assert!(had.iter().zip(0..).all(|(had, sent)| *had == sent));
    child.join().unwrap();
}

fn descriptors_of_high_numbers_travel() {
    raise_file_limit().unwrap();
    let filling: Vec<_> = (0..1100).map(|_| dev_null().unwrap()).collect();
    assert!(filling.last().unwrap().as_fd().as_raw_fd() > 1024);
    let (to, from) = Queue::unbounded().unwrap().split().unwrap();
    to.put(files(3)).unwrap();
    let had: Vec<_> = from.get().unwrap();
    assert!(had[0].as_fd().as_raw_fd() > 1024);
    assert_eq!(had.into_iter().map(number_in).collect::<Vec<_>>(), [0, 1, 2]);
}

fn a_receiver_without_descriptors_leaves_the_item() {
    let queue = Queue::unbounded().unwrap();
    queue.put(files(5)).unwrap();
    let open = open_descriptors();
    let most = limit(Scarcity::OpenFiles, Some(open.len() as u64 + 2)).unwrap();
    let error = queue.try_get().unwrap_err();
    assert!(matches!(error, GetError::System { .. }), "{error}");
    assert!(error.to_string().contains("open files"), "{error}");
    limit(Scarcity::OpenFiles, most).unwrap();
    assert_eq!((queue.len(), open_descriptors().len()), (1, open.len()), "it is there, and none is left");
    assert_eq!(queue.try_get().unwrap().into_iter().map(number_in).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

/// What cannot travel, after a descriptor that can.
#[derive(Deserialize, Debug)]
struct Stubborn(Descriptor);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let _: S::Error = match self.0.serialize(serializer) {
            Ok(_) => ser::Error::custom("written"),
            Err(error) => error,
        };
        Err(ser::Error::custom("it does not want to"))
    }
}

fn what_cannot_be_encoded_comes_back_and_leaves_nothing() {
    let queue = Queue::unbounded().unwrap();
    let open = open_descriptors().len();
    for _ in 0..10 {
        match queue.put(Stubborn(null())) {
            Err(PutError::Encode { item, error }) => {
                assert!(error.to_string().contains("does not want to"), "{error}");
                drop(item);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((queue.len(), open_descriptors().len()), (0, open));
    let closed = Queue::<u8>::unbounded().unwrap();
    closed.close();
    let of_queues = Queue::unbounded().unwrap();
    assert!(matches!(of_queues.put(closed), Err(PutError::Encode { .. })));
}

fn descriptors_that_nobody_takes_are_gone_with_the_queue() {
    let (reader, writer) = procession_sys::pipe().unwrap();
    let queue = Queue::unbounded().unwrap();
    queue.put(Descriptor::from(writer)).unwrap();
    let mut reader = File::from(reader);
    drop(queue);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "nobody has the other end any more");
}

/// A user that no process here belongs to, so that it has nothing in flight.
const SOMEBODY: u32 = 65_532;

fn floods_as_somebody_else() {
    if is_root() {
        become_user(SOMEBODY, SOMEBODY).unwrap();
    }
    let queue = Queue::unbounded().unwrap();
    limit(Scarcity::OpenFiles, Some(40)).unwrap();
    let error = loop {
        if let Err(error) = queue.try_put(null()) {
            break error;
        }
        assert!(queue.len() < 100);
    };
    assert!(matches!(error, PutError::System { .. }), "{error}");
    assert!(error.to_string().contains("more descriptors under way than this user may"), "{error}");
    let count = queue.len();
    (0..count).for_each(|_| drop(queue.try_get().unwrap()));
    queue.try_put(null()).unwrap();
}

fn too_many_descriptors_in_flight_are_an_error_that_says_so() {
    let output = program("floods_as_somebody_else").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn a_queue_has_three_descriptors_and_a_side_two() {
    // The arena has one of its own, for all that is in it.
    let _first = Lock::new().unwrap();
    let open = || open_descriptors().len();
    let before = open();
    let queue = Queue::<u8>::unbounded().unwrap();
    assert_eq!(open(), before + 3);
    let clone = queue.clone();
    assert_eq!(open(), before + 3);
    drop(queue);
    let (to, from) = clone.split().unwrap();
    assert_eq!(open(), before + 3, "they share the memory's");
    drop(to);
    assert_eq!(open(), before + 2);
    drop(from);
    assert_eq!(open(), before);
}

fn a_queue_costs_three_descriptors_and_a_side_two() {
    let _first = Queue::<u8>::unbounded().unwrap(); // Takes the arena's as well.
    let before = open_descriptors().len();
    let cost = || open_descriptors().len() - before;
    let queue = Queue::<u8>::bounded(1).unwrap();
    let clone = queue.clone();
    assert_eq!(cost(), 3);
    drop(clone);
    let simple = SimpleQueue::<u8>::new().unwrap();
    assert_eq!(cost(), 6);
    drop(simple);
    let joinable = JoinableQueue::<u8>::unbounded().unwrap();
    assert_eq!(cost(), 6);
    drop(joinable);
    let (producer, consumer) = queue.split().unwrap();
    assert!(cost() <= 4, "{}", cost());
    drop(consumer);
    assert_eq!(cost(), 2);
    drop(producer);
    assert_eq!(cost(), 0);
}
