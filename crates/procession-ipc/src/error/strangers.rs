//! Why there is no connection between strangers.

use std::io;

use procession_launch::AuthKeyError;

use crate::{Address, AddressError, AuthFailure, Peer};

/// Why nobody can listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// What was given is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The system refused.
    #[error("cannot listen at {address}: {error}")]
    System {
        /// Where.
        address: Address,
        /// What the system said: `AddrInUse` when somebody else listens there.
        #[source]
        error: io::Error,
    },
}

/// Why no connection was accepted. The listener goes on, but for [`AcceptError::Closed`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nobody has connected whose hand-shake is finished.
    #[error("no connection waits to be accepted")]
    WouldBlock,
    /// The same, for as long as was waited.
    #[error("nobody has connected for as long as was waited")]
    Timeout,
    /// Somebody connected and did not prove to be a friend. He was told nothing.
    #[error("{peer} connected and was refused: {reason}")]
    AuthFailed {
        /// Who.
        peer: Peer,
        /// Why.
        reason: AuthFailure,
    },
    /// Whoever reaches a TCP address could connect.
    #[error(
        "the listener at {address} has no key, so whoever reaches it could connect: give it one by `authkey`, or say `without_authkey`"
    )]
    KeyMissing {
        /// Where it listens.
        address: Address,
    },
    /// The key is none.
    #[error(transparent)]
    Key(AuthKeyError),
    /// This process has closed the listener.
    #[error("the listener was closed in this process")]
    Closed,
    /// The system refused; who wants to connect still waits, or was closed.
    #[error("no connection was accepted: cannot {doing}: {error}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Why a client is not connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// What was given is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The listener did not prove to be a friend, or did not take this process for one.
    #[error("the hand-shake with {address} failed: {reason}")]
    AuthFailed {
        /// The listener's.
        address: Address,
        /// Why.
        reason: AuthFailure,
    },
    /// Whoever listens at a TCP address could be taken for the right one.
    #[error(
        "there is no key, so whoever listens at {address} would be trusted: give one by `authkey`, or say `without_authkey`"
    )]
    KeyMissing {
        /// The listener's.
        address: Address,
    },
    /// The key is none.
    #[error(transparent)]
    Key(AuthKeyError),
    /// Nothing answers at the address, or the listener has no time to take connections in.
    #[error("{address} did not answer in time: see whether the listener runs and can be reached, or allow more time")]
    Timeout {
        /// The listener's.
        address: Address,
    },
    /// The system refused.
    #[error("not connected to {address}: cannot {doing}: {error}")]
    System {
        /// The listener's.
        address: Address,
        /// What was being done.
        doing: &'static str,
        /// What the system said: `ConnectionRefused` or `NotFound` when nobody listens there.
        #[source]
        error: io::Error,
    },
}
