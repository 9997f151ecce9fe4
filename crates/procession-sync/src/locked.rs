//! Values behind a lock, and the guard that shows them.
//!
//! Relies on `lock.rs` for the lock and on `cells.rs` for where the values are.
//!
//! # Safety
//! A [`Hold`] is made of a lock that its thread has just taken, for the process by whose name it was taken. Until it is
//! dropped no other thread of any process takes that lock, as long as all keep to the protocol: a lock is inherited only
//! from a process that the kernel says is dead or has no handle of the arena any more, and a hold keeps a handle or
//! borrows one. The thread itself gets no second hold: its own name in the word refuses it. The values are reached through
//! holds of their one lock alone, or through a guard of it that is exclusively borrowed for as long ([`Locked::access`]),
//! since the message that brings values says with which lock, and no method gives their memory away. So `&Hold` shows what
//! nobody changes, and `&mut Hold` what nobody else sees. A copy of a hold in a forked child shows nothing: its name is not
//! the child's. What is not excluded is a peer that breaks the rules, and a reference that a forked child inherits with
//! its parent's stack; the guards' pages say so. Values are shown only after their bits were found to be values, and what
//! keeps to the rules writes nothing else.

#![expect(unsafe_code, reason = "shows as references what a lock that is held guards")]

use std::any::type_name;
use std::marker::PhantomData;

use procession_shm::arena::{ArenaError, Slot};
use procession_shm::{Shareable, SharedArray, ShmError};
use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::cells::{Cells, Home, assert_layout, slot_bytes};
use crate::keep::Keep;
use crate::lock::{KIND_GUARDING, WORDS, Wait};
use crate::protocol::lock::{Held, Taken};
use crate::{Lock, LockError, LockGuard};

/// What tells values without a lock in front from other objects in the arena.
pub(crate) const KIND_CELLS: u64 = u64::from_le_bytes(*b"cells\0\0\x01");

/// Values, and their lock.
pub(crate) struct Locked<T> {
    lock: Lock,
    cells: Cells<T>,
}

/// A lock that is held, and what it guards.
pub(crate) struct Hold<'a, T> {
    object: Keep<'a, Locked<T>>,
    own: Held,
    _not_send: PhantomData<*const ()>,
}

/// What a message says of values: of which type, their lock, where they are unless that is behind their lock, how many.
type Sent<T> = (u64, Lock, Option<Slot>, Option<SharedArray<T>>, u64);

impl<T: Shareable> Locked<T> {
    /// The byte of a slot at which values begin that have their lock in front.
    const AT: usize = {
        assert_layout::<T>();
        let lock = WORDS * size_of::<u64>();
        if lock > align_of::<T>() { lock } else { align_of::<T>() }
    };

    /// So many new values with a lock of their own: copies of these, or zeros.
    pub(crate) fn fresh(len: usize, values: Option<&[T]>) -> Result<Self, LockError> {
        if let Some(bytes) = slot_bytes::<T>(Self::AT, len) {
            let slot = Slot::allocate(bytes, KIND_GUARDING)?;
            let lock = Lock::in_front(slot.clone())?;
            return Ok(Self { lock, cells: Cells::fresh_in(slot, Self::AT, len, values)? });
        }
        Ok(Self { lock: Lock::new()?, cells: Cells::fresh_segment(len, values)? })
    }

    /// The same with a given lock.
    pub(crate) fn with_lock(len: usize, values: Option<&[T]>, lock: &Lock) -> Result<Self, LockError> {
        Ok(Self { lock: lock.clone(), cells: Cells::fresh(KIND_CELLS, len, values)? })
    }

    #[inline]
    pub(crate) fn lock(&self) -> &Lock {
        &self.lock
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Takes the lock if it is free, and all bits are values.
    #[inline]
    pub(crate) fn take_now(&self) -> Option<Hold<'_, T>> {
        if T::ANY_BITS { self.take_now_unchecked() } else { None }
    }

    /// Takes the lock if it is free, for whoever makes no reference.
    #[inline]
    fn take_now_unchecked(&self) -> Option<Hold<'_, T>> {
        Some(self.hold(self.lock.take_now()?))
    }

    /// Takes the lock as soon as it can be had. What it guards is what it says, or the lock is free again.
    #[cold]
    pub(crate) fn take(&self, wait: Wait) -> Result<Hold<'_, T>, LockError<Hold<'static, T>>> {
        let (own, taken) = match self.lock.take_now() {
            Some(own) => (own, Taken::Free),
            None => self.lock.take(wait).map_err(LockError::without_guard)?,
        };
        let hold = self.hold(own);
        hold.check()?;
        match taken {
            Taken::Free => Ok(hold),
            Taken::FromDead => Err(LockError::OwnerDied(hold.detach())),
        }
    }

    /// Waits for the lock and holds it for one access.
    #[inline]
    fn take_for_one(&self) -> Result<Hold<'_, T>, LockError> {
        match self.take_now_unchecked() {
            Some(hold) => Ok(hold),
            None => self.wait_for_one(),
        }
    }

    #[cold]
    fn wait_for_one(&self) -> Result<Hold<'_, T>, LockError> {
        let (own, taken) = self.lock.take(Wait::Until(Deadline::NEVER))?;
        let hold = self.hold(own);
        match taken {
            Taken::Free => Ok(hold),
            Taken::FromDead => Err(LockError::OwnerDied(())), // Its lock is free again.
        }
    }

    /// One value, read under the lock.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Result<T, LockError> {
        let index = self.cells.check(index)?;
        let _hold = self.take_for_one()?;
        Ok(self.cells.load(index)?)
    }

    /// Replaces one value, whatever it was, under the lock.
    #[inline]
    pub(crate) fn set(&self, index: usize, value: T) -> Result<(), LockError> {
        let index = self.cells.check(index)?;
        let _hold = self.take_for_one()?;
        self.cells.store(index, value);
        Ok(())
    }

    /// The hold of a lock that was taken just now.
    #[inline]
    fn hold(&self, own: Held) -> Hold<'_, T> {
        Hold { object: Keep::borrowed(self), own, _not_send: PhantomData }
    }

    /// The values, for whoever holds the lock already.
    pub(crate) fn access<'g>(&'g self, guard: &'g mut LockGuard<'_>) -> Result<&'g mut [T], LockError> {
        if !guard.is_of(&self.lock) {
            return Err(LockError::NotItsLock);
        }
        self.check()?;
        // SAFETY: as many values are there, as `Cells` says. The guard says that the lock is held, is borrowed for as long
        // as what is returned, and there is no other (see the top of this file).
        Ok(unsafe { std::slice::from_raw_parts_mut(self.cells.first().as_ptr(), self.cells.len()) })
    }

    /// Whether all bits are values. The lock is held.
    fn check(&self) -> Result<(), ShmError> {
        if T::ANY_BITS {
            return Ok(());
        }
        let bytes = self.cells.len() * size_of::<T>();
        // SAFETY: so many bytes are mapped there, and nobody changes them while the lock is held.
        let bytes = unsafe { std::slice::from_raw_parts(self.cells.first().as_ptr().cast::<u8>(), bytes) };
        match bytes.chunks_exact(size_of::<T>()).position(|bytes| !T::is_valid(bytes)) {
            Some(index) => Err(ShmError::Invalid { index, type_name: type_name::<T>() }),
            None => Ok(()),
        }
    }
}

impl<T> Clone for Locked<T> {
    fn clone(&self) -> Self {
        Self { lock: self.lock.clone(), cells: self.cells.clone() }
    }
}

impl<T> Locked<T> {
    /// For `Debug`.
    pub(crate) fn lock_for_debug(&self) -> &Lock {
        &self.lock
    }
}

impl<T: Shareable> Hold<'_, T> {
    #[inline]
    pub(crate) fn values(&self) -> &[T] {
        self.assert_own();
        let cells = &self.object.cells;
        // SAFETY: as many values are there, as `Cells` says, and their bits were checked. The lock is held until this is
        // dropped, so nobody changes them while it is borrowed.
        unsafe { std::slice::from_raw_parts(cells.first().as_ptr(), cells.len()) }
    }

    #[inline]
    pub(crate) fn values_mut(&mut self) -> &mut [T] {
        self.assert_own();
        let cells = &self.object.cells;
        // SAFETY: as above, and nobody else sees them while this is exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(cells.first().as_ptr(), cells.len()) }
    }

    /// The only one.
    #[inline]
    pub(crate) fn value(&self) -> &T {
        &self.values()[0]
    }

    #[inline]
    pub(crate) fn value_mut(&mut self) -> &mut T {
        &mut self.values_mut()[0]
    }

    fn check(&self) -> Result<(), ShmError> {
        self.object.check()
    }

    /// # Panics
    /// In a forked child, which does not hold what its parent does.
    #[inline]
    fn assert_own(&self) {
        if !self.object.lock.is_own(self.own) {
            inherited();
        }
    }

    /// The same with handles of its own.
    fn detach(self) -> Hold<'static, T> {
        let detached = Hold { object: self.object.detach(), own: self.own, _not_send: PhantomData };
        std::mem::forget(self); // It borrows, so there is nothing to drop; the lock is the other one's to free.
        detached
    }
}

#[cold]
fn inherited() -> ! {
    panic!("a guard was copied by a fork: its parent holds the lock, so a child has to take it itself")
}

impl<T> Drop for Hold<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.object.lock.give(self.own);
    }
}

impl<T: Shareable> Serialize for Locked<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (slot, array) = match self.cells.home() {
            Home::Slot(slot) if slot.is_same(self.lock.slot()) => (None, None),
            Home::Slot(slot) => (Some(slot), None),
            Home::Segment(array) => (None, Some(array)),
        };
        (T::SIGNATURE, &self.lock, slot, array, self.cells.len() as u64).serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for Locked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (signature, lock, slot, array, len) = Sent::<T>::deserialize(deserializer)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let cells = received(signature, slot, array, len, || {
            Cells::in_slot(lock.slot().clone().expect(KIND_GUARDING)?, Self::AT, len)
        });
        Ok(Self { cells: cells.map_err(de::Error::custom)?, lock })
    }
}

/// The cells that a message brought; those in front of which a lock is are had from `behind`.
pub(crate) fn received<T: Shareable>(
    signature: u64,
    slot: Option<Slot>,
    array: Option<SharedArray<T>>,
    len: usize,
    behind: impl FnOnce() -> Result<Cells<T>, LockError>,
) -> Result<Cells<T>, LockError> {
    if signature != T::SIGNATURE {
        return Err(ArenaError::Foreign { reason: "its values are of another type" }.into());
    }
    match (slot, array) {
        (None, None) => behind(),
        (Some(slot), _) => Cells::in_slot(slot.expect(KIND_CELLS)?, 0, len),
        (None, Some(array)) => Cells::in_segment(array),
    }
}
