//! Making pipes: two ends that are connected, over shared memory.
//!
//! Relies on `duplex.rs` for what an end is.

use std::io;

use crate::duplex;
use crate::{BytesConnection, Connection, Receiver, Sender};

/// How many bytes of messages that nobody has received a pipe holds in each direction: 64 MiB.
///
/// It takes no more memory than there are messages, and a page or two. This is what keeps a sender from taking all memory
/// there is when its peer has stopped receiving. A longer message goes through a pipe that is empty.
pub const PIPE_BYTES: u64 = 64 << 20;

/// What a direction has that nothing is ever sent in.
const NO_BYTES: u64 = 0;

/// Two connected ends: what one sends the other receives. The first sends `S` and receives `R`, the second the other way
/// round.
///
/// Messages go through memory that the processes share; no thread is started. Either end may be passed to a child or sent
/// through any queue or connection. A process has two descriptors for each end that it holds, or three for both.
///
/// The end of the stream comes when nobody holds the other end any more: pass an end to a child and drop your handle of it,
/// or `recv` waits for what you could still send yourself.
///
/// # Errors
/// No descriptor is left (`EMFILE`, `ENFILE`), or no memory.
///
/// # Python
/// `multiprocessing.Pipe()`, whose messages are of any type.
///
/// Source: memfd_create(2), unix(7).
///
/// # Examples
/// ```
/// use procession_ipc::{Connection, pipe};
/// use procession_launch::Process;
///
/// fn square(connection: Connection<u64, u64>) {
///     while let Ok(number) = connection.recv() {
///         connection.send(&(number * number)).unwrap();
///     }
/// }
///
/// let (ours, theirs) = pipe::<u64, u64>()?;
/// let child = Process::start(square, (theirs,))?; // The child has that end now, and nobody else.
/// ours.send(&12)?;
/// assert_eq!(ours.recv()?, 144);
/// drop(ours);
/// child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe<S, R>() -> io::Result<(Connection<S, R>, Connection<R, S>)> {
    let (first, second) = duplex::pair([PIPE_BYTES; 2])?;
    Ok((Connection::over_pipe(first), Connection::over_pipe(second)))
}

/// A pipe in one direction. Its ends can do nothing else than receive and send.
///
/// As [`pipe`] in all else.
///
/// # Errors
/// As [`pipe`].
///
/// # Python
/// `multiprocessing.Pipe(duplex=False)`, where the wrong direction is an error when it is used.
///
/// # Examples
/// ```
/// use procession_ipc::{RecvError, pipe_simplex};
///
/// let (receiver, sender) = pipe_simplex()?;
/// sender.send(&"hello".to_owned())?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, "hello");
/// assert!(matches!(receiver.recv(), Err(RecvError::Disconnected)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe_simplex<T>() -> io::Result<(Receiver<T>, Sender<T>)> {
    let (receiver, sender) = duplex::pair([NO_BYTES, PIPE_BYTES])?;
    Ok((Receiver::over(receiver), Sender::over(sender)))
}

/// Two connected ends for messages of bytes.
///
/// A message is copied once to the memory that the processes share, and once from there to where it is received:
/// [`BytesConnection::recv_into`] takes no memory for it. As [`pipe`] in all else.
///
/// # Errors
/// As [`pipe`].
///
/// # Python
/// `multiprocessing.Pipe()` with `send_bytes` and `recv_bytes`.
///
/// # Examples
/// ```
/// use procession_ipc::pipe_bytes;
///
/// let (ours, theirs) = pipe_bytes()?;
/// ours.send(b"some bytes")?;
/// let mut buffer = [0; 16];
/// let len = theirs.recv_into(&mut buffer)?;
/// assert_eq!(&buffer[..len], b"some bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe_bytes() -> io::Result<(BytesConnection, BytesConnection)> {
    let (first, second) = duplex::pair([PIPE_BYTES; 2])?;
    Ok((BytesConnection::over_pipe(first), BytesConnection::over_pipe(second)))
}
