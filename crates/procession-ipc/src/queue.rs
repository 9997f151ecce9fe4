//! The queue: what processes put and take, each item once.
//!
//! Relies on `handle.rs` for all that it does.

use std::fmt;
use std::time::Duration;

use procession_sys::Deadline;
use procession_wire::bulk::Number;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::store::Usage;

use crate::builder::{QueueBuilder, UNBOUNDED, bounded};
use crate::ends::Sides;
use crate::handle::Handle;
use crate::items::Kind;
use crate::lent::{Lent, Loan, lent};
use crate::sides::{Consumer, Producer};
use crate::wait::{Waitable, Watch};
use crate::{GetError, PutError, QueueError};

/// A queue of items between processes: any of them puts, any of them takes, each item is taken once.
///
/// A handle, whose clones are the same queue; passed to a child, or put into a queue, it is so there as well. What one
/// thread has put comes out in its order. An item is made bytes by whoever puts it: when `put` has returned, it is in the
/// queue for all processes, whatever becomes of its own, and `len`, `is_empty` and `is_full` say so. Descriptors, and handles
/// of whatever this library shares, travel inside items. There is no thread behind a queue.
///
/// Here anybody may do both. [`split`](Self::split) gives handles of one side, which know for certain when the other is gone.
///
/// # When a process dies
/// An item is put or it is not, and taken once or not at all, at whatever instant a process is killed; what it held of the
/// queue's memory comes back, and nobody waits longer for it than 100 ms. An item that a process had taken is gone with it:
/// [`JoinableQueue`](crate::JoinableQueue) tells of these.
///
/// A forked child has the queue as another process.
///
/// # Python
/// `multiprocessing.Queue`, which has a thread that sends what was put; so `close` loses nothing here, and there is no
/// `join_thread` or `cancel_join_thread`. `maxsize=0` is [`Queue::unbounded`].
///
/// # Examples
/// ```
/// use procession_ipc::Queue;
///
/// let queue = Queue::<String>::bounded(5)?;
/// queue.put("one".to_owned())?; // Or another process, to which a clone of the queue was passed.
/// assert_eq!(queue.len(), 1);
/// assert_eq!(queue.get()?, "one");
/// assert!(queue.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T>(pub(crate) Handle<T>);

impl<T: Serialize + DeserializeOwned + 'static> Queue<T> {
    /// A queue that holds at most so many items, from 1 to [`QUEUE_ITEMS_MAX`](crate::QUEUE_ITEMS_MAX), and
    /// [`QUEUE_BYTES`](crate::QUEUE_BYTES) of them.
    ///
    /// # Errors
    /// [`QueueError::Items`] for a number that is not possible, such as zero, where Python's queues are without a bound: say
    /// [`Queue::unbounded`]. [`QueueError::Arena`] and [`QueueError::System`] when there is no memory or no descriptor for
    /// it.
    pub fn bounded(items: usize) -> Result<Self, QueueError> {
        Handle::create(Kind::Queue, bounded(items)?).map(Self)
    }

    /// A queue that holds as many items as come, up to [`QUEUE_BYTES`](crate::QUEUE_BYTES) of them; then it is full.
    ///
    /// # Errors
    /// [`QueueError::Arena`] and [`QueueError::System`] when there is no memory or no descriptor for it.
    pub fn unbounded() -> Result<Self, QueueError> {
        Handle::create(Kind::Queue, UNBOUNDED).map(Self)
    }

    /// Puts an item, as soon as there is room for it.
    ///
    /// # Errors
    /// The item comes back in all of them. [`PutError::Encode`] for what cannot travel; [`PutError::Closed`] after
    /// [`close`](Self::close); [`PutError::System`] when the system has no memory or no descriptors for it;
    /// [`PutError::Corrupt`] when a peer has spoiled the queue's memory. [`PutError::Disconnected`] when there is no room
    /// and nobody else who could make any, as with [`get`](Self::get).
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::NEVER)
    }

    /// Puts an item if there is room for it.
    ///
    /// It waits while another process is just putting one, which takes microseconds, unless that process is stopped: then
    /// 100 ms at most.
    ///
    /// # Errors
    /// [`PutError::Full`]; otherwise as [`put`](Self::put), but never [`PutError::Disconnected`].
    ///
    /// # Python
    /// `put_nowait`.
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::NOW)
    }

    /// Puts an item, if there is room for it within so long.
    ///
    /// # Errors
    /// As [`try_put`](Self::try_put).
    ///
    /// # Python
    /// `put(item, timeout=seconds)`.
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::after(timeout))
    }

    /// Takes an item, as soon as there is one.
    ///
    /// # Errors
    /// [`GetError::Closed`] after [`close`](Self::close); [`GetError::Decode`] for an item that is no `T`, which is gone then;
    /// [`GetError::System`] when there are no descriptors or no memory for it, and it is still there;
    /// [`GetError::Corrupt`] when a peer has spoiled the queue's memory. [`GetError::Disconnected`] when there is no item
    /// and nobody else who could put one: no other process has the queue, no message holds it, and in this process there is
    /// one handle, which no other thread has ever used. Where there are other threads, which might have a reference to it
    /// and be about to use it, this is told after half a second. So have each thread use a clone of its own, or better,
    /// [`split`](Self::split) the queue: then the kernel knows.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{GetError, Queue};
    ///
    /// let queue = Queue::<u8>::unbounded()?;
    /// assert!(matches!(queue.get(), Err(GetError::Disconnected)));
    /// # Ok::<(), procession_ipc::QueueError>(())
    /// ```
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get(Deadline::NEVER)
    }

    /// Takes an item if there is one.
    ///
    /// It waits while another process is just taking one, which takes microseconds, unless that process is stopped: then
    /// 100 ms at most.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get`](Self::get), but never [`GetError::Disconnected`].
    ///
    /// # Python
    /// `get_nowait`.
    pub fn try_get(&self) -> Result<T, GetError> {
        self.0.get(Deadline::NOW)
    }

    /// Takes an item, if there is one within so long.
    ///
    /// # Errors
    /// [`GetError::Timeout`]; otherwise as [`try_get`](Self::try_get).
    ///
    /// # Python
    /// `get(timeout=seconds)`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.0.get(Deadline::after(timeout))
    }
}

impl<T> Queue<T> {
    /// A queue with limits of one's own.
    #[must_use]
    pub fn builder() -> QueueBuilder<T> {
        QueueBuilder::new()
    }

    /// Handles of one side each, in place of this one.
    ///
    /// A [`Consumer`] is told as soon as there is no producer any more, and a [`Producer`] when there is no consumer. For
    /// that, drop what is not used: a two-sided handle counts for both, as does one in a message that nobody has received, and
    /// a forked child has all handles that its parent had.
    ///
    /// # Errors
    /// [`QueueError::Closed`]; [`QueueError::System`] when there are no descriptors. The handle is gone then, as is the queue
    /// if nobody else has one.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{GetError, Queue};
    ///
    /// let (producer, consumer) = Queue::<u32>::bounded(10)?.split()?;
    /// producer.put(7)?;
    /// drop(producer);
    /// assert_eq!(consumer.get()?, 7);
    /// assert!(matches!(consumer.get(), Err(GetError::Disconnected)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> Result<(Producer<T>, Consumer<T>), QueueError> {
        Ok((self.producer()?, self.consumer()?))
    }

    /// A handle of the producers' side, beside this one.
    ///
    /// # Errors
    /// As [`split`](Self::split).
    pub fn producer(&self) -> Result<Producer<T>, QueueError> {
        self.0.with(Sides::Producers).map(Producer)
    }

    /// A handle of the consumers' side, beside this one.
    ///
    /// # Errors
    /// As [`split`](Self::split).
    pub fn consumer(&self) -> Result<Consumer<T>, QueueError> {
        self.0.with(Sides::Consumers).map(Consumer)
    }

    /// How many items there are, at this instant: others may put and take.
    ///
    /// # Python
    /// `qsize`, which counts what was not sent yet as well.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none, at this instant. Also for a queue that this process has closed.
    ///
    /// # Python
    /// `empty`, which may say so right after a `put`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items it holds at most; `None` for one that is bounded by bytes alone.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.0.capacity()
    }

    /// True if it holds as many items as it may, at this instant; never for one that is bounded by bytes alone.
    ///
    /// # Python
    /// `full`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// How the queue's memory is used, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.usage()
    }

    /// Lets go of the queue in this process: this handle and its clones put and take no more, and for the others this
    /// process is gone. What was put is still there for them.
    ///
    /// Threads of this process that wait are told within 100 ms. Closing twice is the same as once. A handle that was made
    /// of this one by [`producer`](Self::producer) or [`consumer`](Self::consumer), or came in a message, is another one.
    ///
    /// # Python
    /// `close`.
    pub fn close(&self) {
        self.0.items.close();
    }
}

impl<N: Number + Serialize + DeserializeOwned> Queue<Vec<N>> {
    /// Takes an item, as soon as there is one, and leaves its numbers where they are.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_lent(&self) -> Result<Lent<N>, GetError> {
        self.0.items.get(Deadline::NEVER, 1, lent)
    }

    /// Takes an item if there is one, and leaves its numbers where they are.
    ///
    /// # Errors
    /// As [`try_get`](Self::try_get).
    pub fn try_get_lent(&self) -> Result<Lent<N>, GetError> {
        self.0.items.get(Deadline::NOW, 1, lent)
    }

    /// Takes an item, if there is one within so long, and leaves its numbers where they are.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout).
    pub fn get_lent_timeout(&self, timeout: Duration) -> Result<Lent<N>, GetError> {
        self.0.items.get(Deadline::after(timeout), 1, lent)
    }

    /// Memory of the queue for an item of so many numbers, as soon as there is any.
    ///
    /// # Errors
    /// As [`put`](Self::put), without an item.
    pub fn lend(&self, len: usize) -> Result<Loan<N>, PutError<()>> {
        Loan::of(&self.0, len, Deadline::NEVER)
    }

    /// Memory of the queue for an item of so many numbers, if there is any.
    ///
    /// # Errors
    /// As [`try_put`](Self::try_put), without an item.
    pub fn try_lend(&self, len: usize) -> Result<Loan<N>, PutError<()>> {
        Loan::of(&self.0, len, Deadline::NOW)
    }

    /// Memory of the queue for an item of so many numbers, if there is any within so long.
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout), without an item.
    pub fn lend_timeout(&self, len: usize, timeout: Duration) -> Result<Loan<N>, PutError<()>> {
        Loan::of(&self.0, len, Deadline::after(timeout))
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Queue", f)
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::receive(deserializer, Kind::Queue, Sides::Both).map(Self)
    }
}

/// Ready as soon as there is an item, and after `close`.
impl<T> Waitable for Queue<T> {
    fn watch(&self) -> Watch<'_> {
        self.0.watch()
    }
}
