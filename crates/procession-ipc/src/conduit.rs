//! What carries messages between two ends that need not be related: a stream or a pipe, with a limit of their length, and
//! who is at the other end.
//!
//! Relies on `stream.rs` and `duplex.rs` for what moves messages, and on `values.rs` for what a value is as one. A stream
//! carries bytes alone; a pipe carries descriptors, too.

use std::fmt;

use procession_sys::{Deadline, StreamSocket};
use procession_wire::{Descriptor, bulk, decode_slice};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::channel::{Body, Outgoing};
use crate::duplex::{End, LimitedEnd};
use crate::stream::Gone;
use crate::stream::Stream;
use crate::wait::Watch;
use crate::{Peer, RecvError, SendError, values};

/// How many bytes a message of a stranger has at most, where nothing else was said: 1 GiB.
///
/// A peer that means harm can make its receiver take as much memory as a message may have, and no more than it has sent.
pub const MESSAGE_BYTES: u64 = 1 << 30;

/// What a connection has beside what carries its messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// How long a message may be, in both directions.
    pub(crate) message_bytes_max: u64,
    /// Who is at the other end, if that was asked.
    pub(crate) peer: Option<Peer>,
}

impl Origin {
    /// That of a connection between relatives, or whose user sees to it.
    pub(crate) const UNLIMITED: Self = Self { message_bytes_max: u64::MAX, peer: None };
}

/// One process's handle of one end.
#[derive(Debug)]
pub(crate) struct Conduit {
    pub(crate) carrier: Carrier,
    origin: Origin,
}

#[derive(Debug)]
pub(crate) enum Carrier {
    Stream(Box<Stream>),
    Pipe(Box<LimitedEnd>),
}

/// How it travels.
#[derive(Serialize, Deserialize)]
enum Traveling<P> {
    Stream(Descriptor),
    Pipe(P),
}

impl Conduit {
    pub(crate) fn over_stream(socket: StreamSocket, origin: Origin) -> Self {
        Self { carrier: Carrier::Stream(Box::new(socket.into())), origin }
    }

    pub(crate) fn over_pipe(end: End, origin: Origin) -> Self {
        Self { carrier: Carrier::Pipe(Box::new(end.into())), origin }
    }

    pub(crate) fn carries_descriptors(&self) -> bool {
        matches!(self.carrier, Carrier::Pipe(_))
    }

    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.origin.peer.as_ref()
    }

    fn bytes_max(&self) -> u64 {
        self.origin.message_bytes_max
    }

    // Messages of bytes.

    pub(crate) fn send(&self, message: &[u8], deadline: Deadline) -> Result<(), SendError> {
        SendError::admit(message.len() as u64, self.bytes_max())?;
        match &self.carrier {
            Carrier::Stream(stream) => stream.send([message, &[]], deadline),
            Carrier::Pipe(end) => end.send(message, deadline),
        }
    }

    pub(crate) fn receive(&self, bytes_max: u64, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        let bytes_max = bytes_max.min(self.bytes_max());
        match &self.carrier {
            Carrier::Stream(stream) => stream.receive(bytes_max, deadline),
            Carrier::Pipe(end) => end.receive(bytes_max, deadline),
        }
    }

    pub(crate) fn receive_into(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvError> {
        match &self.carrier {
            Carrier::Stream(stream) => stream.receive_into(buffer, self.bytes_max(), deadline),
            Carrier::Pipe(end) => end.receive_into(buffer, self.bytes_max(), deadline),
        }
    }

    // Values. Apart from a pipe's, which count in nanoseconds.

    #[cold]
    #[inline(never)]
    pub(crate) fn send_value<T: Serialize + 'static>(&self, value: &T, deadline: Deadline) -> Result<(), SendError> {
        match &self.carrier {
            Carrier::Stream(stream) => {
                let send = |parts: [&[u8]; 2]| stream.send(parts, deadline);
                let sent = values::send(value, |outgoing| self.send_by(outgoing, send));
                sent.map_err(|error| at_once(SendError::from(error), deadline))
            }
            Carrier::Pipe(end) => end.send_value(value, self.bytes_max(), deadline),
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn receive_value<T: DeserializeOwned + 'static>(&self, deadline: Deadline) -> Result<T, RecvError> {
        match &self.carrier {
            Carrier::Stream(stream) => {
                let message = stream.receive(self.bytes_max(), deadline).map_err(|error| not_there(error, deadline))?;
                Ok(decode_slice(&message, Vec::new())?)
            }
            Carrier::Pipe(end) => end.receive_value(self.bytes_max(), deadline),
        }
    }

    /// Sends an encoded value as a frame's message.
    fn send_by<R>(
        &self,
        outgoing: Outgoing<'_>,
        send: impl FnOnce([&[u8]; 2]) -> Result<R, SendError>,
    ) -> Result<R, SendError> {
        let descriptors = outgoing.descriptors.len();
        if descriptors > 0 {
            return Err(SendError::Descriptors { descriptors });
        }
        let (prefix, bytes) = match outgoing.body {
            Body::Encoded(bytes, len) => (None, &bytes[..len]),
            Body::Raw(bytes) => (Some(bulk::length_prefix(bytes.len())), bytes),
            Body::Leased(..) => return Err(SendError::Corrupt { reason: "a queue's block is no message of a stream" }),
        };
        let parts = [prefix.as_ref().map_or(&[][..], AsRef::as_ref), bytes];
        SendError::admit(parts.iter().map(|part| part.len() as u64).sum(), self.bytes_max())?;
        send(parts)
    }

    // Without a wait.

    /// Sends a message of bytes as far as it goes without waiting.
    #[cfg(feature = "async")]
    pub(crate) fn begin(&self, message: &[u8]) -> Result<Gone, SendError> {
        SendError::admit(message.len() as u64, self.bytes_max())?;
        match &self.carrier {
            Carrier::Stream(stream) => stream.begin([message, &[]], Deadline::NOW),
            Carrier::Pipe(end) => end.send(message, Deadline::NOW).map(|()| Gone::Whole),
        }
    }

    /// Sends a value as far as it goes, as soon as it can begin.
    pub(crate) fn begin_value<T: Serialize + 'static>(&self, value: &T, deadline: Deadline) -> Result<Gone, SendError> {
        match &self.carrier {
            Carrier::Stream(stream) => {
                let mut gone = Gone::Whole;
                let sent = values::send(value, |outgoing| {
                    gone = self.send_by(outgoing, |parts| stream.begin(parts, deadline))?;
                    Ok(())
                });
                sent.map(|()| gone).map_err(SendError::from)
            }
            Carrier::Pipe(end) => end.send_value(value, self.bytes_max(), deadline).map(|()| Gone::Whole),
        }
    }

    /// Sends the rest of a message that has begun, if one has.
    pub(crate) fn finish(&self, deadline: Deadline) -> Result<(), SendError> {
        match &self.carrier {
            Carrier::Stream(stream) => stream.finish(deadline),
            Carrier::Pipe(_) => Ok(()),
        }
    }

    /// How many bytes have gone by a stream. What goes by a pipe is whole or has not begun.
    pub(crate) fn sent_bytes(&self) -> u64 {
        match &self.carrier {
            Carrier::Stream(stream) => stream.sent_bytes(),
            Carrier::Pipe(_) => 0,
        }
    }

    // The rest.

    pub(crate) fn poll(&self, deadline: Deadline) -> Result<bool, RecvError> {
        match &self.carrier {
            Carrier::Stream(stream) => stream.poll(deadline),
            Carrier::Pipe(end) => end.poll(deadline),
        }
    }

    pub(crate) fn close(&self) {
        match &self.carrier {
            Carrier::Stream(stream) => stream.close(),
            Carrier::Pipe(end) => end.close(),
        }
    }

    pub(crate) fn watch(&self) -> Watch<'_> {
        match &self.carrier {
            Carrier::Stream(stream) => Watch { fd: stream.fd(), source: None },
            Carrier::Pipe(end) => end.watch(),
        }
    }

    /// The rest of an end's text for programmers.
    pub(crate) fn debug(&self, text: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        match &self.carrier {
            Carrier::Stream(stream) => {
                text.field("peer", &self.peer()).field("is_closed", &stream.is_closed()).finish_non_exhaustive()
            }
            Carrier::Pipe(end) => values::debug_end(text.field("peer", &self.peer()), end.end()),
        }
    }
}

/// What a call says that had no time to wait.
fn at_once(error: SendError, deadline: Deadline) -> SendError {
    match error {
        SendError::Timeout if deadline == Deadline::NOW => SendError::WouldBlock,
        other => other,
    }
}

/// The same of one that receives.
fn not_there(error: RecvError, deadline: Deadline) -> RecvError {
    match error {
        RecvError::Timeout if deadline == Deadline::NOW => RecvError::WouldBlock,
        other => other,
    }
}

/// An error in the middle of a message of a stream, and after it was closed.
impl Serialize for Conduit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let carrier = match &self.carrier {
            Carrier::Stream(stream) => Traveling::Stream(stream.share().map_err(ser::Error::custom)?.into()),
            Carrier::Pipe(end) => Traveling::Pipe(&**end),
        };
        (carrier, &self.origin).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Conduit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (carrier, origin) = <(Traveling<End>, Origin)>::deserialize(deserializer)?;
        match carrier {
            Traveling::Stream(socket) => {
                let socket = socket.into_owned().and_then(StreamSocket::try_from).map_err(de::Error::custom)?;
                Ok(Self::over_stream(socket, origin))
            }
            Traveling::Pipe(end) => Ok(Self::over_pipe(end, origin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Duration;

    use procession_wire::{decode, encode};

    use procession_sys::PeerCredentials;

    use super::*;
    use crate::{BytesConnection, Connection, upgrade};

    fn origin(message_bytes_max: u64) -> Origin {
        let credentials = PeerCredentials { pid: 7, user: 1000 };
        Origin { message_bytes_max, peer: Some(Peer::new("/somewhere".parse().ok(), Some(credentials))) }
    }

    /// Two ends of each kind. The first allows so many bytes, the second any number.
    fn pairs(bytes_max: u64) -> [(Conduit, Conduit); 2] {
        let (a, b) = UnixStream::pair().unwrap();
        let streams = [(a, origin(bytes_max)), (b, Origin::UNLIMITED)];
        let [a, b] = streams.map(|(socket, origin)| Conduit::over_stream(socket.into(), origin));
        let (c, offer) = upgrade::offer().unwrap();
        let d = upgrade::take(&offer.bytes, offer.descriptors).unwrap();
        [(a, b), (Conduit::over_pipe(c, origin(bytes_max)), Conduit::over_pipe(d, Origin::UNLIMITED))]
    }

    #[test]
    fn bytes_have_a_limit_that_no_caller_raises() {
        for (ours, theirs) in
            pairs(5).map(|(ours, theirs)| (BytesConnection::over(ours), BytesConnection::over(theirs)))
        {
            let refused = ours.send(b"123456").unwrap_err();
            assert!(matches!(refused, SendError::TooLarge { bytes: 6, bytes_max: 5 }), "{refused}");
            ours.send(b"12345").unwrap();
            assert_eq!(theirs.recv().unwrap(), b"12345");
            theirs.send(b"abcde").unwrap();
            theirs.send(b"fghij").unwrap();
            assert_eq!(ours.recv_max(9).unwrap(), b"abcde");
            assert_eq!(ours.recv_into(&mut [0; 9]).unwrap(), 5);
            theirs.send(b"123456").unwrap();
            let refused = ours.recv_into(&mut [0; 9]).unwrap_err();
            assert!(matches!(refused, RecvError::TooLarge { bytes: 6, bytes_max: 5 }), "{refused}");
            assert!(matches!(ours.recv_max(9), Err(RecvError::TooLarge { bytes: 6, bytes_max: 5 })));
            assert!(matches!(ours.try_recv(), Err(RecvError::TooLarge { .. })));
            assert!(ours.poll().unwrap());
            ours.send(b"on").unwrap();
            assert_eq!(theirs.recv().unwrap(), b"on");
        }
        // The smaller one counts, the caller's or the connection's.
        for (bytes, asked, bytes_max) in [(3, 2, 2), (6, 9, 5), (6, u64::MAX, 5)] {
            for (ours, theirs) in pairs(5) {
                BytesConnection::over(theirs).send(&vec![7; bytes as usize]).unwrap();
                let refused = BytesConnection::over(ours).recv_max(asked).unwrap_err();
                let RecvError::TooLarge { bytes: found, bytes_max: allowed } = refused else { panic!("{refused}") };
                assert_eq!((found, allowed), (bytes, bytes_max));
            }
        }
    }

    #[test]
    fn what_has_gone_is_counted_while_a_message_is_half_way() {
        const LEN: usize = 4 << 20;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (ours, theirs) = (Connection::<Vec<u8>, ()>::from(ours), Connection::<(), Vec<u8>>::from(theirs));
        assert_eq!(ours.sent_bytes(), 0);
        assert!(!ours.begin(&vec![7; LEN], Duration::ZERO).unwrap());
        let begun = ours.sent_bytes();
        assert!((1..LEN as u64).contains(&begun));
        assert!(matches!(ours.finish(Duration::ZERO), Err(SendError::Timeout)));
        assert_eq!(ours.sent_bytes(), begun, "the peer has read nothing");
        thread::scope(|scope| {
            let received = scope.spawn(|| theirs.recv().unwrap().len());
            ours.finish(Duration::MAX).unwrap();
            assert_eq!(received.join().unwrap(), LEN);
        });
        assert!(ours.sent_bytes() > LEN as u64);
    }

    #[test]
    fn the_limit_and_the_peer_travel_with_an_end() {
        for (ours, theirs) in pairs(5) {
            let (ours, theirs) = (BytesConnection::over(ours), BytesConnection::over(theirs));
            let again: BytesConnection = decode(encode(&ours).unwrap()).unwrap();
            assert_eq!(again.peer(), ours.peer());
            assert!(matches!(again.send(b"123456"), Err(SendError::TooLarge { bytes: 6, bytes_max: 5 })));
            again.send(b"12345").unwrap();
            assert_eq!(theirs.recv().unwrap(), b"12345");
            assert_eq!(theirs.peer(), None);
        }
        for (ours, theirs) in pairs(9) {
            let (ours, theirs) = (Connection::<String, u8>::over(ours), Connection::<u8, String>::over(theirs));
            let again: Connection<String, u8> = decode(encode(&ours).unwrap()).unwrap();
            assert_eq!(again.peer().and_then(Peer::pid), Some(7));
            let text = "nine bytes".to_owned();
            assert!(matches!(again.send(&text), Err(SendError::TooLarge { bytes: 11, bytes_max: 9 })));
            again.send(&"eight...".to_owned()).unwrap();
            assert_eq!(theirs.recv().unwrap(), "eight...");
            assert!(format!("{again:?} {ours:?}").contains("/somewhere"));
        }
    }
}
