//! What the heir of a side's lock does: whoever had it died with it, and may have left something begun.

use std::sync::atomic::Ordering::Relaxed;

use procession_shm::arena::Owner;
use procession_sync::protocol::lock::Held;
use procession_sys::{Deadline, thread_id};

use super::{Channel, LEFT, ORPHANS, PUT_LOCK, TAKEN_LOCK, TAKEN_TICKET, TAKEN_WITH, UNREPAIRED};
use crate::protocol::ring::{self, Position};
use crate::store::SEGMENT_BYTES;

impl Channel {
    /// Frees what a producer had begun that died with the lock.
    pub(super) fn inherit_putting(&self, own: Owner) {
        let own = Held::by(own, thread_id());
        ring::inherit(&self.world(PUT_LOCK, Deadline::NOW), &self.ring().put, own, |from| self.forget_begun(from));
    }

    /// Frees what a consumer had taken that died with the lock.
    pub(super) fn inherit_taking(&self, own: Owner) {
        let own = Held::by(own, thread_id());
        ring::inherit(&self.world(TAKEN_LOCK, Deadline::NOW), &self.ring().taken, own, |from| self.forget_taken(from));
    }

    /// What the heir of a producer does.
    #[cold]
    pub(super) fn forget_begun(&self, from: Position) {
        self.words()[ORPHANS].store(1, Relaxed);
        self.store.forget_begun(from.count, from.at.div_ceil(SEGMENT_BYTES));
    }

    /// What the heir of a consumer does.
    #[cold]
    pub(super) fn forget_taken(&self, from: Position) {
        self.words()[UNREPAIRED].store(1, Relaxed);
        if from.count != 0 && self.words()[TAKEN_WITH].load(Relaxed) == from.count {
            self.words()[LEFT].store(self.words()[TAKEN_TICKET].load(Relaxed), Relaxed);
        }
        self.store.forget_taken(from.count, from.at / SEGMENT_BYTES);
    }
}
