//! What clients and servers of our own kind say to each other: frames of bytes, and the descriptors that go with them.
//!
//! Relies on nothing but names. Every number is little-endian; what comes is checked before it is used. A frame begins with
//! its kind, then come the fields that [`Request`] and [`Response`] show.

use procession_wire::{Descriptor, Message};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::identity::ObjectId;

/// What the first frame of each side begins with: whoever speaks something else is no peer of ours.
pub(crate) const GREETING: [u8; 8] = *b"PRCmgr\x00\x01";

/// How many references one value may have with it.
pub const REFERENCES_MAX: usize = 4096;

/// How many objects a client may let go of in one frame.
pub(crate) const DROPS_MAX: usize = 1024;

/// A message between a client and a server.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<Descriptor>,
}

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Raw(&self.bytes), &self.descriptors).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Owned(bytes), descriptors) = Deserialize::deserialize(deserializer)?;
        Ok(Self { bytes, descriptors })
    }
}

/// Bytes that go as bytes, and not each by itself.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Owned(Vec<u8>);

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Owned;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a frame's bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Owned, E> {
                Ok(Owned(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Owned, E> {
                Ok(Owned(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// A value on its way, as its writer wrote it.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<Descriptor>,
    /// The objects that it refers to, each as often as it does.
    pub(crate) references: Vec<ObjectId>,
}

impl Packed {
    pub(crate) fn of(message: Message, references: Vec<ObjectId>) -> Self {
        let (bytes, descriptors) = message.into_parts();
        Self { bytes, descriptors, references }
    }

    pub(crate) fn into_message(self) -> Message {
        Message::from_parts(self.bytes, self.descriptors)
    }
}

/// A client's frame.
#[derive(Debug)]
pub(crate) enum Request {
    /// Asks for a method to be called, and if it `is_answered` for what becomes of that. What it is called with follows, each
    /// value packed.
    Call { call: u64, object: ObjectId, method: u64, is_answered: bool, arguments: Vec<Packed> },
    /// Has let go of references: of each object so many.
    Drop(Vec<(ObjectId, u32)>),
    /// Has sent a reference on to somebody who is not connected, or not known: this is the number of the ticket.
    Ticket { ticket: u64, object: ObjectId },
    /// Has received what this call returned.
    Acknowledge { call: u64, object: ObjectId },
    /// Does not wait any more for what this call returns.
    Abandon { call: u64, object: ObjectId },
    /// Cannot read what this call returned.
    GiveBack { call: u64, object: ObjectId },
}

/// A server's frame.
#[derive(Debug)]
pub(crate) enum Response {
    /// What a call has returned; if it `is_claimed`, the client is to say that it has it, or else it is given to somebody else.
    Return { call: u64, is_claimed: bool, results: Vec<Packed> },
    /// Why it has not; a [`Refusal`](crate::Refusal), written as a value.
    Refuse { call: u64, refusal: Vec<u8> },
}

/// A frame that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame came that makes no sense: {0}")]
pub(crate) struct Malformed(&'static str);

const SHORT: Malformed = Malformed("it ends too early");

mod kind {
    pub(super) const CALL: u8 = 1;
    pub(super) const DROP: u8 = 2;
    pub(super) const ACKNOWLEDGE: u8 = 3;
    pub(super) const ABANDON: u8 = 4;
    pub(super) const RETURN: u8 = 5;
    pub(super) const REFUSE: u8 = 6;
    pub(super) const TICKET: u8 = 7;
    pub(super) const CLAIM: u8 = 8;
    pub(super) const COMMAND: u8 = 9;
    pub(super) const GIVE_BACK: u8 = 10;
}

impl Request {
    pub(crate) fn write(self) -> Frame {
        let mut frame = Frame::default();
        let bytes = &mut frame.bytes;
        match self {
            Self::Call { call, object, method, is_answered, arguments } => {
                bytes.reserve_exact(CALL_BYTES + bytes_of(&arguments));
                about(bytes, if is_answered { kind::CALL } else { kind::COMMAND }, call, object);
                bytes.extend_from_slice(&method.to_le_bytes());
                write_values(&mut frame, arguments);
            }
            Self::Drop(drops) => {
                bytes.push(kind::DROP);
                for (object, count) in drops {
                    bytes.extend_from_slice(&object.to_bytes());
                    bytes.extend_from_slice(&count.to_le_bytes());
                }
            }
            Self::Ticket { ticket, object } => about(bytes, kind::TICKET, ticket, object),
            Self::Acknowledge { call, object } => about(bytes, kind::ACKNOWLEDGE, call, object),
            Self::Abandon { call, object } => about(bytes, kind::ABANDON, call, object),
            Self::GiveBack { call, object } => about(bytes, kind::GIVE_BACK, call, object),
        }
        frame
    }

    pub(crate) fn read(frame: Frame) -> Result<Self, Malformed> {
        let mut reader = Reader { rest: &frame.bytes, descriptors: frame.descriptors.into_iter() };
        let request = match reader.byte()? {
            kind @ (kind::CALL | kind::COMMAND) => {
                let (call, object, method) = (reader.u64()?, reader.object()?, reader.u64()?);
                Self::Call { call, object, method, is_answered: kind == kind::CALL, arguments: reader.values()? }
            }
            kind::DROP => Self::Drop(reader.drops()?),
            kind::TICKET => Self::Ticket { ticket: reader.u64()?, object: reader.object()? },
            kind::ACKNOWLEDGE => Self::Acknowledge { call: reader.u64()?, object: reader.object()? },
            kind::ABANDON => Self::Abandon { call: reader.u64()?, object: reader.object()? },
            kind::GIVE_BACK => Self::GiveBack { call: reader.u64()?, object: reader.object()? },
            _ => return Err(Malformed("a request of no known kind")),
        };
        reader.finish().map(|()| request)
    }
}

impl Response {
    pub(crate) fn write(self) -> Frame {
        let mut frame = Frame::default();
        match self {
            Self::Return { call, is_claimed, results } => {
                frame.bytes.reserve_exact(RETURN_BYTES + bytes_of(&results));
                head(&mut frame.bytes, if is_claimed { kind::CLAIM } else { kind::RETURN }, call);
                write_values(&mut frame, results);
            }
            Self::Refuse { call, refusal } => {
                head(&mut frame.bytes, kind::REFUSE, call);
                frame.bytes.extend_from_slice(&refusal);
            }
        }
        frame
    }

    pub(crate) fn read(frame: Frame) -> Result<Self, Malformed> {
        let mut reader = Reader { rest: &frame.bytes, descriptors: frame.descriptors.into_iter() };
        let response = match reader.byte()? {
            kind @ (kind::RETURN | kind::CLAIM) => {
                let (call, is_claimed) = (reader.u64()?, kind == kind::CLAIM);
                Self::Return { call, is_claimed, results: reader.values()? }
            }
            kind::REFUSE => {
                let call = reader.u64()?;
                let refusal = std::mem::take(&mut reader.rest).to_vec();
                Self::Refuse { call, refusal }
            }
            _ => return Err(Malformed("an answer of no known kind")),
        };
        reader.finish().map(|()| response)
    }
}

fn head(bytes: &mut Vec<u8>, kind: u8, call: u64) {
    bytes.push(kind);
    bytes.extend_from_slice(&call.to_le_bytes());
}

fn about(bytes: &mut Vec<u8>, kind: u8, number: u64, object: ObjectId) {
    head(bytes, kind, number);
    bytes.extend_from_slice(&object.to_bytes());
}

/// What a call has before its values.
const CALL_BYTES: usize = 1 + 8 + ObjectId::BYTES + 8;

/// What a result has before its values.
const RETURN_BYTES: usize = 1 + 8;

/// What a value has before its references and bytes.
const VALUE_BYTES: usize = 3 * 8;

/// For how many values there is room at once, of those that a frame's length allows: more make their own.
const VALUES_EXPECTED: usize = 32;

/// How many bytes values take in a frame.
pub(crate) fn bytes_of(values: &[Packed]) -> usize {
    let bytes = |value: &Packed| VALUE_BYTES + value.references.len() * ObjectId::BYTES + value.bytes.len();
    values.iter().map(bytes).sum()
}

/// Each value: how many bytes, descriptors and references it has, the references, the bytes.
fn write_values(frame: &mut Frame, values: Vec<Packed>) {
    for Packed { bytes, descriptors, references } in values {
        for count in [bytes.len(), descriptors.len(), references.len()] {
            frame.bytes.extend_from_slice(&(count as u64).to_le_bytes());
        }
        for object in references {
            frame.bytes.extend_from_slice(&object.to_bytes());
        }
        frame.bytes.extend_from_slice(&bytes);
        frame.descriptors.extend(descriptors);
    }
}

/// Takes a frame apart.
struct Reader<'a> {
    rest: &'a [u8],
    descriptors: std::vec::IntoIter<Descriptor>,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn object(&mut self) -> Result<ObjectId, Malformed> {
        self.array().map(ObjectId::from_bytes)
    }

    fn drops(&mut self) -> Result<Vec<(ObjectId, u32)>, Malformed> {
        let mut drops = Vec::new();
        while !self.rest.is_empty() {
            if drops.len() == DROPS_MAX {
                return Err(Malformed("it lets go of too many objects at once"));
            }
            drops.push((self.object()?, self.array().map(u32::from_le_bytes)?));
        }
        Ok(drops)
    }

    fn values(&mut self) -> Result<Vec<Packed>, Malformed> {
        let mut values = Vec::with_capacity((self.rest.len() / VALUE_BYTES).min(VALUES_EXPECTED));
        while !self.rest.is_empty() {
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn value(&mut self) -> Result<Packed, Malformed> {
        let (bytes, descriptors, references) = (self.u64()?, self.u64()?, self.u64()?);
        if references > REFERENCES_MAX as u64 {
            return Err(Malformed("a value refers to too many objects"));
        }
        let references = (0..references).map(|_| self.object()).collect::<Result<_, _>>()?;
        let bytes = usize::try_from(bytes).map_err(|_| SHORT).and_then(|bytes| self.bytes(bytes))?.to_vec();
        if descriptors > self.descriptors.len() as u64 {
            return Err(Malformed("a value has more descriptors than came"));
        }
        let descriptors = self.descriptors.by_ref().take(descriptors as usize).collect();
        Ok(Packed { bytes, descriptors, references })
    }

    fn finish(self) -> Result<(), Malformed> {
        match (self.rest, self.descriptors.len()) {
            ([], 0) => Ok(()),
            ([], _) => Err(Malformed("more descriptors came than belong to it")),
            _ => Err(Malformed("it is too long")),
        }
    }
}

#[cfg(test)]
mod hostile;
