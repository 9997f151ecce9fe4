//! One end of a pipe: a channel each way, and one socket for both.
//!
//! Relies on `channel.rs` for the messages. The two channels lie in one slot and one memory file. Each end's socket carries
//! the descriptors and bells of what it receives, and tells that nobody holds the other end any more: the kernel knows.
//!
//! | word of the slot | what |
//! |---|---|
//! | 0 | the channel from the first end to the second |
//! | [`CHANNEL_WORDS`] | the channel back |
//! | [`LEAVINGS`] | how often a handle of the first end, of the second end was let go of |
//!
//! A sender that is told by no wait and no error looks at the leavings: when their number has changed, it asks the kernel.

#[cfg(test)]
mod hostile; // What a peer may do to it.
mod limited;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use procession_shm::arena::Slot;
use procession_sys::{Deadline, PacketSocket};
use procession_wire::{Descriptor, once};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

#[cfg(feature = "async")]
use crate::asynchronous::Lines;
use crate::channel::{CHANNEL_WORDS, Channel, Content, Incoming, Outgoing, Unreceived, Unsent};
use crate::store::{Limits, Store};
use crate::wait::{Source, Watch};

pub(crate) use self::limited::LimitedEnd;

/// What tells pipes from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"pipe\0\0\0\x01");

/// Where the leavings are in the slot, on a line of their own.
const LEAVINGS: usize = 2 * CHANNEL_WORDS;
const SLOT_WORDS: usize = LEAVINGS + 8;
const SLOT_BYTES: usize = SLOT_WORDS * size_of::<u64>();

/// After so many messages a sender asks the kernel whether the peer is there, though nothing says that it has left: it may
/// have been killed. The question costs as much as a few messages do.
pub(crate) const SENDS_BETWEEN_LOOKS: u32 = 256;

/// Which end of the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Which {
    First,
    Second,
}

impl Which {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// The word that counts the leavings from it.
    fn leavings(self, slot: &Slot) -> &AtomicU64 {
        &slot.words()[LEAVINGS + self as usize]
    }
}

/// One process's handle of one end.
#[derive(Debug)]
pub(crate) struct End {
    #[cfg(feature = "async")]
    pub(crate) lines: Lines,
    which: Which,
    outgoing: Channel,
    incoming: Channel,
    link: PacketSocket,
    is_closed: AtomicBool,
    /// Nobody holds the other end, nor ever will.
    is_alone: AtomicBool,
    /// How many messages were sent, about.
    sends: AtomicU32,
    /// How often the peer had left when the kernel was last asked.
    seen_leavings: AtomicU64,
    /// After the socket, which is closed first.
    leaving: Leaving,
}

/// Tells the others when it is dropped.
#[derive(Debug)]
struct Leaving {
    which: Which,
    channels: [Channel; 2],
}

impl Leaving {
    fn tell(&self) {
        self.which.leavings(self.channels[0].slot()).fetch_add(1, Release);
        for channel in &self.channels {
            channel.tell_of_leaving();
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Both ends of a new pipe. At most so many bytes are unread in each direction.
pub(crate) fn pair(bytes: [u64; 2]) -> io::Result<(End, End)> {
    pair_in(Slot::allocate(SLOT_BYTES, KIND).map_err(io::Error::other)?, bytes)
}

/// The same in memory in which nothing else is, so that whoever gets an end gets that alone.
pub(crate) fn pair_apart(bytes: [u64; 2]) -> io::Result<(End, End)> {
    pair_in(Slot::allocate_apart(SLOT_BYTES, KIND).map_err(io::Error::other)?, bytes)
}

fn pair_in(slot: Slot, bytes: [u64; 2]) -> io::Result<(End, End)> {
    let stores = Store::create_all(bytes.map(|bytes| Limits { items: u64::MAX, bytes }))?;
    let (first, second) = PacketSocket::pair()?;
    first.set_buffers_max()?;
    second.set_buffers_max()?;
    let channels = channels(slot, stores)?;
    Ok((End::over(Which::First, channels.clone(), first), End::over(Which::Second, channels, second)))
}

fn channels(slot: Slot, [there, back]: [Store; 2]) -> io::Result<[Channel; 2]> {
    if slot.words().len() < SLOT_WORDS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the slot has no room for a pipe"));
    }
    let channel = |slot, first, store| Channel::over(slot, first, Arc::new(store)).map_err(io::Error::other);
    Ok([channel(slot.clone(), 0, there)?, channel(slot, CHANNEL_WORDS, back)?])
}

impl End {
    fn over(which: Which, channels: [Channel; 2], link: PacketSocket) -> Self {
        let [there, back] = channels.clone();
        let (outgoing, incoming) = match which {
            Which::First => (there, back),
            Which::Second => (back, there),
        };
        Self {
            #[cfg(feature = "async")]
            lines: Lines::default(),
            which,
            outgoing,
            incoming,
            link,
            is_closed: AtomicBool::new(false),
            is_alone: AtomicBool::new(false),
            sends: AtomicU32::new(0),
            seen_leavings: AtomicU64::new(0),
            leaving: Leaving { which, channels },
        }
    }

    /// How many bytes may be unread in the direction from this end, and in that to it.
    pub(crate) fn room(&self) -> [u64; 2] {
        [&self.outgoing, &self.incoming].map(|channel| channel.room().bytes)
    }

    /// How many messages have come.
    pub(crate) fn len(&self) -> u64 {
        self.incoming.len()
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Acquire)
    }

    /// Lets go of the end in this process.
    pub(crate) fn close(&self) {
        #[cfg(feature = "async")]
        self.lines.forget([self.link.as_fd()]);
        if !self.is_closed.swap(true, AcqRel) {
            // If it cannot be, the end stays open until the handle is dropped.
            let _ = self.link.let_go();
            self.leaving.tell();
        }
        #[cfg(feature = "async")]
        self.lines.tell_all();
    }

    #[inline]
    pub(crate) fn send(&self, outgoing: Outgoing<'_>, deadline: Deadline) -> Result<(), Unsent> {
        if self.is_closed() {
            return Err(Unsent::Closed);
        }
        if self.is_worth_a_look() && self.is_alone() {
            return Err(Unsent::Disconnected);
        }
        let sent = self.outgoing.send(&self.link, outgoing, deadline, || self.why_not_send());
        // The socket may have been taken away meanwhile.
        sent.map_err(|unsent| if self.is_closed() { Unsent::Closed } else { unsent })
    }

    #[inline]
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>, deadline: Deadline) -> Result<Incoming, Unreceived> {
        if self.is_closed() {
            return Err(Unreceived::Closed);
        }
        if let Some(len) = self.incoming.take_quickly(&self.link, buffer, deadline) {
            return Ok(Incoming { content: Content::Inline(len), is_raw: false, descriptors: Vec::new() });
        }
        let received = self.incoming.receive(&self.link, buffer, deadline, || self.why_not_receive());
        received.map_err(|unreceived| if self.is_closed() { Unreceived::Closed } else { unreceived })
    }

    /// Asks for a bell with the next room for a message.
    #[cfg(feature = "async")]
    pub(crate) fn arm_for_room(&self) {
        self.outgoing.arm_for_room();
    }

    /// Waits until there is a message, or never will be; false when the time is over.
    pub(crate) fn poll(&self, deadline: Deadline) -> Result<bool, Unreceived> {
        let found = !self.is_closed() && self.incoming.poll(deadline, || self.is_closed() || self.is_alone());
        if self.is_closed() { Err(Unreceived::Closed) } else { Ok(found) }
    }

    /// What tells that there is a message.
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { fd: self.link.as_fd(), source: Some(self) }
    }

    /// Whether the kernel is to be asked before a message is sent: the first time, now and then, and when somebody has left.
    #[inline]
    fn is_worth_a_look(&self) -> bool {
        // Of threads that send at once some may count as one.
        let sends = self.sends.load(Relaxed);
        self.sends.store(sends.wrapping_add(1), Relaxed);
        sends.is_multiple_of(SENDS_BETWEEN_LOOKS)
            || self.leavings().load(Acquire) != self.seen_leavings.load(Relaxed)
            || self.is_alone.load(Relaxed)
    }

    /// How often the peer has left.
    fn leavings(&self) -> &AtomicU64 {
        self.which.other().leavings(self.outgoing.slot())
    }

    /// True if nobody holds the other end any more.
    fn is_alone(&self) -> bool {
        if self.is_alone.load(Relaxed) {
            return true;
        }
        let leavings = self.leavings().load(Acquire);
        let is_alone = self.link.is_hung_up().unwrap_or(false);
        self.is_alone.store(is_alone, Relaxed);
        self.seen_leavings.store(leavings, Relaxed);
        is_alone
    }

    fn why_not_send(&self) -> Option<Unsent> {
        if self.is_closed() {
            return Some(Unsent::Closed);
        }
        self.is_alone().then_some(Unsent::Disconnected)
    }

    fn why_not_receive(&self) -> Option<Unreceived> {
        if self.is_closed() {
            return Some(Unreceived::Closed);
        }
        self.is_alone().then_some(Unreceived::Disconnected)
    }
}

impl Source for End {
    fn is_ready(&self) -> bool {
        self.incoming.len() > 0 || self.is_closed()
    }

    fn arm(&self) {
        self.incoming.arm();
    }

    fn settle(&self) -> io::Result<bool> {
        if !self.is_closed() {
            self.incoming.silence(&self.link);
        }
        Ok(self.is_ready() || self.is_alone())
    }
}

fn again(link: BorrowedFd<'_>) -> io::Result<Descriptor> {
    link.try_clone_to_owned().map(Descriptor::from)
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_closed() {
            return Err(ser::Error::custom("it was closed in this process: send it on before `close`"));
        }
        let store = self.outgoing.store();
        let open = || store.file().try_clone_to_owned();
        let identity = procession_sys::file_identity(store.file()).map_err(ser::Error::custom)?;
        let (position, _) = once::attach(identity, open).map_err(ser::Error::custom)?;
        let link = again(self.link.as_fd()).map_err(ser::Error::custom)?;
        (self.which, self.outgoing.slot(), position, link).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (which, slot, position, link) = <(Which, Slot, u32, Descriptor)>::deserialize(deserializer)?;
        let slot = slot.expect(KIND).map_err(de::Error::custom)?;
        let file = once::detach(position).map_err(de::Error::custom)?;
        let stores = file.into_owned().and_then(Store::open_all).map_err(de::Error::custom)?;
        let link = link.into_owned().and_then(PacketSocket::try_from_fd).map_err(de::Error::custom)?;
        let channels = channels(slot, stores).map_err(de::Error::custom)?;
        Ok(Self::over(which, channels, link))
    }
}
