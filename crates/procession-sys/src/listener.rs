//! Packet sockets with an address, for processes that are not each other's relatives any more.
//!
//! Addresses are abstract (unix(7)): they stand in no directory and are gone with the listener. Anybody in the network
//! namespace can connect, and, once the listener is gone, take its address; so both sides ask who the other one is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::PacketSocket;
use crate::fd::out_of_the_way;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket that others connect to.
#[derive(Debug)]
pub struct PacketListener(OwnedFd);

impl PacketListener {
    /// Listens at an abstract address.
    ///
    /// # Errors
    /// `EADDRINUSE`, `ENAMETOOLONG` above 107 bytes, `EMFILE`.
    pub fn bind(address: &[u8]) -> io::Result<Self> {
        let socket = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(address)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Self(socket))
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// `WouldBlock` when none does, `EMFILE`.
    pub fn accept(&self) -> io::Result<PacketSocket> {
        let accepted = rustix::io::retry_on_intr(|| rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC))?;
        Ok(out_of_the_way(accepted)?.into())
    }
}

impl AsFd for PacketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PacketSocket {
    /// Connects to an abstract address. Does not wait.
    ///
    /// # Errors
    /// `ECONNREFUSED` when nobody listens, `EAGAIN` when too many wait to be accepted, `EMFILE`.
    pub fn connect(address: &[u8]) -> io::Result<Self> {
        let socket = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(address)?)?;
        rustix::io::ioctl_fionbio(&socket, false)?;
        Ok(socket.into())
    }

    /// The effective user of the process at the other end, when it connected or began to listen.
    ///
    /// # Errors
    /// None that Linux knows for a connected socket.
    pub fn peer_user(&self) -> io::Result<u32> {
        Ok(socket_peercred(self)?.uid.as_raw())
    }
}

fn new_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    out_of_the_way(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Deadline;

    #[test]
    fn two_find_each_other_by_an_address() {
        let address = format!("procession-sys-listener-{}", crate::pid());
        let listener = PacketListener::bind(address.as_bytes()).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(PacketListener::bind(address.as_bytes()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let there = PacketSocket::connect(address.as_bytes()).unwrap();
        let here = listener.accept().unwrap();
        there.send([b"hello"], &[]).unwrap();
        assert_eq!(here.receive(5, Deadline::NEVER).unwrap().unwrap().bytes, b"hello");
        let me = crate::effective_user();
        assert_eq!((here.peer_user().unwrap(), there.peer_user().unwrap()), (me, me));
        drop(listener);
        assert_eq!(PacketSocket::connect(address.as_bytes()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
