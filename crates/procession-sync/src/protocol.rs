//! What may become of the words of shared memory: each object's protocol, without a process or a system call.
//!
//! A protocol is functions over a [`Word`] and a [`World`]. In a program the world is the kernel (`waiting.rs`); in the
//! tests beside each protocol it is `loom`, which tries every order of their steps. Each has a page beside it that names
//! its races, and each of these is a test.
//!
//! Public for crates that share words of their own, such as a ring's: they have the lock's word, the kernel as its waiters
//! see it ([`Kernel`]), and, with the feature `model`, the world of loom. No semantic versioning holds for what is here.
//!
//! A word has 64 bits. The kernel's futexes have 32, so who sleeps sleeps on the lower half: what waiters look at must
//! change that half.

pub(crate) mod barrier;
pub(crate) mod condition;
pub(crate) mod event;
pub(crate) mod ledger; // Counts that belong to processes.
pub mod lock;
pub(crate) mod rlock;
pub(crate) mod rwlock;
pub(crate) mod semaphore;

#[cfg(any(test, feature = "model"))]
pub mod loom_world; // The kernel, as far as the protocols know it, in a model.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use procession_shm::arena::Owner;

pub use crate::spinning::Spin;
pub use crate::waiting::Kernel;

/// 64 bits that several processes change.
pub trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;
    /// Writes it.
    fn store(&self, value: u64, order: Ordering);
    /// Adds to it, and says what it was.
    fn add(&self, value: u64, order: Ordering) -> u64;
    /// Reads it as an exchange does, and leaves it as it is.
    fn touch(&self, order: Ordering) -> u64;
    /// Puts `next` where `seen` is.
    ///
    /// # Errors
    /// What is there instead.
    fn exchange(&self, seen: u64, next: u64, success: Ordering, failure: Ordering) -> Result<u64, u64>;
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
    fn add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    #[inline]
    fn touch(&self, order: Ordering) -> u64 {
        self.fetch_add(0, order)
    }

    #[inline]
    fn exchange(&self, seen: u64, next: u64, success: Ordering, failure: Ordering) -> Result<u64, u64> {
        self.compare_exchange(seen, next, success, failure)
    }
}

/// What a protocol needs of the world, for one wait of one thread.
pub trait World {
    /// The words there.
    type Word: Word;

    /// Whether a process is alive that a word names.
    fn is_alive(&self, owner: Owner) -> bool;

    /// Lets a moment pass without sleeping; false when it is time to sleep instead.
    fn spin(&self) -> bool;

    /// True when nobody wants to wait any longer.
    fn is_over(&self) -> bool;

    /// Sleeps while the word's lower half is `low`, until somebody wakes this thread, or it is time to look again.
    fn park(&self, word: &Self::Word, low: u32);

    /// Wakes at most `count` of those that sleep on the word, and says how many.
    fn wake(&self, word: &Self::Word, count: u32) -> usize;

    /// A place at which tests end the process.
    fn at(&self, place: &'static str);
}

/// The half of a word that sleepers watch.
#[must_use]
pub const fn low(word: u64) -> u32 {
    word as u32 // The upper half is cut off.
}
