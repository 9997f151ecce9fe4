//! The kernel as the words of a desk know it: who waits spins for a while if it may, and sleeps then.
//!
//! Relies on procession-sync for how long a spin is worth it, and on `procession_sys` for futexes.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use procession_shm::arena::Owner;
use procession_sync::protocol::{Spin, World};
use procession_sys::{Deadline, SharedMap, fail_point, futex_wait, futex_wake, lower_half};

use super::link::Link;

/// How long a worker sleeps at most before it looks by itself.
pub(super) const RECHECK: Duration = Duration::from_secs(1);

/// How often who may spin looks without a pause first, which is half a microsecond: a pool that has just been told of a
/// result often has the next order by then, and each pause would delay it.
const EAGER_LOOKS: u32 = 1000;

/// The kernel, for one wait at a desk.
#[derive(Debug)]
pub(super) struct Kernel<'k> {
    looks: Cell<u32>,
    spin: Spin,
    /// The wait is over when this is not there any more.
    link: Option<&'k Link>,
    is_over: Cell<bool>,
}

impl<'k> Kernel<'k> {
    #[inline]
    pub(super) fn new(desk: &SharedMap) -> Self {
        Self { looks: Cell::new(0), spin: Spin::new(desk.as_ptr().addr()), link: None, is_over: Cell::new(false) }
    }

    /// For a worker that waits for an order: one whose link was closed is no use, and what ends a process with its parent may
    /// have been closed as well.
    #[inline]
    pub(super) fn with_link(self, link: &'k Link) -> Self {
        Self { link: Some(link), ..self }
    }
}

impl World for Kernel<'_> {
    type Word = AtomicU64;

    fn is_alive(&self, _: Owner) -> bool {
        true // No word names anybody.
    }

    #[inline]
    fn spin(&self) -> bool {
        let looks = self.looks.get();
        if looks < EAGER_LOOKS {
            self.looks.set(looks + 1);
            return true;
        }
        self.spin.turn(Deadline::NEVER)
    }

    fn is_over(&self) -> bool {
        self.is_over.get()
    }

    fn park(&self, word: &AtomicU64, low: u32) {
        fail_point!("desk: sleeps");
        // What a futex refuses it refuses at once: then this is a spin.
        let _ = futex_wait(lower_half(word), low, Deadline::after(RECHECK));
        self.is_over.set(self.link.is_some_and(|link| !link.is_open()));
    }

    fn wake(&self, word: &AtomicU64, count: u32) -> usize {
        futex_wake(lower_half(word), count).unwrap_or(0)
    }

    fn at(&self, place: &'static str) {
        fail_point!(place);
    }
}
