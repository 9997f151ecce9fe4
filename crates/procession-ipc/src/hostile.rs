//! What a peer may do to a queue: it has all of its memory mapped and both ends of its socket, and writes what it likes.
//!
//! Every verb must come to an end then: with an item, which may be anything, or an error, and never a panic, a long wait,
//! or more memory than the queue's geometry allows. Accesses outside the mapping are the mapping's to refuse.
//!
//! With `PROPTEST_CASES=100000` in the environment it goes on for half an hour. `fuzz` beside this has a target as well.

mod lent; // To those who hold memory. To a pipe: `duplex/hostile.rs`.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use procession_shm::arena::Owner;
use procession_sys::{Deadline, SharedMap};
use procession_wire::{Descriptor, decode_slice, encode};
use proptest::prelude::*;

use crate::channel::{INLINE_BYTES_MAX, PUT_POSITIONS as PUT, TAKEN_COUNT, TAKEN_POSITIONS as TAKEN};
use crate::items::{Items, Kind, decoded};
use crate::protocol::ring;
use crate::store::{Limits, SEGMENT_BYTES, STORE_BYTES_MIN};
use crate::{JoinableQueue, Queue};

/// Items and numbers, so that both kinds of bodies are had.
type Item = (u64, Vec<u8>, Option<Descriptor>);

/// What a verb may take: it waits for 100 ms for a lock that somebody seems to have, and the machine is busy.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// What the peer or this process does.
#[derive(Clone, Debug)]
enum Deed {
    /// The peer writes a word of the slot,
    Control {
        at: usize,
        word: u64,
    },
    /// adds to one,
    Shift {
        at: usize,
        by: u64,
    },
    /// has a side's position lead somewhere else,
    Lead {
        is_put: bool,
        at: u64,
    },
    /// writes a word of the record that is taken next,
    Record {
        at: usize,
        word: u64,
    },
    /// writes a word of the store,
    Store {
        at: usize,
        word: u64,
    },
    /// sends a datagram, with or without a descriptor,
    Send {
        bytes: Vec<u8>,
        carries: bool,
    },
    /// with the mark of a ticket,
    Ticket {
        ticket: u64,
        carries: bool,
    },
    /// or receives one.
    Receive,
    Put {
        bytes: usize,
        carries: bool,
    },
    PutNumbers(usize),
    Get,
    GetNumbers,
    Look,
}

/// Words that mean something somewhere: counts with marks, positions, blocks, states, headers, locks.
pub(crate) fn word() -> impl Strategy<Value = u64> {
    let small = 0..64_u64;
    prop_oneof![
        any::<u64>(),
        small.clone(),
        small.clone().prop_map(|number| u64::MAX - number),
        small.clone().prop_map(|number| number * SEGMENT_BYTES / 8),
        (0..8_u64, small.clone()).prop_map(|(class, number)| class << 32 | number),
        (0..6_u64, any::<u32>()).prop_map(|(class, number)| class << 32 | u64::from(number)),
        (0..4_u64, small.clone()).prop_map(|(tag, number)| tag << 62 | number),
        (0..8_u64, 0..3_u64, any::<u16>(), any::<bool>()).prop_map(|(place, descriptors, bytes, raw)| {
            place << 32 | u64::from(raw) << 35 | descriptors << 36 | u64::from(bytes)
        }),
        small.prop_map(|number| number << 32 | 1 << 31 | 7),
    ]
}

/// Places of records: crooked ones, and the ends of what there is.
pub(crate) fn position() -> impl Strategy<Value = u64> {
    let near = (0..4_u64, 0..64_u64).prop_map(|(segment, at)| segment * SEGMENT_BYTES + at);
    prop_oneof![
        near.clone(),
        near.clone().prop_map(|at| at.wrapping_sub(32)),
        near.prop_map(|at| u64::MAX - at),
        any::<u64>()
    ]
}

/// What a whole peer does, and this process.
fn honest() -> impl Strategy<Value = Deed> {
    let bytes = prop_oneof![0..100_usize, Just(INLINE_BYTES_MAX), 0..100_000_usize];
    prop_oneof![
        4 => (bytes, any::<bool>()).prop_map(|(bytes, carries)| Deed::Put { bytes, carries }),
        1 => (0..20_000_usize).prop_map(Deed::PutNumbers),
        2 => Just(Deed::Get),
    ]
}

/// Where words of the store are that say something: its head, the directory, the states, and the first records.
pub(crate) fn place() -> impl Strategy<Value = usize> {
    let records = (1..8_usize, 0..32_usize).prop_map(|(block, at)| block * SEGMENT_BYTES as usize / 8 + at);
    prop_oneof![0..16_usize, 512..640_usize, records]
}

fn deed() -> impl Strategy<Value = Deed> {
    let bytes = prop_oneof![0..100_usize, Just(INLINE_BYTES_MAX), 0..100_000_usize];
    prop_oneof![
        4 => (0..64_usize, word()).prop_map(|(at, word)| Deed::Control { at, word }),
        2 => (0..64_usize, 0..8_u64).prop_map(|(at, by)| Deed::Shift { at, by: by.wrapping_sub(4) }),
        4 => (any::<bool>(), position()).prop_map(|(is_put, at)| Deed::Lead { is_put, at }),
        6 => (0..4_usize, word()).prop_map(|(at, word)| Deed::Record { at, word }),
        4 => (place(), word()).prop_map(|(at, word)| Deed::Store { at, word }),
        1 => (prop::collection::vec(any::<u8>(), 0..24), any::<bool>())
            .prop_map(|(bytes, carries)| Deed::Send { bytes, carries }),
        1 => (0..8_u64, any::<bool>()).prop_map(|(ticket, carries)| Deed::Ticket { ticket, carries }),
        1 => Just(Deed::Receive),
        6 => (bytes, any::<bool>()).prop_map(|(bytes, carries)| Deed::Put { bytes, carries }),
        1 => (0..20_000_usize).prop_map(Deed::PutNumbers),
        6 => Just(Deed::Get),
        1 => Just(Deed::GetNumbers),
        1 => Just(Deed::Look),
    ]
}

fn descriptor() -> Descriptor {
    OwnedFd::from(File::open("/dev/null").expect("it is there")).into()
}

/// Does one of them.
fn act(items: &Arc<Items>, deed: Deed) {
    let words = items.channel.slot().words();
    let map: &SharedMap = items.channel.store().map();
    let consumers = items.ends.consumers.as_ref().expect("both ends");
    let producers = items.ends.producers.as_ref().expect("both ends");
    let null = descriptor();
    let carried = |carries: bool| if carries { vec![null.as_fd()] } else { vec![] };
    let begun = Instant::now();
    match deed {
        Deed::Control { at, word } => words[at % words.len()].store(word, SeqCst),
        Deed::Shift { at, by } => drop(words[at % words.len()].fetch_add(by, SeqCst)),
        Deed::Lead { is_put, at } => {
            let first = if is_put { PUT } else { TAKEN };
            for half in [0, 2] {
                words[first + half].store(at, SeqCst);
            }
        }
        Deed::Record { at, word } => {
            // The first segment's block, as the directory says, unless a peer has written there.
            let half = words[TAKEN_COUNT].load(SeqCst) / ring::ONE % 2 * 2;
            let position = words[TAKEN + half as usize].load(SeqCst);
            let block = items.channel.store().segment(position / SEGMENT_BYTES);
            let place = block.map(|block| items.channel.store().place(block) + (position % SEGMENT_BYTES) as usize);
            if let Some(word_there) = place.and_then(|place| map.atomic_u64(place + at * 8).ok()) {
                word_there.store(word, SeqCst);
            }
        }
        Deed::Store { at, word } => map.atomic_u64(at * 8).expect("a word").store(word, SeqCst),
        Deed::Send { bytes, carries } => drop(producers.try_send([&bytes], &carried(carries))),
        Deed::Ticket { ticket, carries } => {
            drop(producers.try_send([b"PRCT", &ticket.to_le_bytes()], &carried(carries)));
        }
        Deed::Receive => drop(consumers.try_receive(64)),
        Deed::Put { bytes, carries } => {
            let item: Item = (bytes as u64, vec![1; bytes], carries.then(descriptor));
            drop(items.put(item, Deadline::NOW, 1));
        }
        Deed::PutNumbers(count) => drop(items.put(vec![1.5_f64; count], Deadline::NOW, 1)),
        Deed::Get => drop(items.get(Deadline::NOW, 1, decoded::<Item>)),
        Deed::GetNumbers => drop(items.get(Deadline::after(Duration::from_millis(1)), 1, decoded::<Vec<f64>>)),
        Deed::Look => {
            items.channel.arm();
            let _ = (items.channel.len(), items.is_ready(), items.settle(), items.channel.usage());
            if items.kind == Kind::Joinable {
                let _ = crate::accounts::unfinished(&items.channel);
                drop(items.accounts().task_done(&items.channel));
                drop(items.accounts().join(items, Deadline::NOW));
            }
        }
    }
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
}

proptest! {
    #[test]
    fn a_peer_that_writes_anything_anywhere_costs_errors(
        is_joinable in any::<bool>(),
        before in prop::collection::vec(honest(), 1..6),
        deeds in prop::collection::vec(deed(), 1..4),
        after in prop::collection::vec(honest(), 1..6),
    ) {
        let kind = if is_joinable { Kind::Joinable } else { Kind::Queue };
        let items = Arc::new(Items::create(kind, Limits { items: 8, bytes: STORE_BYTES_MIN }).expect("a queue"));
        for deed in before.into_iter().chain(deeds).chain(after).chain([Deed::Get, Deed::GetNumbers, Deed::Look]) {
            act(&items, deed);
        }
    }

    #[test]
    fn a_handles_message_that_was_changed_is_refused_or_is_a_handle(
        is_joinable in any::<bool>(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        end in any::<usize>(),
        order in any::<usize>(),
    ) {
        let message = if is_joinable {
            encode(&JoinableQueue::<u32>::bounded(2).expect("a queue"))
        } else {
            encode(&Queue::<u32>::bounded(2).expect("a queue"))
        };
        let (mut bytes, descriptors) = message.expect("a message").into_parts();
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        bytes.truncate(bytes.len() - end % 3);
        let mut descriptors: Vec<OwnedFd> = descriptors.into_iter().map(|fd| fd.into_owned().expect("owned")).collect();
        let by = order % descriptors.len();
        descriptors.rotate_left(by);
        if let Ok(queue) = decode_slice::<Queue<u32>>(&bytes, descriptors) {
            drop(queue.try_put(1));
            drop(queue.try_get());
        }
    }
}

/// A lock that a living thread of another process seems to hold for ever.
#[test]
fn a_lock_that_nobody_frees_costs_its_patience() {
    let items = Arc::new(Items::create(Kind::Queue, Limits { items: 8, bytes: STORE_BYTES_MIN }).expect("a queue"));
    let own: Owner = items.channel.slot().own_name().expect("a name");
    for lock in [0, 16] {
        items.channel.slot().words()[lock].store(u64::from(own.word()) << 32 | 0x3f_fff0, SeqCst);
    }
    let begun = Instant::now();
    assert!(items.put(1_u32, Deadline::NOW, 1).is_err());
    assert!(items.get(Deadline::after(Duration::from_millis(10)), 1, decoded::<u32>).is_err());
    assert!(begun.elapsed() < SOON);
}

/// A file where a body is to be that is none of ours, or shorter than it is said to be.
#[test]
fn a_file_that_is_no_body_is_refused() {
    let items = Arc::new(Items::create(Kind::Queue, Limits { items: 8, bytes: STORE_BYTES_MIN }).expect("a queue"));
    for bytes in [8, 1 << 20, 1 << 40, u64::MAX] {
        items.put((1_u64, Vec::<u8>::new(), Some(descriptor())), Deadline::NOW, 1).expect("room");
        let map = items.channel.store().map();
        let mut head = [0; 8];
        let at = (0..map.len()).step_by(8).skip(8192).find(|&at| {
            map.read(at, &mut head).expect("within");
            u64::from_le_bytes(head) >> 32 & 7 == 1 && u64::from_le_bytes(head) >> 36 & 0xffff == 1
        });
        let at = at.expect("its record");
        map.atomic_u64(at).expect("a word").store(3 << 32 | 1 << 36 | 1 << 52, SeqCst);
        map.atomic_u64(at + 16).expect("a word").store(bytes, SeqCst);
        let had = items.get(Deadline::NOW, 1, decoded::<Item>);
        assert!(had.is_err(), "{bytes}");
        map.atomic_u64(at).expect("a word").store(0, SeqCst);
    }
}
