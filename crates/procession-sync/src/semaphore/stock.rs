//! What both kinds of semaphores are: permits in a slot.
//!
//! Relies on `protocol/semaphore.rs` for its words and on `waiting.rs` for the kernel.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use procession_shm::arena::{ArenaError, Owner, Slot};
use procession_sys::Deadline;

use super::Permit;
use crate::LockError;
use crate::protocol::semaphore::{PERMITS_MAX, Permits, available};
use crate::table::Table;
use crate::waiting::Kernel;

/// The own word that says how many permits there are at most.
const MAXIMUM: usize = 0;

/// A handle of the permits in a slot.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    table: Table,
    maximum: u32,
    is_bounded: bool,
}

impl Stock {
    pub(crate) fn new(kind: u64, permits: u32, holders: u32, is_bounded: bool) -> Result<Self, LockError> {
        if permits > PERMITS_MAX {
            return Err(LockError::TooManyPermits { permits });
        }
        let table = Table::new(kind, holders)?;
        let maximum = if is_bounded { permits } else { PERMITS_MAX };
        table.own_word(MAXIMUM).store(maximum.into(), Relaxed);
        table.main().store(permits.into(), Relaxed);
        Ok(Self { table, maximum, is_bounded })
    }

    pub(crate) fn over(slot: Slot, kind: u64, is_bounded: bool) -> Result<Self, LockError> {
        let table = Table::over(slot, kind)?;
        let maximum = u32::try_from(table.own_word(MAXIMUM).load(Relaxed)).unwrap_or(u32::MAX);
        if maximum > PERMITS_MAX {
            return Err(ArenaError::Foreign { reason: "a semaphore has more permits than there are" }.into());
        }
        Ok(Self { table, maximum, is_bounded })
    }

    pub(crate) fn slot(&self) -> &Slot {
        self.table.slot()
    }

    #[inline]
    fn permits(&self) -> Permits<'_, AtomicU64> {
        Permits { ledger: self.table.ledger(), maximum: self.maximum, is_bounded: self.is_bounded }
    }

    #[inline]
    pub(crate) fn acquire(&self, deadline: Deadline) -> Result<Permit<'_>, LockError> {
        let (world, permits) = (Kernel::new(self.slot(), deadline), self.permits());
        let (own, at) = self.table.claim::<()>(&world, |value, entry| permits.given_back(value, entry))?;
        if permits.take(&world, at) { Ok(Permit::new(self, own, at)) } else { Err(LockError::Timeout) }
    }

    pub(crate) fn try_acquire(&self) -> Result<Permit<'_>, LockError> {
        let (world, permits) = (Kernel::new(self.slot(), Deadline::NOW), self.permits());
        let (own, at) = self.table.claim::<()>(&world, |value, entry| permits.given_back(value, entry))?;
        if permits.try_take(&world, at) { Ok(Permit::new(self, own, at)) } else { Err(LockError::WouldBlock) }
    }

    #[inline]
    pub(crate) fn release(&self, count: u32) -> Result<(), LockError> {
        let world = Kernel::new(self.slot(), Deadline::NEVER);
        if count == 0 || self.permits().release(&world, count) { Ok(()) } else { Err(LockError::OverRelease { count }) }
    }

    pub(crate) fn available(&self) -> u32 {
        available(self.table.value())
    }

    pub(crate) fn holders(&self) -> Vec<(u32, u32)> {
        self.table.held().into_iter().map(|(pid, entry)| (pid, entry.count())).collect()
    }

    pub(crate) fn waiters(&self) -> usize {
        self.table.waiters()
    }

    /// Gives back a permit, unless a forked child has but a copy of it.
    #[inline]
    pub(super) fn give(&self, own: Owner, at: usize) {
        if self.slot().is_own_name(own) {
            self.permits().give(&Kernel::new(self.slot(), Deadline::NEVER), at);
        }
    }

    #[inline]
    pub(super) fn forget(&self, own: Owner, at: usize) {
        if self.slot().is_own_name(own) {
            self.permits().forget(&Kernel::new(self.slot(), Deadline::NEVER), at);
        }
    }
}
