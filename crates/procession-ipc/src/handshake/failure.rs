//! Why a peer is not to be spoken with.
//!
//! Relies on nothing. Messages name the remedy; who the peer is stands in the error around it.

use crate::handshake::ours::VERSION;

/// Why the hand-shake with a peer failed.
///
/// The peer is told nothing: its connection is closed. Python's `AuthenticationError`, with its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// What the peer proved, it did not prove with our key.
    #[error("the peer has another key: give both ends the same `authkey`")]
    WrongKey,
    /// The peer closed the connection when it had our proof.
    #[error(
        "the peer has refused us: most likely it has another key (give both ends the same `authkey`), or no room; its \
         own error says which"
    )]
    Refused,
    /// The peer closed the connection before it had proved anything.
    #[error("the peer closed the connection in the middle of the hand-shake: see why at its end")]
    Disconnected,
    /// The peer was silent or slow.
    #[error(
        "the hand-shake was not finished in time: see whether the peer is one of ours and runs, or allow more time"
    )]
    Timeout,
    /// The peer sent something else than a hand-shake.
    #[error("the peer does not speak our hand-shake ({0}): see whether the address is that of a `Listener`")]
    Malformed(&'static str),
    /// The peer speaks a form of the hand-shake that this build does not know.
    #[error(
        "the peer speaks version {theirs} of the hand-shake and this process {VERSION}: build both with one release"
    )]
    Version {
        /// The peer's.
        theirs: u8,
    },
    /// The peer is CPython, and that was not allowed.
    #[error(
        "the peer speaks CPython's hand-shake, which proves less than ours: if it is to be spoken with, `allow_cpython`"
    )]
    CpythonRefused,
    /// The peer is CPython and uses MD5, and that was not allowed.
    #[error(
        "the peer uses MD5, as CPython up to 3.11 does: let it run on 3.12 or later, or `allow_legacy_md5` if none can"
    )]
    LegacyRefused,
    /// The peer is CPython, and values of Rust's types were to be exchanged.
    #[error(
        "the peer is CPython, which does not know our types: exchange bytes with it, by `accept_bytes` or `connect_bytes`"
    )]
    CpythonUntyped,
    /// The client exchanges bytes, and was to be accepted for values.
    #[error("the client exchanges bytes and no values: `accept_bytes`, or have it `connect` with types")]
    BytesOnly,
    /// The client exchanges values, and was to be accepted for bytes.
    #[error("the client exchanges values and no bytes: `accept` with its types, or have it `connect_bytes`")]
    ValuesOnly,
    /// The peer runs for another user.
    #[error("the peer runs for user {uid}, which is not this process's: `allow_other_users` lets the key alone decide")]
    OtherUser {
        /// Its effective user.
        uid: u32,
    },
    /// Too many others were in the middle of their hand-shakes, or no descriptors were left for another, and this one had
    /// been in it for the longest.
    #[error(
        "too many peers shake hands at once, or too few descriptors are left (RLIMIT_NOFILE), and this one had taken the \
         longest: let it connect again"
    )]
    Crowded,
}
