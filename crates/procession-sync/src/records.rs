//! Locks inside the user's own structs: an array of structs of which each has a lock of its own.
//!
//! Relies on `protocol/lock.rs` for each lock's word, on the array for where it is, and on a slot that travels along for
//! the names of those who hold one.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_shm::arena::{ArenaError, Slot};
use procession_shm::{Shareable, SharedArray, ShmError};
use procession_sys::{Deadline, futex_sleepers, lower_half, random_bytes, thread_id};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::LockError;
use crate::cells::bytes_of;
use crate::keep::Keep;
use crate::lock::{Holder, Wait, held_by};
use crate::protocol::lock::{self, Held, Refused, Taken};
use crate::waiting::Kernel;

/// What tells the companions of records from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"records\x01");

/// A lock as a field of one's own struct in a [`SharedArray`], which [`Records`] take.
///
/// Zeros are a free lock, so an array of zeros has free ones. A copy of a struct has a copy of the lock's bytes, which is
/// no lock.
///
/// # Examples
/// ```
/// use procession_shm::Shareable;
/// use procession_sync::LockWord;
///
/// #[derive(Clone, Copy, Shareable)]
/// #[repr(C)]
/// struct Account {
///     lock: LockWord,
///     cents: i64,
/// }
///
/// let account = Account { lock: LockWord::FREE, cents: 100 };
/// assert_eq!(size_of_val(&account), 32);
/// ```
#[derive(Clone, Copy, Shareable)]
#[repr(C)]
pub struct LockWord {
    /// As `protocol/lock.md` says.
    word: u64,
    /// Whose names stand in the word; zero until it is first taken.
    names: u64,
    /// Since when it is held; zero when nobody has asked.
    since: u64,
}

impl LockWord {
    /// A lock that is free.
    pub const FREE: Self = Self { word: 0, names: 0, since: 0 };
}

impl Default for LockWord {
    fn default() -> Self {
        Self::FREE
    }
}

impl fmt::Debug for LockWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockWord").field("was_held", &(self.word != 0)).finish_non_exhaustive()
    }
}

/// Where in a struct its [`LockWord`] is: what [`field!`](crate::field) says.
pub struct LockField<T> {
    offset: usize,
    of: PhantomData<fn(T)>,
}

impl<T> LockField<T> {
    /// What the macro calls; the function is there so that the compiler checks the field's type.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(offset: usize, _: fn(&T) -> &LockWord) -> Self {
        Self { offset, of: PhantomData }
    }
}

impl<T> fmt::Debug for LockField<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockField").field("offset", &self.offset).finish()
    }
}

/// Names the field of a struct that is its lock: `field!(Account.lock)`.
///
/// # Examples
/// See [`Records`](crate::Records). A field of another type does not compile:
/// ```compile_fail,E0308
/// struct Account {
///     cents: i64,
/// }
/// procession_sync::field!(Account.cents);
/// ```
#[macro_export]
macro_rules! field {
    ($($type:ident)::+ . $field:tt) => {
        $crate::LockField::<$($type)::+>::new(::core::mem::offset_of!($($type)::+, $field), |value| &value.$field)
    };
}

/// An array of structs of which each has its own lock in one of its fields: a handle, whose clones are the same array.
///
/// A record is read and written by value, under its lock. All handles that lock the same array come from one: a lock
/// knows whose names it holds, and another `Records` over the same array is refused where a lock was ever taken.
///
/// # When a process dies
/// What it has written stays. The next taker of each record that it held is told, once, by [`LockError::OwnerDied`] with
/// the guard; the other records are not concerned.
///
/// # Python
/// An `Array` of a `ctypes.Structure` has one lock for all.
///
/// # Examples
/// ```
/// use procession_shm::{Shareable, SharedArray};
/// use procession_sync::{LockWord, Records, field};
///
/// #[derive(Clone, Copy, Shareable)]
/// #[repr(C)]
/// struct Account {
///     lock: LockWord,
///     cents: i64,
/// }
///
/// let accounts = Records::new(SharedArray::<Account>::zeroed(1000)?, field!(Account.lock))?;
/// accounts.lock(7)?.update(|account| account.cents += 100)?;
/// assert_eq!(accounts.lock(7)?.get()?.cents, 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Records<T> {
    array: SharedArray<T>,
    /// Knows the names that stand in the locks; its first word says which names these are.
    names: Slot,
    /// Where in a record its lock is: checked to be within.
    offset: usize,
}

impl<T: Shareable> Records<T> {
    /// The records of an array, which are locked by this field from now on.
    ///
    /// # Errors
    /// [`LockError::Memory`] for an array that cannot be written to, or whose locks are at no multiple of eight bytes;
    /// [`LockError::Arena`] when there is no memory or no descriptor.
    #[expect(clippy::needless_pass_by_value, reason = "what the macro makes is used once")]
    pub fn new(array: SharedArray<T>, field: LockField<T>) -> Result<Self, LockError> {
        let names = Slot::allocate(size_of::<u64>(), KIND)?;
        let action = "choose a number for the names of";
        let number = random_bytes().map_err(|error| ArenaError::System { action, error })?;
        // Zero says that a lock has none.
        names.words()[0].store(u64::from_ne_bytes(number).max(1), Relaxed);
        Self::over(array, names, field.offset)
    }

    /// Records as they may have come in a message.
    fn over(array: SharedArray<T>, names: Slot, offset: usize) -> Result<Self, LockError> {
        let names = names.expect(KIND)?;
        if names.words().is_empty() {
            return Err(ArenaError::Foreign { reason: "records have no names" }.into());
        }
        let size = size_of::<T>();
        if offset.checked_add(size_of::<LockWord>()).is_none_or(|end| end > size) {
            return Err(ShmError::OutOfRange { at: offset, len: size_of::<LockWord>(), size }.into());
        }
        // Also that it can be written to, and that it is aligned: what suits the first element and the struct suits all.
        if !array.is_empty() {
            array.atomic_u64(0, offset)?;
        }
        if !size.is_multiple_of(align_of::<LockWord>()) {
            return Err(ShmError::Misaligned { at: size, align: align_of::<LockWord>(), type_name: "LockWord" }.into());
        }
        Ok(Self { array, names, offset })
    }

    /// Waits until a record's lock is free and takes it.
    ///
    /// # Errors
    /// [`LockError::Memory`] for an index that there is none of; [`LockError::OwnerDied`] with the guard,
    /// [`LockError::HeldByThisThread`]; [`LockError::OtherNames`] for a lock that was taken through other records;
    /// [`LockError::Arena`] in a forked child whose handles could not be counted.
    pub fn lock(&self, index: usize) -> Result<RecordGuard<'_, T>, LockError<RecordGuard<'static, T>>> {
        self.take(index, Wait::Until(Deadline::NEVER))
    }

    /// Takes a record's lock if it is free, or its holder dead.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], also for a thread that holds it itself; otherwise as [`lock`](Self::lock).
    pub fn try_lock(&self, index: usize) -> Result<RecordGuard<'_, T>, LockError<RecordGuard<'static, T>>> {
        self.take(index, Wait::Not)
    }

    /// Waits until a record's lock is free, for so long at most, and takes it.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; otherwise as [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        index: usize,
        timeout: Duration,
    ) -> Result<RecordGuard<'_, T>, LockError<RecordGuard<'static, T>>> {
        self.take(index, Wait::Until(Deadline::after(timeout)))
    }

    fn take(&self, index: usize, wait: Wait) -> Result<RecordGuard<'_, T>, LockError<RecordGuard<'static, T>>> {
        let [word, names, since] = self.words(index)?;
        self.check_names(names).map_err(LockError::without_guard)?;
        let own = Held::by(self.names.own_name()?, thread_id());
        let taken = if lock::take_free(word, own) {
            since.store(0, Relaxed);
            Taken::Free
        } else {
            let taken = self.wait(word, since, own, wait).map_err(LockError::without_guard)?;
            since.store(procession_sys::monotonic_nanos(), Relaxed);
            taken
        };
        let guard = RecordGuard { records: Keep::borrowed(self), own, index, _not_send: PhantomData };
        match taken {
            Taken::Free => Ok(guard),
            Taken::FromDead => Err(LockError::OwnerDied(guard.detach())),
        }
    }

    #[cold]
    fn wait(&self, word: &AtomicU64, since: &AtomicU64, own: Held, wait: Wait) -> Result<Taken, LockError> {
        let deadline = match wait {
            Wait::Not => {
                let taken = lock::try_take(&Kernel::new(&self.names, Deadline::NOW), word, own);
                return taken.map_err(|_| LockError::WouldBlock);
            }
            Wait::Until(deadline) => deadline,
        };
        crate::lock::held_since(since);
        lock::take(&Kernel::new(&self.names, deadline), word, own).map_err(|refused| match refused {
            Refused::Held => LockError::Timeout,
            Refused::HeldBySelf => LockError::HeldByThisThread,
        })
    }

    /// A record's lock: its word, whose names it has, and since when it is held.
    fn words(&self, index: usize) -> Result<[&AtomicU64; 3], ShmError> {
        let [word, names, since] = [0, size_of::<u64>(), 2 * size_of::<u64>()];
        let at = |byte| self.array.atomic_u64(index, self.offset + byte);
        Ok([at(word)?, at(names)?, at(since)?])
    }

    /// Has a lock take the names of these records, unless it has others.
    fn check_names(&self, names: &AtomicU64) -> Result<(), LockError> {
        let own = self.names.words()[0].load(Relaxed);
        match names.load(Relaxed) {
            seen if seen == own => Ok(()),
            0 => match names.compare_exchange(0, own, Relaxed, Relaxed) {
                Err(seen) if seen != own => Err(LockError::OtherNames),
                _ => Ok(()),
            },
            _ => Err(LockError::OtherNames),
        }
    }

    /// Who holds a record's lock; `None` when it is free. It may be somebody else's when this returns.
    ///
    /// # Errors
    /// [`LockError::Memory`] for an index that there is none of.
    pub fn holder(&self, index: usize) -> Result<Option<Holder>, LockError> {
        let [word, _, since] = self.words(index)?;
        Ok(held_by(&self.names, word, since))
    }

    /// How many threads sleep until a record's lock is free, in all processes.
    ///
    /// # Errors
    /// [`LockError::Memory`] for an index that there is none of.
    pub fn waiters(&self, index: usize) -> Result<usize, LockError> {
        let [word, ..] = self.words(index)?;
        Ok(futex_sleepers(lower_half(word)).unwrap_or(0))
    }

    /// The array, by which records can be read without their locks. Writing whole records to it overwrites the locks.
    #[must_use]
    pub fn array(&self) -> &SharedArray<T> {
        &self.array
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }

    /// Writes all of a record but its lock.
    fn write(&self, index: usize, value: &T) -> Result<(), ShmError> {
        let bytes = bytes_of(std::slice::from_ref(value));
        let (before, after) = (self.offset, self.offset + size_of::<LockWord>());
        let at = self.array.byte_offset() + index * size_of::<T>();
        self.array.memory().write(at, &bytes[..before])?;
        self.array.memory().write(at + after, &bytes[after..])
    }
}

/// A record of which the lock is held; dropping this frees it.
///
/// It stays with its thread, by whose number the lock is held. In a forked child the copy of a guard is inert: the
/// parent holds the lock, and what the copy is asked is refused.
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct RecordGuard<'a, T: Shareable> {
    records: Keep<'a, Records<T>>,
    own: Held,
    index: usize,
    _not_send: PhantomData<*const ()>,
}

impl<T: Shareable> RecordGuard<'_, T> {
    /// A copy of the record; what stands in its lock's field means nothing.
    ///
    /// # Errors
    /// [`LockError::Memory`] for bits that are no `T`; [`LockError::NotItsLock`] in a forked child.
    pub fn get(&self) -> Result<T, LockError> {
        self.check_own()?;
        Ok(self.records.array.get(self.index)?)
    }

    /// Replaces the record, all but its lock, whatever bits were there.
    ///
    /// # Errors
    /// [`LockError::NotItsLock`] in a forked child.
    pub fn set(&mut self, value: &T) -> Result<(), LockError> {
        self.check_own()?;
        Ok(self.records.write(self.index, value)?)
    }

    /// Changes the record: reads it, lets it be changed, and writes it back, all but its lock. If the closure panics,
    /// nothing is written.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError> {
        let mut value = self.get()?;
        let result = change(&mut value);
        self.set(&value)?;
        Ok(result)
    }

    /// Which one it is.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    fn check_own(&self) -> Result<(), LockError> {
        if self.is_own() { Ok(()) } else { Err(LockError::NotItsLock) }
    }

    /// False for a copy in a forked child.
    fn is_own(&self) -> bool {
        self.records.names.own_name().ok() == self.own.owner()
    }

    /// The same guard with a handle of its own.
    fn detach(self) -> RecordGuard<'static, T> {
        let Self { own, index, .. } = self;
        let detached = RecordGuard { records: self.records.detach(), own, index, _not_send: PhantomData };
        std::mem::forget(self); // It borrows, so there is nothing to drop; the lock is the other one's to free.
        detached
    }
}

impl<T: Shareable> Drop for RecordGuard<'_, T> {
    fn drop(&mut self) {
        let Ok([word, ..]) = self.records.words(self.index) else { return };
        if self.is_own() && !lock::give_unmarked(word, self.own) {
            lock::give(&Kernel::new(&self.records.names, Deadline::NEVER), word, self.own);
        }
    }
}

impl<T: Shareable> fmt::Debug for RecordGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordGuard").field("index", &self.index).finish_non_exhaustive()
    }
}

impl<T: Shareable> From<LockError<RecordGuard<'static, T>>> for LockError {
    fn from(error: LockError<RecordGuard<'static, T>>) -> Self {
        error.map(drop)
    }
}

impl<T> Clone for Records<T> {
    fn clone(&self) -> Self {
        Self { array: self.array.clone(), names: self.names.clone(), offset: self.offset }
    }
}

impl<T> fmt::Debug for Records<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("array", &self.array).finish_non_exhaustive()
    }
}

impl<T: Shareable> Serialize for Records<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.array, &self.names, self.offset as u64).serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for Records<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (array, names, offset) = <(SharedArray<T>, Slot, u64)>::deserialize(deserializer)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Self::over(array, names, offset).map_err(de::Error::custom)
    }
}
