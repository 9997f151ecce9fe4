//! How a connection between two processes of one machine becomes a ring: the one makes a pipe and hands its other end over
//! with the bytes of a socket.
//!
//! Relies on `duplex.rs` for the end. The two processes need not be related, and trust each other no more than peers do:
//! the pipe's words lie in an arena of their own, and its messages in a file of their own, so that nothing else is shared;
//! and whatever comes is checked before any of it is used.
//!
//! An offer is the end as a message has it, and these descriptors: the file of messages, the arena, and the socket for
//! descriptors and bells. Each process pays as many for as long as it has its end. What says that the layouts of both
//! processes are the same are the marks that the two files begin with, and the kind of the slot.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use procession_sys::{Deadline, Interest, StreamSocket, poll_one};
use procession_wire::{DecodeError, Descriptor, decode_slice, encode};

use crate::conduit::{Conduit, Origin};
use crate::duplex::{self, End};
use crate::{Connection, PIPE_BYTES};

/// How many bytes an offer has at most: the end's name, three positions of descriptors, and a slot's number and generation,
/// of at most five bytes each.
pub(crate) const OFFER_BYTES_MAX: usize = 32;

/// How many descriptors it has.
pub(crate) const OFFER_DESCRIPTORS: usize = 3;

/// The other end of a pipe, for a process that need not be related.
#[derive(Debug)]
pub(crate) struct Offer {
    /// At most [`OFFER_BYTES_MAX`].
    pub(crate) bytes: Vec<u8>,
    /// [`OFFER_DESCRIPTORS`]. While they exist the pipe has another end.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Why what was offered is no end of a pipe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// More or fewer descriptors than there are, as when this process can have no more.
    #[error("{found} of {OFFER_DESCRIPTORS} descriptors of a connection's memory came")]
    Descriptors {
        /// How many came.
        found: usize,
    },
    /// What came is of no pipe.
    #[error("a connection's memory cannot be used: {0}")]
    Decode(#[from] DecodeError),
    /// A pipe of another size than any that is offered.
    #[error("a connection's memory came that is for {bytes:?} bytes in its directions, and not for {PIPE_BYTES}")]
    Size {
        /// For how many bytes it is.
        bytes: [u64; 2],
    },
}

/// An end of a new pipe, and the other one for a stranger. When the offer is dropped, or lost on its way, the pipe has lost
/// its other end.
pub(crate) fn offer() -> io::Result<(End, Offer)> {
    let (ours, theirs) = duplex::pair_apart([PIPE_BYTES; 2])?;
    let (bytes, descriptors) = encode(&theirs).map_err(io::Error::other)?.into_parts();
    drop(theirs);
    let descriptors = descriptors.into_iter().map(Descriptor::into_owned);
    Ok((ours, Offer { bytes, descriptors: descriptors.collect::<io::Result<_>>()? }))
}

/// The end that a stranger has offered.
pub(crate) fn take(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<End, TakeError> {
    if descriptors.len() != OFFER_DESCRIPTORS {
        return Err(TakeError::Descriptors { found: descriptors.len() });
    }
    let end: End = decode_slice(bytes, descriptors)?;
    // Another one would be safe, but could have this process map any number of addresses.
    match end.room() {
        [PIPE_BYTES, PIPE_BYTES] => Ok(end),
        bytes => Err(TakeError::Size { bytes }),
    }
}

/// Makes a connection of a Unix socket, at whose other end [`take_from`] is called. For tests of this file alone: listeners
/// do that after a hand-shake.
#[doc(hidden)]
pub fn offer_to<S, R>(socket: UnixStream, message_bytes_max: u64) -> io::Result<Connection<S, R>> {
    let (end, offer) = offer()?;
    let socket = StreamSocket::from(socket);
    let descriptors: Vec<_> = offer.descriptors.iter().map(AsFd::as_fd).collect();
    // There is room in a new socket.
    let sent = socket.try_send_with_descriptors([&offer.bytes], &descriptors)?;
    debug_assert_eq!(sent, offer.bytes.len());
    Ok(Connection::over(Conduit::over_pipe(end, Origin { message_bytes_max, peer: None })))
}

/// The counterpart of [`offer_to`].
#[doc(hidden)]
pub fn take_from<S, R>(socket: UnixStream, message_bytes_max: u64) -> io::Result<Connection<S, R>> {
    let socket = StreamSocket::from(socket);
    poll_one(&socket, Interest::Read, Deadline::NEVER)?;
    let mut bytes = [0; OFFER_BYTES_MAX];
    let (count, descriptors) = socket.try_receive_with_descriptors(&mut bytes, OFFER_DESCRIPTORS)?;
    let end = take(&bytes[..count], descriptors).map_err(io::Error::other)?;
    Ok(Connection::over(Conduit::over_pipe(end, Origin { message_bytes_max, peer: None })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_as_short_as_it_says() {
        let (_ours, offer) = offer().unwrap();
        assert_eq!(offer.descriptors.len(), OFFER_DESCRIPTORS);
        assert!(offer.bytes.len() <= OFFER_BYTES_MAX);
        let largest = encode(&(0_u8, [u32::MAX; 5])).unwrap();
        assert!(largest.bytes().len() <= OFFER_BYTES_MAX, "whatever the numbers are");
    }
}
