//! The typed end of a connection.
//!
//! Relies on `duplex.rs` for pipes, on `conduit.rs` for whatever else carries messages, and on `values.rs` for what a value
//! is as a message.

use std::any::type_name;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use procession_shm::derived::signature;
use procession_sys::{Deadline, StreamSocket};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::conduit::{Conduit, MESSAGE_BYTES, Origin};
use crate::duplex::End;
use crate::stream::Gone;
use crate::wait::{Waitable, Watch};
use crate::{Peer, RecvError, SendError, values};

/// One end of a connection, which sends `S` and receives `R`: of a [`pipe`](crate::pipe), or of a stream socket.
///
/// Messages arrive whole, in order, each once. They may be of any size: more than [`PIPE_BYTES`](crate::PIPE_BYTES) of them
/// in one direction wait for the peer to receive some, but a single message always goes. A message may hold whatever has
/// descriptors: other connections, queues, locks, files.
///
/// A clone is the same end, and so is one that was passed to a child, or received in a message; any number of processes and
/// threads may send and receive at once. Each message is received by one of them. An end may be sent on through any
/// connection, even through itself, while messages are under way in it.
///
/// # Crashes
/// Whoever is killed in the middle of a send has sent nothing, and costs no other anything; in the middle of a receive,
/// it has received its message or left it there. What was sent is received, whatever became of who has sent it. When
/// nobody holds the other end any more, `recv` gets [`RecvError::Disconnected`] after the last message; a `recv` that waits
/// hears of a killed peer within [`RECHECK`](procession_sync::RECHECK).
///
/// `send` gets [`SendError::Disconnected`] when nobody holds the other end: always when it is the first from this handle,
/// when it has to wait, and when a peer has dropped or closed the end, or exited in that way. Of peers that were killed
/// it hears after 256 messages at the latest, which go nowhere. That a message was sent does not mean that it was
/// received.
///
/// # Sockets
/// Over a stream socket, to a process that may be anybody's on any machine, values go as bytes, and that is all a stream
/// carries. So
///
/// - a value that holds a file, a queue, a lock or a connection is [`SendError::Descriptors`];
/// - a message of more bytes than the connection allows, [`MESSAGE_BYTES`](crate::MESSAGE_BYTES) if nothing else was said, is
///   [`SendError::TooLarge`] where it is sent and [`RecvError::TooLarge`] where it comes, before memory is taken for it;
/// - a peer that dies in the middle of a message is [`RecvError::Truncated`]; a message that was begun and not finished in
///   its time ends what can be sent, with [`SendError::Torn`];
/// - several processes that have one end take turns, and what [`BytesConnection`](crate::BytesConnection) says of sockets and
///   forked children holds.
///
/// What is received is checked, whoever has sent it; but nothing is encrypted, and a message that is no `R` by mistake may
/// look like one.
///
/// # Fork
/// A forked child has all ends that its parent had, as another process. The end of the stream comes when it has dropped
/// them, too.
///
/// # Python
/// `multiprocessing.connection.Connection`. In CPython several processes must not send, or receive, at once: their
/// messages mix.
///
/// # Examples
/// ```
/// use procession_ipc::{RecvError, pipe};
///
/// let (ours, theirs) = pipe::<(u32, String), bool>()?;
/// ours.send(&(7, "seven".to_owned()))?;
/// assert_eq!(theirs.recv()?, (7, "seven".to_owned()));
/// theirs.send(&true)?;
/// drop(theirs);
/// assert!(ours.recv()?);
/// assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection<S, R> {
    pub(crate) transport: Transport,
    _of: PhantomData<fn(S) -> R>,
}

/// What carries the messages.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// Memory that relatives share, without anything in between.
    Pipe(Arc<End>),
    Conduit(Arc<Conduit>),
}

/// How it travels.
#[derive(Serialize, Deserialize)]
enum Traveling<P, C> {
    Pipe(P),
    Conduit(C),
}

impl<S, R> Connection<S, R> {
    pub(crate) fn over_pipe(end: End) -> Self {
        Self::by(Transport::Pipe(Arc::new(end)))
    }

    /// Over a stream socket: messages of so many bytes at most, to and from `peer`.
    pub(crate) fn over_stream(socket: StreamSocket, message_bytes_max: u64, peer: Option<Peer>) -> Self {
        Self::over(Conduit::over_stream(socket, Origin { message_bytes_max, peer }))
    }

    /// Over a stream socket, or over what became of it.
    pub(crate) fn over(conduit: Conduit) -> Self {
        Self::by(Transport::Conduit(Arc::new(conduit)))
    }

    fn by(transport: Transport) -> Self {
        Self { transport, _of: PhantomData }
    }
}

impl<S: Serialize + 'static, R> Connection<S, R> {
    /// Sends a value. Waits while the pipe, or the socket, is full.
    ///
    /// Returns when the message is where the peer finds it: whatever becomes of this process, it can be received. With a
    /// socket it is in the system's hands.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] when the peer is gone, as the type's documentation says; [`SendError::Encode`] for a
    /// value that cannot be a message; [`SendError::Closed`]; those of sockets; [`SendError::System`] when no memory is left, no descriptor, or
    /// when the user has too many descriptors in messages that nobody has received (`ETOOMANYREFS`, getrlimit(2)). Nothing
    /// was sent then, and nothing of it is left behind.
    ///
    /// # Python
    /// `Connection.send`.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{SendError, pipe};
    ///
    /// let (ours, theirs) = pipe::<Vec<f64>, ()>()?;
    /// ours.send(&vec![0.5; 1 << 20])?; // Numbers go as they are in memory.
    /// assert_eq!(theirs.recv()?.len(), 1 << 20);
    /// drop(theirs);
    /// assert!(matches!(ours.send(&vec![1.0]), Err(SendError::Disconnected)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&self, value: &S) -> Result<(), SendError> {
        self.send_until(value, Deadline::NEVER)
    }

    /// As [`Connection::send`], if the pipe is not full. Over a socket see
    /// [`BytesConnection::try_send`](crate::BytesConnection::try_send): there a message may be torn.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`] when it is, or when others are sending for 100 ms. Otherwise as [`Connection::send`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{SendError, pipe};
    ///
    /// let (ours, _theirs) = pipe::<Vec<u8>, ()>()?;
    /// let megabyte = vec![0; 1 << 20];
    /// for _ in 0..64 {
    ///     ours.try_send(&megabyte)?;
    /// }
    /// assert!(matches!(ours.try_send(&megabyte), Err(SendError::WouldBlock)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send(&self, value: &S) -> Result<(), SendError> {
        self.send_until(value, Deadline::NOW)
    }

    /// As [`Connection::send`], waiting for so long at most. `Duration::ZERO` does not wait, `Duration::MAX` waits for ever.
    ///
    /// # Errors
    /// [`SendError::Timeout`]; nothing was sent then. Over a socket [`SendError::Torn`], when the time was over in the middle
    /// of the message. Otherwise as [`Connection::send`].
    pub fn send_timeout(&self, value: &S, timeout: Duration) -> Result<(), SendError> {
        self.send_until(value, Deadline::after(timeout)).map_err(values::timed_out)
    }

    /// Sends a value, which is never torn, to a peer that need not read: waits for so long at most until it can begin. False if
    /// it has begun over a socket and is not whole: the rest goes with [`Connection::finish`], or before the next value.
    #[doc(hidden)]
    pub fn begin(&self, value: &S, timeout: Duration) -> Result<bool, SendError> {
        match &self.transport {
            Transport::Pipe(_) => self.send_timeout(value, timeout).map(|()| true),
            Transport::Conduit(conduit) => {
                let gone = conduit.begin_value(value, Deadline::after(timeout)).map_err(values::timed_out)?;
                Ok(gone == Gone::Whole)
            }
        }
    }

    /// Sends the rest of a value that has begun, if one has; what is not sent in time stays the rest.
    #[doc(hidden)]
    pub fn finish(&self, timeout: Duration) -> Result<(), SendError> {
        match &self.transport {
            Transport::Pipe(_) => Ok(()),
            Transport::Conduit(conduit) => conduit.finish(Deadline::after(timeout)),
        }
    }

    /// How many bytes this process has sent over a socket, those of a value among them that is not whole: while this grows the
    /// peer reads, however long it takes. Zero for what is no socket, where nothing is half-way.
    #[doc(hidden)]
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        match &self.transport {
            Transport::Pipe(_) => 0,
            Transport::Conduit(conduit) => conduit.sent_bytes(),
        }
    }

    #[inline]
    fn send_until(&self, value: &S, deadline: Deadline) -> Result<(), SendError> {
        match &self.transport {
            Transport::Pipe(end) => values::send_by(end, value, deadline),
            Transport::Conduit(conduit) => conduit.send_value(value, deadline),
        }
    }
}

impl<S, R: DeserializeOwned + 'static> Connection<S, R> {
    /// Receives a value. Waits for it.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] when all was received and nobody holds the other end; [`RecvError::Decode`] for a message
    /// that is no `R`, or lacks a descriptor that it should have, and which is gone; [`RecvError::Closed`]; those of sockets;
    /// [`RecvError::System`], with which the message stays where it is, so when this process has too many files open for
    /// its descriptors (`EMFILE`).
    ///
    /// # Python
    /// `Connection.recv`; what is an `EOFError` there is [`RecvError::Disconnected`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{RecvError, pipe};
    ///
    /// let (ours, theirs) = pipe::<(), i32>()?;
    /// theirs.send(&5)?;
    /// theirs.close();
    /// assert_eq!(ours.recv()?, 5);
    /// assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<R, RecvError> {
        self.recv_until(Deadline::NEVER)
    }

    /// As [`Connection::recv`], if a message is there.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] when there is none, or when others are receiving for 100 ms. Otherwise as
    /// [`Connection::recv`].
    pub fn try_recv(&self) -> Result<R, RecvError> {
        self.recv_until(Deadline::NOW)
    }

    /// As [`Connection::recv`], waiting for so long at most. `Duration::ZERO` does not wait, `Duration::MAX` waits for ever.
    ///
    /// # Errors
    /// [`RecvError::Timeout`]. Otherwise as [`Connection::recv`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{RecvError, pipe};
    /// use std::time::Duration;
    ///
    /// let (ours, _theirs) = pipe::<(), i32>()?;
    /// assert!(matches!(ours.recv_timeout(Duration::from_millis(1)), Err(RecvError::Timeout)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvError> {
        self.recv_until(Deadline::after(timeout)).map_err(values::came_late)
    }

    #[inline]
    fn recv_until(&self, deadline: Deadline) -> Result<R, RecvError> {
        match &self.transport {
            Transport::Pipe(end) => values::receive_by(end, deadline),
            Transport::Conduit(conduit) => conduit.receive_value(deadline),
        }
    }
}

impl<S, R> Connection<S, R> {
    /// Whether there is a message, or the stream has ended. Takes nothing away, and does not wait.
    ///
    /// # Errors
    /// [`RecvError::Closed`].
    ///
    /// # Python
    /// `Connection.poll`.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::pipe;
    ///
    /// let (ours, theirs) = pipe::<(), String>()?;
    /// assert!(!ours.poll()?);
    /// theirs.send(&String::new())?;
    /// assert!(ours.poll()? && ours.poll()?);
    /// assert_eq!(ours.recv()?, "");
    /// drop(theirs);
    /// assert!(ours.poll()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll(&self) -> Result<bool, RecvError> {
        self.poll_until(Deadline::NOW)
    }

    /// As [`Connection::poll`]; waits for so long at most until there is something.
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
        match &self.transport {
            Transport::Pipe(end) => end.poll(deadline).map_err(|unreceived| values::not_received(unreceived, deadline)),
            Transport::Conduit(conduit) => conduit.poll(deadline),
        }
    }

    /// Closes the end in this process, for all clones. Calls in which other threads wait end with `Closed`. Other processes
    /// that have this end keep it. Closing it again does nothing.
    ///
    /// What the peer has sent and nobody has received is gone when nobody has this end any more. Dropping the last handle
    /// closes it, too.
    ///
    /// # Python
    /// `Connection.close`.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{RecvError, SendError, pipe};
    ///
    /// let (ours, theirs) = pipe::<u8, u8>()?;
    /// ours.close();
    /// assert!(matches!(ours.send(&1), Err(SendError::Closed)));
    /// assert!(matches!(theirs.recv(), Err(RecvError::Disconnected)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self) {
        match &self.transport {
            Transport::Pipe(end) => end.close(),
            Transport::Conduit(conduit) => conduit.close(),
        }
    }

    /// Whether values may hold descriptors: files, queues, locks, connections. So it is over memory that both processes
    /// share: with a pipe, and with a Unix socket through an address if both ends could; not with a stream.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::pipe;
    ///
    /// assert!(pipe::<u8, u8>()?.0.carries_descriptors());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn carries_descriptors(&self) -> bool {
        match &self.transport {
            Transport::Pipe(_) => true,
            Transport::Conduit(conduit) => conduit.carries_descriptors(),
        }
    }

    /// Who is at the other end, as far as the system told when the connection was made through an address; none for a pipe,
    /// and for a socket that was given.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::pipe;
    ///
    /// let (ours, _theirs) = pipe::<u8, u8>()?;
    /// assert_eq!(ours.peer(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        match &self.transport {
            Transport::Pipe(_) => None,
            Transport::Conduit(conduit) => conduit.peer(),
        }
    }
}

impl<S, R> Clone for Connection<S, R> {
    fn clone(&self) -> Self {
        Self::by(self.transport.clone())
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Connection");
        text.field("sends", &type_name::<S>()).field("receives", &type_name::<R>());
        match &self.transport {
            Transport::Pipe(end) => values::debug_end(&mut text, end),
            Transport::Conduit(conduit) => conduit.debug(&mut text),
        }
    }
}

impl<S, R> Waitable for Connection<S, R> {
    fn watch(&self) -> Watch<'_> {
        match &self.transport {
            Transport::Pipe(end) => end.watch(),
            Transport::Conduit(conduit) => conduit.watch(),
        }
    }
}

/// Messages of up to [`MESSAGE_BYTES`](crate::MESSAGE_BYTES) in both directions. Both ends must be this library's, on machines
/// of the same byte order, and of the same types: nothing checks that but the decoding of each message.
///
/// # Examples
/// ```
/// use procession_ipc::Connection;
/// use std::os::unix::net::UnixStream;
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let (ours, theirs) = (Connection::<u8, ()>::from(ours), Connection::<(), u8>::from(theirs));
/// ours.send(&7)?;
/// assert_eq!(theirs.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<S, R> From<UnixStream> for Connection<S, R> {
    fn from(socket: UnixStream) -> Self {
        Self::over_stream(socket.into(), MESSAGE_BYTES, None)
    }
}

/// As from a [`UnixStream`]. Options of the socket are set as [`BytesConnection`](crate::BytesConnection) says.
impl<S, R> From<TcpStream> for Connection<S, R> {
    fn from(socket: TcpStream) -> Self {
        Self::over_stream(socket.into(), MESSAGE_BYTES, None)
    }
}

impl<S, R> TryFrom<OwnedFd> for Connection<S, R> {
    type Error = io::Error;

    /// As from a [`UnixStream`].
    ///
    /// # Errors
    /// `ENOTSOCK` for what is no socket, `InvalidInput` for one that is no stream. Whether it is connected shows when it is
    /// used.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::over_stream(fd.try_into()?, MESSAGE_BYTES, None))
    }
}

/// What an end says of itself when it travels, so that it arrives as what it is.
fn types<S, R>() -> u64 {
    signature("Connection", &[signature(type_name::<S>(), &[]), signature(type_name::<R>(), &[])])
}

/// For arguments and messages: the receiver has this end as well. An error after [`Connection::close`].
impl<S, R> Serialize for Connection<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let transport = match &self.transport {
            Transport::Pipe(end) => Traveling::Pipe(&**end),
            Transport::Conduit(conduit) => Traveling::Conduit(&**conduit),
        };
        (types::<S, R>(), transport).serialize(serializer)
    }
}

/// An error for what was sent as something else, or as a connection of other types.
impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (types_sent, transport) = <(u64, Traveling<End, Conduit>)>::deserialize(deserializer)?;
        if types_sent != types::<S, R>() {
            return Err(de::Error::custom(values::other_types::<Self>()));
        }
        Ok(match transport {
            Traveling::Pipe(end) => Self::over_pipe(end),
            Traveling::Conduit(conduit) => Self::over(conduit),
        })
    }
}
