//! Values as messages of a channel, and back.
//!
//! Relies on `procession-wire` for what a value is as bytes, and on `channel.rs` for where those are.

use std::any::type_name;
use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procession_sys::{Deadline, Mapping};
use procession_wire::{Encoder, bulk};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Body, Content, INLINE_BYTES_MAX, Incoming, Outgoing, Unreceived, Unsent};
use crate::duplex::End;
use crate::{RecvError, SendError};

/// The memory that a thread encodes into, and decodes from, is kept for the next message if it is no larger than this.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs with the thread's memory, which `run` gives back, or keeps.
pub(crate) fn with_scratch<R>(run: impl FnOnce(Vec<u8>) -> (Vec<u8>, R)) -> R {
    let (scratch, result) = run(SCRATCH.take());
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    result
}

/// Sends a value by `send`.
#[inline]
pub(crate) fn send<T: Serialize + 'static>(
    value: &T,
    deadline: Deadline,
    send: impl FnOnce(Outgoing<'_>) -> Result<(), Unsent>,
) -> Result<(), SendError> {
    let raw = bulk::raw(value).filter(|raw| raw.len() > INLINE_BYTES_MAX);
    if let Some(raw) = raw {
        let sent = send(Outgoing { body: Body::Raw(raw), descriptors: &[] });
        return sent.map_err(|unsent| not_sent(unsent, deadline));
    }
    with_scratch(|scratch| {
        let mut encoder = Encoder::with_buffer(scratch);
        if let Err(error) = encoder.value(value) {
            return (Vec::new(), Err(error.into()));
        }
        let (mut bytes, descriptors) = encoder.finish().into_parts();
        let len = bytes.len();
        bytes.resize(len.next_multiple_of(size_of::<u64>()), 0);
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = send(Outgoing { body: Body::Encoded(&bytes, len), descriptors: &descriptors });
        (bytes, sent.map_err(|unsent| not_sent(unsent, deadline)))
    })
}

/// Receives a value by `receive`.
#[inline]
pub(crate) fn receive<T: DeserializeOwned + 'static>(
    deadline: Deadline,
    receive: impl FnOnce(&mut Vec<u8>) -> Result<Incoming, Unreceived>,
) -> Result<T, RecvError> {
    with_scratch(|mut buffer| {
        let value = match receive(&mut buffer) {
            Ok(incoming) => decoded(incoming, &buffer),
            Err(unreceived) => Err(not_received(unreceived, deadline)),
        };
        (buffer, value)
    })
}

#[inline]
fn decoded<T: DeserializeOwned + 'static>(incoming: Incoming, buffer: &[u8]) -> Result<T, RecvError> {
    match incoming {
        Incoming { content: Content::Inline(len), descriptors, .. } => {
            Ok(procession_wire::decode_slice(&buffer[..len], descriptors)?)
        }
        incoming => decoded_outside(incoming),
    }
}

/// A value that does not stand in its record.
#[cold]
#[inline(never)]
fn decoded_outside<T: DeserializeOwned + 'static>(incoming: Incoming) -> Result<T, RecvError> {
    const NO_NUMBERS: RecvError = RecvError::Corrupt { reason: "numbers came where none are" };
    let Incoming { content, is_raw, descriptors } = incoming;
    match content {
        Content::Inline(_) => Err(outside()),
        Content::Leased(lease, bytes) => {
            let (map, at, bytes) = (lease.store().map(), lease.place(), bytes as usize);
            if is_raw {
                return Ok(bulk::copied_from(map, at, bytes).ok_or(NO_NUMBERS)??);
            }
            let body: Vec<u8> = map.read_vec(at, bytes).map_err(|_| outside())?;
            drop(lease);
            Ok(procession_wire::decode_slice(&body, descriptors)?)
        }
        Content::File(file, bytes) => {
            let body = mapped(file, bytes)?;
            if is_raw {
                return Ok(bulk::copied_of(&body).ok_or(NO_NUMBERS)??);
            }
            Ok(procession_wire::decode_slice(&body, descriptors)?)
        }
    }
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

/// The body that came in a memory file.
pub(crate) fn mapped(file: OwnedFd, bytes: u64) -> Result<Mapping, RecvError> {
    let mapped = procession_sys::map_sealed(&file, bytes);
    mapped.map_err(|error| RecvError::System { doing: "map the memory file", error })
}

pub(crate) fn outside() -> RecvError {
    RecvError::Corrupt { reason: "a block is outside" }
}

pub(crate) fn not_sent(unsent: Unsent, deadline: Deadline) -> SendError {
    match unsent {
        Unsent::Full if deadline == Deadline::NOW => SendError::WouldBlock,
        Unsent::Full => SendError::Timeout,
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
        Unreceived::Closed => RecvError::Closed,
        Unreceived::Disconnected => RecvError::Disconnected,
        Unreceived::System(doing, error) => RecvError::System { doing, error },
        Unreceived::Corrupt(reason) => RecvError::Corrupt { reason },
    }
}
