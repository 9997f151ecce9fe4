//! The ends of a pipe in one direction.
//!
//! Relies on `duplex.rs` for the ends, and on `values.rs` for what a value is as a message.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use procession_shm::derived::signature;
use procession_sys::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::duplex::End;
use crate::wait::{Waitable, Watch};
use crate::{RecvError, SendError, values};

/// The end of a pipe that sends; made by [`pipe_simplex`](crate::pipe_simplex).
///
/// What a [`Connection`](crate::Connection) promises of its messages, of clones, and of processes that die holds here.
///
/// # Python
/// `multiprocessing.connection.Connection` that was made with `duplex=False`.
///
/// # Examples
/// ```
/// use procession_ipc::pipe_simplex;
///
/// let (receiver, sender) = pipe_simplex::<[u8; 3]>()?;
/// sender.send(&[1, 2, 3])?;
/// assert_eq!(receiver.recv()?, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T> {
    pub(crate) end: Arc<End>,
    _of: PhantomData<fn(T)>,
}

/// The end of a pipe that receives; made by [`pipe_simplex`](crate::pipe_simplex).
///
/// What a [`Connection`](crate::Connection) promises of its messages, of clones, and of processes that die holds here.
///
/// # Python
/// `multiprocessing.connection.Connection` that was made with `duplex=False`.
///
/// # Examples
/// ```
/// use procession_ipc::pipe_simplex;
///
/// let (receiver, sender) = pipe_simplex::<u32>()?;
/// assert!(!receiver.poll()?);
/// sender.send(&7)?;
/// assert_eq!(receiver.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<T> {
    pub(crate) end: Arc<End>,
    _of: PhantomData<fn() -> T>,
}

impl<T: Serialize + 'static> Sender<T> {
    /// Sends a value. Waits while the pipe is full, which is with [`PIPE_BYTES`](crate::PIPE_BYTES).
    ///
    /// # Errors
    /// Those of [`Connection::send`](crate::Connection::send).
    ///
    /// # Python
    /// `Connection.send`.
    pub fn send(&self, value: &T) -> Result<(), SendError> {
        self.send_until(value, Deadline::NEVER)
    }

    /// As [`Sender::send`], if the pipe is not full.
    ///
    /// # Errors
    /// Those of [`Connection::try_send`](crate::Connection::try_send).
    pub fn try_send(&self, value: &T) -> Result<(), SendError> {
        self.send_until(value, Deadline::NOW)
    }

    /// As [`Sender::send`], waiting for so long at most.
    ///
    /// # Errors
    /// Those of [`Connection::send_timeout`](crate::Connection::send_timeout).
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.send_until(value, Deadline::after(timeout)).map_err(values::timed_out)
    }

    fn send_until(&self, value: &T, deadline: Deadline) -> Result<(), SendError> {
        values::send_by(&self.end, value, deadline)
    }
}

impl<T: DeserializeOwned + 'static> Receiver<T> {
    /// Receives a value. Waits for it.
    ///
    /// # Errors
    /// Those of [`Connection::recv`](crate::Connection::recv).
    ///
    /// # Python
    /// `Connection.recv`.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(Deadline::NEVER)
    }

    /// As [`Receiver::recv`], if a message is there.
    ///
    /// # Errors
    /// Those of [`Connection::try_recv`](crate::Connection::try_recv).
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.recv_until(Deadline::NOW)
    }

    /// As [`Receiver::recv`], waiting for so long at most.
    ///
    /// # Errors
    /// Those of [`Connection::recv_timeout`](crate::Connection::recv_timeout).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_until(Deadline::after(timeout)).map_err(values::came_late)
    }

    fn recv_until(&self, deadline: Deadline) -> Result<T, RecvError> {
        values::receive_by(&self.end, deadline)
    }
}

impl<T> Receiver<T> {
    /// Whether there is a message, or the stream has ended. Takes nothing away, and does not wait.
    ///
    /// # Errors
    /// [`RecvError::Closed`].
    ///
    /// # Python
    /// `Connection.poll`.
    pub fn poll(&self) -> Result<bool, RecvError> {
        self.poll_until(Deadline::NOW)
    }

    /// As [`Receiver::poll`]; waits for so long at most until there is something.
    ///
    /// # Errors
    /// [`RecvError::Closed`].
    ///
    /// # Python
    /// `Connection.poll(timeout)`; `None` there is `Duration::MAX`.
    pub fn poll_timeout(&self, timeout: Duration) -> Result<bool, RecvError> {
        self.poll_until(Deadline::after(timeout))
    }

    fn poll_until(&self, deadline: Deadline) -> Result<bool, RecvError> {
        self.end.poll(deadline).map_err(|unreceived| values::not_received(unreceived, deadline))
    }
}

impl<T> Waitable for Receiver<T> {
    fn watch(&self) -> Watch<'_> {
        self.end.watch()
    }
}

/// Implements what both ends do alike.
macro_rules! ends {
    ($($end:ident),*) => {$(
        impl<T> $end<T> {
            pub(crate) fn over(end: End) -> Self {
                Self { end: Arc::new(end), _of: PhantomData }
            }

            /// Closes the end in this process, for all clones. Calls in which other threads wait end with `Closed`. Other
            /// processes that have this end keep it. Closing it again does nothing; dropping the last handle does it, too.
            ///
            /// # Python
            /// `Connection.close`.
            pub fn close(&self) {
                self.end.close();
            }

            /// What an end says of itself when it travels, so that it arrives as what it is.
            fn types() -> u64 {
                signature(stringify!($end), &[signature(type_name::<T>(), &[])])
            }
        }

        impl<T> Clone for $end<T> {
            fn clone(&self) -> Self {
                Self { end: Arc::clone(&self.end), _of: PhantomData }
            }
        }

        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = f.debug_struct(stringify!($end));
                values::debug_end(text.field("of", &type_name::<T>()), &self.end)
            }
        }

        /// For arguments and messages: the receiver has this end as well. An error after `close`.
        impl<T> Serialize for $end<T> {
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                (Self::types(), &*self.end).serialize(serializer)
            }
        }

        /// An error for what was sent as something else, or as an end of another type.
        impl<'de, T> Deserialize<'de> for $end<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (types, end) = <(u64, End)>::deserialize(deserializer)?;
                if types != Self::types() {
                    return Err(de::Error::custom(values::other_types::<Self>()));
                }
                Ok(Self::over(end))
            }
        }
    )*};
}

ends!(Sender, Receiver);
