//! Messages, as they go in and as they come out: bytes and descriptors.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::Lease;
use crate::SendError;

/// Why a message was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    Full,
    /// Another is just sending, and does not go on.
    Held,
    Closed,
    Disconnected,
    System(&'static str, io::Error),
    Corrupt(&'static str),
}

/// Why none was received.
#[derive(Debug)]
pub(crate) enum Unreceived {
    Empty,
    /// Another is just receiving, and does not go on.
    Held,
    Closed,
    Disconnected,
    System(&'static str, io::Error),
    Corrupt(&'static str),
}

/// A body where it is when it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    /// What the encoder makes, so many bytes of it: what stands in a record is filled up to a multiple of eight.
    Encoded(&'a [u8], usize),
    /// The memory of numbers, more of it than stands in a record.
    Raw(&'a [u8]),
    /// Written already.
    Leased(&'a Lease, u64),
}

impl Body<'_> {
    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        match *self {
            Self::Encoded(_, len) => len as u64,
            Self::Raw(raw) => raw.len() as u64,
            Self::Leased(_, bytes) => bytes,
        }
    }

    /// That it is no longer than that.
    ///
    /// # Errors
    /// [`SendError::TooLarge`].
    pub(crate) fn admit(&self, bytes_max: u64) -> Result<(), SendError> {
        SendError::admit(self.bytes(), bytes_max)
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) body: Body<'a>,
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
}

/// A body where it is when it was received.
#[derive(Debug)]
pub(crate) enum Content {
    /// In the buffer that was given, at its beginning.
    Inline(usize),
    Leased(Lease, u64),
    File(OwnedFd, u64),
}

impl Content {
    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        match *self {
            Self::Inline(len) => len as u64,
            Self::Leased(_, bytes) | Self::File(_, bytes) => bytes,
        }
    }
}

/// What was received.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) content: Content,
    pub(crate) is_raw: bool,
    pub(crate) descriptors: Vec<OwnedFd>,
}
