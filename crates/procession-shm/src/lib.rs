//! Memory that processes share: segments, typed arrays, lists that Python reads, an arena of small slots.
//!
//! Layer 2. Uses `procession-sys`, `procession-wire`, `procession-boot` and `procession-macros`. Used by everything
//! that keeps state in memory which several processes map.
//!
//! **Invariant:** shared memory is never `&T` or `&[u8]` unless `T` is made of atomics, nobody can write to it any more,
//! or a lock says so.
//! **Invariant:** no pointer that stands in shared memory is ever followed; every index and length in it is hostile
//! until checked.
//! **Invariant:** what has no name is counted by the kernel: it is gone with its last holder, however that ends.
//!
//! # Examples
//! ```
//! use procession_shm::SharedArray;
//!
//! let numbers = SharedArray::from_slice(&[1.0_f64, 2.0, 3.0])?; // A handle: passing it on copies no number.
//! numbers.set(1, 20.0)?;
//! assert_eq!(numbers.iter().sum::<f64>(), 24.0);
//! # Ok::<(), procession_shm::ShmError>(())
//! ```

#![doc(test(attr(deny(warnings))))]

extern crate self as procession_shm; // Derived code calls this crate by its name, also in here.

mod error;
mod shareable; // What may live in shared memory.

mod builder; // Segments of bytes,
mod memory;
mod names; // and those that have a name;

mod array; // segments of values,
mod frozen; // also such as nobody changes any more;
mod list; // and lists as Python has them.

pub mod arena; // Slots, for building what processes share.

pub use crate::array::{SharedArray, SharedElement, SharedIter, SharedIterMut, SharedPart, SharedParts, SharedTryIter};
pub use crate::builder::{HugePages, SharedMemoryBuilder};
pub use crate::error::ShmError;
pub use crate::frozen::{FreezeError, FrozenArray};
pub use crate::list::{LIST_ITEM_BYTES_MAX, LIST_ITEMS_MAX, ListError, ShareableItem, ShareableList};
pub use crate::memory::SharedMemory;
pub use crate::names::{NAMED_SEGMENTS_MAX, SEGMENT_NAME_BYTES_MAX, TRACKED_OWNERS_MAX, sweep};
pub use crate::shareable::{SHAREABLE_ALIGN_MAX, Shareable};
pub use procession_macros::Shareable;

/// What derived code calls.
#[doc(hidden)]
pub mod derived {
    pub use crate::shareable::signature;
}
