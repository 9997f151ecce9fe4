//! Frames as they go over a connection, for ends that say what no end of ours would say.

use std::time::Duration;

use procession_ipc::{Address, Client, Connection, RecvError};
use procession_launch::current_process;
use procession_wire::{Descriptor, decode_slice, encode};
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long an answer may take that comes at once.
const SOON: Duration = Duration::from_secs(10);

const GREETING: [u8; 8] = *b"PRCmgr\x00\x01";

/// Kinds of frames.
pub(crate) mod kind {
    pub(crate) const CALL: u8 = 1;
    pub(crate) const DROP: u8 = 2;
    pub(crate) const ACKNOWLEDGE: u8 = 3;
    pub(crate) const ABANDON: u8 = 4;
    pub(crate) const RETURN: u8 = 5;
    pub(crate) const REFUSE: u8 = 6;
    pub(crate) const TICKET: u8 = 7;
}

/// A frame.
#[derive(Debug, Default)]
pub(crate) struct Frame(pub(crate) Vec<u8>);

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Bytes<'a>(&'a [u8]);
        impl Serialize for Bytes<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        (Bytes(&self.0), Vec::<Descriptor>::new()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes(Vec<u8>);
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        impl<'de> Deserialize<'de> for Bytes {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_byte_buf(Reader)
            }
        }
        <(Bytes, Vec<Descriptor>)>::deserialize(deserializer).map(|(Bytes(bytes), _)| Self(bytes))
    }
}

pub(crate) fn written<T: Serialize + 'static>(value: &T) -> Vec<u8> {
    encode(value).unwrap().into_parts().0
}

pub(crate) fn read<T: DeserializeOwned + 'static>(bytes: &[u8]) -> T {
    decode_slice(bytes, Vec::new()).unwrap()
}

pub(crate) fn greeting<T: Serialize + 'static>(value: &T) -> Frame {
    Frame([&GREETING[..], &written(value)].concat())
}

/// What a server has answered to a greeting, or a client said: what stands behind the mark.
pub(crate) fn greeted(Frame(bytes): &Frame) -> &[u8] {
    bytes.strip_prefix(&GREETING).unwrap()
}

/// The value of a method's name, as requests have it: FNV-1a.
pub(crate) fn signature(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A value in a frame, with what it refers to.
pub(crate) fn value(bytes: &[u8], references: &[[u8; 16]]) -> Vec<u8> {
    let counts = [bytes.len() as u64, 0, references.len() as u64];
    let counts = counts.iter().flat_map(|count| count.to_le_bytes());
    counts.chain(references.concat()).chain(bytes.iter().copied()).collect()
}

/// What a client says first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

/// What a server answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) server: [u8; 16],
    pub(crate) client: u64,
}

/// A reference that was sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) client: u64,
    pub(crate) number: u64,
}

/// How a proxy is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Written {
    /// In a call, or in what that returns.
    Within([u8; 16]),
}

/// A client that says what it likes.
pub(crate) struct Raw(pub(crate) Connection<Frame, Frame>);

impl Raw {
    /// Connects, and greets as clients do.
    pub(crate) fn connect(address: &Address) -> Self {
        let raw = Self::strange(address);
        raw.say(greeting(&Hello { pid: std::process::id(), name: "raw".to_owned() }).0);
        greeted(&raw.hear().unwrap());
        raw
    }

    /// Connects.
    pub(crate) fn strange(address: &Address) -> Self {
        let key = current_process().authkey();
        Self(Client::builder(address.clone()).unwrap().authkey(key.as_bytes()).connect().unwrap())
    }

    pub(crate) fn say(&self, bytes: Vec<u8>) {
        let _ = self.0.send(&Frame(bytes)); // Whoever was put out has said enough.
    }

    pub(crate) fn hear(&self) -> Result<Frame, RecvError> {
        self.0.recv_timeout(SOON)
    }

    /// Says something about an object.
    pub(crate) fn about(&self, kind: u8, number: u64, object: [u8; 16], rest: &[u8]) {
        self.say([&[kind], &number.to_le_bytes()[..], &object, rest].concat());
    }

    /// Calls a method; what comes back behind the call's number, and its kind.
    pub(crate) fn call(&self, object: [u8; 16], method: u64, arguments: &[u8]) -> (u8, Vec<u8>) {
        self.about(kind::CALL, 1, object, &[&method.to_le_bytes()[..], arguments].concat());
        let Frame(answer) = self.hear().unwrap();
        (answer[0], answer[9..].to_vec())
    }

    /// Whether it is put out, which it is to be soon.
    pub(crate) fn is_put_out(&self) -> bool {
        matches!(self.hear(), Err(RecvError::Disconnected | RecvError::Truncated { .. }))
    }
}
