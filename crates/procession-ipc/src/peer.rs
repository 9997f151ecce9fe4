//! Who is at the other end of a connection that goes through a socket.
//!
//! Relies on nothing: whoever has made the connection asked the system.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who is at the other end of a connection, as far as the system told when it was made: `peer()` of
/// [`Connection`](crate::Connection) and [`BytesConnection`](crate::BytesConnection).
///
/// On a Unix socket the kernel tells the process and its user (unix(7), `SO_PEERCRED`); over TCP only the address is known.
/// The process may have handed its end on to others since, and its number may be another's by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    address: Option<String>,
    pid: Option<u32>,
    uid: Option<u32>,
}

impl Peer {
    #[cfg_attr(not(test), expect(dead_code, reason = "listeners and clients, which make them, come next"))]
    pub(crate) fn new(address: Option<String>, pid: Option<u32>, uid: Option<u32>) -> Self {
        Self { address, pid, uid }
    }

    /// Its address, as text; none for a socket without a name.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Its process's number; none over TCP.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The number of its process's user; none over TCP.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.uid
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.pid) {
            (Some(address), Some(pid)) => write!(f, "process {pid} at {address}"),
            (Some(address), None) => f.write_str(address),
            (None, Some(pid)) => write!(f, "process {pid}"),
            (None, None) => f.write_str("an unnamed peer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_says_what_is_known_of_it() {
        let text = |address: Option<&str>, pid| Peer::new(address.map(str::to_owned), pid, None).to_string();
        assert_eq!(text(Some("10.0.0.1:80"), None), "10.0.0.1:80");
        assert_eq!(text(Some("/run/x"), Some(7)), "process 7 at /run/x");
        assert_eq!(text(None, Some(7)), "process 7");
        assert_eq!(text(None, None), "an unnamed peer");
    }
}
