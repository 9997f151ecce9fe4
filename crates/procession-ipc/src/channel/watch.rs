//! Waiting for a message that is not taken: by sleeping on the count, or by polling the socket, on which a bell rings.
//!
//! Relies on `protocol/ring.rs` for the marks that ask for a wake-up or a bell, and on `tickets.rs` for what lies in the
//! socket.

use std::sync::atomic::Ordering::Acquire;

use procession_sync::protocol::lock::Held;
use procession_sys::{Deadline, PacketSocket, thread_id};

use super::{Channel, PUT_COUNT, PUT_LOCK, TAKEN_LOCK};
use crate::protocol::ring::{self, Paused, WAITERS};
use crate::tickets::{self, First};

/// How much is taken away from a socket at a time. What is left makes the next poll end at once.
const SILENCED_MAX: u32 = 1000;

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
            // To ask whether anybody is gone takes as long as the rest of being woken.
            if paused == Paused::Spun || paused == Paused::Slept && self.len() > 0 {
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

    /// Asks for a bell with the next message.
    pub(crate) fn arm(&self) {
        ring::arm(self.ring().put.count, ring::CALLERS);
    }

    /// Asks for a bell with the next room that is made; what is wanted is tried again after this.
    #[cfg(feature = "async")]
    pub(crate) fn arm_for_room(&self) {
        ring::arm(self.ring().taken.count, ring::TASKS);
    }

    /// Takes bells away that were rung for room.
    #[cfg(feature = "async")]
    pub(crate) fn silence_room(link: &PacketSocket) {
        let _ = (0..SILENCED_MAX).take_while(|_| link.discard().unwrap_or(false)).count();
    }

    /// Takes away from the receivers' socket what makes it readable though there is no message: bells, and descriptors of
    /// one that was never sent. Left where they are when there is a message, or somebody is just taking one.
    pub(crate) fn silence(&self, link: &PacketSocket) {
        let Ok(name) = self.own() else { return };
        let own = Held::by(name, thread_id());
        let world = self.world(TAKEN_LOCK, Deadline::NOW);
        ring::visit(&world, &self.ring().taken, own, |from, is_heir| {
            if is_heir {
                self.forget_taken(from);
            }
            let more = || match tickets::first(link) {
                First::Bell => ring::may_silence(&self.ring()) && link.discard().unwrap_or(false),
                First::Ticket => self.discard_orphan(link, own),
                First::Nothing => false,
            };
            let _ = (0..SILENCED_MAX).take_while(|_| more()).count();
        });
    }

    /// Takes descriptors away that no message comes with, having the receivers' lock. They are nobody's when there is no
    /// message, and nobody who could just be sending one.
    fn discard_orphan(&self, link: &PacketSocket, own: Held) -> bool {
        let world = self.world(PUT_LOCK, Deadline::NOW);
        let discarded = ring::visit(&world, &self.ring().put, own, |from, is_heir| {
            if is_heir {
                self.forget_begun(from);
            }
            self.len() == 0 && link.discard().unwrap_or(false)
        });
        discarded.unwrap_or(false)
    }
}
