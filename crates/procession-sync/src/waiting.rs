//! The kernel as the protocols see it: spin, then sleep, look again, and ask who is alive.
//!
//! Relies on `procession_sys` for futexes and on the arena for the life of a process.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use procession_shm::arena::{Owner, Slot};
use procession_sys::{Deadline, fail_point, futex_wait, futex_wake, lower_half};

use crate::protocol::World;

/// How long anything sleeps at most before it looks at its word, and whether its holder is alive, by itself.
///
/// It is half of the 100 ms within which a holder's death is noticed, and twenty looks a second are less than a
/// thousandth of a processor.
pub const RECHECK: Duration = Duration::from_millis(50);

/// How often a thread looks at a word before it sleeps. It takes about as long as falling asleep and being woken does.
const SPINS_MAX: u32 = 400;

/// The kernel, for one wait of one thread of this process.
pub(crate) struct Kernel<'a> {
    slot: &'a Slot,
    deadline: Deadline,
    spins: Cell<u32>,
    /// It has slept for as long as it may without a look.
    is_rechecking: Cell<bool>,
}

impl<'a> Kernel<'a> {
    /// For an object of this slot's arena.
    pub(crate) fn new(slot: &'a Slot, deadline: Deadline) -> Self {
        Self { slot, deadline, spins: Cell::new(SPINS_MAX), is_rechecking: Cell::new(false) }
    }
}

impl World for Kernel<'_> {
    type Word = AtomicU64;

    fn is_alive(&self, owner: Owner) -> bool {
        if self.is_rechecking.get() { self.slot.goes_on(owner) } else { self.slot.is_alive(owner) }
    }

    fn spin(&self) -> bool {
        let left = self.spins.get();
        if left == 0 {
            return false;
        }
        self.spins.set(left - 1);
        std::hint::spin_loop();
        true
    }

    fn is_over(&self) -> bool {
        self.deadline.has_passed()
    }

    fn park(&self, word: &AtomicU64, low: u32) {
        // What a futex refuses it refuses at once: then this is a spin.
        let woken = futex_wait(lower_half(word), low, self.deadline.min(Deadline::after(RECHECK)));
        self.is_rechecking.set(matches!(woken, Ok(false)));
    }

    fn wake(&self, word: &AtomicU64, count: u32) -> usize {
        futex_wake(lower_half(word), count).unwrap_or(0)
    }

    fn at(&self, place: &'static str) {
        fail_point!(place);
    }
}
