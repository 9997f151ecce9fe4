//! Messages of bytes, whatever carries them.
//!
//! Relies on `conduit.rs` for that.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use procession_sys::{Deadline, StreamSocket};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::conduit::{Conduit, Origin};
use crate::duplex::End;
use crate::wait::{Waitable, Watch};
use crate::{Peer, RecvError, SendError};

/// One end of a connection that carries messages of bytes, both ways, whole and in order.
///
/// Made by [`pipe_bytes`](crate::pipe_bytes), over memory that the processes share; or of a connected stream socket, whose
/// other end may be any program that writes the same frames: Python's `multiprocessing.connection` does. Messages may be
/// empty, and of any size unless whoever made the connection has set a limit; none is merged with its neighbor.
///
/// A clone is the same connection. Any number of threads may send and receive at once: each message goes out and comes
/// in whole. An end may be an argument or a message, and then several processes have it. With a pipe all of them may send
/// and receive at once. With a socket, one at a time may send, and one receive: the kernel keeps their bytes apart no more
/// than those of CPython's processes. One that is in the middle of a message cannot be sent on, and says so.
///
/// Dropping the last handle in the last process closes the end: the peer receives what was sent, and then
/// [`RecvError::Disconnected`]. A dead peer, even one that was killed, is the same; with a socket, one that dies in the middle
/// of a message is [`RecvError::Truncated`]. Sending to it is [`SendError::Disconnected`], never `SIGPIPE`; with a pipe as
/// soon as [`Connection`](crate::Connection) promises it.
///
/// Whether the socket waits (`O_NONBLOCK`) does not matter, and is not changed. A TCP socket is set to send at once
/// (`TCP_NODELAY`) and to ask a silent peer whether it is there (`SO_KEEPALIVE`): a machine that is switched off or cut off
/// counts as gone after a minute. While something is under way to it, it is TCP that decides, in some fifteen minutes; who
/// cannot wait as long sends with a timeout.
///
/// # Crashes and fork
/// The connection works in a forked child. With a socket, what its parent was in the middle of, the parent goes on with, and
/// in that direction the child gets [`SendError::System`] and [`RecvError::System`]. It also has a copy of the other end, if its parent
/// had that: the end of the stream comes when that is dropped as well.
///
/// # Python
/// `multiprocessing.connection.Connection`, with `send_bytes`, `recv_bytes` and `recv_bytes_into`, in the same frames. In
/// CPython threads that send at once mix their messages.
///
/// # Examples
/// ```
/// use procession_ipc::{BytesConnection, RecvError};
/// use std::os::unix::net::UnixStream;
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
/// ours.send(b"ping")?;
/// assert_eq!(theirs.recv()?, b"ping");
/// theirs.send(b"")?; // An empty message is one.
/// drop(theirs);
/// assert_eq!(ours.recv()?, b"");
/// assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BytesConnection {
    pub(crate) conduit: Arc<Conduit>,
}

impl BytesConnection {
    /// Sends a message. Waits while the peer's buffers are full: returns when all of it is in the system's hands, and not
    /// when it was received.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] when the peer is gone, even in the middle of the message; [`SendError::Closed`];
    /// [`SendError::TooLarge`] beyond the connection's limit; [`SendError::Torn`] after a message that was begun and not
    /// finished.
    ///
    /// # Python
    /// `Connection.send_bytes`; a part of a buffer is a slice of it.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::BytesConnection;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// BytesConnection::from(ours).send(&b"0123456789"[2..5])?;
    /// assert_eq!(BytesConnection::from(theirs).recv()?, b"234");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        self.send_until(message, Deadline::NEVER)
    }

    /// As [`BytesConnection::send`], without a wait.
    ///
    /// By a pipe a message goes as a whole or not at all. A stream takes as much as it has room for, and has no way back. Over a Unix socket a message of up to 32 KiB goes as
    /// a whole or not at all. Of a longer one, or one over TCP, a part may go, and then the connection is torn: send those
    /// with a timeout that a peer which is alive keeps to.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`] when nothing was sent, because there is no room or another thread is sending;
    /// [`SendError::Torn`] when there was room for a part of it. No message can be sent after that. Otherwise as
    /// [`BytesConnection::send`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{BytesConnection, SendError};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let ours = BytesConnection::from(ours);
    /// let full = std::iter::repeat_with(|| ours.try_send(b"again")).find(Result::is_err);
    /// assert!(matches!(full, Some(Err(SendError::WouldBlock))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_send(&self, message: &[u8]) -> Result<(), SendError> {
        self.send_until(message, Deadline::NOW).map_err(|error| match error {
            SendError::Timeout => SendError::WouldBlock,
            other => other,
        })
    }

    /// As [`BytesConnection::send`], for so long at most.
    ///
    /// # Errors
    /// [`SendError::Timeout`] when nothing was sent in that time; [`SendError::Torn`] when it ended in the middle of the
    /// message: the connection cannot be sent to any more, and the peer gets [`RecvError::Truncated`]. Otherwise as
    /// [`BytesConnection::send`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{BytesConnection, SendError};
    /// use std::{os::unix::net::UnixStream, time::Duration};
    ///
    /// let (ours, _never_receives) = UnixStream::pair()?;
    /// let ours = BytesConnection::from(ours);
    /// let sent = ours.send_timeout(&[0; 4 << 20], Duration::from_millis(10));
    /// assert!(matches!(sent, Err(SendError::Torn { sent: 1.., bytes: 4_194_308 })));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.send_until(message, Deadline::after(timeout))
    }

    /// Receives a message of any size. Waits for it.
    ///
    /// Memory is taken as bytes come, whatever the peer announces; but it may send as much as there is. From a peer that is
    /// not trusted use [`BytesConnection::recv_max`].
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] when all was received and the peer is gone, [`RecvError::Truncated`] when it went away in
    /// the middle of a message; [`RecvError::Closed`]; [`RecvError::Corrupt`] for what is no frame, and from then on;
    /// [`RecvError::TooLarge`] beyond the connection's limit, as of [`BytesConnection::recv_max`].
    /// [`RecvError::System`] with `OutOfMemory` loses nothing.
    ///
    /// # Python
    /// `Connection.recv_bytes`. What is an `EOFError` there is [`RecvError::Disconnected`], and what is an `OSError`
    /// [`RecvError::Truncated`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::BytesConnection;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// theirs.send(b"first")?;
    /// theirs.send(b"second")?;
    /// assert_eq!(ours.recv()?, b"first");
    /// assert_eq!(ours.recv()?, b"second");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_until(u64::MAX, Deadline::NEVER)
    }

    /// As [`BytesConnection::recv`], of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`RecvError::TooLarge`] for a longer message, before anything of it is received. It is what all further calls say:
    /// the message stands in the way. Sending goes on. Otherwise as [`BytesConnection::recv`].
    ///
    /// # Python
    /// `Connection.recv_bytes(maxlength)`.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{BytesConnection, RecvError};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// theirs.send(&[0; 257])?;
    /// assert!(matches!(ours.recv_max(256), Err(RecvError::TooLarge { bytes: 257, bytes_max: 256 })));
    /// assert!(ours.recv().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_max(&self, bytes_max: u64) -> Result<Vec<u8>, RecvError> {
        self.recv_until(bytes_max, Deadline::NEVER)
    }

    /// As [`BytesConnection::recv`], without a wait. What has come of a message is kept for the next call. Of a message that
    /// goes on coming, each call takes some 4 MiB.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] when no whole message has come, or another thread is receiving. Otherwise as
    /// [`BytesConnection::recv`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{BytesConnection, RecvError};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock)));
    /// theirs.send(b"now")?;
    /// assert_eq!(ours.try_recv()?, b"now");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_until(u64::MAX, Deadline::NOW).map_err(at_once)
    }

    /// As [`BytesConnection::recv`], for so long at most. What has come of a message is kept for the next call.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] when no whole message has come in that time. Otherwise as [`BytesConnection::recv`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{BytesConnection, RecvError};
    /// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
    ///
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let ours = BytesConnection::from(ours);
    /// theirs.write_all(b"\0\0\0\x04half")?;
    /// theirs.write_all(b"\0\0\0\x02h")?;
    /// assert_eq!(ours.recv()?, b"half");
    /// assert!(matches!(ours.recv_timeout(Duration::from_millis(1)), Err(RecvError::Timeout)));
    /// theirs.write_all(b"i")?;
    /// assert_eq!(ours.recv()?, b"hi");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.recv_until(u64::MAX, Deadline::after(timeout))
    }

    /// Receives a message into the beginning of `buffer`, and tells its length. Waits for it.
    ///
    /// # Errors
    /// [`RecvError::BufferTooShort`] with the whole message when it is longer; `buffer` is as it was then. After another
    /// error it may hold a part of a message, which is kept for the next call. Otherwise as [`BytesConnection::recv`].
    ///
    /// # Python
    /// `Connection.recv_bytes_into`; an offset is a slice of the buffer.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{BytesConnection, RecvError};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// theirs.send(b"ab")?;
    /// let mut buffer = *b"......";
    /// assert_eq!((ours.recv_into(&mut buffer[3..])?, &buffer), (2, b"...ab."));
    /// theirs.send(b"too long")?;
    /// assert!(matches!(ours.recv_into(&mut buffer), Err(RecvError::BufferTooShort { message }) if message == b"too long"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_into_until(buffer, Deadline::NEVER)
    }

    /// As [`BytesConnection::recv_into`], without a wait.
    ///
    /// # Errors
    /// As [`BytesConnection::recv_into`] and [`BytesConnection::try_recv`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{BytesConnection, RecvError};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// let mut buffer = [0; 8];
    /// assert!(matches!(ours.try_recv_into(&mut buffer), Err(RecvError::WouldBlock)));
    /// theirs.send(b"now")?;
    /// assert_eq!(ours.try_recv_into(&mut buffer)?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_into_until(buffer, Deadline::NOW).map_err(at_once)
    }

    /// As [`BytesConnection::recv_into`], for so long at most.
    ///
    /// # Errors
    /// As [`BytesConnection::recv_into`] and [`BytesConnection::recv_timeout`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::BytesConnection;
    /// use std::{os::unix::net::UnixStream, time::Duration};
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// theirs.send(b"in time")?;
    /// let mut buffer = [0; 8];
    /// assert_eq!(ours.recv_into_timeout(&mut buffer, Duration::from_secs(1))?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_into_timeout(&self, buffer: &mut [u8], timeout: Duration) -> Result<usize, RecvError> {
        self.recv_into_until(buffer, Deadline::after(timeout))
    }

    /// Whether there is something to receive, or the stream has ended. Takes nothing away, and does not wait.
    ///
    /// After true, a `recv` waits only for the rest of a message that has begun to come.
    ///
    /// # Errors
    /// [`RecvError::Closed`].
    ///
    /// # Python
    /// `Connection.poll`.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::BytesConnection;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// assert!(!ours.poll()?);
    /// theirs.send(b"")?;
    /// assert!(ours.poll()? && ours.poll()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll(&self) -> Result<bool, RecvError> {
        self.poll_until(Deadline::NOW)
    }

    /// As [`BytesConnection::poll`]; waits for so long at most until there is something.
    ///
    /// # Errors
    /// [`RecvError::Closed`].
    ///
    /// # Python
    /// `Connection.poll(timeout)`; `None` there is `Duration::MAX`.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::BytesConnection;
    /// use std::{os::unix::net::UnixStream, time::Duration};
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// assert!(!ours.poll_timeout(Duration::from_millis(1))?);
    /// drop(theirs);
    /// assert!(ours.poll_timeout(Duration::MAX)?, "the end of the stream");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_timeout(&self, timeout: Duration) -> Result<bool, RecvError> {
        self.poll_until(Deadline::after(timeout))
    }

    /// Closes the connection in this process, for all clones. Calls in which other threads wait end with `Closed`, within
    /// [`RECHECK`](procession_sync::RECHECK). Other processes that have this end keep it. Closing it again does nothing.
    ///
    /// # Python
    /// `Connection.close`.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{BytesConnection, RecvError, SendError};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// ours.close();
    /// assert!(matches!(ours.send(b"late"), Err(SendError::Closed)));
    /// assert!(matches!(theirs.recv(), Err(RecvError::Disconnected)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self) {
        self.conduit.close();
    }

    /// Who is at the other end, as far as the system told when the connection was made through an address; none for a pipe,
    /// and for a socket that was given.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::pipe_bytes;
    ///
    /// let (ours, _theirs) = pipe_bytes()?;
    /// assert_eq!(ours.peer(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.conduit.peer()
    }

    fn send_until(&self, message: &[u8], deadline: Deadline) -> Result<(), SendError> {
        self.conduit.send(message, deadline)
    }

    fn recv_until(&self, bytes_max: u64, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.conduit.receive(bytes_max, deadline)
    }

    fn recv_into_until(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvError> {
        self.conduit.receive_into(buffer, deadline)
    }

    fn poll_until(&self, deadline: Deadline) -> Result<bool, RecvError> {
        self.conduit.poll(deadline)
    }

    pub(crate) fn over_pipe(end: End) -> Self {
        Self::over(Conduit::over_pipe(end, Origin::UNLIMITED))
    }

    /// Over a stream socket: messages of so many bytes at most, to and from `peer`.
    pub(crate) fn over_stream(socket: StreamSocket, message_bytes_max: u64, peer: Option<Peer>) -> Self {
        Self::over(Conduit::over_stream(socket, Origin { message_bytes_max, peer }))
    }

    /// Over a stream socket, or over what became of it.
    pub(crate) fn over(conduit: Conduit) -> Self {
        Self { conduit: Arc::new(conduit) }
    }
}

fn at_once(error: RecvError) -> RecvError {
    match error {
        RecvError::Timeout => RecvError::WouldBlock,
        other => other,
    }
}

impl fmt::Debug for BytesConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.conduit.debug(&mut f.debug_struct("BytesConnection"))
    }
}

impl Waitable for BytesConnection {
    fn watch(&self) -> Watch<'_> {
        self.conduit.watch()
    }
}

/// Messages may be of any size.
impl From<UnixStream> for BytesConnection {
    fn from(socket: UnixStream) -> Self {
        Self::over_stream(socket.into(), u64::MAX, None)
    }
}

/// Messages may be of any size. Options of the socket are set as the type says.
impl From<TcpStream> for BytesConnection {
    fn from(socket: TcpStream) -> Self {
        Self::over_stream(socket.into(), u64::MAX, None)
    }
}

impl TryFrom<OwnedFd> for BytesConnection {
    type Error = io::Error;

    /// # Errors
    /// `ENOTSOCK` for what is no socket, `InvalidInput` for one that is no stream. Whether it is connected shows when it is
    /// used.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::over_stream(fd.try_into()?, u64::MAX, None))
    }
}

/// For arguments and messages: the receiver has this end as well. An error in the middle of a message, and after
/// [`BytesConnection::close`].
impl Serialize for BytesConnection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.conduit.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BytesConnection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Conduit::deserialize(deserializer).map(Self::over)
    }
}
