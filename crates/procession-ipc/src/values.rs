//! Values as messages of a channel, and back.
//!
//! Relies on `procession-wire` for what a value is as bytes, and on `channel.rs` for where those are.

use std::any::type_name;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procession_sys::{Deadline, Mapping, fail_point};
use procession_wire::{DecodeError, EncodeError, Encoder, bulk};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Body, Content, INLINE_BYTES_MAX, Incoming, Outgoing, Unreceived, Unsent};
use crate::duplex::End;
use crate::{RecvError, SendError};

/// The memory that a thread encodes into, and decodes from, is kept for the next message if it is no larger than this.
const SCRATCH_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs with the thread's memory, which `run` gives back, or keeps.
pub(crate) fn with_scratch<R>(run: impl FnOnce(Vec<u8>) -> (Vec<u8>, R)) -> R {
    // A thread that is ending has none: exit hooks send, too.
    let (scratch, result) = run(SCRATCH.try_with(Cell::take).unwrap_or_default());
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    }
    result
}

/// Why a value was not sent.
#[derive(Debug)]
pub(crate) enum Unsendable<E> {
    Encode(EncodeError),
    Unsent(E),
}

/// Why what was received is no value.
#[derive(Debug)]
pub(crate) enum Unread {
    Decode(DecodeError),
    System(&'static str, io::Error),
    Corrupt(&'static str),
}

impl From<DecodeError> for Unread {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// Sends a value by `send`.
#[inline]
pub(crate) fn send<T: Serialize + 'static, E>(
    value: &T,
    send: impl FnOnce(Outgoing<'_>) -> Result<(), E>,
) -> Result<(), Unsendable<E>> {
    let raw = bulk::raw(value).filter(|raw| raw.len() > INLINE_BYTES_MAX);
    if let Some(raw) = raw {
        return send(Outgoing { body: Body::Raw(raw), descriptors: &[] }).map_err(Unsendable::Unsent);
    }
    with_scratch(|scratch| {
        let mut encoder = Encoder::with_buffer(scratch);
        if let Err(error) = encoder.value(value) {
            return (Vec::new(), Err(Unsendable::Encode(error)));
        }
        let (mut bytes, descriptors) = encoder.finish().into_parts();
        let len = bytes.len();
        bytes.extend_from_slice(&[0; size_of::<u64>()]); // A number of bytes that is known is written without a call.
        bytes.truncate(len.next_multiple_of(size_of::<u64>()));
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = send(Outgoing { body: Body::Encoded(&bytes, len), descriptors: &descriptors });
        (bytes, sent.map_err(Unsendable::Unsent))
    })
}

/// The value that has come; what stands in its record is in `buffer`, and what does not may be copied there.
#[inline]
pub(crate) fn decoded<T: DeserializeOwned + 'static>(incoming: Incoming, buffer: &mut Vec<u8>) -> Result<T, Unread> {
    match incoming {
        Incoming { content: Content::Inline(len), descriptors, .. } => {
            Ok(procession_wire::decode_slice(&buffer[..len], descriptors)?)
        }
        incoming => decoded_anywhere(incoming, buffer),
    }
}

/// The same wherever it stands, for whom a nanosecond does not matter.
#[cold]
#[inline(never)]
pub(crate) fn decoded_anywhere<T: DeserializeOwned + 'static>(
    incoming: Incoming,
    buffer: &mut Vec<u8>,
) -> Result<T, Unread> {
    const NO_NUMBERS: Unread = Unread::Corrupt("numbers came where none are");
    let Incoming { content, is_raw, descriptors } = incoming;
    match content {
        Content::Inline(len) => Ok(procession_wire::decode_slice(&buffer[..len], descriptors)?),
        Content::Leased(lease, bytes) => {
            let (map, at, bytes) = (lease.store().map(), lease.place(), bytes as usize);
            fail_point!("queue: body to read");
            if is_raw {
                return Ok(bulk::copied_from(map, at, bytes).ok_or(NO_NUMBERS)??);
            }
            // The kernel clears memory that is new, which takes longer than the copy.
            match buffer.get_mut(..bytes) {
                Some(body) => map.read(at, body).map_err(|_| OUTSIDE)?,
                None => *buffer = map.read_vec(at, bytes).map_err(|_| OUTSIDE)?,
            }
            drop(lease);
            Ok(procession_wire::decode_slice(&buffer[..bytes], descriptors)?)
        }
        Content::File(file, bytes) => {
            let body = mapped(&file, bytes)?;
            if is_raw {
                return Ok(bulk::copied_of(&body).ok_or(NO_NUMBERS)??);
            }
            Ok(procession_wire::decode_slice(&body, descriptors)?)
        }
    }
}

/// What a place is that a peer has made up.
pub(crate) const OUTSIDE: Unread = Unread::Corrupt("a block is outside");

/// The body that came in a memory file.
pub(crate) fn mapped(file: &OwnedFd, bytes: u64) -> Result<Mapping, Unread> {
    procession_sys::map_sealed(file, bytes).map_err(|error| Unread::System("map the memory file", error))
}

// What goes by a pipe.

/// Sends a value by an end of a pipe.
#[inline]
pub(crate) fn send_by<T: Serialize + 'static>(end: &End, value: &T, deadline: Deadline) -> Result<(), SendError> {
    send(value, |outgoing| end.send(outgoing, deadline)).map_err(|error| match error {
        Unsendable::Encode(error) => error.into(),
        Unsendable::Unsent(unsent) => not_sent(unsent, deadline),
    })
}

impl From<Unsendable<Self>> for SendError {
    fn from(unsendable: Unsendable<Self>) -> Self {
        match unsendable {
            Unsendable::Encode(error) => error.into(),
            Unsendable::Unsent(error) => error,
        }
    }
}

/// Receives a value by an end of a pipe.
#[inline]
pub(crate) fn receive_by<T: DeserializeOwned + 'static>(end: &End, deadline: Deadline) -> Result<T, RecvError> {
    with_scratch(|mut buffer| {
        let value = match end.receive(&mut buffer, deadline) {
            Ok(incoming) => decoded(incoming, &mut buffer).map_err(RecvError::from),
            Err(unreceived) => Err(not_received(unreceived, deadline)),
        };
        (buffer, value)
    })
}

/// What an end of a pipe that arrived as another type is told.
pub(crate) fn other_types<T>() -> String {
    format!("an end of a pipe came that is no {}: receive it as what it was sent", type_name::<T>())
}

/// The rest of an end's text for programmers.
pub(crate) fn debug_end(text: &mut fmt::DebugStruct<'_, '_>, end: &End) -> fmt::Result {
    text.field("has", &end.len()).field("is_closed", &end.is_closed()).finish_non_exhaustive()
}

/// What a call says that had a time to wait, if only none.
pub(crate) fn timed_out(error: SendError) -> SendError {
    if matches!(error, SendError::WouldBlock) { SendError::Timeout } else { error }
}

/// The same of one that receives.
pub(crate) fn came_late(error: RecvError) -> RecvError {
    if matches!(error, RecvError::WouldBlock) { RecvError::Timeout } else { error }
}

impl From<Unread> for RecvError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Decode(error) => Self::Decode(error),
            Unread::System(doing, error) => Self::System { doing, error },
            Unread::Corrupt(reason) => Self::Corrupt { reason },
        }
    }
}

pub(crate) fn not_sent(unsent: Unsent, deadline: Deadline) -> SendError {
    match unsent {
        Unsent::Full if deadline == Deadline::NOW => SendError::WouldBlock,
        Unsent::Full => SendError::Timeout,
        Unsent::Held => SendError::Busy,
        Unsent::Closed => SendError::Closed,
        Unsent::Disconnected => SendError::Disconnected,
        Unsent::System(doing, error) => SendError::System { doing, error },
        Unsent::Corrupt(reason) => SendError::Corrupt { reason },
    }
}

pub(crate) fn not_received(unreceived: Unreceived, deadline: Deadline) -> RecvError {
    match unreceived {
        Unreceived::Empty if deadline == Deadline::NOW => RecvError::WouldBlock,
        Unreceived::Empty => RecvError::Timeout,
        Unreceived::Held => RecvError::Busy,
        Unreceived::Closed => RecvError::Closed,
        Unreceived::Disconnected => RecvError::Disconnected,
        Unreceived::System(doing, error) => RecvError::System { doing, error },
        Unreceived::Corrupt(reason) => RecvError::Corrupt { reason },
    }
}
