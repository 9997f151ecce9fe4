//! An end of a pipe whose messages may be bytes, copied once to where they are read from and once from there, and no longer
//! than their receiver allows.
//!
//! Relies on `duplex.rs` for the end. A message's length is known before memory is taken for it.

use std::io;
use std::sync::OnceLock;

use procession_sys::{Deadline, Mapping};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use super::End;
use crate::channel::{Body, Content, Incoming, Lease, Outgoing};
use crate::values::{self, OUTSIDE, with_scratch};
use crate::wait::{Source, Watch};
use crate::{RecvError, SendError};

/// One process's handle of one end.
#[derive(Debug)]
pub(crate) struct LimitedEnd {
    pub(super) end: End,
    /// A message that was too large, and what was allowed: nothing more is received then.
    refused: OnceLock<(u64, u64)>,
}

/// A message where it is.
enum Message<'a> {
    Inline(&'a [u8]),
    Leased(Lease, usize),
    File(Mapping),
}

impl Message<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Leased(_, bytes) => *bytes,
            Self::File(bytes) => bytes.len(),
        }
    }

    fn copied(&self) -> Result<Vec<u8>, RecvError> {
        match self {
            Self::Inline(bytes) => Ok(bytes.to_vec()),
            Self::Leased(lease, bytes) => {
                Ok(lease.store().map().read_vec(lease.place(), *bytes).map_err(|_| OUTSIDE)?)
            }
            Self::File(bytes) => Ok(bytes.to_vec()),
        }
    }

    /// Copies it to memory that is as long.
    fn copy_into(&self, room: &mut [u8]) -> Result<(), RecvError> {
        match self {
            Self::Inline(bytes) => room.copy_from_slice(bytes),
            Self::Leased(lease, _) => {
                lease.store().map().read(lease.place(), room).map_err(|_| OUTSIDE)?;
            }
            Self::File(bytes) => room.copy_from_slice(bytes),
        }
        Ok(())
    }
}

impl From<End> for LimitedEnd {
    fn from(end: End) -> Self {
        Self { end, refused: OnceLock::new() }
    }
}

impl LimitedEnd {
    pub(crate) fn send(&self, message: &[u8], deadline: Deadline) -> Result<(), SendError> {
        self.send_out(Outgoing { body: Body::Encoded(message, message.len()), descriptors: &[] }, deadline)
    }

    pub(crate) fn receive(&self, bytes_max: u64, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.receive_as(bytes_max, deadline, |incoming, buffer| message(incoming, buffer)?.copied())
    }

    pub(crate) fn receive_into(&self, room: &mut [u8], bytes_max: u64, deadline: Deadline) -> Result<usize, RecvError> {
        self.receive_as(bytes_max, deadline, |incoming, buffer| {
            let message = message(incoming, buffer)?;
            let len = message.len();
            match room.get_mut(..len) {
                Some(room) => message.copy_into(room).map(|()| len),
                None => Err(RecvError::BufferTooShort { message: message.copied()? }),
            }
        })
    }

    /// Sends a value of at most so many bytes.
    pub(crate) fn send_value<T: Serialize + 'static>(
        &self,
        value: &T,
        bytes_max: u64,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let sent = values::send(value, |outgoing| {
            outgoing.body.admit(bytes_max)?;
            self.send_out(outgoing, deadline)
        });
        sent.map_err(SendError::from)
    }

    // What calls the end is no generic function: in the program's own code the only callers of the end's verbs are a
    // pipe's, where they become one function.

    fn send_out(&self, outgoing: Outgoing<'_>, deadline: Deadline) -> Result<(), SendError> {
        self.end.send(outgoing, deadline).map_err(|unsent| values::not_sent(unsent, deadline))
    }

    /// The next message, if it is not too long.
    fn next(&self, buffer: &mut Vec<u8>, bytes_max: u64, deadline: Deadline) -> Result<Incoming, RecvError> {
        if let Some(&(bytes, bytes_max)) = self.refused.get() {
            return Err(RecvError::TooLarge { bytes, bytes_max });
        }
        let incoming = self.end.receive(buffer, deadline);
        let incoming = incoming.map_err(|unreceived| values::not_received(unreceived, deadline))?;
        let bytes = incoming.content.bytes();
        if bytes <= bytes_max {
            return Ok(incoming);
        }
        let (bytes, bytes_max) = *self.refused.get_or_init(|| (bytes, bytes_max));
        Err(RecvError::TooLarge { bytes, bytes_max })
    }

    pub(crate) fn receive_value<T: DeserializeOwned + 'static>(
        &self,
        bytes_max: u64,
        deadline: Deadline,
    ) -> Result<T, RecvError> {
        self.receive_as(bytes_max, deadline, |incoming, buffer| Ok(values::decoded_anywhere(incoming, buffer)?))
    }

    fn receive_as<R>(
        &self,
        bytes_max: u64,
        deadline: Deadline,
        take: impl FnOnce(Incoming, &mut Vec<u8>) -> Result<R, RecvError>,
    ) -> Result<R, RecvError> {
        with_scratch(|mut buffer| {
            let incoming = self.next(&mut buffer, bytes_max, deadline);
            let taken = incoming.and_then(|incoming| take(incoming, &mut buffer));
            (buffer, taken)
        })
    }

    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    pub(crate) fn poll(&self, deadline: Deadline) -> Result<bool, RecvError> {
        if self.refused.get().is_some() && !self.end.is_closed() {
            return Ok(true);
        }
        self.end.poll(deadline).map_err(|unreceived| values::not_received(unreceived, deadline))
    }

    pub(crate) fn close(&self) {
        self.end.close();
    }

    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { source: Some(self), ..self.end.watch() }
    }
}

/// Who is refused what has come need not wait to hear of it.
impl Source for LimitedEnd {
    fn is_ready(&self) -> bool {
        self.refused.get().is_some() || self.end.is_ready()
    }

    fn arm(&self) {
        self.end.arm();
    }

    fn settle(&self) -> io::Result<bool> {
        Ok(self.end.settle()? || self.is_ready())
    }
}

/// What was received; its descriptors, of which bytes make no use, are closed.
fn message(incoming: Incoming, buffer: &[u8]) -> Result<Message<'_>, RecvError> {
    match incoming.content {
        Content::Inline(len) => Ok(Message::Inline(&buffer[..len])),
        Content::Leased(lease, bytes) => Ok(Message::Leased(lease, bytes as usize)),
        Content::File(file, bytes) => Ok(Message::File(values::mapped(&file, bytes)?)),
    }
}

impl Serialize for LimitedEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}
