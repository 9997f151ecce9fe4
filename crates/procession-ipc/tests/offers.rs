//! What a hostile peer may offer as a connection's memory: bytes and descriptors of all kinds, whose contents it changes
//! before and after. Whatever that is costs errors, in bounded time, and leaves nothing.
//!
//! Relies on the test kit, which looks for what is left, and on what an honest peer offers.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use procession_ipc::upgrade::{offer_to, take_from};
use procession_ipc::{Connection, Waitable, pipe_simplex, try_wait_ready};
use procession_sys::{Access, MemoryFile, PacketSocket, SharedMap, StreamSocket, file_size, memory_file, sealed_file};
use procession_wire::{decode, encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        an_offer_that_was_changed_is_refused_or_is_a_connection within 120,
        memory_that_a_peer_writes_into_costs_errors within 120,
        too_few_or_too_many_descriptors_are_refused,
        memory_of_another_size_is_refused,
        memory_that_could_be_taken_away_is_refused,
        memory_of_huge_pages_is_refused,
        an_offer_that_is_cut_off_is_refused,
    ];
}

type Item = (u64, Vec<u8>);
type Ours = Connection<Item, Item>;

/// What a call may take: it waits for 100 ms for a lock that somebody seems to have, and the machine is busy.
const SOON: Duration = Duration::from_secs(5);

/// As many cases of each property as take some seconds; `PROPTEST_CASES` says otherwise.
fn cases() -> Config {
    Config { failure_persistence: None, ..Config::default() }
}

/// An honest offer: the end that stays, and what is sent of the other.
fn offered() -> (Ours, Vec<u8>, Vec<OwnedFd>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let connection = offer_to(ours, u64::MAX).unwrap();
    let mut bytes = vec![0; 64];
    let (count, descriptors) = StreamSocket::from(theirs).try_receive_with_descriptors(&mut bytes, 64).unwrap();
    bytes.truncate(count);
    (connection, bytes, descriptors)
}

/// What becomes of an offer that has these bytes and descriptors.
fn taken(bytes: &[u8], descriptors: &[OwnedFd]) -> std::io::Result<Ours> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    StreamSocket::from(ours).try_send_with_descriptors([bytes], &descriptors).unwrap();
    take_from(theirs, u64::MAX)
}

fn why_not(bytes: &[u8], descriptors: &[OwnedFd]) -> String {
    taken(bytes, descriptors).unwrap_err().to_string()
}

/// Uses an end in every way. What comes of it does not matter, only that it does.
fn use_all(connection: &Ours) {
    let since = Instant::now();
    let _ = connection.try_send(&(1, Vec::new()));
    let _ = connection.send_timeout(&(2, vec![7; 100_000]), Duration::from_millis(1));
    let _ = connection.poll();
    let _ = connection.try_recv();
    let _ = connection.recv_timeout(Duration::from_millis(1));
    let _ = try_wait_ready([connection as &dyn Waitable]);
    if let Ok(message) = encode(connection) {
        let _ = decode::<Ours>(message).map(|again| again.try_send(&(3, Vec::new())));
    }
    connection.close();
    assert!(since.elapsed() < SOON, "it took {:?}", since.elapsed());
}

/// What a descriptor may be instead.
fn other(kind: usize) -> OwnedFd {
    match kind % 8 {
        0 => File::open("/dev/null").unwrap().into(),
        1 => UnixStream::pair().unwrap().0.into(),
        2 => PacketSocket::pair().unwrap().0.into(),
        3 => sealed_file("test", &[&[7; 9000]]).unwrap(),
        4 => memory_file("test", &MemoryFile { bytes: 1 << 30, huge_page_bits: None }).unwrap(),
        5 => procession_sys::pipe().unwrap().0,
        6 => offered().2.remove(0),
        _ => offered().2.remove(1),
    }
}

fn an_offer_that_was_changed_is_refused_or_is_a_connection() {
    let changes = prop::collection::vec((any::<usize>(), any::<u8>()), 0..3);
    let others = prop::collection::vec((0..3_usize, 0..8_usize), 0..3);
    let all = (changes, 0..3_usize, others, 0..6_usize, any::<bool>());
    type Changes = Vec<(usize, u8)>;
    type Others = Vec<(usize, usize)>;
    let property = |(changes, cut, others, order, stays): (Changes, usize, Others, usize, bool)| {
        let (ours, mut bytes, mut descriptors) = offered();
        let ours = stays.then_some(ours);
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        bytes.truncate(bytes.len() - cut.min(bytes.len() - 1));
        for (at, kind) in others {
            descriptors[at] = other(kind);
        }
        if order >= 3 {
            descriptors.swap(0, 1);
        }
        descriptors.rotate_left(order % 3);
        if let Ok(connection) = taken(&bytes, &descriptors) {
            use_all(&connection);
        }
        ours.iter().for_each(use_all);
        Ok(())
    };
    TestRunner::new(cases()).run(&all, property).unwrap();
}

/// Where the words of an arena are that say something: its head, owners, slots, counts, and the slot of the connection.
fn place_in_arena() -> impl Strategy<Value = usize> {
    const SLOT: usize = 6_488_064 + 4096 * 64 + 1024 * 256;
    prop_oneof![
        0..32_usize,
        (0..16_usize).prop_map(|at| 4096 / 8 + at),
        (0..32_usize).prop_map(|at| (8192 + 32 * (4096 + 1024)) / 8 + at),
        (0..16_usize).prop_map(|at| (196_608 + 4 * (4096 + 1024)) / 8 + at),
        (0..72_usize).prop_map(|at| SLOT / 8 + at),
        0..1_000_000_usize
    ]
}

/// The same of a file of messages.
fn place_in_store() -> impl Strategy<Value = usize> {
    prop_oneof![0..24_usize, (0..64_usize).prop_map(|at| 4096 / 8 + at), 0..40_000_usize, 0..10_000_000_usize]
}

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..64_u64,
        (0..64_u64).prop_map(|number| u64::MAX - number),
        (0..64_u64).prop_map(|n| n << 32)
    ]
}

fn write(file: &OwnedFd, words: &[(usize, u64)]) {
    let map = SharedMap::map(file, file_size(file).unwrap() as usize, Access::ReadWrite);
    // The arena came for reading alone.
    let map = map.or_else(|_| {
        let again = procession_sys::reopen(file, Access::ReadWrite)?;
        SharedMap::map(&again, file_size(file).unwrap() as usize, Access::ReadWrite)
    });
    let map = map.unwrap();
    for (at, word) in words {
        if let Ok(there) = map.atomic_u64(8 * at % map.len()) {
            there.store(*word, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

fn memory_that_a_peer_writes_into_costs_errors() {
    let words = |place| prop::collection::vec((place, word()), 0..4);
    let before = (words(place_in_arena().boxed()), words(place_in_store().boxed()));
    let after = (words(place_in_arena().boxed()), words(place_in_store().boxed()));
    type Words = Vec<(usize, u64)>;
    let property = |(before, after, stays): ((Words, Words), (Words, Words), bool)| {
        let (ours, bytes, descriptors) = offered();
        let is_arena = |fd: &&OwnedFd| file_size(fd).is_ok_and(|size| size == 8_585_216);
        let arena = descriptors.iter().find(is_arena).unwrap();
        let store = descriptors.iter().find(|fd| file_size(fd).is_ok_and(|size| size > 1 << 24)).unwrap();
        let ours = stays.then_some(ours);
        write(arena, &before.0);
        write(store, &before.1);
        if let Ok(connection) = taken(&bytes, &descriptors) {
            let _ = connection.try_send(&(9, vec![1; 40_000]));
            write(arena, &after.0);
            write(store, &after.1);
            use_all(&connection);
        }
        ours.iter().for_each(use_all);
        Ok(())
    };
    TestRunner::new(cases()).run(&(before, after, any::<bool>()), property).unwrap();
}

fn too_few_or_too_many_descriptors_are_refused() {
    let (_ours, bytes, mut descriptors) = offered();
    assert!(why_not(&bytes, &descriptors[..2]).contains("2 of 3"));
    assert!(why_not(&bytes, &[]).contains("0 of 3"));
    descriptors.push(other(0));
    // What is more is closed where it is received.
    drop(taken(&bytes, &descriptors).unwrap());
}

/// So nobody can have this process map as much as it has addresses.
fn memory_of_another_size_is_refused() {
    let (_receiver, sender) = pipe_simplex::<u8>().unwrap();
    let message = encode(&sender).unwrap();
    let descriptors: Vec<OwnedFd> = message.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    // Without what a sender says of its type.
    let bytes = (0..message.bytes().len()).find_map(|skip| {
        let why = why_not(&message.bytes()[skip..], &descriptors);
        why.contains("in its directions").then_some(why)
    });
    assert!(bytes.is_some());
}

/// Memory that is cut short kills whoever touches it, so it is refused unless that is sealed.
fn memory_that_could_be_taken_away_is_refused() {
    let (ours, bytes, descriptors) = offered();
    drop(ours);
    for (at, descriptor) in descriptors.iter().enumerate() {
        let Some(size) = file_size(descriptor).ok().filter(|size| *size > 0) else { continue };
        let name = std::env::temp_dir().join(procession_testkit::unique_name());
        let unsealed = File::options().read(true).write(true).create_new(true).open(&name).unwrap();
        std::fs::remove_file(&name).unwrap();
        unsealed.set_len(size).unwrap();
        let mut others: Vec<OwnedFd> = descriptors.iter().map(|fd| fd.try_clone().unwrap()).collect();
        others[at] = unsealed.into();
        let why = why_not(&bytes, &others);
        assert!(why.contains("memory file"), "{why}");
    }
    drop(taken(&bytes, &descriptors).unwrap());
}

/// Of huge pages there are only so many, and who touches one too many is killed.
fn memory_of_huge_pages_is_refused() {
    let (_ours, bytes, descriptors) = offered();
    let is_store = |fd: &&mut OwnedFd| file_size(fd).is_ok_and(|size| size > 1 << 24);
    let mut others: Vec<OwnedFd> = descriptors.iter().map(|fd| fd.try_clone().unwrap()).collect();
    let huge = MemoryFile { bytes: 1 << 30, huge_page_bits: Some(21) };
    // Where the kernel has none, none can come.
    let Ok(huge) = memory_file("test", &huge) else { return };
    *others.iter_mut().find(is_store).unwrap() = huge;
    let why = why_not(&bytes, &others);
    assert!(why.contains("huge pages"), "{why}");
}

fn an_offer_that_is_cut_off_is_refused() {
    let (_ours, bytes, descriptors) = offered();
    for len in 1..bytes.len() {
        why_not(&bytes[..len], &descriptors);
    }
    why_not(&[&bytes[..], &[0]].concat(), &descriptors);
}
