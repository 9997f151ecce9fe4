//! Words that workers and their pool's process share, which outlive whoever is killed: how often each task was begun.
//!
//! Relies on workers being forked: they find the board where it was made.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use procession_shm::arena::Slot;

use crate::job::PLACES;

const KIND: u64 = u64::from_le_bytes(*b"stressed");

/// How many tasks there are at once, at most, and how many items of a map.
pub(crate) const TASKS: usize = 420;
pub(crate) const ITEMS: usize = 60;

/// Calls of tasks that had ended before.
const STRAYS: usize = 0;
/// Kills at each place, the last one for those anywhere.
const KILLS_AT: usize = 1;
const TASKS_AT: usize = KILLS_AT + PLACES.len() + 1;
const WORDS: usize = TASKS_AT + TASKS + ITEMS;

/// A task's word is its serial number and how often it was begun.
const BEGUN_BITS: u32 = 16;

#[derive(Debug)]
pub(crate) struct Board(Slot);

/// The one board of this process and of those that are forked from it.
static BOARD: Mutex<Option<Arc<Board>>> = Mutex::new(None);

impl Board {
    /// Makes it, before anybody is forked.
    pub(crate) fn open() {
        let slot = Slot::allocate(WORDS * size_of::<u64>(), KIND).expect("a slot");
        *BOARD.lock().expect("nobody panics here") = Some(Arc::new(Self(slot)));
    }

    /// Gives it up here.
    pub(crate) fn close() {
        *BOARD.lock().expect("nobody panics here") = None;
    }

    pub(crate) fn get() -> Arc<Self> {
        BOARD.lock().expect("nobody panics here").clone().expect("it is open")
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.0.words()[at]
    }

    /// A new task has the place.
    pub(crate) fn enter(&self, place: usize, serial: u64) {
        self.word(TASKS_AT + place).store(serial << BEGUN_BITS, SeqCst);
    }

    /// How often the task was begun.
    pub(crate) fn begun(&self, place: usize) -> u64 {
        self.word(TASKS_AT + place).load(SeqCst) & ((1 << BEGUN_BITS) - 1)
    }

    /// The task has ended; how often it was begun.
    pub(crate) fn leave(&self, place: usize) -> u64 {
        self.word(TASKS_AT + place).swap(0, SeqCst) & ((1 << BEGUN_BITS) - 1)
    }

    /// The task begins.
    pub(crate) fn begin(&self, place: usize, serial: u64) {
        let begun = |word: u64| (word >> BEGUN_BITS == serial).then_some(word + 1);
        if self.word(TASKS_AT + place).fetch_update(SeqCst, SeqCst, begun).is_err() {
            self.word(STRAYS).fetch_add(1, SeqCst);
        }
    }

    /// Calls of tasks that had ended before.
    pub(crate) fn strays(&self) -> u64 {
        self.word(STRAYS).load(SeqCst)
    }

    /// A worker is about to kill itself at that place, or anywhere.
    pub(crate) fn kills(&self, place: Option<usize>) -> &AtomicU64 {
        self.word(KILLS_AT + place.unwrap_or(PLACES.len()))
    }
}
