//! Waiting for a message that is not taken.
//!
//! Relies on `protocol/ring.rs` for the marks that ask for a wake-up.

use std::sync::atomic::Ordering::Acquire;

use procession_sys::Deadline;

use super::{Channel, PUT_COUNT};
use crate::protocol::ring::{self, Paused, WAITERS};

impl Channel {
    /// Waits until there is a message, or `is_gone`; false when the time is over. Takes nothing.
    pub(crate) fn poll(&self, deadline: Deadline, is_gone: impl Fn() -> bool) -> bool {
        let world = self.world(PUT_COUNT, deadline);
        let count = self.ring().put.count;
        let mut has_slept = false;
        loop {
            let seen = count.load(Acquire);
            if self.len() > 0 {
                if has_slept {
                    // The wake-up was for one that takes the message, too.
                    ring::wake_all(&world, count);
                }
                return true;
            }
            let paused = ring::pause(&world, count, seen, WAITERS);
            has_slept |= paused == Paused::Slept;
            if paused == Paused::Spun {
                continue;
            }
            // Who is gone may have sent something before.
            if is_gone() || self.len() > 0 {
                return true;
            }
            if paused == Paused::Over {
                return false;
            }
        }
    }
}
