//! A queue that does the least.
//!
//! Relies on `handle.rs` for all that it does.

use std::fmt;
use std::time::Duration;

use procession_sys::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::builder::UNBOUNDED;
use crate::ends::Sides;
use crate::handle::Handle;
use crate::items::Kind;
use crate::wait::{Waitable, Watch};
use crate::{GetError, PutError, QueueError};

/// A queue without a bound of items: put, take, and whether there are any.
///
/// It is a [`Queue`](crate::Queue) of which less is asked; a handle of one is not a handle of the other. It holds
/// [`QUEUE_BYTES`](crate::QUEUE_BYTES) of items, then `put` waits.
///
/// # Python
/// `multiprocessing.SimpleQueue`, which holds what a pipe does, and has no verbs that wait only for so long.
///
/// # Examples
/// ```
/// use procession_ipc::SimpleQueue;
///
/// let queue = SimpleQueue::<String>::new()?;
/// queue.put("one".to_owned())?;
/// assert_eq!(queue.get()?, "one");
/// assert!(queue.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SimpleQueue<T>(pub(crate) Handle<T>);

impl<T: Serialize + DeserializeOwned + 'static> SimpleQueue<T> {
    /// A queue without items.
    ///
    /// # Errors
    /// As [`Queue::unbounded`](crate::Queue::unbounded).
    pub fn new() -> Result<Self, QueueError> {
        Handle::create(Kind::Simple, UNBOUNDED).map(Self)
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

    /// Takes an item, as soon as there is one.
    ///
    /// # Errors
    /// As [`Queue::get`](crate::Queue::get).
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get(Deadline::NEVER)
    }

    /// Takes an item if there is one.
    ///
    /// # Errors
    /// As [`Queue::try_get`](crate::Queue::try_get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.0.get(Deadline::NOW)
    }

    /// Takes an item, if there is one within so long.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`](crate::Queue::get_timeout).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.0.get(Deadline::after(timeout))
    }
}

impl<T> SimpleQueue<T> {
    /// True if there are no items, at this instant. Also after [`close`](Self::close), where Python raises an error.
    ///
    /// # Python
    /// `empty`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Lets go of the queue in this process: as [`Queue::close`](crate::Queue::close).
    pub fn close(&self) {
        self.0.items.close();
    }
}

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("SimpleQueue", f)
    }
}

impl<T> Serialize for SimpleQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for SimpleQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::receive(deserializer, Kind::Simple, Sides::Both).map(Self)
    }
}

/// Ready as soon as there is an item, and after `close`.
impl<T> Waitable for SimpleQueue<T> {
    fn watch(&self) -> Watch<'_> {
        self.0.watch()
    }
}
