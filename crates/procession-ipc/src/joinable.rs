//! A queue that knows which items are done.
//!
//! Relies on `handle.rs` for the queue, and on `accounts.rs` for what was taken and is not done.

use std::fmt;
use std::time::Duration;

use procession_sys::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::accounts;
use crate::builder::{UNBOUNDED, bounded};
use crate::ends::Sides;
use crate::handle::Handle;
use crate::items::Kind;
use crate::wait::{Waitable, Watch};
use crate::{GetError, PutError, QueueError, UnfinishedError};

/// A queue of items of which the takers say when they are done, so that one can wait until all are.
///
/// Whoever takes an item calls [`task_done`](Self::task_done) when it has done what the item asks for.
/// [`join`](Self::join) waits until that was said of all items that were put. Everything else is as with a
/// [`Queue`](crate::Queue), which a handle of this is not.
///
/// # When a process dies
/// Whatever it had taken and not said to be done is reported, once, to whoever [joins](Self::join): so nobody waits for ever,
/// and nothing counts as done in silence. An item is in the queue or taken, at whatever instant its taker is killed.
///
/// # Python
/// `multiprocessing.JoinableQueue`, where `join` waits for ever after a worker has died.
///
/// # Examples
/// ```
/// use procession_ipc::JoinableQueue;
///
/// let queue = JoinableQueue::<u32>::bounded(10)?;
/// queue.put(7)?;
/// assert_eq!(queue.get()?, 7); // Or another process, to which a clone of the queue was passed.
/// queue.task_done()?;
/// queue.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T>(pub(crate) Handle<T>);

impl<T: Serialize + DeserializeOwned + 'static> JoinableQueue<T> {
    /// A queue that holds at most so many items.
    ///
    /// # Errors
    /// As [`Queue::bounded`](crate::Queue::bounded).
    pub fn bounded(items: usize) -> Result<Self, QueueError> {
        Handle::create(Kind::Joinable, bounded(items)?).map(Self)
    }

    /// A queue that holds as many items as come, up to [`QUEUE_BYTES`](crate::QUEUE_BYTES) of them.
    ///
    /// # Errors
    /// As [`Queue::unbounded`](crate::Queue::unbounded).
    pub fn unbounded() -> Result<Self, QueueError> {
        Handle::create(Kind::Joinable, UNBOUNDED).map(Self)
    }

    /// Puts an item, as soon as there is room for it.
    ///
    /// # Errors
    /// As [`Queue::put`](crate::Queue::put).
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::NEVER)
    }

    /// Puts an item if there is room for it.
    ///
    /// # Errors
    /// As [`Queue::try_put`](crate::Queue::try_put).
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::NOW)
    }

    /// Puts an item, if there is room for it within so long.
    ///
    /// # Errors
    /// As [`Queue::put_timeout`](crate::Queue::put_timeout).
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::after(timeout))
    }

    /// Takes an item, as soon as there is one, and enters it in this process's account.
    ///
    /// # Errors
    /// As [`Queue::get`](crate::Queue::get). [`GetError::System`] as well when this process has
    /// [`TAKEN_MAX`](crate::TAKEN_MAX) items that are not done, or [`TAKERS_MAX`](crate::TAKERS_MAX) others have some; the
    /// item is still there. One that was taken and is no `T` counts as taken.
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get(Deadline::NEVER)
    }

    /// Takes an item if there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`Queue::try_get`](crate::Queue::try_get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.0.get(Deadline::NOW)
    }

    /// Takes an item, if there is one within so long.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`Queue::get_timeout`](crate::Queue::get_timeout).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.0.get(Deadline::after(timeout))
    }
}

impl<T> JoinableQueue<T> {
    /// Says that one item is done that was taken: one of this process's, or if it has none, of any other's.
    ///
    /// # Errors
    /// [`UnfinishedError::TooOften`] when all that were taken are done; [`UnfinishedError::Arena`] in a forked child whose handles could
    /// not be counted.
    ///
    /// # Python
    /// `task_done`, whose error is a ValueError, and which counts what was put instead.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{JoinableQueue, UnfinishedError};
    ///
    /// let queue = JoinableQueue::<u32>::unbounded()?;
    /// assert!(matches!(queue.task_done(), Err(UnfinishedError::TooOften)));
    /// # Ok::<(), procession_ipc::QueueError>(())
    /// ```
    pub fn task_done(&self) -> Result<(), UnfinishedError> {
        self.0.items.users.note();
        self.0.items.accounts().task_done(&self.0.items.channel)
    }

    /// How many items were put and are not done, at this instant.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        accounts::unfinished(&self.0.items.channel) as usize
    }

    /// Waits until all items that were put were taken and are done.
    ///
    /// # Errors
    /// [`UnfinishedError::Lost`] when a process is found that has ended with items that it had taken and not done, within 100 ms:
    /// they count as finished from then on, so the next call waits for the others. Each such process is reported once, to
    /// one of those that wait. [`UnfinishedError::Disconnected`] when there are items and nobody else who could take them, as with
    /// [`Queue::get`](crate::Queue::get).
    ///
    /// # Python
    /// `join`.
    pub fn join(&self) -> Result<(), UnfinishedError> {
        self.join_until(Deadline::NEVER)
    }

    /// Whether all items that were put were taken and are done.
    ///
    /// # Errors
    /// [`UnfinishedError::WouldBlock`] when they are not; [`UnfinishedError::Lost`] as [`join`](Self::join).
    pub fn try_join(&self) -> Result<(), UnfinishedError> {
        self.join_until(Deadline::NOW)
    }

    /// Waits, for so long at most, until all items that were put were taken and are done.
    ///
    /// # Errors
    /// [`UnfinishedError::Timeout`]; [`UnfinishedError::Lost`] as [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), UnfinishedError> {
        self.join_until(Deadline::after(timeout))
    }

    fn join_until(&self, deadline: Deadline) -> Result<(), UnfinishedError> {
        self.0.items.users.note();
        self.0.items.accounts().join(&self.0.items, deadline)
    }

    /// How many items there are that nobody has taken, at this instant.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none, at this instant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items it holds at most; `None` for one that is bounded by bytes alone.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.0.capacity()
    }

    /// True if it holds as many items as it may, at this instant.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Lets go of the queue in this process: as [`Queue::close`](crate::Queue::close). What was taken can still be said to be
    /// done, and waited for.
    pub fn close(&self) {
        self.0.items.close();
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("JoinableQueue", f)
    }
}

impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::receive(deserializer, Kind::Joinable, Sides::Both).map(Self)
    }
}

/// Ready as soon as there is an item, and after `close`.
impl<T> Waitable for JoinableQueue<T> {
    fn watch(&self) -> Watch<'_> {
        self.0.watch()
    }
}
