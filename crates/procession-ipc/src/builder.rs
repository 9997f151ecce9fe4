//! How much a queue holds, and the builder that says so.
//!
//! Relies on `store.rs` for what a store may be made for.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::QueueError;
use crate::handle::Handle;
use crate::items::Kind;
use crate::queue::Queue;
use crate::store::{Limits, STORE_BYTES_MAX, STORE_BYTES_MIN};

/// How many bytes of items a queue holds that was made without such a limit: 1 GiB.
///
/// It takes no more memory than there are items; this is what keeps one whose consumers have stopped from taking all there
/// is.
pub const QUEUE_BYTES: u64 = 1 << 30;

/// The fewest bytes that a queue may be limited to: 64 KiB, in which memory for small items is had.
pub const QUEUE_BYTES_MIN: u64 = STORE_BYTES_MIN;

/// The most bytes that a queue may be limited to: 1 TiB, of which twenty-four times as many addresses are taken, in each process.
pub const QUEUE_BYTES_MAX: u64 = STORE_BYTES_MAX;

/// The most items that a queue may be limited to: as many as the largest could hold of the smallest, of eight bytes each.
pub const QUEUE_ITEMS_MAX: u64 = QUEUE_BYTES_MAX / 8;

/// What a [`Queue`] is to be like: [`Queue::builder`].
///
/// # Examples
/// ```
/// use procession_ipc::Queue;
///
/// let queue = Queue::<u64>::builder().items(100).bytes(1 << 20).create()?;
/// assert_eq!(queue.capacity(), Some(100));
/// # Ok::<(), procession_ipc::QueueError>(())
/// ```
#[derive(Debug)]
pub struct QueueBuilder<T> {
    items: Option<u64>,
    bytes: u64,
    _of: PhantomData<fn(T) -> T>,
}

impl<T> QueueBuilder<T> {
    pub(crate) fn new() -> Self {
        Self { items: None, bytes: QUEUE_BYTES, _of: PhantomData }
    }

    /// At most so many items, from 1 to [`QUEUE_ITEMS_MAX`]; without this as many as there are bytes for.
    #[must_use]
    pub fn items(mut self, items: usize) -> Self {
        self.items = Some(items as u64);
        self
    }

    /// At most so many bytes of items, from [`QUEUE_BYTES_MIN`] to [`QUEUE_BYTES_MAX`]; without this [`QUEUE_BYTES`].
    ///
    /// An item counts for its encoded bytes, for 8 more, and for what fills that up to a multiple of eight; one whose bytes
    /// do not stand in the queue's ring, as there are more than 16 KiB, for its bytes alone. An item of any size can be put
    /// into a queue that is empty.
    ///
    /// What is lent does not count, but its memory is not there for items: a queue of which some four times its bytes are
    /// lent is full with no item in it, until something is given back.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}

impl<T: Serialize + DeserializeOwned + 'static> QueueBuilder<T> {
    /// Makes the queue.
    ///
    /// # Errors
    /// [`QueueError::Items`] and [`QueueError::Bytes`] for a limit that is not possible; [`QueueError::Arena`] and
    /// [`QueueError::System`] when there is no memory or no descriptor for it.
    pub fn create(self) -> Result<Queue<T>, QueueError> {
        Handle::create(Kind::Queue, limits(self.items, self.bytes)?).map(Queue)
    }
}

/// The limits of a queue that holds so many items at most, of [`QUEUE_BYTES`] together.
pub(crate) fn bounded(items: usize) -> Result<Limits, QueueError> {
    limits(Some(items as u64), QUEUE_BYTES)
}

/// The limits of a queue that holds [`QUEUE_BYTES`] of items.
pub(crate) const UNBOUNDED: Limits = Limits { items: UNLIMITED, bytes: QUEUE_BYTES };

/// More items than any queue holds.
pub(crate) const UNLIMITED: u64 = u64::MAX;

fn limits(items: Option<u64>, bytes: u64) -> Result<Limits, QueueError> {
    if let Some(items) = items.filter(|items| !(1..=QUEUE_ITEMS_MAX).contains(items)) {
        return Err(QueueError::Items { items });
    }
    if !(QUEUE_BYTES_MIN..=QUEUE_BYTES_MAX).contains(&bytes) {
        return Err(QueueError::Bytes { bytes });
    }
    Ok(Limits { items: items.unwrap_or(UNLIMITED), bytes })
}
