//! Waiting for a message that is not taken: by sleeping on the count, or by polling the socket, on which a bell rings.
//!
//! Relies on `protocol/ring.rs` for the marks that ask for a wake-up or a bell, and on `tickets.rs` for what lies in the
//! socket.

use std::sync::atomic::Ordering::Acquire;

use procession_sync::protocol::lock::Held;
use procession_sys::{Deadline, PacketSocket, thread_id};

use super::{Channel, PUT_COUNT, PUT_LOCK, TAKEN_LOCK};
use crate::protocol::ring::{self, CALLERS, Paused, WAITERS};
use crate::tickets::{self, First};

/// How often a mark is tried again that others' changes have prevented. More than that is a peer's mischief, and who polls
/// looks again by itself.
const MARKS_MAX: u32 = 1000;

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
        let count = self.ring().put.count;
        for _ in 0..MARKS_MAX {
            let seen = count.load(Acquire);
            if seen & CALLERS != 0 {
                return;
            }
            ring::mark(count, seen, CALLERS);
        }
    }

    /// Takes away from the receivers' socket what makes it readable though there is no message: bells, and descriptors of
    /// one that was never sent. Left where they are when somebody is just taking a message.
    pub(crate) fn silence(&self, link: &PacketSocket) {
        let Ok(name) = self.own() else { return };
        let own = Held::by(name, thread_id());
        let world = self.world(TAKEN_LOCK, Deadline::NOW);
        ring::visit(&world, &self.ring().taken, own, |from, is_heir| {
            if is_heir {
                self.forget_taken(from);
            }
            let more = || match tickets::first(link) {
                First::Bell => link.discard().unwrap_or(false),
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
