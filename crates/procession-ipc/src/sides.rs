//! Handles of one side of a queue.
//!
//! Relies on `handle.rs` for all that they do, and on the kernel, which knows whether anybody has the other end of a socket.

use std::fmt;
use std::time::Duration;

use procession_sys::Deadline;
use procession_wire::bulk::Number;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ends::Sides;
use crate::handle::Handle;
use crate::items::Kind;
use crate::lent::{Lent, Loan, lent};
use crate::wait::{Waitable, Watch};
use crate::{GetError, PutError};

/// The producers' side of a [`Queue`](crate::Queue): made by [`Queue::split`](crate::Queue::split) or
/// [`Queue::producer`](crate::Queue::producer).
///
/// A handle, whose clones are of the same queue; it may be passed to a child or put into a queue, as a [`Queue`](crate::Queue)
/// may.
///
/// # When the consumers are gone
/// A put that waits for room is [`PutError::Disconnected`] within 100 ms. One that has room looks at the first put of this
/// process, and then every 256 puts, so that many items may be put for nobody. What was put and not taken is lost with the
/// last handle of the queue.
///
/// # Examples
/// ```
/// use procession_ipc::{PutError, Queue};
///
/// let (producer, consumer) = Queue::<u32>::bounded(10)?.split()?;
/// drop(consumer);
/// assert!(matches!(producer.put(7), Err(PutError::Disconnected(7))));
/// # Ok::<(), procession_ipc::QueueError>(())
/// ```
pub struct Producer<T>(pub(crate) Handle<T>);

/// The consumers' side of a [`Queue`](crate::Queue): made by [`Queue::split`](crate::Queue::split) or
/// [`Queue::consumer`](crate::Queue::consumer).
///
/// A handle, whose clones are of the same queue; it may be passed to a child or put into a queue, as a [`Queue`](crate::Queue)
/// may.
///
/// # When the producers are gone
/// All that was put can be taken; after that every verb says [`GetError::Disconnected`], one that waits within 100 ms. The
/// kernel tells, also of those that were killed. A producer's handle in a message that nobody has received counts as one.
///
/// # Examples
/// ```
/// use procession_ipc::Queue;
///
/// let (producer, consumer) = Queue::<u32>::unbounded()?.split()?;
/// std::thread::spawn(move || (0..10).try_for_each(|n| producer.put(n))); // Or another process.
/// let mut sum = 0;
/// while let Ok(n) = consumer.get() {
///     sum += n;
/// }
/// assert_eq!(sum, 45);
/// # Ok::<(), procession_ipc::QueueError>(())
/// ```
pub struct Consumer<T>(pub(crate) Handle<T>);

impl<T: Serialize + 'static> Producer<T> {
    /// Puts an item, as soon as there is room for it.
    ///
    /// # Errors
    /// [`PutError::Disconnected`] when there is no consumer any more (see [above](Self)); otherwise as
    /// [`Queue::put`](crate::Queue::put).
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::NEVER)
    }

    /// Puts an item if there is room for it.
    ///
    /// # Errors
    /// [`PutError::Full`], also where another process that is putting is stopped; otherwise as [`put`](Self::put).
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::NOW)
    }

    /// Puts an item, if there is room for it within so long.
    ///
    /// # Errors
    /// As [`try_put`](Self::try_put).
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.0.put(item, Deadline::after(timeout))
    }
}

impl<N: Number + Serialize> Producer<Vec<N>> {
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

impl<T: DeserializeOwned + 'static> Consumer<T> {
    /// Takes an item, as soon as there is one.
    ///
    /// # Errors
    /// [`GetError::Disconnected`] when there is none, and no producer any more (see [above](Self)); otherwise as
    /// [`Queue::get`](crate::Queue::get).
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get(Deadline::NEVER)
    }

    /// Takes an item if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.0.get(Deadline::NOW)
    }

    /// Takes an item, if there is one within so long.
    ///
    /// # Errors
    /// [`GetError::Timeout`]; otherwise as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.0.get(Deadline::after(timeout))
    }
}

impl<N: Number + DeserializeOwned> Consumer<Vec<N>> {
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
}

/// What both sides can do.
macro_rules! sides {
    ($($name:ident, $sides:expr;)*) => {$(
        impl<T> $name<T> {
            /// How many items there are, at this instant: others may put and take.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// True if there are none, at this instant.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// How many items the queue holds at most; `None` for one that is bounded by bytes alone.
            #[must_use]
            pub fn capacity(&self) -> Option<usize> {
                self.0.capacity()
            }

            /// True if it holds as many items as it may, at this instant.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.0.is_full()
            }

            /// Lets go of this side in this process, for this handle and its clones; as
            /// [`Queue::close`](crate::Queue::close).
            pub fn close(&self) {
                self.0.items.close();
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.debug(stringify!($name), f)
            }
        }

        impl<T> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Handle::receive(deserializer, Kind::Queue, $sides).map(Self)
            }
        }
    )*};
}

sides! {
    Producer, Sides::Producers;
    Consumer, Sides::Consumers;
}

/// Ready as soon as there is an item, and when there is none and no producer any more, and after `close`.
impl<T> Waitable for Consumer<T> {
    fn watch(&self) -> Watch<'_> {
        self.0.watch()
    }
}
