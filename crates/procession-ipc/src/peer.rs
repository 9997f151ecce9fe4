//! Who is at the other end of a connection.
//!
//! Relies on what the kernel says of a socket.

use std::fmt;

use procession_sys::{PeerCredentials, SocketAddress, StreamSocket};

use serde::{Deserialize, Serialize};

use crate::Address;

/// Who is at the other end of a connection that a listener has accepted or a client has made, as the kernel tells it.
///
/// # Examples
/// ```
/// use procession_ipc::{Client, Listener};
///
/// let listener = Listener::bind("127.0.0.1:0")?.authkey(b"secret");
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || Client::connect_bytes(address, b"secret"));
/// let accepted = listener.accept_bytes()?;
/// let client = client.join().unwrap()?;
/// assert_eq!(client.peer().unwrap().to_string(), listener.address().to_string());
/// assert!(accepted.peer().unwrap().to_string().starts_with("127.0.0.1:"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    address: Option<Address>,
    pid: Option<u32>,
    uid: Option<u32>,
}

impl Peer {
    pub(crate) fn of(socket: &StreamSocket, address: SocketAddress) -> Self {
        let credentials = if socket.is_unix() { socket.peer_credentials().ok() } else { None };
        Self::new(Address::of(address), credentials)
    }

    pub(crate) fn new(address: Option<Address>, credentials: Option<PeerCredentials>) -> Self {
        let pid = credentials.map(|credentials| credentials.pid).filter(|&pid| pid != 0);
        Self { address, pid, uid: credentials.map(|credentials| credentials.user) }
    }

    /// Its address: that of its end of the connection. A client of a Unix socket has none.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The process that connected, or began to listen, on a Unix socket: it may have passed its end on since. `None` for one
    /// in a namespace that this process does not see into.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The effective user of that process, on a Unix socket.
    ///
    /// Source: `SO_PEERCRED` in unix(7).
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.uid
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.pid, self.uid) {
            (Some(address), ..) => write!(f, "{address}"),
            (None, Some(pid), Some(uid)) => write!(f, "process {pid} of user {uid}"),
            (None, None, Some(uid)) => write!(f, "a process of user {uid}"),
            (None, ..) => f.write_str("a process without an address"),
        }
    }
}
