//! What a peer may do to a pipe: as to a queue, with two channels in one slot and one file, and a socket that goes both ways.
//!
//! Every verb of either end must come to an end, with a message, which may be anything, or an error.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use procession_wire::{Descriptor, decode_slice, encode};
use proptest::prelude::*;

use super::*;
use crate::channel::{INLINE_BYTES_MAX, PUT_POSITIONS, TAKEN_COUNT, TAKEN_POSITIONS};
use crate::hostile::{SOON, place, position, word};
use crate::protocol::ring;
use crate::store::{SEGMENT_BYTES, STORE_BYTES_MIN};
use crate::{Connection, pipe, values};

/// Bytes, and perhaps a descriptor.
type Item = (Vec<u8>, Option<Descriptor>);

const NOW: Deadline = Deadline::NOW;

/// What the peer does, or this process by either end. `is_back` is the channel back, or the second end.
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
        is_back: bool,
        is_put: bool,
        at: u64,
    },
    /// writes a word of the record that is received next,
    Record {
        is_back: bool,
        at: usize,
        word: u64,
    },
    /// writes a word of a store,
    Store {
        is_back: bool,
        at: usize,
        word: u64,
    },
    /// sends a datagram,
    Datagram {
        is_back: bool,
        bytes: Vec<u8>,
        carries: bool,
    },
    /// with the mark of a ticket,
    Ticket {
        is_back: bool,
        ticket: u64,
        carries: bool,
    },
    /// or receives one.
    Take {
        is_back: bool,
    },
    Send {
        is_back: bool,
        bytes: usize,
        carries: bool,
    },
    SendNumbers {
        is_back: bool,
        count: usize,
    },
    SendBytes {
        is_back: bool,
        bytes: usize,
    },
    Receive {
        is_back: bool,
    },
    ReceiveNumbers {
        is_back: bool,
    },
    ReceiveBytes {
        is_back: bool,
        room: usize,
    },
    Look {
        is_back: bool,
    },
}

/// What an end does that is whole.
fn honest() -> impl Strategy<Value = Deed> {
    let bytes = || prop_oneof![0..100_usize, Just(INLINE_BYTES_MAX), 0..100_000_usize];
    let way = any::<bool>;
    prop_oneof![
        4 => (way(), bytes(), way()).prop_map(|(is_back, bytes, carries)| Deed::Send { is_back, bytes, carries }),
        1 => (way(), 0..20_000_usize).prop_map(|(is_back, count)| Deed::SendNumbers { is_back, count }),
        2 => (way(), bytes()).prop_map(|(is_back, bytes)| Deed::SendBytes { is_back, bytes }),
        3 => way().prop_map(|is_back| Deed::Receive { is_back }),
        1 => way().prop_map(|is_back| Deed::ReceiveNumbers { is_back }),
        2 => (way(), bytes()).prop_map(|(is_back, room)| Deed::ReceiveBytes { is_back, room }),
        1 => way().prop_map(|is_back| Deed::Look { is_back }),
    ]
}

fn hostile() -> impl Strategy<Value = Deed> {
    let (way, words) = (any::<bool>, 0..SLOT_WORDS);
    prop_oneof![
        4 => (words.clone(), word()).prop_map(|(at, word)| Deed::Control { at, word }),
        2 => (words, 0..8_u64).prop_map(|(at, by)| Deed::Shift { at, by: by.wrapping_sub(4) }),
        4 => (way(), way(), position()).prop_map(|(is_back, is_put, at)| Deed::Lead { is_back, is_put, at }),
        6 => (way(), 0..4_usize, word()).prop_map(|(is_back, at, word)| Deed::Record { is_back, at, word }),
        4 => (way(), place(), word()).prop_map(|(is_back, at, word)| Deed::Store { is_back, at, word }),
        1 => (way(), prop::collection::vec(any::<u8>(), 0..24), way())
            .prop_map(|(is_back, bytes, carries)| Deed::Datagram { is_back, bytes, carries }),
        1 => (way(), 0..8_u64, way()).prop_map(|(is_back, ticket, carries)| Deed::Ticket { is_back, ticket, carries }),
        1 => way().prop_map(|is_back| Deed::Take { is_back }),
    ]
}

/// Both ends, as one process has them that is hostile or is not.
struct Both([LimitedEnd; 2]);

impl Both {
    fn new() -> Self {
        let (first, second) = pair([STORE_BYTES_MIN; 2]).expect("a pipe");
        Self([first.into(), second.into()])
    }

    fn end(&self, is_back: bool) -> &End {
        &self.0[usize::from(is_back)].end
    }

    /// The channel that is the second end's to receive from, or the first end's.
    fn channel(&self, is_back: bool) -> &Channel {
        &self.end(is_back).outgoing
    }

    fn control(&self, at: usize) -> &AtomicU64 {
        &self.channel(false).slot().words()[at]
    }

    /// A word of a channel's store.
    fn stored(&self, is_back: bool, at: usize) -> &AtomicU64 {
        let begins = |is_back| {
            let store = self.channel(is_back).store();
            store.place(store.block(1).expect("the first block"))
        };
        let base = begins(is_back) - begins(false);
        self.channel(is_back).store().map().atomic_u64(base + at * 8).expect("a word")
    }

    /// A word of the record that is received next.
    fn record(&self, is_back: bool, at: usize) -> Option<&AtomicU64> {
        let (first, store) = (if is_back { CHANNEL_WORDS } else { 0 }, self.channel(is_back).store());
        let half = self.control(first + TAKEN_COUNT).load(SeqCst) / ring::ONE % 2 * 2;
        let position = self.control(first + TAKEN_POSITIONS + half as usize).load(SeqCst);
        let block = store.segment(position / SEGMENT_BYTES)?;
        store.map().atomic_u64(store.place(block) + (position % SEGMENT_BYTES) as usize + at * 8).ok()
    }

    fn datagram(&self, is_back: bool, parts: [&[u8]; 2], carries: bool) {
        let null = descriptor();
        let carried = if carries { vec![null.as_fd()] } else { vec![] };
        drop(self.end(is_back).link.try_send(parts, &carried));
    }

    fn act(&self, deed: Deed) {
        match deed {
            Deed::Control { at, word } => self.control(at).store(word, SeqCst),
            Deed::Shift { at, by } => _ = self.control(at).fetch_add(by, SeqCst),
            Deed::Lead { is_back, is_put, at } => {
                let first =
                    if is_back { CHANNEL_WORDS } else { 0 } + if is_put { PUT_POSITIONS } else { TAKEN_POSITIONS };
                [0, 2].into_iter().for_each(|half| self.control(first + half).store(at, SeqCst));
            }
            Deed::Record { is_back, at, word } => {
                self.record(is_back, at).into_iter().for_each(|there| there.store(word, SeqCst));
            }
            Deed::Store { is_back, at, word } => self.stored(is_back, at).store(word, SeqCst),
            Deed::Datagram { is_back, bytes, carries } => self.datagram(is_back, [&bytes, &[]], carries),
            Deed::Ticket { is_back, ticket, carries } => {
                self.datagram(is_back, [b"PRCT", &ticket.to_le_bytes()], carries);
            }
            Deed::Take { is_back } => drop(self.end(is_back).link.try_receive(64)),
            verb => self.do_one(verb),
        }
    }

    /// A verb, which comes to an end.
    fn do_one(&self, verb: Deed) {
        let begun = Instant::now();
        match verb {
            Deed::Send { is_back, bytes, carries } => {
                let item: Item = (vec![1; bytes], carries.then(descriptor));
                drop(values::send_by(self.end(is_back), &item, NOW));
            }
            Deed::SendNumbers { is_back, count } => {
                drop(values::send_by(self.end(is_back), &vec![1.5_f64; count], NOW));
            }
            Deed::SendBytes { is_back, bytes } => drop(self.0[usize::from(is_back)].send(&vec![1; bytes], NOW)),
            Deed::Receive { is_back } => drop(values::receive_by::<Item>(self.end(is_back), NOW)),
            Deed::ReceiveNumbers { is_back } => {
                let soon = Deadline::after(Duration::from_millis(1));
                drop(values::receive_by::<Vec<f64>>(self.end(is_back), soon));
            }
            Deed::ReceiveBytes { is_back, room } => {
                drop(self.0[usize::from(is_back)].receive_into(&mut vec![0; room], u64::MAX, NOW));
            }
            _ => {
                let end = self.end(verb_is_back(&verb));
                Source::arm(end);
                drop((end.is_ready(), end.settle(), end.poll(NOW), end.len(), end.incoming.usage()));
            }
        }
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    }
}

fn verb_is_back(verb: &Deed) -> bool {
    matches!(verb, Deed::Look { is_back: true })
}

fn descriptor() -> Descriptor {
    OwnedFd::from(File::open("/dev/null").expect("it is there")).into()
}

proptest! {
    #[test]
    fn a_peer_that_writes_anything_anywhere_costs_errors(
        before in prop::collection::vec(honest(), 1..6),
        deeds in prop::collection::vec(prop_oneof![2 => hostile(), 1 => honest()], 1..6),
        after in prop::collection::vec(honest(), 1..6),
    ) {
        let both = Both::new();
        let last = [false, true].map(|is_back| [Deed::Receive { is_back }, Deed::Look { is_back }]).into_iter().flatten();
        for deed in before.into_iter().chain(deeds).chain(after).chain(last) {
            both.act(deed);
        }
    }

    #[test]
    fn an_ends_message_that_was_changed_is_refused_or_is_an_end(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        end in any::<usize>(),
        order in any::<usize>(),
    ) {
        let (first, second) = pipe::<u32, u32>().expect("a pipe");
        let (mut bytes, descriptors) = encode(&first).expect("a message").into_parts();
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        bytes.truncate(bytes.len() - end % 3);
        let mut descriptors: Vec<OwnedFd> = descriptors.into_iter().map(|fd| fd.into_owned().expect("owned")).collect();
        let by = order % descriptors.len();
        descriptors.rotate_left(by);
        if let Ok(first) = decode_slice::<Connection<u32, u32>>(&bytes, descriptors) {
            drop((first.try_send(&1), second.try_recv(), second.try_send(&2), first.try_recv()));
        }
    }
}
