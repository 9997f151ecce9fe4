//! Stream sockets with an address: TCP, Unix paths, and Linux's abstract names.
//!
//! No call waits unless it takes a deadline.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, bind, connect, getsockname,
    listen, socket_with, sockopt,
};

use crate::fd::out_of_the_way;
use crate::stream::put_away;
use crate::{Deadline, Interest, StreamSocket, poll_one};

/// How long a connection to a Unix socket whose listener's queue is full waits before it is tried again, at first.
const FULL_PAUSE: Duration = Duration::from_micros(100);

/// How long that pause becomes.
const FULL_PAUSE_MAX: Duration = Duration::from_millis(10);

/// Where a stream socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// An internet address and a port.
    Internet(SocketAddr),
    /// A socket file.
    Path(PathBuf),
    /// A name that stands in no directory.
    Abstract(Vec<u8>),
    /// A Unix socket that was bound to nothing, as those that connect.
    Unnamed,
}

/// Who is at the other end of a Unix socket: a process when it connected, or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Its number; 0 for one that has none in this process's namespace.
    pub pid: u32,
    /// Its effective user.
    pub user: u32,
}

/// A stream socket that others connect to.
#[derive(Debug)]
pub struct StreamListener(OwnedFd);

impl StreamListener {
    /// Listens. At most `backlog` connections wait to be accepted, and no more than the system allows (`somaxconn`).
    ///
    /// An internet address can be taken again as soon as its last listener is gone (`SO_REUSEADDR`).
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `ENAMETOOLONG` for a Unix address above 107 bytes, `EMFILE`.
    pub fn bind(address: &SocketAddress, backlog: u32) -> io::Result<Self> {
        let socket = Self(new_socket(address)?);
        match address {
            SocketAddress::Internet(address) => {
                sockopt::set_socket_reuseaddr(&socket.0, true)?;
                bind(&socket.0, address)?;
            }
            _ => bind(&socket.0, &unix(address)?)?,
        }
        socket.set_backlog(backlog)?;
        Ok(socket)
    }

    /// Changes how many connections may wait to be accepted.
    ///
    /// # Errors
    /// None that Linux knows for a socket that listens.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        Ok(listen(&self.0, i32::try_from(backlog).unwrap_or(i32::MAX))?)
    }

    /// The next connection and its other end's address, if one waits.
    ///
    /// # Errors
    /// `WouldBlock` when none does; `EMFILE`, `ENFILE`.
    pub fn accept(&self) -> io::Result<(StreamSocket, SocketAddress)> {
        let (accepted, address) = retry_on_intr(|| acceptfrom_with(&self.0, SocketFlags::CLOEXEC))?;
        Ok((StreamSocket::try_from(accepted)?, address.map_or(SocketAddress::Unnamed, named)))
    }

    /// Stops listening in this process, though other threads may be waiting: for them it is `/dev/null` from now on.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for it; then it is closed with the last handle.
    pub fn close(&self) -> io::Result<()> {
        put_away(&self.0)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// None that Linux knows for a socket that listens.
    pub fn address(&self) -> io::Result<SocketAddress> {
        Ok(named(getsockname(&self.0)?))
    }
}

impl TryFrom<OwnedFd> for StreamListener {
    type Error = io::Error;

    /// # Errors
    /// `ENOTSOCK` for what is no socket, `InvalidInput` for one that is no stream, or does not listen.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        let fd = out_of_the_way(fd)?;
        if sockopt::socket_type(&fd)? != SocketType::STREAM || !sockopt::socket_acceptconn(&fd)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket is no stream socket that listens"));
        }
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self(fd))
    }
}

impl AsFd for StreamListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl StreamSocket {
    /// Connects.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there, `NotFound` when there is no such file, `TimedOut` after the deadline,
    /// and what else connect(2) says.
    pub fn connect(address: &SocketAddress, deadline: Deadline) -> io::Result<Self> {
        let mut connecting = Connecting::to(address)?;
        let mut pause = FULL_PAUSE;
        while !connecting.advance()? {
            if deadline.has_passed() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match address {
                SocketAddress::Internet(_) => drop(poll_one(&connecting, Interest::Write, deadline)?),
                _ => {
                    thread::sleep(pause.min(deadline.remaining().unwrap_or(pause)));
                    pause = (2 * pause).min(FULL_PAUSE_MAX);
                }
            }
        }
        connecting.finish()
    }

    /// Who is at the other end of a Unix socket.
    ///
    /// # Errors
    /// `EOPNOTSUPP` and the like for a socket that is no Unix socket.
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        let credentials = sockopt::socket_peercred(self)?;
        let pid = credentials.pid.as_raw_pid().unsigned_abs();
        Ok(PeerCredentials { pid, user: credentials.uid.as_raw() })
    }

    /// Whether it is a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        sockopt::socket_domain(self).is_ok_and(|family| family == AddressFamily::UNIX)
    }
}

/// A connection that is being made, a step at a time and without waiting.
#[derive(Debug)]
pub struct Connecting {
    socket: OwnedFd,
    address: SocketAddress,
    has_begun: bool,
}

impl Connecting {
    /// One to this address, which has not begun.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn to(address: &SocketAddress) -> io::Result<Self> {
        Ok(Self { socket: new_socket(address)?, address: address.clone(), has_begun: false })
    }

    /// Goes on, and says whether it is made. If not: over the network the socket can be written to as soon as more is known. In
    /// this machine the listener's queue is full, and nothing tells when there is room: try again.
    ///
    /// # Errors
    /// As [`StreamSocket::connect`], without a deadline.
    pub fn advance(&mut self) -> io::Result<bool> {
        let connected = match &self.address {
            SocketAddress::Internet(_) if self.has_begun => {
                return Ok(poll_one(&self.socket, Interest::Write, Deadline::NOW)?
                    && sockopt::socket_error(&self.socket)?.map(|()| true)?);
            }
            SocketAddress::Internet(address) => connect(&self.socket, address),
            unix_address => {
                let address = unix(unix_address)?;
                retry_on_intr(|| connect(&self.socket, &address))
            }
        };
        match connected {
            // A signal does not end the attempt either: it goes on without the call.
            Err(Errno::INPROGRESS | Errno::INTR) => {
                self.has_begun = true;
                Ok(false)
            }
            Err(Errno::AGAIN) => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }

    /// The socket, once it is connected.
    ///
    /// # Errors
    /// None that Linux knows for a connected socket.
    pub fn finish(self) -> io::Result<StreamSocket> {
        rustix::io::ioctl_fionbio(&self.socket, false)?;
        self.socket.try_into()
    }
}

impl AsFd for Connecting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether a socket file is left of a socket that is gone. Nobody who listens there notices the question.
///
/// # Errors
/// `ENOENT`, `EACCES`, `EMFILE`.
pub fn is_abandoned_socket(path: &Path) -> io::Result<bool> {
    // A socket of another type is refused as such by one that is there, and otherwise as by nobody.
    let socket = out_of_the_way(socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)?;
    match retry_on_intr(|| connect(&socket, &SocketAddrUnix::new(path)?)) {
        Err(Errno::CONNREFUSED) => Ok(rustix::fs::lstat(path)
            .is_ok_and(|file| rustix::fs::FileType::from_raw_mode(file.st_mode) == rustix::fs::FileType::Socket)),
        Err(Errno::PROTOTYPE) | Ok(()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn new_socket(address: &SocketAddress) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddress::Internet(SocketAddr::V4(_)) => AddressFamily::INET,
        SocketAddress::Internet(SocketAddr::V6(_)) => AddressFamily::INET6,
        _ => AddressFamily::UNIX,
    };
    out_of_the_way(socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

fn unix(address: &SocketAddress) -> io::Result<SocketAddrUnix> {
    Ok(match address {
        SocketAddress::Path(path) => SocketAddrUnix::new(path.as_path())?,
        SocketAddress::Abstract(name) => SocketAddrUnix::new_abstract_name(name)?,
        SocketAddress::Internet(_) | SocketAddress::Unnamed => return Err(Errno::INVAL.into()),
    })
}

fn named(address: SocketAddrAny) -> SocketAddress {
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return SocketAddress::Internet(address);
    }
    let Ok(address) = SocketAddrUnix::try_from(address) else { return SocketAddress::Unnamed };
    match (address.abstract_name(), address.path_bytes()) {
        (Some(name), _) => SocketAddress::Abstract(name.to_vec()),
        (None, Some(path)) => SocketAddress::Path(std::ffi::OsString::from_vec(path.to_vec()).into()),
        (None, None) => SocketAddress::Unnamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_connects(address: &SocketAddress) {
        let listener = StreamListener::bind(address, 8).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let there =
            StreamSocket::connect(&listener.address().unwrap(), Deadline::after(Duration::from_secs(10))).unwrap();
        poll_one(&listener, Interest::Read, Deadline::NEVER).unwrap();
        let (here, _) = listener.accept().unwrap();
        there.try_send([b"hel", b"lo"]).unwrap();
        poll_one(&here, Interest::Read, Deadline::NEVER).unwrap();
        let mut room = [0; 8];
        assert_eq!(here.try_receive(&mut room).unwrap(), 5);
        assert_eq!(here.is_unix(), !matches!(address, SocketAddress::Internet(_)));
        if here.is_unix() {
            let peer = PeerCredentials { pid: crate::pid(), user: crate::effective_user() };
            assert_eq!([here.peer_credentials().unwrap(), there.peer_credentials().unwrap()], [peer; 2]);
        }
    }

    #[test]
    fn two_find_each_other_at_every_kind_of_address() {
        assert_connects(&SocketAddress::Internet("127.0.0.1:0".parse().unwrap()));
        assert_connects(&SocketAddress::Abstract(format!("procession-sys-stream-{}", crate::pid()).into()));
        let path = std::env::temp_dir().join(format!("procession-sys-stream-{}", crate::pid()));
        assert_connects(&SocketAddress::Path(path.clone()));
        let refused = StreamSocket::connect(&SocketAddress::Path(path.clone()), Deadline::NEVER);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_socket_file_is_abandoned_when_its_socket_is_gone() {
        let path = std::env::temp_dir().join(format!("procession-sys-abandoned-{}", crate::pid()));
        assert!(is_abandoned_socket(&path).is_err());
        // Bound and not listening yet, which a connection would take for gone.
        let socket = new_socket(&SocketAddress::Unnamed).unwrap();
        bind(&socket, &SocketAddrUnix::new(path.as_path()).unwrap()).unwrap();
        assert!(!is_abandoned_socket(&path).unwrap());
        listen(&socket, 1).unwrap();
        assert!(!is_abandoned_socket(&path).unwrap());
        assert!(!poll_one(&socket, Interest::Read, Deadline::NOW).unwrap(), "nobody noticed");
        drop(socket);
        assert!(is_abandoned_socket(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "text").unwrap();
        assert!(!is_abandoned_socket(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_listener_that_accepts_nobody_costs_who_connects_its_deadline() {
        let address = SocketAddress::Abstract(format!("procession-sys-full-{}", crate::pid()).into());
        let _listener = StreamListener::bind(&address, 0).unwrap();
        let connect = || StreamSocket::connect(&address, Deadline::after(Duration::from_millis(20)));
        let connected: Vec<_> = std::iter::from_fn(|| connect().ok()).collect();
        assert_eq!(connected.len(), 1);
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
