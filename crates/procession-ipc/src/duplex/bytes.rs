//! An end of a pipe whose messages are bytes: copied once to where they are read from, and once from there.
//!
//! Relies on `duplex.rs` for the end.

use std::sync::OnceLock;

use procession_sys::{Deadline, Mapping};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::End;
use crate::channel::{Body, Content, Incoming, Lease, Outgoing};
use crate::values::{self, OUTSIDE, with_scratch};
use crate::wait::Watch;
use crate::{RecvError, SendError};

/// One process's handle of one end.
#[derive(Debug)]
pub(crate) struct BytesEnd {
    pub(super) end: End,
    /// A message that was too large, and what was allowed.
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

impl From<End> for BytesEnd {
    fn from(end: End) -> Self {
        Self { end, refused: OnceLock::new() }
    }
}

impl BytesEnd {
    pub(crate) fn send(&self, message: &[u8], deadline: Deadline) -> Result<(), SendError> {
        let outgoing = Outgoing { body: Body::Encoded(message, message.len()), descriptors: &[] };
        self.end.send(outgoing, deadline).map_err(|unsent| values::not_sent(unsent, deadline))
    }

    pub(crate) fn receive(&self, bytes_max: u64, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.receive_as(deadline, |message| {
            let bytes = message.len() as u64;
            if bytes > bytes_max {
                let (bytes, bytes_max) = *self.refused.get_or_init(|| (bytes, bytes_max));
                return Err(RecvError::TooLarge { bytes, bytes_max });
            }
            message.copied()
        })
    }

    pub(crate) fn receive_into(&self, room: &mut [u8], deadline: Deadline) -> Result<usize, RecvError> {
        self.receive_as(deadline, |message| {
            let len = message.len();
            match room.get_mut(..len) {
                Some(room) => message.copy_into(room).map(|()| len),
                None => Err(RecvError::BufferTooShort { message: message.copied()? }),
            }
        })
    }

    fn receive_as<R>(
        &self,
        deadline: Deadline,
        take: impl FnOnce(Message<'_>) -> Result<R, RecvError>,
    ) -> Result<R, RecvError> {
        if let Some(&(bytes, bytes_max)) = self.refused.get() {
            return Err(RecvError::TooLarge { bytes, bytes_max });
        }
        with_scratch(|mut buffer| {
            let incoming = self.end.receive(&mut buffer, deadline);
            let incoming = incoming.map_err(|unreceived| values::not_received(unreceived, deadline));
            let taken = incoming.and_then(|incoming| take(message(incoming, &buffer)?));
            (buffer, taken)
        })
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
        self.end.watch()
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

impl Serialize for BytesEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BytesEnd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(deserializer).map(Self::from)
    }
}
