//! Stream sockets: bytes in order, without boundaries, between two processes or machines.
//!
//! # Safety
//! One thing here could break I/O safety: [`put_away`] has a number refer to another open file. The number is owned by the
//! socket itself, which gives it away to nobody and keeps it open until it is dropped.

#![expect(unsafe_code, reason = "lets a socket go that other threads may be using by its number")]

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketType, recv, sendmsg, shutdown, sockopt,
};

use crate::fd::{dev_null, out_of_the_way, replace};
use crate::rights::{self, Received};

/// How long a peer's machine may be silent over TCP until it counts as gone: a minute, of which the last half is for
/// three questions.
///
/// A machine that is switched off, or cut off, says nothing any more; Linux would ask for the first time after two hours.
pub const TCP_SILENCE_MAX: Duration = Duration::from_mins(1);

/// How often it is asked, and how long before the next time.
const QUESTIONS: u32 = 3;
const QUESTION_PAUSE: Duration = Duration::from_secs(10);

/// One end of a connected `SOCK_STREAM` socket.
///
/// No call here waits, whether or not the open file is one that waits: that is a property which other processes that
/// have the socket share, and it is left as it is.
#[derive(Debug)]
pub struct StreamSocket(OwnedFd);

impl StreamSocket {
    /// Sends what there is room for of `parts`, one after the other, and tells how many bytes that is.
    ///
    /// # Errors
    /// `WouldBlock` when there is room for nothing; `BrokenPipe` or `ConnectionReset` when the peer is gone, `TimedOut` when
    /// its machine is silent.
    pub fn try_send<const N: usize>(&self, parts: [&[u8]; N]) -> io::Result<usize> {
        let parts = parts.map(IoSlice::new);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(retry_on_intr(|| sendmsg(&self.0, &parts, &mut SendAncillaryBuffer::default(), flags))?)
    }

    /// Receives what has come into `room`, and tells how many bytes that is: zero at the end of the stream, or where
    /// there is no room.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come.
    pub fn try_receive(&self, room: &mut [u8]) -> io::Result<usize> {
        end_by_reset(retry_on_intr(|| recv(&self.0, &mut *room, RecvFlags::DONTWAIT)))
    }

    /// As [`StreamSocket::try_send`], with descriptors, which arrive with the first of the bytes; over Unix sockets alone.
    ///
    /// # Errors
    /// As [`StreamSocket::try_send`]; `EINVAL` for more than [`PACKET_DESCRIPTORS_MAX`](crate::PACKET_DESCRIPTORS_MAX),
    /// `ETOOMANYREFS` when too many of this user's are in flight.
    pub fn try_send_with_descriptors<const N: usize>(
        &self,
        parts: [&[u8]; N],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        rights::send(&self.0, parts, descriptors, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    /// As [`StreamSocket::try_receive`], with the descriptors that came with these bytes: `descriptors_max` at most, as
    /// the others are closed, and fewer than came where this process can have no more. They are close-on-exec.
    ///
    /// Bytes before those that have descriptors may come with them in one call, and bytes after them, of a later send,
    /// do not. Where a message begins whose descriptors are expected, receive no more than up to there before.
    ///
    /// # Errors
    /// As [`StreamSocket::try_receive`].
    pub fn try_receive_with_descriptors(
        &self,
        room: &mut [u8],
        descriptors_max: usize,
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        match retry_on_intr(|| rights::receive(&self.0, &mut *room, RecvFlags::empty())) {
            Ok(received) => {
                let Received { bytes, mut descriptors, .. } = received?;
                descriptors.truncate(descriptors_max);
                Ok((bytes, descriptors))
            }
            Err(error) => end_by_reset(Err::<((), usize), _>(error)).map(|count| (count, Vec::new())),
        }
    }

    /// As [`StreamSocket::try_receive`], onto the end of `bytes`: `max` bytes at most, for which there is room after this.
    ///
    /// # Errors
    /// As [`StreamSocket::try_receive`], and `OutOfMemory`.
    pub fn try_receive_onto(&self, bytes: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        bytes.try_reserve_exact(max)?;
        if bytes.capacity() - bytes.len() == max {
            return end_by_reset(retry_on_intr(|| recv(&self.0, spare_capacity(bytes), RecvFlags::DONTWAIT)));
        }
        // The allocator gave more, into which the kernel would write what comes after.
        let had = bytes.len();
        bytes.resize(had + max, 0);
        let received = self.try_receive(&mut bytes[had..]);
        bytes.truncate(had + received.as_ref().copied().unwrap_or(0));
        received
    }

    /// Ends the stream to the peer, who gets what was sent before: for everybody who has this end.
    ///
    /// # Errors
    /// `ENOTCONN` when the peer is gone.
    pub fn finish_sending(&self) -> io::Result<()> {
        Ok(shutdown(&self.0, Shutdown::Write)?)
    }

    /// Ends the stream from the peer: for everybody who has this end.
    ///
    /// # Errors
    /// `ENOTCONN` when the peer is gone.
    pub fn finish_receiving(&self) -> io::Result<()> {
        Ok(shutdown(&self.0, Shutdown::Read)?)
    }

    /// Closes this process's end, though other threads may be using it: they go on with `/dev/null`, which is no
    /// socket.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for it; then it is closed with the last handle.
    pub fn close(&self) -> io::Result<()> {
        put_away(&self.0)
    }
}

/// Has a socket's number refer to nothing: for sockets that give their number to nobody, as the two of this crate.
pub(crate) fn put_away(socket: &OwnedFd) -> io::Result<()> {
    let null = dev_null()?;
    // SAFETY: the number is the socket's own, which expects it.
    unsafe { replace(socket.as_fd(), null) }
}

/// A reset is the peer's end as well, and so is its machine's silence: what it sent before has been received by then, as far
/// as it came.
fn end_by_reset<T>(received: rustix::io::Result<(T, usize)>) -> io::Result<usize> {
    match received {
        Ok((_, count)) => Ok(count),
        Err(Errno::CONNRESET | Errno::TIMEDOUT) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

impl TryFrom<OwnedFd> for StreamSocket {
    type Error = io::Error;

    /// Has what is sent over TCP leave at once (`TCP_NODELAY`), as whoever sends messages waits for their answers; and the
    /// peer's machine asked whether it is there when it has been silent (`SO_KEEPALIVE`, see [`TCP_SILENCE_MAX`]).
    ///
    /// Source: tcp(7).
    ///
    /// # Errors
    /// `ENOTSOCK` for what is no socket, `InvalidInput` for one that is no stream.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        let fd = out_of_the_way(fd)?;
        if sockopt::socket_type(&fd)? != SocketType::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket is no stream socket (SOCK_STREAM)"));
        }
        if matches!(sockopt::socket_domain(&fd)?, AddressFamily::INET | AddressFamily::INET6) {
            prepare_tcp(&fd)?;
        }
        Ok(Self(fd))
    }
}

/// Has what is sent leave at once, and the peer's machine asked whether it is there.
fn prepare_tcp(fd: impl AsFd) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(&fd, true)?;
    sockopt::set_tcp_keepidle(&fd, TCP_SILENCE_MAX - QUESTIONS * QUESTION_PAUSE)?;
    sockopt::set_tcp_keepintvl(&fd, QUESTION_PAUSE)?;
    sockopt::set_tcp_keepcnt(&fd, QUESTIONS)?;
    sockopt::set_socket_keepalive(&fd, true)
}

/// Has a TCP connection end when the peer's machine has not taken in what was sent for [`TCP_SILENCE_MAX`] (`TCP_USER_TIMEOUT`).
///
/// Otherwise a machine that is gone while something is under way to it counts as there for a quarter of an hour: the
/// questions of `SO_KEEPALIVE` are asked of silent peers only. A peer that is there and does not read for so long, until all
/// buffers are full, loses the connection as well, so this is for whoever gives up such a peer anyway.
///
/// Source: tcp(7).
///
/// # Errors
/// `EOPNOTSUPP` or `ENOPROTOOPT` for another kind of socket, `ENOTSOCK` for none; nothing is changed then.
pub fn end_when_not_taken(socket: impl AsFd) -> io::Result<()> {
    let seconds = u32::try_from(TCP_SILENCE_MAX.as_secs()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, seconds.saturating_mul(1000))?)
}

impl From<UnixStream> for StreamSocket {
    fn from(socket: UnixStream) -> Self {
        Self(socket.into())
    }
}

impl From<TcpStream> for StreamSocket {
    /// As from a descriptor.
    fn from(socket: TcpStream) -> Self {
        // Fails for what is no TCP socket only; then nothing is held back.
        let _ = prepare_tcp(&socket);
        Self(socket.into())
    }
}

impl AsFd for StreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn pair() -> (StreamSocket, StreamSocket) {
        let (a, b) = UnixStream::pair().unwrap();
        (OwnedFd::from(a).try_into().unwrap(), OwnedFd::from(b).try_into().unwrap())
    }

    #[test]
    fn no_more_is_received_than_was_asked_for() {
        let (a, b) = pair();
        assert_eq!(a.try_send([b"ab", b"cdef"]).unwrap(), 6);
        let mut bytes = Vec::new();
        assert_eq!(b.try_receive_onto(&mut bytes, 1).unwrap(), 1);
        bytes.reserve(100); // More than is asked for.
        assert_eq!(b.try_receive_onto(&mut bytes, 2).unwrap(), 2);
        assert_eq!(b.try_receive(&mut [0; 2]).unwrap(), 2);
        assert_eq!((&bytes[..], b.try_receive_onto(&mut bytes.clone(), 10).unwrap()), (&b"abc"[..], 1));
        assert_eq!(b.try_receive(&mut [0; 2]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let len = bytes.len();
        assert_eq!(b.try_receive_onto(&mut bytes, 9).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(bytes.len(), len);
    }

    #[test]
    fn descriptors_come_with_the_first_byte_and_no_more_than_are_expected() {
        let (a, b) = pair();
        let (read, write) = crate::pipe().unwrap();
        let is_written = || crate::poll_one(&read, crate::Interest::Read, crate::Deadline::NOW).unwrap();
        assert_eq!(a.try_send([b"a"]).unwrap(), 1);
        assert_eq!(a.try_send_with_descriptors([b"wi", b"th"], &[write.as_fd(); 3]).unwrap(), 4);
        drop(write);
        let mut room = [0; 9];
        let (bytes, descriptors) = b.try_receive_with_descriptors(&mut room[..1], 2).unwrap();
        assert_eq!((bytes, descriptors.len()), (1, 0), "what came before has none");
        let (bytes, descriptors) = b.try_receive_with_descriptors(&mut room[..1], 2).unwrap();
        assert_eq!((bytes, descriptors.len()), (1, 2));
        for one in &descriptors {
            assert_eq!(rustix::io::fcntl_getfd(one).unwrap(), rustix::io::FdFlags::CLOEXEC);
        }
        assert!(!is_written());
        drop(descriptors);
        assert!(is_written(), "the third was closed, and the pipe is at its end");
        let (bytes, descriptors) = b.try_receive_with_descriptors(&mut room, 2).unwrap();
        assert_eq!((&room[..bytes], descriptors.len()), (&b"ith"[..], 0), "they have come");
        assert_eq!(b.try_receive_with_descriptors(&mut room, 2).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert_eq!(b.try_receive_with_descriptors(&mut room, 2).unwrap().0, 0);
    }

    #[test]
    fn descriptors_that_nobody_expects_are_closed() {
        let (a, b) = pair();
        let (read, write) = crate::pipe().unwrap();
        a.try_send_with_descriptors([b"x"], &[write.as_fd()]).unwrap();
        drop(write);
        assert_eq!(b.try_receive(&mut [0; 9]).unwrap(), 1);
        assert!(crate::poll_one(&read, crate::Interest::Read, crate::Deadline::NOW).unwrap());
    }

    #[test]
    fn a_reset_is_an_end_after_what_was_sent() {
        let (a, b) = pair();
        b.try_send([b"never read", b""]).unwrap();
        a.try_send([b"x", b""]).unwrap();
        drop(a);
        assert_eq!(b.try_receive(&mut [0; 9]).unwrap(), 1);
        assert_eq!(b.try_receive(&mut [0; 9]).unwrap(), 0);
        assert_eq!(b.try_send([b"y", b""]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_closed_one_is_gone_for_its_peer_and_is_no_socket_any_more() {
        let (a, b) = pair();
        a.close().unwrap();
        assert_eq!(b.try_receive(&mut [0; 9]).unwrap(), 0);
        assert!(a.try_receive(&mut [0; 9]).is_err());
    }

    #[test]
    fn a_machine_that_is_silent_is_asked_and_then_gone() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for socket in [StreamSocket::from(connect()), OwnedFd::from(connect()).try_into().unwrap()] {
            assert!(sockopt::socket_keepalive(&socket).unwrap() && sockopt::tcp_nodelay(&socket).unwrap());
            assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 0, "a peer may read as late as it likes");
            end_when_not_taken(&socket).unwrap();
            let millis = sockopt::tcp_user_timeout(&socket).unwrap();
            assert_eq!(Duration::from_millis(millis.into()), TCP_SILENCE_MAX);
            let pauses = sockopt::tcp_keepcnt(&socket).unwrap() * sockopt::tcp_keepintvl(&socket).unwrap();
            assert_eq!(sockopt::tcp_keepidle(&socket).unwrap() + pauses, TCP_SILENCE_MAX);
        }
        assert_eq!(end_by_reset(Err::<((), usize), _>(Errno::TIMEDOUT)).unwrap(), 0);
    }

    #[test]
    fn what_is_no_stream_socket_is_refused() {
        assert!(StreamSocket::try_from(dev_null().unwrap()).is_err());
        let (datagrams, _) = UnixDatagram::pair().unwrap();
        assert!(StreamSocket::try_from(OwnedFd::from(datagrams)).is_err());
    }
}
