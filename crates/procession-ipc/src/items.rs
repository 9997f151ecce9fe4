//! What all handles of a queue in one process share: the items go in and out here, as bytes and descriptors.
//!
//! Relies on `channel.rs` for the messages, on `values.rs` for what an item is as one, and on `ends.rs` for who is there.

use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use procession_shm::arena::Slot;
use procession_sys::{Deadline, PacketSocket, is_single_threaded};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::accounts::{ACCOUNT_WORDS, Accounts, Taking};
#[cfg(feature = "async")]
use crate::asynchronous::Lines;
use crate::channel::{CHANNEL_WORDS, Channel, Content, Incoming, Outgoing, Unreceived, Unsent};
use crate::ends::Ends;
use crate::store::{Limits, Store};
use crate::users::{Patience, Users};
use crate::values::{self, Unread, Unsendable, with_scratch};
use crate::{GetError, PutError, QueueError};

/// After so many puts a producer looks whether there still is a consumer, and at the first.
const PUTS_PER_LOOK: u32 = 256;

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
    #[cfg(feature = "async")]
    pub(crate) lines: Lines,
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
        Ok(Self {
            #[cfg(feature = "async")]
            lines: Lines::default(),
            ends,
            channel,
            users,
            kind,
            accounts,
            puts,
        })
    }

    /// The same queue with other ends.
    pub(crate) fn with_ends(&self, ends: Ends) -> Result<Self, QueueError> {
        Self::over(self.kind, self.channel.slot().clone(), self.channel.shared_store(), ends)
    }

    /// Lets go of the queue in this process.
    pub(crate) fn close(&self) {
        #[cfg(feature = "async")]
        self.lines.forget(self.ends.fds());
        if self.ends.close() {
            self.channel.tell_of_leaving();
        }
        #[cfg(feature = "async")]
        self.lines.tell_all();
    }

    /// Of a queue that counts what was taken and is not done.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// True if the calling thread, which waits for ever, is the only one that could end its wait. So many handles of this
    /// process that share these items are the thread's own.
    pub(crate) fn is_alone(self: &Arc<Self>, own_handles: usize, patience: &Patience) -> bool {
        let slot = self.channel.slot();
        // In this order: what comes in a message meanwhile is a handle of this process then.
        let nobody_else = Arc::strong_count(self) <= own_handles
            && self.is_used_by_one_thread()
            && !slot.is_held_by_others()
            && slot.handles() == 1;
        nobody_else && patience.is_over()
    }

    /// True if no other thread of this process has used it, or those that have are gone.
    fn is_used_by_one_thread(&self) -> bool {
        self.users.is_only_one() || is_single_threaded(Deadline::NOW).unwrap_or(false)
    }

    /// Why nobody will ever take what is put, if so.
    fn why_not_put(self: &Arc<Self>, deadline: Deadline, own_handles: usize, patience: &Patience) -> Option<Unsent> {
        if self.ends.is_closed() {
            return Some(Unsent::Closed);
        }
        let is_over = match self.ends.consumers {
            None => self.ends.are_consumers_gone(),
            Some(_) => deadline == Deadline::NEVER && self.is_alone(own_handles, patience),
        };
        is_over.then_some(Unsent::Disconnected)
    }

    /// Why nobody will ever put what could be taken, if so.
    fn why_not_get(
        self: &Arc<Self>,
        deadline: Deadline,
        own_handles: usize,
        patience: &Patience,
    ) -> Option<Unreceived> {
        if self.ends.is_closed() {
            return Some(Unreceived::Closed);
        }
        let is_over = match self.ends.producers {
            None => self.ends.are_producers_gone(),
            Some(_) => deadline == Deadline::NEVER && self.is_alone(own_handles, patience),
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
        self: &Arc<Self>,
        item: T,
        deadline: Deadline,
        own_handles: usize,
    ) -> Result<(), PutError<T>> {
        let sent = values::send(&item, |outgoing| self.send(outgoing, deadline, own_handles));
        sent.map_err(|unsendable| match unsendable {
            Unsendable::Unsent(unsent) => not_put(item, unsent),
            Unsendable::Encode(error) => PutError::Encode { item, error },
        })
    }

    #[inline]
    pub(crate) fn send(
        self: &Arc<Self>,
        outgoing: Outgoing<'_>,
        deadline: Deadline,
        own_handles: usize,
    ) -> Result<(), Unsent> {
        let link = self.producers()?;
        let patience = Patience::new();
        self.channel.send(link, outgoing, deadline, || self.why_not_put(deadline, own_handles, &patience))
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
        self: &Arc<Self>,
        bytes: u64,
        deadline: Deadline,
        own_handles: usize,
    ) -> Result<crate::channel::Lease, PutError<()>> {
        let patience = Patience::new();
        let lent = self
            .producers()
            .and_then(|_| self.channel.lend(bytes, deadline, || self.why_not_put(deadline, own_handles, &patience)));
        lent.map_err(|unsent| not_put((), unsent))
    }

    // Out.

    /// Takes an item, and makes of it what `decode` does with its body and the buffer in which it is if it is inline.
    pub(crate) fn get<R>(
        self: &Arc<Self>,
        deadline: Deadline,
        own_handles: usize,
        decode: impl FnOnce(Incoming, &mut Vec<u8>) -> Result<R, GetError>,
    ) -> Result<R, GetError> {
        let Some(link) = self.ends.consumers.as_ref().filter(|_| !self.ends.is_closed()) else {
            return Err(GetError::Closed);
        };
        self.users.note();
        with_scratch(|mut buffer| {
            if self.kind != Kind::Joinable
                && let Some(len) = self.channel.take_quickly(link, &mut buffer, deadline)
            {
                let incoming = Incoming { content: Content::Inline(len), is_raw: false, descriptors: Vec::new() };
                let item = decode(incoming, &mut buffer);
                return (buffer, item);
            }
            let patience = Patience::new();
            let gone = || self.why_not_get(deadline, own_handles, &patience);
            let received = match self.kind {
                Kind::Joinable => {
                    let notes = Taking(&self.accounts, self.channel.slot());
                    self.channel.receive_noting(link, &mut buffer, deadline, gone, &notes)
                }
                Kind::Queue | Kind::Simple => self.channel.receive(link, &mut buffer, deadline, gone),
            };
            let item = match received {
                Ok(incoming) => decode(incoming, &mut buffer),
                Err(unreceived) => Err(not_had(unreceived, deadline)),
            };
            (buffer, item)
        })
    }
}

/// The item that has come.
#[inline]
pub(crate) fn decoded<T: DeserializeOwned + 'static>(incoming: Incoming, buffer: &mut Vec<u8>) -> Result<T, GetError> {
    Ok(values::decoded(incoming, buffer)?)
}

impl From<Unread> for GetError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Decode(error) => Self::Decode(error),
            Unread::System(doing, error) => Self::System { doing, error },
            Unread::Corrupt(reason) => Self::Corrupt { reason },
        }
    }
}

pub(crate) fn not_put<T>(item: T, unsent: Unsent) -> PutError<T> {
    match unsent {
        Unsent::Full => PutError::Full(item),
        Unsent::Held => PutError::Busy(item),
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
        Unreceived::Held => GetError::Busy,
        Unreceived::Closed => GetError::Closed,
        Unreceived::Disconnected => GetError::Disconnected,
        Unreceived::System(doing, error) => GetError::System { doing, error },
        Unreceived::Corrupt(reason) => GetError::Corrupt { reason },
    }
}
