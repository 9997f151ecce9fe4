//! A peer that writes anything into a queue's memory and socket: every verb comes to an end, with an item or an error.
//!
//! The peer has what a handle's message brings: the words of the queue's slot, its store, and both ends of its socket.
//! Relies on libFuzzer for coverage; `cargo xtask fuzz memory` runs it. Where it writes is from the tables in
//! `src/channel.rs` and `src/store.rs`: a place that is not what they say costs it coverage, and nothing else.

#![no_main]

use std::collections::VecDeque;
use std::fs::File;
use std::hint::black_box;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use procession_ipc::{JoinableQueue, QUEUE_BYTES_MIN, Queue};
use procession_shm::arena::Slot;
use procession_sys::{Access, PacketSocket, SharedMap, file_size};
use procession_wire::{Descriptor, decode_slice, encode, once};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer};

/// Words of a queue's slot that say something: a channel's, and of a joinable queue those of the first takers.
const CONTROL_WORDS: usize = 48;
const SEGMENT_BYTES: u64 = 64 << 10;
const DIRECTORY: usize = 512;
const DIRECTORY_MASK: u64 = 7;
/// The count of what was taken, and where the last two counts are in the store.
const TAKEN_COUNT: usize = 24;
const TAKEN_POSITIONS: usize = 17;
/// So many lent items this process keeps.
const KEPT_MAX: usize = 3;

/// What the peer does, or this process.
#[derive(Arbitrary, Debug)]
enum Deed {
    Put { len: u16, carries: bool },
    Get,
    Look,
    Control { at: u8, word: u64 },
    ShiftControl { at: u8, by: i8 },
    Record { at: u8, word: u64 },
    ShiftRecord { at: u8, by: i8 },
    Store { at: u8, word: u64 },
    ShiftStore { at: u8, by: i8 },
    Send { bytes: Vec<u8>, carries: bool },
    Ticket { ticket: u8, carries: bool },
    Receive,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Items,
    Numbers,
    Joinable,
}

/// What a handle's message says: of which items, the slot, where the store's descriptor is, and the ends of the socket.
type Sent = (u64, Slot, u32, (Option<Descriptor>, Option<Descriptor>));

/// What a peer makes of a handle's message.
struct Peer {
    slot: Slot,
    store: SharedMap,
    producers: PacketSocket,
    consumers: PacketSocket,
}

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (_, slot, position, (producers, consumers)) = Sent::deserialize(deserializer)?;
        let store = once::detach(position).expect("a store");
        let bytes = file_size(&store).expect("a size") as usize;
        let store = SharedMap::map(store.as_fd(), bytes, Access::ReadWrite).expect("a mapping");
        let end = |end: Option<Descriptor>| {
            let end = end.expect("both ends").into_owned().expect("its own");
            PacketSocket::try_from_fd(end).expect("a socket")
        };
        Ok(Self { slot, store, producers: end(producers), consumers: end(consumers) })
    }
}

impl Peer {
    fn of<T: Serialize + 'static>(handle: &T) -> Self {
        let (bytes, descriptors) = encode(handle).expect("a message").into_parts();
        let descriptors = descriptors.into_iter().map(|fd| fd.into_owned().expect("its own")).collect();
        decode_slice(&bytes, descriptors).expect("a handle's message")
    }

    fn control(&self, at: u8) -> &AtomicU64 {
        let words = self.slot.words();
        &words[usize::from(at) % CONTROL_WORDS.min(words.len())]
    }

    /// A word of the store's head, its directory and states, or of the first records of a segment.
    fn place(&self, at: u8) -> Option<&AtomicU64> {
        let word = match usize::from(at) {
            at @ 0..16 => at,
            at @ 16..128 => DIRECTORY + at - 16,
            at => (1 + at / 16 % 8) * SEGMENT_BYTES as usize / 8 + at % 16,
        };
        self.store.atomic_u64(word * 8).ok()
    }

    /// A word of the record that is taken next.
    fn record(&self, at: u8) -> Option<&AtomicU64> {
        let words = self.slot.words();
        let half = (words[TAKEN_COUNT].load(SeqCst) >> 3) % 2 * 2;
        let position = words[TAKEN_POSITIONS + half as usize].load(SeqCst);
        let entry = DIRECTORY + (position / SEGMENT_BYTES & DIRECTORY_MASK) as usize;
        let number = self.store.atomic_u64(entry * 8).ok()?.load(SeqCst);
        let place = number.checked_mul(SEGMENT_BYTES)?.checked_add(position % SEGMENT_BYTES)?;
        self.store.atomic_u64(usize::try_from(place).ok()?.checked_add(usize::from(at % 4) * 8)?).ok()
    }

    fn send(&self, parts: [&[u8]; 2], carries: bool) {
        let null = descriptor();
        let descriptors = if carries { vec![null.as_fd()] } else { vec![] };
        drop(self.producers.try_send(parts, &descriptors));
    }
}

fn descriptor() -> Descriptor {
    OwnedFd::from(File::open("/dev/null").expect("the null device opens")).into()
}

fn store(word: Option<&AtomicU64>, value: u64) {
    word.into_iter().for_each(|word| word.store(value, SeqCst));
}

fn shift(word: Option<&AtomicU64>, by: i8) {
    word.into_iter().for_each(|word| {
        word.fetch_add(i64::from(by) as u64, SeqCst);
    });
}

/// This process's verbs.
struct Verbs<P, G, L> {
    put: P,
    get: G,
    look: L,
}

fn play<P, G, L>(peer: &Peer, deeds: Vec<Deed>, mut verbs: Verbs<P, G, L>)
where
    P: FnMut(usize, bool),
    G: FnMut(),
    L: FnMut(),
{
    for deed in deeds {
        match deed {
            Deed::Put { len, carries } => (verbs.put)(len.into(), carries),
            Deed::Get => (verbs.get)(),
            Deed::Look => (verbs.look)(),
            Deed::Control { at, word } => store(Some(peer.control(at)), word),
            Deed::ShiftControl { at, by } => shift(Some(peer.control(at)), by),
            Deed::Record { at, word } => store(peer.record(at), word),
            Deed::ShiftRecord { at, by } => shift(peer.record(at), by),
            Deed::Store { at, word } => store(peer.place(at), word),
            Deed::ShiftStore { at, by } => shift(peer.place(at), by),
            Deed::Send { bytes, carries } => peer.send([&bytes, &[]], carries),
            Deed::Ticket { ticket, carries } => peer.send([b"PRCT", &u64::from(ticket).to_le_bytes()], carries),
            Deed::Receive => drop(peer.consumers.try_receive(64)),
        }
    }
    (verbs.put)(3, false);
    (verbs.get)();
    (verbs.look)();
}

type Item = (u64, Vec<u8>, Option<Descriptor>);

fn item(len: usize, carries: bool) -> Item {
    (7, vec![1; len], carries.then(descriptor))
}

fn items(deeds: Vec<Deed>) {
    let queue = Queue::<Item>::builder().items(8).bytes(QUEUE_BYTES_MIN).create().expect("a queue");
    let put = |len, carries| drop(queue.try_put(item(len, carries)));
    let get = || drop(queue.try_get());
    let look = || drop((queue.is_full(), queue.usage(), format!("{queue:?}")));
    play(&Peer::of(&queue), deeds, Verbs { put, get, look });
}

fn numbers(deeds: Vec<Deed>) {
    let queue = Queue::<Vec<u64>>::builder().items(8).bytes(QUEUE_BYTES_MIN).create().expect("a queue");
    let mut kept = VecDeque::new();
    let put = |len: usize, is_lent| match queue.try_lend(len) {
        Ok(mut loan) if is_lent => {
            loan.fill(7);
            drop(loan.try_put());
        }
        _ => drop(queue.try_put(vec![1; len])),
    };
    let get = || {
        if let Ok(lent) = queue.try_get_lent() {
            black_box((lent.first().copied(), lent.last().copied())); // A fault, if that is outside the mapping.
            kept.push_back(lent);
        }
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    };
    let look = || drop((queue.try_get(), queue.usage()));
    play(&Peer::of(&queue), deeds, Verbs { put, get, look });
}

fn joinable(deeds: Vec<Deed>) {
    let queue = JoinableQueue::<Item>::bounded(8).expect("a queue");
    let put = |len, carries| drop(queue.try_put(item(len, carries)));
    let get = || drop(queue.try_get());
    let look = || drop((queue.unfinished(), queue.task_done(), queue.try_join()));
    play(&Peer::of(&queue), deeds, Verbs { put, get, look });
}

fuzz_target!(|plan: (Kind, Vec<Deed>)| {
    match plan {
        (Kind::Items, deeds) => items(deeds),
        (Kind::Numbers, deeds) => numbers(deeds),
        (Kind::Joinable, deeds) => joinable(deeds),
    }
});
