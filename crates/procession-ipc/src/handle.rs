//! A handle of a queue: what the public types have in common, which differ in what they allow.
//!
//! Relies on `items.rs` for the queue, and on `procession_wire::once` for one descriptor of its memory in a message that
//! has several of its handles.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use procession_shm::arena::Slot;
use procession_shm::derived::signature;
use procession_sys::Deadline;
use procession_wire::once;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::builder::UNLIMITED;
use crate::ends::{Ends, Sides};
use crate::items::{Items, Kind, decoded};
use crate::store::Usage;
use crate::store::{Limits, Store};
use crate::wait::{Source, Watch};
use crate::{GetError, PutError, QueueError};

/// One process's handle of a queue of `T`.
pub(crate) struct Handle<T> {
    pub(crate) items: Arc<Items>,
    _of: PhantomData<fn(T) -> T>,
}

/// What a message says of a handle: of which type the items are, the counts, where the memory's descriptor is, the ends.
type Sent = (u64, Slot, u32, Ends);

impl<T> Handle<T> {
    pub(crate) fn create(kind: Kind, limits: Limits) -> Result<Self, QueueError> {
        Ok(Self::of(Items::create(kind, limits)?))
    }

    fn of(items: Items) -> Self {
        Self { items: Arc::new(items), _of: PhantomData }
    }

    /// Another handle of the same queue, with these ends.
    pub(crate) fn with(&self, sides: Sides) -> Result<Self, QueueError> {
        if self.items.ends.is_closed() {
            return Err(QueueError::Closed);
        }
        let ends = self.items.ends.again(sides);
        let ends = ends.map_err(|error| QueueError::System { doing: "make another handle of a queue", error })?;
        Ok(Self::of(self.items.with_ends(ends)?))
    }

    #[inline]
    pub(crate) fn put(&self, item: T, deadline: Deadline) -> Result<(), PutError<T>>
    where
        T: Serialize + 'static,
    {
        self.items.put(item, deadline, 1)
    }

    #[inline]
    pub(crate) fn get(&self, deadline: Deadline) -> Result<T, GetError>
    where
        T: DeserializeOwned + 'static,
    {
        self.items.get(deadline, 1, decoded)
    }

    /// How its memory is used.
    pub(crate) fn usage(&self) -> Usage {
        self.items.channel.usage()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.channel.len() as usize
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        let items = self.items.channel.room().items;
        if items == UNLIMITED { None } else { usize::try_from(items).ok() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.channel.len() >= self.items.channel.room().items
    }

    /// What to look at for whoever waits for an item. Of a handle without the consumers' end nobody waits for any.
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { fd: self.items.ends.bell(), source: Some(self) }
    }

    /// `Debug` under the name of the type that is shown.
    pub(crate) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct(name);
        text.field("of", &type_name::<T>()).field("len", &self.len()).field("capacity", &self.capacity());
        text.field("is_closed", &self.items.ends.is_closed()).finish_non_exhaustive()
    }

    /// Tells queues of one type from those of another, where one arrives.
    fn signature() -> u64 {
        signature(type_name::<T>(), &[])
    }

    /// A handle that came in a message, if it is of that kind and has those ends.
    pub(crate) fn receive<'de, D: Deserializer<'de>>(
        deserializer: D,
        kind: Kind,
        sides: Sides,
    ) -> Result<Self, D::Error> {
        let (signature, slot, position, ends) = Sent::deserialize(deserializer)?;
        let slot = slot.expect(kind.word()).map_err(de::Error::custom)?;
        let file = once::detach(position).map_err(de::Error::custom)?;
        if signature != Self::signature() {
            let message = format_args!("a queue of items of another type than `{}`", type_name::<T>());
            return Err(de::Error::custom(message));
        }
        if ends.sides() != Some(sides) {
            return Err(de::Error::custom("a queue's handle of another side than is expected"));
        }
        let file = file.into_owned().map_err(de::Error::custom)?;
        let store = Store::open(file).map_err(de::Error::custom)?;
        let items = Items::over(kind, slot, Arc::new(store), ends).map_err(de::Error::custom)?;
        Ok(Self::of(items))
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { items: Arc::clone(&self.items), _of: PhantomData }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.debug("Handle", f)
    }
}

impl<T> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items = &self.items;
        items.users.note();
        let store = items.channel.store();
        let identity = procession_sys::file_identity(store.file()).map_err(ser::Error::custom)?;
        let open = || store.file().try_clone_to_owned();
        let (position, _) = once::attach(identity, open).map_err(ser::Error::custom)?;
        (Self::signature(), items.channel.slot(), position, &items.ends).serialize(serializer)
    }
}

impl<T> Source for Handle<T> {
    fn is_ready(&self) -> bool {
        self.items.is_ready()
    }

    fn arm(&self) {
        self.items.channel.arm();
    }

    fn settle(&self) -> std::io::Result<bool> {
        self.items.settle()
    }
}
