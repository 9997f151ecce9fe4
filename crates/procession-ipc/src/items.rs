//! What all handles of a queue in one process share: the items go in and out here, as bytes and descriptors.
//!
//! Relies on `channel.rs` for the messages, on `procession-wire` for what an item is as bytes, and on `ends.rs` for who is
//! there.

use std::cell::Cell;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use procession_shm::arena::Slot;
use procession_sys::{Deadline, PacketSocket, fail_point};
use procession_wire::{Descriptor, Encoder, bulk};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::accounts::{ACCOUNT_WORDS, Accounts, Taking};
use crate::channel::{Body, CHANNEL_WORDS, Channel, Content, INLINE_BYTES_MAX, Incoming, Outgoing, Unreceived, Unsent};
use crate::ends::Ends;
use crate::store::{Limits, Store};
use crate::users::Users;
use crate::{GetError, PutError, QueueError};

/// The memory that a thread encodes into, and decodes from, is kept for the next item if it is no larger than this.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// After so many puts a producer looks whether there still is a consumer, and at the first.
const PUTS_PER_LOOK: u32 = 256;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs with the thread's memory, which `run` gives back, or keeps.
fn with_scratch<R>(run: impl FnOnce(Vec<u8>) -> (Vec<u8>, R)) -> R {
    let (scratch, result) = run(SCRATCH.take());
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    result
}

/// Which queue it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Queue,
    Joinable,
    Simple,
}

impl Kind {
    /// What tells it from other objects in the arena.
    pub(crate) fn word(self) -> u64 {
        u64::from_le_bytes(match self {
            Self::Queue => *b"queue\0\0\x01",
            Self::Joinable => *b"joinabl\x01",
            Self::Simple => *b"simpleq\x01",
        })
    }

    fn words(self) -> usize {
        CHANNEL_WORDS + if self == Self::Joinable { ACCOUNT_WORDS } else { 0 }
    }
}

/// One handle's share of a queue, which its clones have as well.
#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) ends: Ends,
    pub(crate) channel: Leaving,
    pub(crate) users: Users,
    pub(crate) kind: Kind,
    accounts: Accounts,
    /// Puts since the last look for a consumer; roughly, as threads may count at the same time.
    puts: AtomicU32,
}

/// A channel whose other users are woken when its sockets, which are dropped before it, are gone.
#[derive(Debug)]
pub(crate) struct Leaving(Channel);

impl Deref for Leaving {
    type Target = Channel;

    #[inline]
    fn deref(&self) -> &Channel {
        &self.0
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.tell_of_leaving();
    }
}

impl Items {
    pub(crate) fn create(kind: Kind, limits: Limits) -> Result<Self, QueueError> {
        let system = |doing| move |error| QueueError::System { doing, error };
        let slot = Slot::allocate(kind.words() * size_of::<u64>(), kind.word())?;
        let store = Store::create(limits).map_err(system("make a queue's memory"))?;
        let ends = Ends::pair().map_err(system("make a queue's sockets"))?;
        Self::over(kind, slot, Arc::new(store), ends)
    }

    pub(crate) fn over(kind: Kind, slot: Slot, store: Arc<Store>, ends: Ends) -> Result<Self, QueueError> {
        if slot.words().len() < kind.words() {
            let reason = "a queue has another size";
            return Err(procession_shm::arena::ArenaError::Foreign { reason }.into());
        }
        let channel = Leaving(Channel::over(slot, 0, store)?);
        let (users, accounts, puts) = (Users::new(), Accounts::new(), AtomicU32::new(0));
        Ok(Self { ends, channel, users, kind, accounts, puts })
    }

    /// The same queue with other ends.
    pub(crate) fn with_ends(&self, ends: Ends) -> Result<Self, QueueError> {
        Self::over(self.kind, self.channel.slot().clone(), self.channel.shared_store(), ends)
    }

    /// Lets go of the queue in this process.
    pub(crate) fn close(&self) {
        if self.ends.close() {
            self.channel.tell_of_leaving();
        }
    }

    /// Of a queue that counts what was taken and is not done.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// True if the calling thread, which waits for ever, is the only one that could end its wait. `handles` are those of
    /// this process that share these items.
    pub(crate) fn is_alone(&self, handles: usize) -> bool {
        let slot = self.channel.slot();
        // In this order: what comes in a message meanwhile is a handle of this process then.
        handles <= 1 && self.users.is_only_one() && !slot.is_held_by_others() && slot.handles() == 1
    }

    /// Why nobody will ever take what is put, if so.
    fn why_not_put(&self, deadline: Deadline, handles: usize) -> Option<Unsent> {
        if self.ends.is_closed() {
            return Some(Unsent::Closed);
        }
        let is_over = match self.ends.consumers {
            None => self.ends.are_consumers_gone(),
            Some(_) => deadline == Deadline::NEVER && self.is_alone(handles),
        };
        is_over.then_some(Unsent::Disconnected)
    }

    /// Why nobody will ever put what could be taken, if so.
    fn why_not_get(&self, deadline: Deadline, handles: usize) -> Option<Unreceived> {
        if self.ends.is_closed() {
            return Some(Unreceived::Closed);
        }
        let is_over = match self.ends.producers {
            None => self.ends.are_producers_gone(),
            Some(_) => deadline == Deadline::NEVER && self.is_alone(handles),
        };
        is_over.then_some(Unreceived::Disconnected)
    }

    /// True if the next get would not wait.
    pub(crate) fn is_ready(&self) -> bool {
        self.channel.len() > 0
            || self.ends.is_closed()
            || (self.ends.producers.is_none() && self.ends.are_producers_gone())
    }

    /// Takes away what makes the consumers' end readable and is no item.
    pub(crate) fn settle(&self) -> io::Result<bool> {
        if let Some(link) = self.ends.consumers.as_ref().filter(|_| !self.ends.is_closed()) {
            self.channel.silence(link);
        }
        Ok(self.is_ready())
    }

    // In.

    pub(crate) fn put<T: Serialize + 'static>(
        &self,
        item: T,
        deadline: Deadline,
        handles: usize,
    ) -> Result<(), PutError<T>> {
        let raw = bulk::raw(&item).filter(|raw| raw.len() > INLINE_BYTES_MAX);
        if let Some(raw) = raw {
            let sent = self.send(Outgoing { body: Body::Raw(raw), descriptors: &[] }, deadline, handles);
            return sent.map_err(|unsent| not_put(item, unsent));
        }
        let sent = with_scratch(|scratch| {
            let mut encoder = Encoder::with_buffer(scratch);
            if let Err(error) = encoder.value(&item) {
                return (Vec::new(), Err(Err(error)));
            }
            let (mut bytes, descriptors) = encoder.finish().into_parts();
            let len = bytes.len();
            bytes.resize(len.next_multiple_of(size_of::<u64>()), 0);
            let body = Body::Encoded(&bytes, len);
            let sent = self.send_encoded(body, &descriptors, deadline, handles);
            (bytes, sent.map_err(Ok))
        });
        sent.map_err(|unsent| match unsent {
            Ok(unsent) => not_put(item, unsent),
            Err(error) => PutError::Encode { item, error },
        })
    }

    #[inline]
    fn send_encoded(
        &self,
        body: Body<'_>,
        descriptors: &[Descriptor],
        deadline: Deadline,
        handles: usize,
    ) -> Result<(), Unsent> {
        if descriptors.is_empty() {
            return self.send(Outgoing { body, descriptors: &[] }, deadline, handles);
        }
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        self.send(Outgoing { body, descriptors: &descriptors }, deadline, handles)
    }

    #[inline]
    pub(crate) fn send(&self, outgoing: Outgoing<'_>, deadline: Deadline, handles: usize) -> Result<(), Unsent> {
        let link = self.producers()?;
        self.channel.send(link, outgoing, deadline, || self.why_not_put(deadline, handles))
    }

    /// The producers' end, if putting is not in vain.
    #[inline]
    pub(crate) fn producers(&self) -> Result<&PacketSocket, Unsent> {
        let link = self.ends.producers.as_ref().filter(|_| !self.ends.is_closed()).ok_or(Unsent::Closed)?;
        self.users.note();
        if self.ends.consumers.is_none() {
            self.look_for_consumers()?;
        }
        Ok(link)
    }

    #[inline]
    fn look_for_consumers(&self) -> Result<(), Unsent> {
        let puts = self.puts.load(Relaxed);
        self.puts.store(puts.wrapping_add(1) % PUTS_PER_LOOK, Relaxed);
        if puts == 0 && self.ends.are_consumers_gone() {
            self.puts.store(0, Relaxed); // The next one is told as well.
            return Err(Unsent::Disconnected);
        }
        Ok(())
    }

    /// Waits for a block and has it.
    pub(crate) fn lend(
        &self,
        bytes: u64,
        deadline: Deadline,
        handles: usize,
    ) -> Result<crate::channel::Lease, PutError<()>> {
        let lent =
            self.producers().and_then(|_| self.channel.lend(bytes, deadline, || self.why_not_put(deadline, handles)));
        lent.map_err(|unsent| not_put((), unsent))
    }

    // Out.

    /// Takes an item, and makes of it what `decode` does with its body and the buffer in which it is if it is inline.
    pub(crate) fn get<R>(
        &self,
        deadline: Deadline,
        handles: usize,
        decode: impl FnOnce(Incoming, &[u8]) -> Result<R, GetError>,
    ) -> Result<R, GetError> {
        let Some(link) = self.ends.consumers.as_ref().filter(|_| !self.ends.is_closed()) else {
            return Err(GetError::Closed);
        };
        self.users.note();
        with_scratch(|mut buffer| {
            if self.kind != Kind::Joinable
                && let Some(len) = self.channel.take_quickly(&mut buffer, deadline)
            {
                let incoming = Incoming { content: Content::Inline(len), is_raw: false, descriptors: Vec::new() };
                let item = decode(incoming, &buffer);
                return (buffer, item);
            }
            let gone = || self.why_not_get(deadline, handles);
            let received = match self.kind {
                Kind::Joinable => {
                    let notes = Taking(&self.accounts, self.channel.slot());
                    self.channel.receive_noting(link, &mut buffer, deadline, gone, &notes)
                }
                Kind::Queue | Kind::Simple => self.channel.receive(link, &mut buffer, deadline, gone),
            };
            let item = match received {
                Ok(incoming) => decode(incoming, &buffer),
                Err(unreceived) => Err(not_had(unreceived, deadline)),
            };
            (buffer, item)
        })
    }
}

/// The item that has come.
#[inline]
pub(crate) fn decoded<T: DeserializeOwned + 'static>(incoming: Incoming, buffer: &[u8]) -> Result<T, GetError> {
    match incoming {
        Incoming { content: Content::Inline(len), descriptors, .. } => {
            Ok(procession_wire::decode_slice(&buffer[..len], descriptors)?)
        }
        incoming => decoded_outside(incoming),
    }
}

/// One that does not stand in its record.
#[cold]
#[inline(never)]
fn decoded_outside<T: DeserializeOwned + 'static>(incoming: Incoming) -> Result<T, GetError> {
    const NO_NUMBERS: GetError = GetError::Corrupt { reason: "numbers came where none are" };
    let Incoming { content, is_raw, descriptors } = incoming;
    match content {
        Content::Inline(_) => Err(GetError::Corrupt { reason: "an item is nowhere" }),
        Content::Leased(lease, bytes) => {
            let (map, at, bytes) = (lease.store().map(), lease.place(), bytes as usize);
            if is_raw {
                return Ok(bulk::copied_from(map, at, bytes).ok_or(NO_NUMBERS)??);
            }
            let mut body = vec![0; bytes];
            fail_point!("queue: body to read");
            map.read(at, &mut body).map_err(|_| GetError::Corrupt { reason: "a block is outside" })?;
            Ok(procession_wire::decode_slice(&body, descriptors)?)
        }
        Content::File(file, bytes) => {
            let body = procession_sys::map_sealed(&file, bytes);
            let body = body.map_err(|error| GetError::System { doing: "map a large item", error })?;
            if is_raw {
                return Ok(bulk::copied_of(&body).ok_or(NO_NUMBERS)??);
            }
            Ok(procession_wire::decode_slice(&body, descriptors)?)
        }
    }
}

pub(crate) fn not_put<T>(item: T, unsent: Unsent) -> PutError<T> {
    match unsent {
        Unsent::Full => PutError::Full(item),
        Unsent::Closed => PutError::Closed(item),
        Unsent::Disconnected => PutError::Disconnected(item),
        Unsent::System(doing, error) => PutError::System { item, doing, error },
        Unsent::Corrupt(reason) => PutError::Corrupt { item, reason },
    }
}

fn not_had(unreceived: Unreceived, deadline: Deadline) -> GetError {
    match unreceived {
        Unreceived::Empty if deadline == Deadline::NOW => GetError::Empty,
        Unreceived::Empty => GetError::Timeout,
        Unreceived::Closed => GetError::Closed,
        Unreceived::Disconnected => GetError::Disconnected,
        Unreceived::System(doing, error) => GetError::System { doing, error },
        Unreceived::Corrupt(reason) => GetError::Corrupt { reason },
    }
}
