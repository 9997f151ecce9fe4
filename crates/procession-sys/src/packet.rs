//! Packet sockets: whole messages with descriptors, between two processes.
//!
//! # Safety
//! The one unsafe call puts another file in the place of a descriptor that a [`PacketSocket`] owns. Nobody has it but through
//! the socket, whose calls then fail as those of any descriptor that is no socket.

#![expect(unsafe_code, reason = "lets go of a socket that other threads may be using")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::Deadline;
use crate::fd::out_of_the_way;
use crate::poll::{Interest, poll_one};
use crate::rights::{self, Received};

/// One received packet.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its descriptors, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// One end of a pair of connected `SOCK_SEQPACKET` sockets: packets keep their boundaries and their order.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Two connected ends.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptors are left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(out_of_the_way(a)?), Self(out_of_the_way(b)?)))
    }

    /// Sends one packet made of `parts`, with descriptors. Waits while the peer's buffer is full.
    ///
    /// # Errors
    /// `EPIPE` when the peer is gone, `EMSGSIZE` when the packet is larger than the socket's buffer,
    /// `ETOOMANYREFS` when too many descriptors of this user are in flight.
    pub fn send<const N: usize>(&self, parts: [&[u8]; N], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_flags(parts, descriptors, SendFlags::NOSIGNAL)
    }

    /// As [`PacketSocket::send`], but `WouldBlock` instead of a wait.
    ///
    /// # Errors
    /// As [`PacketSocket::send`], and `EAGAIN`.
    pub fn try_send<const N: usize>(&self, parts: [&[u8]; N], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_flags(parts, descriptors, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    /// The call behind both.
    fn send_flags<const N: usize>(
        &self,
        parts: [&[u8]; N],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        rights::send(&self.0, parts, descriptors, flags).map(drop)
    }

    /// Closes this process's end while other threads may be using it: for the peer it is gone, and here every call from now
    /// on fails. The descriptor itself is closed when the socket is dropped.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for a moment.
    pub fn let_go(&self) -> io::Result<()> {
        let nowhere = crate::dev_null()?;
        // SAFETY: see the top of this file.
        unsafe { crate::replace(self.0.as_fd(), &nowhere) }
    }

    /// Tells the peer that nothing more will be sent.
    ///
    /// # Errors
    /// `ENOTCONN` when the peer is gone.
    pub fn finish(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write)?)
    }

    /// Receives one packet of at most `bytes_max` bytes; `None` when the peer is gone and nothing is left.
    ///
    /// # Errors
    /// `TimedOut` after the deadline, `InvalidData` for a packet that is larger or whose descriptors did not all
    /// arrive, which happens when this process has no descriptors left.
    pub fn receive(&self, bytes_max: usize, deadline: Deadline) -> io::Result<Option<Packet>> {
        loop {
            match self.try_receive(bytes_max) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !poll_one(&self.0, Interest::Read, deadline)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// As [`PacketSocket::receive`], but `WouldBlock` instead of a wait.
    ///
    /// # Errors
    /// As [`PacketSocket::receive`], and `WouldBlock`.
    pub fn try_receive(&self, bytes_max: usize) -> io::Result<Option<Packet>> {
        self.take_first(bytes_max, RecvFlags::empty())
    }

    /// The first packet, which stays where it is: whoever receives or peeks next gets it as well, with descriptors of its
    /// own. `WouldBlock` when there is none; `None` when the peer is gone and nothing is left.
    ///
    /// For those who must write down that they have a packet before it is gone: see [`PacketSocket::discard`].
    ///
    /// # Errors
    /// As [`PacketSocket::try_receive`]; and `EMFILE` when its descriptors did not all arrive because this process, or the
    /// system, has no more. Those that did are closed, and the packet is still there.
    pub fn peek(&self, bytes_max: usize) -> io::Result<Option<Packet>> {
        self.take_first(bytes_max, RecvFlags::PEEK)
    }

    /// The first bytes of the first packet, which stays where it is, as do its descriptors; and how long it is. `None` when
    /// there is none. Never waits.
    ///
    /// # Errors
    /// `ENOTCONN` for a socket that has never been connected.
    pub fn peek_bytes(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self.first_len(into) {
            Ok(len) => Ok((len > 0).then_some(len)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Throws the first packet away, whose descriptors never reach this process; false when there is none. Never waits.
    ///
    /// A packet without bytes, which no peer of ours sends, counts as none, though it is gone.
    ///
    /// # Errors
    /// `ENOTCONN` for a socket that has never been connected.
    pub fn discard(&self) -> io::Result<bool> {
        // Without room for descriptors the kernel drops them.
        let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        match retry(|| rustix::net::recv(&self.0, &mut [0_u8; 0][..], flags)) {
            Ok((_, len)) => Ok(len > 0),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nobody holds the other end any more, also when packets are left to be received. Never waits.
    ///
    /// The kernel tells: the end counts as held while a descriptor of it is open in any process, or lies in a packet that
    /// nobody has received. True as well once both ends have been told by `shutdown` that nothing more is sent.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn is_hung_up(&self) -> io::Result<bool> {
        crate::poll::is_hung_up(&self.0)
    }

    /// Gives this end as much room for packets that the peer has not received as an ordinary process may have.
    ///
    /// The kernel counts what it needs for a packet, which for a short one is some 768 bytes, descriptors or not. By the
    /// limit that Linux has by default (`net.core.wmem_max`, 208 KiB, of which it gives the double) that is room for more
    /// than 500 short packets; without this call it is for some 270.
    ///
    /// # Errors
    /// None that Linux knows for a socket.
    pub fn set_buffers_max(&self) -> io::Result<()> {
        // What is asked for is cut to the limit.
        Ok(rustix::net::sockopt::set_socket_send_buffer_size(&self.0, SEND_BUFFER_ASKED)?)
    }

    /// An end that came from another process, if it is one.
    ///
    /// # Errors
    /// `InvalidData` for what is no `SOCK_SEQPACKET` socket between processes of this machine.
    pub fn try_from_fd(fd: OwnedFd) -> io::Result<Self> {
        let kind = rustix::net::sockopt::socket_type(&fd);
        let family = rustix::net::sockopt::socket_domain(&fd);
        if kind != Ok(SocketType::SEQPACKET) || family != Ok(AddressFamily::UNIX) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a descriptor came that is no socket for packets"));
        }
        Ok(Self(fd))
    }

    /// The call behind those that receive, with flags of theirs.
    fn take_first(&self, bytes_max: usize, more: RecvFlags) -> io::Result<Option<Packet>> {
        // The length first: most packets are small, and a buffer for the largest would be cleared each time.
        let len = self.first_len(&mut [])?;
        if len > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is larger than the protocol allows"));
        }
        let mut bytes = vec![0; len];
        let Received { bytes: received, descriptors, has_lost } =
            retry(|| rights::receive(&self.0, &mut bytes, more))??;
        if has_lost {
            return Err(if more.contains(RecvFlags::PEEK) { Errno::MFILE.into() } else { lost_descriptors() });
        }
        if received == 0 && descriptors.is_empty() {
            return Ok(None); // No packet of ours is empty: this is the end.
        }
        Ok(Some(Packet { bytes, descriptors }))
    }

    /// How long the first packet is, and its first bytes; 0 at the end.
    ///
    /// The end has to be seen twice. Linux looks whether the peer is gone after it has found no packet, and says that this
    /// is the end if so, whatever came in between: the last word of a peer that then closed its end. Nothing can come after
    /// that, so the second look is right.
    fn first_len(&self, into: &mut [u8]) -> rustix::io::Result<usize> {
        let peek = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        let mut look = || retry(|| rustix::net::recv(&self.0, &mut *into, peek)).map(|(_, len)| len);
        match look()? {
            0 => look(),
            len => Ok(len),
        }
    }
}

/// As large as a send buffer can be asked for: the kernel takes the double of it for a number of 32 bits.
const SEND_BUFFER_ASKED: usize = 1 << 30;

/// True for the error of a send that more descriptors of this user are in flight, sent and not received, than one of its
/// processes may have open (`ETOOMANYREFS`). Those who may administer the system are not limited.
///
/// Source: unix(7), "ETOOMANYREFS".
#[must_use]
pub fn is_too_many_in_flight(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::TOOMANYREFS)
}

#[cold]
fn lost_descriptors() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "descriptors of a packet were lost: this process has too many files open (see RLIMIT_NOFILE)",
    )
}

/// Retries after a signal, and after the one report that the peer left packets of ours unread: what it sent before
/// is still there to be received.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => return other,
        }
    }
}

impl From<OwnedFd> for PacketSocket {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<PacketSocket> for OwnedFd {
    fn from(socket: PacketSocket) -> Self {
        socket.0
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::PACKET_DESCRIPTORS_MAX;

    #[test]
    fn packets_keep_their_boundaries_and_the_end_is_none() {
        let (a, b) = PacketSocket::pair().unwrap();
        a.send([b"one", b"1"], &[]).unwrap();
        a.send([b"two"], &[]).unwrap();
        drop(a);
        assert_eq!(b.receive(10, Deadline::NEVER).unwrap().unwrap().bytes, b"one1");
        assert_eq!(b.receive(10, Deadline::NEVER).unwrap().unwrap().bytes, b"two");
        assert!(b.receive(10, Deadline::NEVER).unwrap().is_none());
    }

    #[test]
    fn the_most_descriptors_travel_and_one_more_is_refused() {
        let (a, b) = PacketSocket::pair().unwrap();
        let null = crate::dev_null().unwrap();
        let many = vec![null.as_fd(); PACKET_DESCRIPTORS_MAX + 1];
        assert!(a.send([b"x"], &many).is_err());
        a.send([b"x"], &many[1..]).unwrap();
        assert_eq!(b.receive(1, Deadline::NEVER).unwrap().unwrap().descriptors.len(), PACKET_DESCRIPTORS_MAX);
    }

    #[test]
    fn what_a_peer_sent_before_it_left_our_packets_unread_is_not_lost() {
        let (a, b) = PacketSocket::pair().unwrap();
        b.send([b"never read"], &[]).unwrap();
        a.send([b"sent"], &[]).unwrap();
        drop(a);
        assert_eq!(b.receive(10, Deadline::NEVER).unwrap().unwrap().bytes, b"sent");
        assert!(b.receive(10, Deadline::NEVER).unwrap().is_none());
    }

    /// The kernel's false end comes some thirty times in so many tries, on two processors.
    #[test]
    fn the_last_word_of_a_peer_that_leaves_at_once_is_not_lost() {
        const TRIES: usize = 150_000;
        let (to_peer, ends) = std::sync::mpsc::sync_channel::<PacketSocket>(1);
        let peer = std::thread::spawn(move || ends.iter().for_each(|end| end.send([b"bye"], &[]).unwrap()));
        for _ in 0..TRIES {
            let (a, b) = PacketSocket::pair().unwrap();
            to_peer.send(a).unwrap();
            let last = loop {
                match b.try_receive(3) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
                    other => break other.unwrap(),
                }
            };
            assert_eq!(last.expect("its last word").bytes, b"bye");
        }
        drop(to_peer);
        peer.join().unwrap();
    }

    #[test]
    fn a_packet_beyond_the_bound_is_an_error_and_a_deadline_ends_the_wait() {
        let (a, b) = PacketSocket::pair().unwrap();
        a.send([b"12345"], &[]).unwrap();
        assert_eq!(b.receive(4, Deadline::NEVER).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(b.receive(5, Deadline::NEVER));
        let soon = Deadline::after(Duration::from_millis(1));
        assert_eq!(b.receive(5, soon).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_is_peeked_at_stays_and_what_is_discarded_is_gone() {
        let (a, b) = PacketSocket::pair().unwrap();
        let (read, write) = crate::pipe().unwrap();
        assert_eq!(b.peek(10).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!b.discard().unwrap());
        a.send([b"one"], &[write.as_fd()]).unwrap();
        a.send([b"two"], &[]).unwrap();
        drop((a, write));
        let mut start = [0; 2];
        assert_eq!((b.peek_bytes(&mut start).unwrap(), &start), (Some(3), b"on"));
        for _ in 0..2 {
            let packet = b.peek(10).unwrap().unwrap();
            assert_eq!((packet.bytes.as_slice(), packet.descriptors.len()), (b"one".as_slice(), 1));
            assert_eq!(rustix::io::fcntl_getfd(&packet.descriptors[0]).unwrap(), rustix::io::FdFlags::CLOEXEC);
        }
        assert!(!poll_one(&read, Interest::Read, Deadline::NOW).unwrap(), "the packet holds the pipe");
        assert_eq!(b.peek(2).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(b.discard().unwrap());
        assert!(poll_one(&read, Interest::Read, Deadline::NOW).unwrap(), "nobody holds the pipe any more");
        assert_eq!(b.peek(10).unwrap().unwrap().bytes, b"two");
        assert!(b.discard().unwrap());
        assert!(b.peek(10).unwrap().is_none());
        assert!(!b.discard().unwrap());
    }

    #[test]
    fn a_hang_up_is_seen_over_packets_that_are_left_and_not_before_the_last_descriptor() {
        let (a, b) = PacketSocket::pair().unwrap();
        let (carrier, kept) = PacketSocket::pair().unwrap();
        let again = a.as_fd().try_clone_to_owned().unwrap();
        a.send([b"left"], &[]).unwrap();
        drop(a);
        assert!(!b.is_hung_up().unwrap());
        carrier.send([b"end"], &[again.as_fd()]).unwrap();
        drop(again);
        assert!(!b.is_hung_up().unwrap(), "a packet holds the end");
        assert!(kept.discard().unwrap());
        assert!(b.is_hung_up().unwrap());
        assert_eq!(b.try_receive(4).unwrap().unwrap().bytes, b"left");
        assert!(b.is_hung_up().unwrap());
    }

    #[test]
    fn the_end_is_a_broken_pipe_for_who_sends() {
        let (a, b) = PacketSocket::pair().unwrap();
        drop(b);
        assert_eq!(a.try_send([b"x"], &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn five_hundred_packets_with_a_descriptor_each_are_unread_before_it_is_full() {
        let (a, b) = PacketSocket::pair().unwrap();
        a.set_buffers_max().unwrap();
        let null = crate::dev_null().unwrap();
        let mut sent = 0;
        let error = loop {
            match a.try_send([&[7; 16]], &[null.as_fd()]) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        assert!(sent >= 500, "{sent}");
        assert_eq!(b.try_receive(16).unwrap().unwrap().descriptors.len(), 1);
    }

    #[test]
    fn only_a_socket_for_packets_is_one() {
        let (a, b) = PacketSocket::pair().unwrap();
        let a = PacketSocket::try_from_fd(a.into()).unwrap();
        a.send([b"x"], &[]).unwrap();
        assert_eq!(b.try_receive(1).unwrap().unwrap().bytes, b"x");
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let (read, _write) = crate::pipe().unwrap();
        for other in [stream.into(), read] {
            assert_eq!(PacketSocket::try_from_fd(other).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
