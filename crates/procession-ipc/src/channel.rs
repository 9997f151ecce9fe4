//! One direction of messages: a ring, the store of its bodies, and a socket for descriptors.
//!
//! Relies on `protocol/ring.rs` for what the words mean, on `store.rs` for where bodies are, and on packet sockets for
//! descriptors and for whether the other side is there. Knows no types: a body is bytes.

mod record; // What stands in a segment for each message.

mod message; // What goes in and comes out.

#[cfg(feature = "async")]
mod haste; // For tasks.
mod inherit; // From the dead.
mod lease;
mod receive;
mod send;
mod watch;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::time::Duration;

use procession_shm::arena::{ArenaError, Owner, Slot};
use procession_sync::protocol::{Kernel, World};
use procession_sys::{Deadline, fail_point, futex_wake, lower_half};

use crate::protocol::ring::{self, CALLERS, Ring, Room, Side};
use crate::store::{Store, Usage};

#[cfg(feature = "async")]
pub(crate) use haste::in_haste;
pub(crate) use lease::Lease;
pub(crate) use message::{Body, Content, Incoming, Outgoing, Unreceived, Unsent};
pub(crate) use receive::Notes;

/// Words of a channel in its slot.
pub(crate) const CHANNEL_WORDS: usize = 32;

// What the one side writes is apart from what the other does, and what waiters look at from what only the lock's holder does.
const PUT_LOCK: usize = 0;
pub(crate) const PUT_POSITIONS: usize = 1;
const PUT_SEEN: usize = 5;
const TICKET: usize = 7;
const PUT_COUNT: usize = 8;
/// Not zero when a producer has died that may have sent descriptors for no item.
const ORPHANS: usize = 9;
const TAKEN_LOCK: usize = 16;
pub(crate) const TAKEN_POSITIONS: usize = 17;
const TAKEN_SEEN: usize = 21;
/// Not zero when a consumer has died that has left this ticket's datagram, and older ones.
const LEFT: usize = 23;
pub(crate) const TAKEN_COUNT: usize = 24;
/// The ticket of the item after which a number of items is taken, and that number; the number is zero in between.
const TAKEN_TICKET: usize = 25;
const TAKEN_WITH: usize = 26;
/// Not zero when a consumer has died that may have noted what it did not take, and no consumer has been there since.
const UNREPAIRED: usize = 27;
/// Not zero while messages come faster than they are taken.
const FLOW: usize = 28;

/// The longest body that stands in its record; a longer one has a block of its own.
pub(crate) const INLINE_BYTES_MAX: usize = 16 << 10;

/// For how long who does not want to wait waits for another that is just putting or taking: much longer than that takes,
/// unless it is stopped.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// One direction of messages.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    slot: Slot,
    /// Where its words are in the slot.
    first: usize,
    store: Arc<Store>,
    room: Room,
}

impl Channel {
    /// The channel whose words are the slot's from `first` on, which there must be.
    pub(crate) fn over(slot: Slot, first: usize, store: Arc<Store>) -> Result<Self, ArenaError> {
        if slot.words().len() < first + CHANNEL_WORDS {
            return Err(ArenaError::Foreign { reason: "there is no room for a channel" });
        }
        let limits = store.limits();
        let room = Room { items: limits.items, bytes: limits.bytes };
        Ok(Self { slot, first, store, room })
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn shared_store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    #[inline]
    fn words(&self) -> &[AtomicU64; CHANNEL_WORDS] {
        self.slot.words()[self.first..].first_chunk().expect("as many were there when it was made")
    }

    #[inline]
    fn ring(&self) -> Ring<'_, AtomicU64> {
        let words = self.words();
        let side = |lock: usize, count: usize, positions: usize, seen: usize| Side {
            lock: &words[lock],
            count: &words[count],
            positions: [&words[positions], &words[positions + 1], &words[positions + 2], &words[positions + 3]],
            seen: [&words[seen], &words[seen + 1]],
        };
        Ring {
            put: side(PUT_LOCK, PUT_COUNT, PUT_POSITIONS, PUT_SEEN),
            taken: side(TAKEN_LOCK, TAKEN_COUNT, TAKEN_POSITIONS, TAKEN_SEEN),
        }
    }

    #[inline]
    fn world(&self, word: usize, deadline: Deadline) -> Kernel<'_> {
        Kernel::at(&self.slot, (&raw const self.words()[word]).addr(), deadline)
    }

    #[inline]
    fn own(&self) -> Result<Owner, io::Error> {
        self.slot.own_name().map_err(io::Error::other)
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> u64 {
        ring::len(&self.ring())
    }

    /// How many were ever put.
    pub(crate) fn put_count(&self) -> u64 {
        ring::count_of(self.ring().put.count.load(Acquire))
    }

    /// How many were ever taken.
    pub(crate) fn taken_count(&self) -> u64 {
        ring::count_of(self.ring().taken.count.load(Acquire))
    }

    /// How many it may hold.
    pub(crate) fn room(&self) -> Room {
        self.room
    }

    /// How the store's blocks are used.
    pub(crate) fn usage(&self) -> Usage {
        let bytes = ring::bytes(&self.ring());
        Usage { bytes, ..self.store.usage(|owner| self.slot.is_alive(owner)) }
    }

    /// Wakes producers that wait for a block.
    fn tell_of_room(&self) {
        // Who has marked the count looks for a block after that: it or this sees the other.
        fence(SeqCst);
        let count = self.ring().taken.count;
        if count.load(Relaxed) & CALLERS != 0 {
            ring::wake_all(&self.world(TAKEN_COUNT, Deadline::NEVER), count);
        }
    }

    /// Wakes all who wait for anything, after somebody has left.
    pub(crate) fn tell_of_leaving(&self) {
        let ring = self.ring();
        for (count, word) in [(ring.put.count, PUT_COUNT), (ring.taken.count, TAKEN_COUNT)] {
            ring::wake_all(&self.world(word, Deadline::NEVER), count);
        }
    }
}
/// The world of who only passes by: it does not wait, and takes nobody for dead.
struct Passing;

impl World for Passing {
    type Word = AtomicU64;

    fn is_alive(&self, _: Owner) -> bool {
        true
    }

    fn spin(&self) -> bool {
        false
    }

    fn is_over(&self) -> bool {
        true
    }

    fn park(&self, _: &AtomicU64, _: u32) {}

    fn wake(&self, word: &AtomicU64, count: u32) -> usize {
        futex_wake(lower_half(word), count).unwrap_or(0)
    }

    #[inline]
    fn at(&self, place: &'static str) {
        fail_point!(place);
    }
}

/// For how long to wait for the lock.
fn patient(deadline: Deadline) -> Deadline {
    let patience = LOCK_PATIENCE;
    #[cfg(feature = "async")]
    let patience = haste::patience(patience);
    if deadline == Deadline::NEVER { deadline } else { Deadline::after(patience) }
}
