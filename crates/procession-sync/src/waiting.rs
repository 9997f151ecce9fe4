//! The kernel as the protocols see it: spin, then sleep, look again, and ask who is alive.
//!
//! Relies on `spinning.rs` for how long a spin is worth it, on `procession_sys` for futexes, and on the arena for the life
//! of a process.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use procession_shm::arena::{Owner, Slot};
use procession_sys::{Deadline, fail_point, futex_wait, futex_wake, lower_half};

use crate::protocol::World;
use crate::spinning::Spin;

/// How long anything sleeps at most before it looks at its word, and whether its holder is alive, by itself.
///
/// It is half of the 100 ms within which a holder's death is noticed, and twenty looks a second are less than a
/// thousandth of a processor.
pub const RECHECK: Duration = Duration::from_millis(50);

/// The kernel, for one wait of one thread of this process.
#[derive(Debug)]
pub struct Kernel<'a> {
    slot: &'a Slot,
    deadline: Deadline,
    spin: Spin,
    /// It has slept for as long as it may without a look.
    is_rechecking: Cell<bool>,
}

impl<'a> Kernel<'a> {
    /// For the object in a slot.
    #[inline]
    #[must_use]
    pub fn new(slot: &'a Slot, deadline: Deadline) -> Self {
        Self::at(slot, slot.words().as_ptr().addr(), deadline)
    }

    /// For one of several that are in a slot, known by an address there: what is learnt of one wait says nothing of the
    /// others.
    #[inline]
    #[must_use]
    pub fn at(slot: &'a Slot, address: usize, deadline: Deadline) -> Self {
        Self { slot, deadline, spin: Spin::new(address), is_rechecking: Cell::new(false) }
    }
}

impl World for Kernel<'_> {
    type Word = AtomicU64;

    fn is_alive(&self, owner: Owner) -> bool {
        if self.is_rechecking.get() { self.slot.goes_on(owner) } else { self.slot.is_alive(owner) }
    }

    fn spin(&self) -> bool {
        self.spin.turn(self.deadline)
    }

    fn is_over(&self) -> bool {
        self.deadline.has_passed()
    }

    fn park(&self, word: &AtomicU64, low: u32) {
        fail_point!("park: sleeps");
        let woken = futex_wait(lower_half(word), low, self.deadline.min(Deadline::after(RECHECK)));
        // What a futex refuses it refuses at once: then this is a spin.
        let is_late = matches!(woken, Ok(false));
        self.is_rechecking.set(is_late);
        if is_late {
            fail_point!("park: looks again");
        }
    }

    fn wake(&self, word: &AtomicU64, count: u32) -> usize {
        futex_wake(lower_half(word), count).unwrap_or(0)
    }

    fn at(&self, place: &'static str) {
        fail_point!(place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;
    use std::time::Instant;

    use procession_sys::thread_id;

    use super::*;
    use crate::protocol::lock::{Held, give, take};

    /// The kernel, but whoever waits sleeps at once.
    struct AtOnce<'a>(Kernel<'a>);

    impl World for AtOnce<'_> {
        type Word = AtomicU64;

        fn is_alive(&self, owner: Owner) -> bool {
            self.0.is_alive(owner)
        }
        fn spin(&self) -> bool {
            false
        }
        fn is_over(&self) -> bool {
            self.0.is_over()
        }
        fn park(&self, word: &AtomicU64, low: u32) {
            self.0.park(word, low);
        }
        fn wake(&self, word: &AtomicU64, count: u32) -> usize {
            self.0.wake(word, count)
        }
        fn at(&self, place: &'static str) {
            self.0.at(place);
        }
    }

    /// How often the two are compared.
    const ROUNDS_MAX: usize = 10;

    /// How often so many threads take and free one lock in a while, each in a world that `world` makes.
    fn hammered<'s, W: World<Word = AtomicU64>>(slot: &'s Slot, threads: u32, world: fn(&'s Slot) -> W) -> u64 {
        let end = Instant::now() + Duration::from_millis(150);
        let visits = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let own = Held::by(slot.own_name().unwrap(), thread_id());
                    let word = &slot.words()[0];
                    while Instant::now() < end {
                        for _ in 0..100 {
                            take(&world(slot), word, own).unwrap();
                            visits.store(visits.load(Relaxed) + 1, Relaxed);
                            give(&world(slot), word, own);
                        }
                    }
                });
            }
        });
        visits.into_inner()
    }

    #[test]
    fn more_spinners_than_processors_do_no_harm() {
        let slot = Slot::allocate(8, 0).unwrap();
        let spins = |slot| Kernel::new(slot, Deadline::NEVER);
        let at_once = |slot| AtOnce(Kernel::new(slot, Deadline::NEVER));
        // In turns, because others are at work on the machine, and a processor may be away for one of the two: then the lock is
        // nobody else's.
        let mut rounds = Vec::new();
        let is_as_good = (0..ROUNDS_MAX).any(|_| {
            let [spinning, sleeping] = [hammered(&slot, 8, spins), hammered(&slot, 8, at_once)];
            rounds.push([spinning, sleeping]);
            2 * spinning >= sleeping
        });
        assert!(is_as_good, "less than half as much as without: {rounds:?}");
    }
}
