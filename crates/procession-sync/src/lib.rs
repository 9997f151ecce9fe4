//! Locks, semaphores, events, conditions, barriers and values that processes share, and that survive their holders.
//!
//! Layer 3. Uses `procession-sys`, `procession-wire` and `procession-shm`. Used by everything that processes do
//! together.
//!
//! **Invariant:** maps no memory itself; every object lives in a slot of shm's arena, or in a segment that it is given.
//! **Invariant:** no sleep is unbounded: who waits looks at its word, and at its holder's life, every [`RECHECK`].
//! **Invariant:** words of shared memory are hostile: at worst nobody gets any further.
//!
//! # Examples
//! ```
//! use procession_sync::Lock;
//!
//! let lock = Lock::new()?; // A handle: a child that gets it has the same lock.
//! let guard = lock.lock()?;
//! assert!(lock.try_lock().is_err());
//! drop(guard);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![doc(test(attr(deny(warnings))))]

mod error;

pub mod protocol; // What may become of the words, without a process or a system call. Read this first.
mod waiting; // The same with both.

mod spinning; // How long a thread waits without sleeping.

mod keep; // What guards have of their objects.
mod table; // Which processes have how much of an object.

#[cfg(test)]
mod hostile; // What peers may have written.

mod base; // What a condition needs of a lock.

mod barrier; // The objects.
mod condition;
mod event;
mod lock;
mod rlock;
mod rwlock;
mod semaphore;

mod cells; // Where values stand,
mod locked; // with a lock in front.

mod array;
mod guarded;
mod raw; // Without one.
mod records; // With one inside.
mod value;

pub use crate::array::{Array, ArrayGuard};
pub use crate::barrier::{Barrier, BarrierBuilder, BarrierTurn, PARTIES_MAX};
pub use crate::base::BaseLock;
pub use crate::condition::{Condition, WAITERS_MAX};
pub use crate::error::{BarrierError, LockError};
pub use crate::event::Event;
pub use crate::guarded::{Guard, Guarded};
pub use crate::lock::{Holder, Lock, LockGuard};
pub use crate::protocol::semaphore::PERMITS_MAX;
pub use crate::raw::{Number, RawArray, RawValue};
pub use crate::records::{LockField, LockWord, RecordGuard, Records};
pub use crate::rlock::{RLOCK_DEPTH_MAX, RLock, RLockGuard};
pub use crate::rwlock::{RwLock, RwLockBuilder, RwLockReadGuard, RwLockWriteGuard};
pub use crate::semaphore::{BoundedSemaphore, Permit, Semaphore, SemaphoreBuilder};
pub use crate::table::{HOLDERS, HOLDERS_MAX};
pub use crate::value::{Value, ValueGuard};
pub use crate::waiting::RECHECK;
