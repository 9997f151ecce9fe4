//! Words that clients and the loop share, which outlive whoever is killed: what each has tried, and what was acknowledged.
//!
//! Relies on clients being forked: they find the board where it was made.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use procession_shm::arena::Slot;

const KIND: u64 = u64::from_le_bytes(*b"managers");

/// How many items a producer puts in a round, at most.
pub(crate) const ITEMS: u64 = 2048;

const WORDS: usize = 256;

/// What there is of each place where a client can be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {
    /// What it has begun to do.
    Tried,
    /// What was acknowledged.
    Acknowledged,
    /// How often it has done something.
    Turns,
}

const OWN: usize = 3;

/// What there is once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Common {
    /// The clients are to end when they have done what they do.
    Stop,
    /// The same for those that take items.
    Drained,
    /// The server is killed: clients are to be told so.
    Killed,
    /// Which process is within the lock.
    Inside,
    /// How often somebody came into it who was not alone there.
    Intruders,
}

const COMMON: usize = 5;

#[derive(Debug)]
pub(crate) struct Board {
    words: Slot,
    /// How often each item was done.
    items: Vec<Slot>,
}

static BOARD: Mutex<Option<Arc<Board>>> = Mutex::new(None);

impl Board {
    /// Makes it, before anybody is forked.
    pub(crate) fn open() {
        let slot = || Slot::allocate(WORDS * size_of::<u64>(), KIND).expect("a slot");
        let items = (0..ITEMS as usize / WORDS).map(|_| slot()).collect();
        *BOARD.lock().expect("nobody panics here") = Some(Arc::new(Self { words: slot(), items }));
    }

    pub(crate) fn close() {
        *BOARD.lock().expect("nobody panics here") = None;
    }

    pub(crate) fn get() -> Arc<Self> {
        BOARD.lock().expect("nobody panics here").clone().expect("it is open")
    }

    /// For a new server.
    pub(crate) fn clear(&self) {
        let all = self.items.iter().chain([&self.words]);
        all.flat_map(Slot::words).for_each(|word| word.store(0, SeqCst));
    }

    pub(crate) fn common(&self, what: Common) -> &AtomicU64 {
        &self.words.words()[what as usize]
    }

    pub(crate) fn is_set(&self, what: Common) -> bool {
        self.common(what).load(SeqCst) != 0
    }

    pub(crate) fn own(&self, place: usize, what: Own) -> &AtomicU64 {
        &self.words.words()[COMMON + place * OWN + what as usize]
    }

    pub(crate) fn count(&self, place: usize, what: Own) -> u64 {
        self.own(place, what).load(SeqCst)
    }

    /// How often an item was done.
    pub(crate) fn item(&self, item: u64) -> &AtomicU64 {
        &self.items[item as usize / WORDS].words()[item as usize % WORDS]
    }
}
