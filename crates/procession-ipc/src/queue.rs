//! The queue: what processes put and take, each item once.
//!
//! Relies on `channel.rs` for the messages, and on `procession-wire` for what an item is as bytes.

use std::any::type_name;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_shm::arena::Slot;
use procession_sys::{Deadline, thread_id};
use procession_wire::{Descriptor, Encoder, bulk, once};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::channel::{Body, CHANNEL_WORDS, Channel, Content, INLINE_BYTES_MAX, Incoming, Outgoing, Unreceived, Unsent};
use crate::ends::Ends;
use crate::store::{Limits, Store};
use crate::{GetError, PutError};

/// What tells queues from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"queue\0\0\x01");

/// How many bytes of items a queue holds that was made without a limit: 1 GiB.
///
/// It takes no more memory than there are items; this is what keeps one whose consumers have stopped from taking all there
/// is.
pub const QUEUE_BYTES: u64 = 1 << 30;

/// The memory that a thread encodes into, and decodes from, is kept for the next item if it is no larger than this.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

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

/// What all handles of a queue in this process share.
#[derive(Debug)]
struct Inner {
    channel: Channel,
    ends: Ends,
    /// The thread of this process that was in `put` last; zero before the first.
    last_putter: AtomicU64,
}

impl Inner {
    fn create(limits: Limits) -> Result<Self, GetError> {
        let system = |doing| move |error| GetError::System { doing, error };
        let slot = Slot::allocate(CHANNEL_WORDS * size_of::<u64>(), KIND);
        let slot =
            slot.map_err(|error| GetError::System { doing: "make a queue", error: std::io::Error::other(error) })?;
        let store = Store::create(limits).map_err(system("make a queue's memory"))?;
        let ends = Ends::pair().map_err(system("make a queue's sockets"))?;
        Self::over(slot, store, ends)
    }

    fn over(slot: Slot, store: Store, ends: Ends) -> Result<Self, GetError> {
        let channel = Channel::over(slot, 0, Arc::new(store));
        let channel = channel.map_err(|_| GetError::Corrupt { reason: "a queue has another size" })?;
        Ok(Self { channel, ends, last_putter: AtomicU64::new(0) })
    }

    /// Why nobody will ever take what is put, if so.
    fn why_not_put(&self) -> Option<Unsent> {
        if self.ends.is_closed() {
            return Some(Unsent::Closed);
        }
        self.ends.are_consumers_gone().then_some(Unsent::Disconnected)
    }

    /// Why nobody will ever put what could be taken, if so. `handles` are those of this process.
    fn why_not_get(&self, handles: usize) -> Option<Unreceived> {
        if self.ends.is_closed() {
            return Some(Unreceived::Closed);
        }
        let is_over = match self.ends.producers {
            None => self.ends.are_producers_gone(),
            Some(_) => self.is_only_producer(handles),
        };
        is_over.then_some(Unreceived::Disconnected)
    }

    /// True if the calling thread, which is not going to put anything while it waits, is the only one that could.
    fn is_only_producer(&self, handles: usize) -> bool {
        let last_putter = self.last_putter.load(Relaxed);
        handles == 1
            && (last_putter == 0 || last_putter == thread_id().into())
            && !self.channel.slot().is_held_by_others()
    }

    fn put<T: Serialize + 'static>(&self, item: T, deadline: Deadline) -> Result<(), PutError<T>> {
        let raw = bulk::raw(&item).filter(|raw| raw.len() > INLINE_BYTES_MAX);
        if let Some(raw) = raw {
            let sent = self.send(Outgoing { body: Body::Raw(raw), descriptors: &[] }, deadline);
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
            let sent = self.send_encoded(&bytes, len, &descriptors, deadline);
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
        bytes: &[u8],
        len: usize,
        descriptors: &[Descriptor],
        deadline: Deadline,
    ) -> Result<(), Unsent> {
        let body = Body::Encoded(bytes, len);
        if descriptors.is_empty() {
            return self.send(Outgoing { body, descriptors: &[] }, deadline);
        }
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(std::os::fd::AsFd::as_fd).collect();
        self.send(Outgoing { body, descriptors: &descriptors }, deadline)
    }

    #[inline]
    fn send(&self, outgoing: Outgoing<'_>, deadline: Deadline) -> Result<(), Unsent> {
        let Some(link) = self.ends.producers.as_ref().filter(|_| !self.ends.is_closed()) else {
            return Err(Unsent::Closed);
        };
        let own = thread_id().into();
        if self.last_putter.load(Relaxed) != own {
            self.last_putter.store(own, Relaxed);
        }
        self.channel.send(link, outgoing, deadline, || self.why_not_put())
    }

    fn get<T: DeserializeOwned + 'static>(&self, deadline: Deadline, handles: usize) -> Result<T, GetError> {
        let Some(link) = self.ends.consumers.as_ref().filter(|_| !self.ends.is_closed()) else {
            return Err(GetError::Closed);
        };
        with_scratch(|mut buffer| {
            if let Some(len) = self.channel.take_quickly(&mut buffer) {
                let item = procession_wire::decode_slice(&buffer[..len], Vec::new()).map_err(GetError::from);
                return (buffer, item);
            }
            let received = self.channel.receive(link, &mut buffer, deadline, || self.why_not_get(handles));
            let item = match received {
                Ok(incoming) => decoded(incoming, &buffer),
                Err(unreceived) => Err(not_had(unreceived, deadline)),
            };
            (buffer, item)
        })
    }
}

#[cold]
#[inline(never)]
fn decoded<T: DeserializeOwned + 'static>(incoming: Incoming, buffer: &[u8]) -> Result<T, GetError> {
    let Incoming { content, is_raw, descriptors } = incoming;
    match content {
        Content::Inline(len) => Ok(procession_wire::decode_slice(&buffer[..len], descriptors)?),
        Content::Leased(lease, bytes) => {
            let (map, at, bytes) = (lease.store().map(), lease.place(), bytes as usize);
            if is_raw {
                let item = bulk::copied_from(map, at, bytes);
                return Ok(item.ok_or(GetError::Corrupt { reason: "numbers came where none are" })??);
            }
            let mut body = vec![0; bytes];
            map.read(at, &mut body).map_err(|_| GetError::Corrupt { reason: "a block is outside" })?;
            Ok(procession_wire::decode_slice(&body, descriptors)?)
        }
        Content::File(file, bytes) => {
            let body = procession_sys::map_sealed(&file, bytes);
            let body = body.map_err(|error| GetError::System { doing: "map a large item", error })?;
            Ok(procession_wire::decode_slice(&body, descriptors)?)
        }
    }
}

fn not_put<T>(item: T, unsent: Unsent) -> PutError<T> {
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

/// A queue of items between processes: any of them puts, any of them takes, each item is taken once.
pub struct Queue<T> {
    inner: Arc<Inner>,
    _of: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned + 'static> Queue<T> {
    /// A queue that holds at most so many items.
    ///
    /// # Errors
    /// When there is no memory or no descriptor for it.
    pub fn bounded(items: usize) -> Result<Self, GetError> {
        Self::create(Limits { items: (items as u64).max(1), bytes: QUEUE_BYTES })
    }

    /// A queue that holds as many items as come, up to [`QUEUE_BYTES`].
    ///
    /// # Errors
    /// When there is no memory or no descriptor for it.
    pub fn unbounded() -> Result<Self, GetError> {
        Self::create(Limits { items: u64::MAX, bytes: QUEUE_BYTES })
    }

    fn create(limits: Limits) -> Result<Self, GetError> {
        Ok(Self { inner: Arc::new(Inner::create(limits)?), _of: PhantomData })
    }

    /// Puts an item, as soon as there is room for it.
    ///
    /// # Errors
    /// The item is in the error.
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.inner.put(item, Deadline::NEVER)
    }

    /// Puts an item if there is room for it.
    ///
    /// # Errors
    /// The item is in the error.
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.inner.put(item, Deadline::NOW)
    }

    /// Puts an item, if there is room for it within so long.
    ///
    /// # Errors
    /// The item is in the error.
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.inner.put(item, Deadline::after(timeout))
    }

    /// Takes an item, as soon as there is one.
    ///
    /// # Errors
    /// None is coming.
    pub fn get(&self) -> Result<T, GetError> {
        self.inner.get(Deadline::NEVER, Arc::strong_count(&self.inner))
    }

    /// Takes an item if there is one.
    ///
    /// # Errors
    /// There is none.
    pub fn try_get(&self) -> Result<T, GetError> {
        self.inner.get(Deadline::NOW, Arc::strong_count(&self.inner))
    }

    /// Takes an item, if there is one within so long.
    ///
    /// # Errors
    /// There was none.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.inner.get(Deadline::after(timeout), Arc::strong_count(&self.inner))
    }
}

impl<T> Queue<T> {
    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.channel.len() as usize
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items it holds at most; `None` for one that is bounded by bytes alone.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        let items = self.inner.channel.room().items;
        if items == u64::MAX { None } else { usize::try_from(items).ok() }
    }

    /// True if it holds as many items as it may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inner.channel.len() >= self.inner.channel.room().items
    }

    /// Lets go of the queue in this process.
    pub fn close(&self) {
        if self.inner.ends.close() {
            self.inner.channel.tell_of_leaving();
        }
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), _of: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("of", &type_name::<T>()).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let store = self.inner.channel.store();
        let open = || store.file().try_clone_to_owned();
        let identity = procession_sys::file_identity(store.file()).map_err(ser::Error::custom)?;
        let (position, _) = once::attach(identity, open).map_err(ser::Error::custom)?;
        (self.inner.channel.slot(), position, &self.inner.ends).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (slot, position, ends) = <(Slot, u32, Ends)>::deserialize(deserializer)?;
        let slot = slot.expect(KIND).map_err(de::Error::custom)?;
        let file = once::detach(position).map_err(de::Error::custom)?;
        let file = file.into_owned().map_err(de::Error::custom)?;
        let store = Store::open(file).map_err(de::Error::custom)?;
        let inner = Inner::over(slot, store, ends).map_err(de::Error::custom)?;
        Ok(Self { inner: Arc::new(inner), _of: PhantomData })
    }
}
