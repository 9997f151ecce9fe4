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

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketType, recv, sendmsg, shutdown, sockopt,
};

use crate::fd::{dev_null, out_of_the_way, replace};

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
    /// `WouldBlock` when there is room for nothing, `BrokenPipe` or `ConnectionReset` when the peer is gone.
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

/// A reset is the peer's end as well: what it sent before has been received by then, as far as it came.
fn end_by_reset<T>(received: rustix::io::Result<(T, usize)>) -> io::Result<usize> {
    match received {
        Ok((_, count)) => Ok(count),
        Err(Errno::CONNRESET) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

impl TryFrom<OwnedFd> for StreamSocket {
    type Error = io::Error;

    /// Has what is sent over TCP leave at once (`TCP_NODELAY`), as whoever sends messages waits for their answers.
    ///
    /// # Errors
    /// `ENOTSOCK` for what is no socket, `InvalidInput` for one that is no stream.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        let fd = out_of_the_way(fd)?;
        if sockopt::socket_type(&fd)? != SocketType::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket is no stream socket (SOCK_STREAM)"));
        }
        if matches!(sockopt::socket_domain(&fd)?, AddressFamily::INET | AddressFamily::INET6) {
            sockopt::set_tcp_nodelay(&fd, true)?;
        }
        Ok(Self(fd))
    }
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
        let _ = socket.set_nodelay(true);
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
    fn what_is_no_stream_socket_is_refused() {
        assert!(StreamSocket::try_from(dev_null().unwrap()).is_err());
        let (datagrams, _) = UnixDatagram::pair().unwrap();
        assert!(StreamSocket::try_from(OwnedFd::from(datagrams)).is_err());
    }
}
