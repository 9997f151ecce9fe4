//! The slot of an object of which several processes have parts, and the entry of this one there.
//!
//! Relies on `protocol/ledger.rs` for what may become of the words.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use procession_shm::arena::{ArenaError, Owner, Slot};
use procession_sys::{Deadline, futex_sleepers, lower_half};

use crate::LockError;
use crate::protocol::ledger::{Entry, Ledger};
use crate::protocol::low;
use crate::waiting::Kernel;

/// How many processes can use a semaphore or an [`RwLock`](crate::RwLock) unless it is made for more.
///
/// A pool has a worker for each processor, and few machines have more than this.
pub const HOLDERS: u32 = 64;

/// For how many processes one can be made: as many as there can be in its arena.
pub const HOLDERS_MAX: u32 = procession_shm::arena::OWNERS_MAX;

/// The main word, and before the entries the object's own words.
const MAIN: usize = 0;
const ENTRIES: usize = 4;

/// A slot with a ledger in it, and the handle's guess which entry is this process's.
pub(crate) struct Table {
    slot: Slot,
    holders: usize,
    hint: AtomicUsize,
}

impl Table {
    /// A new one; all its words are zero.
    pub(crate) fn new(kind: u64, holders: u32) -> Result<Self, LockError> {
        if holders == 0 || holders > HOLDERS_MAX {
            return Err(LockError::InvalidHolders { holders });
        }
        let holders = holders as usize;
        let words = ENTRIES + holders + holders.div_ceil(2);
        Self::over(Slot::allocate(words * size_of::<u64>(), kind)?, kind)
    }

    /// The one that is in a slot.
    pub(crate) fn over(slot: Slot, kind: u64) -> Result<Self, LockError> {
        let slot = slot.expect(kind)?;
        // Two names are in one word: three words are two entries, and two that are left are one.
        let words = slot.words().len().saturating_sub(ENTRIES);
        match (words, words % 3) {
            (0, _) | (_, 1) => Err(ArenaError::Foreign { reason: "an object with holders has another size" }.into()),
            (_, left) => Ok(Self { holders: words / 3 * 2 + left / 2, slot, hint: AtomicUsize::new(0) }),
        }
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// One of the object's own words.
    #[inline]
    pub(crate) fn own_word(&self, which: usize) -> &AtomicU64 {
        &self.slot.words()[1 + which]
    }

    /// The value of the main word.
    #[inline]
    pub(crate) fn value(&self) -> u32 {
        low(self.main().load(Relaxed))
    }

    #[inline]
    pub(crate) fn main(&self) -> &AtomicU64 {
        &self.slot.words()[MAIN]
    }

    #[inline]
    pub(crate) fn ledger(&self) -> Ledger<'_, AtomicU64> {
        let words = self.slot.words();
        let (entries, names) = words[ENTRIES..].split_at(self.holders);
        Ledger { main: &words[MAIN], entries, names }
    }

    /// The ledger, once its entries say what the main word does: who was killed in the middle of a change has not noted it.
    pub(crate) fn settled(&self) -> Ledger<'_, AtomicU64> {
        let ledger = self.ledger();
        ledger.settled(&Kernel::new(&self.slot, Deadline::NOW));
        ledger
    }

    /// The name and the entry of this process, which may wait for others to leave.
    #[inline]
    pub(crate) fn claim<G>(
        &self,
        world: &Kernel<'_>,
        give_back: impl Fn(u32, Entry) -> u32,
    ) -> Result<(Owner, usize), LockError<G>> {
        let own = self.slot.own_name()?;
        let hint = self.hint.load(Relaxed);
        let at = self.ledger().claim(world, own, hint, give_back);
        let at = at.ok_or(LockError::TooManyHolders { limit: self.holders as u32 })?; // At most HOLDERS_MAX.
        if at != hint {
            self.hint.store(at, Relaxed);
        }
        Ok((own, at))
    }

    /// The processes that have anything, by their numbers in their own namespaces.
    pub(crate) fn held(&self) -> Vec<(u32, Entry)> {
        let pid = |name| Owner::from_word(name).and_then(|owner| self.slot.pid_of(owner)).unwrap_or(0);
        self.settled().held().map(|(name, entry)| (pid(name), entry)).collect()
    }

    /// How many threads sleep on the main word.
    pub(crate) fn waiters(&self) -> usize {
        futex_sleepers(lower_half(self.main())).unwrap_or(0)
    }
}

impl Clone for Table {
    fn clone(&self) -> Self {
        let hint = AtomicUsize::new(self.hint.load(Relaxed));
        Self { slot: self.slot.clone(), holders: self.holders, hint }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("slot", &self.slot).field("holders", &self.holders).finish_non_exhaustive()
    }
}
