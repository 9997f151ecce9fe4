//! Many small slots to a segment, for building what processes share: locks, counters, events.
//!
//! A [`Slot`] is a few bytes of zeros that every process sees to which the handle is passed. It costs no descriptor and
//! no mapping of its own: the slots of a process lie in an *arena*, one sparse memory file of which each process that
//! uses it has one descriptor and one mapping. When the last handle in the last process is dropped, the slot is free for
//! another; with the last handle of all its slots an arena is gone.
//!
//! # Who holds a slot
//!
//! - **A process** is an *owner* of the arena: it has a number, and a count of references for each slot. It is one for as
//!   long as it has a lock on its number's byte, through an open file description of its own. The kernel drops the lock
//!   when the process dies, however that happens, or executes another program. Whoever gets the lock of an owner that has
//!   left counts behind clears them first.
//! - **A message** that is under way holds its slots by locks of its own open file description of the arena, one
//!   description for all slots of a message. They are dropped when it is thrown away unread, wherever it is, and the
//!   slots are free for whoever next runs out of them.
//! - **A forked child** is an owner before it exists: its parent counts for it what it is going to have.
//!
//! # How a slot is freed
//!
//! Nobody waits for another process, and a kill at any instant leaves what the others can go on with:
//!
//! - *Two drop the last references at the same time.* Each gives up its own and then looks at all counts. Who looks last
//!   sees none, and frees.
//! - *Who frees is interrupted.* The slot's state says that somebody looks, and since when. Anyone else who comes
//!   takes over by a new stamp; the exchange of who was interrupted then fails.
//! - *A reference moves while somebody looks.* Who adds one counts it first and then takes the state back to "live", so
//!   the exchange of who looked before fails. Who sends one locks the slot before it gives up its own count, and who
//!   looks does so at counts first and locks then, so it sees the one or the other.
//! - *Who allocates is killed.* The slot is marked with its owner's number until it is ready; who recovers the owner
//!   frees it.
//! - *A handle outlives its slot.* It cannot by these rules; if a peer breaks them, the slot's generation tells.
//!
//! The states are a table in `arena/state.rs`, the bytes one in `arena/layout.rs`.
//!
//! Source: fcntl_locking(2), "Open file description locks"; memfd_create(2).
//!
//! # Examples
//! ```
//! use procession_shm::arena::Slot;
//! use std::sync::atomic::Ordering;
//!
//! const COUNTER: u64 = 0x636f_756e_7465_7201; // What tells counters from other objects.
//! let counter = Slot::allocate(8, COUNTER)?;
//! let same: Slot = procession_wire::decode(procession_wire::encode(&counter)?)?;
//! same.expect(COUNTER)?.atomic_u64(0)?.fetch_add(5, Ordering::Relaxed);
//! assert_eq!(counter.atomic_u64(0)?.load(Ordering::Relaxed), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod layout; // Where everything stands. Read this and the next two first.
mod owner;
mod state;

mod books;
mod fork;
mod process; // This process's arenas.
mod slot;

#[cfg(test)]
mod hostile; // What a peer may do to them.
#[cfg(test)]
mod model; // The books against lists, at random.
#[cfg(test)]
mod races; // The orders that the rules are for, one by one.

pub use error::ArenaError;
pub use layout::{OWNERS_MAX, SLOT_BYTES_MAX};
pub use owner::Owner;
pub use process::{Statistics, collect, statistics};
pub use slot::Slot;
