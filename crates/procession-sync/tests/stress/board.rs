//! What the workers and their supervisor tell each other: words of a slot, which outlive whoever is killed.
//!
//! Relies on the arena alone: nothing here is among what is tested.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use procession_shm::arena::Slot;

/// The most workers at once.
pub(crate) const WORKERS_MAX: usize = 8;

const KIND: u64 = u64::from_le_bytes(*b"stressed");

/// Words that a subject has for itself.
pub(crate) const SPARE: usize = 32;

/// Words of each worker.
const LINE: usize = 16;

const SPARE_AT: usize = 32;
const LINES_AT: usize = SPARE_AT + SPARE;
const WORDS: usize = LINES_AT + WORKERS_MAX * LINE;

/// A word for all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Common {
    /// Not zero when the workers are to return.
    Stop,
    /// How often something happened that should have woken a sleeper.
    Passes,
    /// Which worker is inside.
    Mark,
    /// How often somebody was inside, counted at the way in,
    CountIn,
    /// and at the way out.
    CountOut,
    /// When a worker was killed that had it, until the next one has been told.
    DiedAt,
    /// When one was last killed from outside.
    OutsideAt,
    /// When one was killed that may have been told and whose own death is not: a reader.
    NewsLostAt,
    /// Kills of which the next one may be told or not, as only the killed could say whether they had it.
    Vague,
    /// What might explain that nobody was woken: each kill, before it and after it.
    Deaths,
    /// Kills that left sleepers to look by themselves, as is documented; from outside, they may have.
    Strandings,
    /// Takers that were told of a death,
    Told,
    /// and those of them for whose news the only reason can be one of the vague kills.
    ToldVaguely,
    /// The longest time between a death and the next taker, in nanoseconds.
    Slowest,
    /// Sleeps,
    Sleeps,
    /// those of them that ended by themselves,
    Looks,
    /// although more than enough had happened to end them;
    Overslept,
    /// turns that were had only because the sleeper looked again by itself,
    Rescues,
    /// and those of them that no kill explains.
    Unexplained,
}

/// A word of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {
    /// Turns that it has had.
    Turns,
    /// The place that it came to last, counted from one.
    Place,
    /// Not zero once it is about to kill itself, there.
    Killed,
    /// Not zero once it is about to be killed from outside.
    Doomed,
    /// What it has of the object.
    Has,
    /// Not zero while it waits for what another one must do, and when it is dead.
    Rests,
}

/// The words.
#[derive(Clone, Debug)]
pub(crate) struct Board(Slot);

impl Board {
    pub(crate) fn new() -> Self {
        Self(Slot::allocate(WORDS * size_of::<u64>(), KIND).expect("a slot"))
    }

    pub(crate) fn word(&self, word: Common) -> &AtomicU64 {
        &self.0.words()[word as usize]
    }

    pub(crate) fn get(&self, word: Common) -> u64 {
        self.word(word).load(SeqCst)
    }

    pub(crate) fn add(&self, word: Common) -> u64 {
        self.word(word).fetch_add(1, SeqCst)
    }

    pub(crate) fn own(&self, worker: usize, word: Own) -> &AtomicU64 {
        &self.0.words()[LINES_AT + worker * LINE + word as usize]
    }

    pub(crate) fn spare(&self, at: usize) -> &AtomicU64 {
        &self.0.words()[SPARE_AT + at]
    }

    pub(crate) fn set(&self, worker: usize, word: Own, value: u64) {
        self.own(worker, word).store(value, SeqCst);
    }

    /// A word of each worker that nobody is about to kill.
    pub(crate) fn of_the_living(&self, word: Own) -> impl Iterator<Item = (usize, u64)> {
        let get = |worker, word| self.own(worker, word).load(SeqCst);
        let all = (0..WORKERS_MAX).map(move |worker| (worker, get(worker, word)));
        all.filter(move |&(worker, _)| get(worker, Own::Killed) == 0 && get(worker, Own::Doomed) == 0)
    }

    /// Forgets a worker's predecessor.
    pub(crate) fn clear(&self, worker: usize) {
        for at in 0..LINE {
            self.0.words()[LINES_AT + worker * LINE + at].store(0, SeqCst);
        }
    }
}
