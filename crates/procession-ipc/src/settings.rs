//! What an end asks of strangers, and offers them: what a listener and a client have in common.
//!
//! Relies on `handshake.rs` for what of it the hand-shake is about.

use std::time::Duration;

use procession_launch::{AuthKey, AuthKeyError};
use serde::{Deserialize, Serialize};

use crate::Address;
use crate::conduit::MESSAGE_BYTES;
use crate::handshake::{AuthFailure, Terms};
use crate::peer::Peer;

/// How long a hand-shake may take unless another time is set: ten seconds, in which a packet that was lost twice on its way
/// around the world arrives.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What an end asks and offers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Stays where it is: keys are not sent.
    #[serde(skip, default = "no_key")]
    pub(crate) key: Result<Option<AuthKey>, AuthKeyError>,
    /// That nobody needs a key was said, and not forgotten.
    pub(crate) without_key: bool,
    /// There was one where this came from.
    pub(crate) needs_key: bool,
    pub(crate) cpython: bool,
    pub(crate) legacy_md5: bool,
    pub(crate) other_users: bool,
    pub(crate) ring: bool,
    pub(crate) timeout: Duration,
    pub(crate) message_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key: Ok(None),
            without_key: false,
            needs_key: false,
            cpython: false,
            legacy_md5: false,
            other_users: false,
            ring: true,
            timeout: HANDSHAKE_TIMEOUT,
            message_bytes_max: MESSAGE_BYTES,
        }
    }
}

/// Why an end cannot begin as it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unready {
    KeyMissing,
    Key(AuthKeyError),
}

fn no_key() -> Result<Option<AuthKey>, AuthKeyError> {
    Ok(None)
}

impl Settings {
    pub(crate) fn set_key(&mut self, key: &[u8]) {
        self.key = if key.is_empty() { Ok(None) } else { AuthKey::new(key).map(Some) };
        (self.without_key, self.needs_key) = (false, !key.is_empty());
    }

    pub(crate) fn set_no_key(&mut self) {
        (self.key, self.without_key, self.needs_key) = (Ok(None), true, false);
    }

    /// Whether it can begin at this address. Whoever reaches a port without a key is trusted only where that was said.
    pub(crate) fn check(&self, address: &Address) -> Result<(), Unready> {
        match &self.key {
            Err(error) => Err(Unready::Key(*error)),
            Ok(None) if self.needs_key || (address.is_tcp() && !self.without_key) => Err(Unready::KeyMissing),
            Ok(_) => Ok(()),
        }
    }

    /// Whether peers come without any hand-shake, as CPython's without a key.
    pub(crate) fn is_raw(&self) -> bool {
        self.without_key && self.cpython
    }

    /// Refuses other users, where it is known who a peer is.
    pub(crate) fn check_user(&self, peer: &Peer) -> Result<(), AuthFailure> {
        match peer.uid() {
            Some(uid) if !self.other_users && uid != procession_sys::effective_user() => {
                Err(AuthFailure::OtherUser { uid })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn terms(&self, peer: &Peer, values: bool) -> Terms {
        let is_of_this_user = peer.uid() == Some(procession_sys::effective_user());
        Terms {
            key: self.key.clone().ok().flatten(),
            cpython: self.cpython,
            legacy_md5: self.legacy_md5,
            ring: self.ring && is_of_this_user,
            values,
        }
    }
}

/// The verbs that set them, for a type that has `settings`.
macro_rules! verbs {
    () => {
        /// The secret that both sides must know: they prove it to each other, and it is not sent.
        ///
        /// Whoever has it can talk to every listener that has it, as a friend. It protects nothing of what is said afterwards: see
        /// the chapter on strangers in the book. An empty key proves nothing, and is refused at a TCP address.
        ///
        /// # Python
        /// `authkey=`.
        #[must_use]
        pub fn authkey(mut self, key: impl AsRef<[u8]>) -> Self {
            self.settings.set_key(key.as_ref());
            self
        }

        /// Says that no key is needed, although whoever reaches the address is then a friend.
        ///
        /// At a Unix address nothing else is needed to go without: the kernel says which user a peer is.
        #[must_use]
        pub fn without_authkey(mut self) -> Self {
            self.settings.set_no_key();
            self
        }

        /// Also talks to CPython's `multiprocessing.connection`, in its own hand-shake. Such a connection carries bytes.
        ///
        /// That hand-shake can be fooled by whoever can get the other side to make two connections at once: each answers
        /// the other's challenge (reflection). Ours, which peers of ours still use among themselves, cannot. CPython up to
        /// 3.11 needs [`allow_legacy_md5`](Self::allow_legacy_md5), too. After [`without_authkey`](Self::without_authkey)
        /// there is no hand-shake at all, as CPython has none without a key.
        #[must_use]
        pub fn allow_cpython(mut self) -> Self {
            self.settings.cpython = true;
            self
        }

        /// Accepts and makes proofs by HMAC-MD5, which is all that CPython up to 3.11 knows. Without
        /// [`allow_cpython`](Self::allow_cpython) it changes nothing.
        #[must_use]
        pub fn allow_legacy_md5(mut self) -> Self {
            self.settings.legacy_md5 = true;
            self
        }

        /// Also talks to processes of other users by a Unix address. Otherwise a peer's effective user must be this process's
        /// own (`SO_PEERCRED`, unix(7)).
        #[must_use]
        pub fn allow_other_users(mut self) -> Self {
            self.settings.other_users = true;
            self
        }

        /// How many bytes a message may have, [`MESSAGE_BYTES`](crate::MESSAGE_BYTES) otherwise. A longer one is neither sent nor
        /// received: [`SendError::TooLarge`](crate::SendError), [`RecvError::TooLarge`](crate::RecvError). Memory is taken as
        /// bytes come, not as they are announced.
        #[must_use]
        pub fn message_bytes_max(mut self, bytes: u64) -> Self {
            self.settings.message_bytes_max = bytes;
            self
        }

        /// Keeps connections on their sockets. Otherwise two processes of one user that are connected by a Unix socket go on
        /// over memory that they share, which is faster, and by which handles and descriptors can be sent.
        #[must_use]
        pub fn stream_only(mut self) -> Self {
            self.settings.ring = false;
            self
        }

        /// How long the hand-shake may take, [`HANDSHAKE_TIMEOUT`](crate::HANDSHAKE_TIMEOUT) otherwise.
        #[must_use]
        pub fn handshake_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeout = timeout;
            self
        }
    };
}

pub(crate) use verbs;
