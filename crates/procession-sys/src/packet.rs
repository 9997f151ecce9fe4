//! Packet sockets: whole messages with descriptors, between two processes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::Deadline;
use crate::fd::out_of_the_way;
use crate::poll::{Interest, poll_one};

/// The kernel's own limit of descriptors in one packet (`SCM_MAX_FD`).
pub const PACKET_DESCRIPTORS_MAX: usize = 253;

/// Room for the most descriptors that a packet can hold.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS_MAX));

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
        if descriptors.len() > PACKET_DESCRIPTORS_MAX {
            return Err(Errno::INVAL.into());
        }
        let parts = parts.map(IoSlice::new); // On the stack: a process that has just forked pays for heap writes.
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        rustix::io::retry_on_intr(|| {
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
                debug_assert!(fits, "the space holds the most descriptors that the kernel takes");
            }
            rustix::net::sendmsg(&self.0, &parts, &mut ancillary, flags)
        })?;
        Ok(())
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
        // The length first: most packets are small, and a buffer for the largest would be cleared each time.
        let peek = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        let (_, len) = retry(|| rustix::net::recv(&self.0, &mut [0_u8; 0][..], peek))?;
        if len > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is larger than the protocol allows"));
        }
        let mut bytes = vec![0; len];
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received =
            retry(|| rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags))?;
        let descriptors: io::Result<Vec<OwnedFd>> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .map(out_of_the_way)
            .collect();
        let descriptors = descriptors?;
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "descriptors of a packet were lost: this process has too many files open (see RLIMIT_NOFILE)",
            ));
        }
        if received.bytes == 0 && descriptors.is_empty() {
            return Ok(None); // No packet of ours is empty: this is the end.
        }
        Ok(Some(Packet { bytes, descriptors }))
    }
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

    #[test]
    fn a_packet_beyond_the_bound_is_an_error_and_a_deadline_ends_the_wait() {
        let (a, b) = PacketSocket::pair().unwrap();
        a.send([b"12345"], &[]).unwrap();
        assert_eq!(b.receive(4, Deadline::NEVER).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(b.receive(5, Deadline::NEVER));
        let soon = Deadline::after(Duration::from_millis(1));
        assert_eq!(b.receive(5, soon).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
