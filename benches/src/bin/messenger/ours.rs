//! What this project makes: queues that processes share, and pipes between two.
//!
//! A queue's `put` takes an item by value, so that the producer's own is cloned for each; a pipe's `send` looks at it.

use procession_benches::Result;
use procession_ipc::{BytesConnection, Connection, Queue, pipe, pipe_bytes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::way::{Ends, Item, LARGE, Put, Take, Way};

/// A queue that every process of the gang has.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Queued<T>(Queue<T>);

impl<T: Item + Serialize + DeserializeOwned> Queued<T> {
    /// With room for any number of items.
    pub(crate) fn unbounded() -> Result<Self> {
        Ok(Self(Queue::unbounded()?))
    }

    /// With room for so many.
    pub(crate) fn bounded(items: usize) -> Result<Self> {
        Ok(Self(Queue::bounded(items)?))
    }
}

impl<T> Clone for Queued<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Item + Clone + Serialize + DeserializeOwned> Way for Queued<T> {
    type Item = T;

    fn producer(self) -> Result<impl Put<T>> {
        Ok(self)
    }

    fn consumer(self) -> Result<impl Take<T>> {
        Ok(self)
    }
}

impl<T: Item + Clone + Serialize + DeserializeOwned> Put<T> for Queued<T> {
    fn put(&mut self, item: &T) -> Result {
        Ok(self.0.put(item.clone())?)
    }
}

impl<T: Item + Serialize + DeserializeOwned> Take<T> for Queued<T> {
    fn take<R>(&mut self, look: impl FnOnce(&T) -> R) -> Result<R> {
        Ok(look(&self.0.get()?))
    }
}

/// One direction of a pipe in which `T` goes there and `B` comes back. Each process keeps the end that it uses.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Piped<T, B> {
    sender: Connection<T, B>,
    receiver: Connection<B, T>,
}

impl<T> Piped<T, ()> {
    /// A pipe that is used in one direction.
    pub(crate) fn there() -> Result<Self> {
        let (sender, receiver) = pipe()?;
        Ok(Self { sender, receiver })
    }
}

impl<T> Piped<T, T> {
    /// The two directions of one pipe.
    pub(crate) fn there_and_back() -> Result<[Self; 2]> {
        let (first, second) = pipe()?;
        let there = Self { sender: first.clone(), receiver: second.clone() };
        Ok([there, Self { sender: second, receiver: first }])
    }
}

impl<T, B> Clone for Piped<T, B> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), receiver: self.receiver.clone() }
    }
}

impl<T: Item + Serialize + DeserializeOwned, B: 'static> Way for Piped<T, B> {
    type Item = T;

    fn producer(self) -> Result<impl Put<T>> {
        Ok(self.sender)
    }

    fn consumer(self) -> Result<impl Take<T>> {
        Ok(self.receiver)
    }
}

impl<T: Item + Serialize, B> Put<T> for Connection<T, B> {
    fn put(&mut self, item: &T) -> Result {
        Ok(self.send(item)?)
    }
}

impl<T: Item + DeserializeOwned, B> Take<T> for Connection<B, T> {
    fn take<R>(&mut self, look: impl FnOnce(&T) -> R) -> Result<R> {
        Ok(look(&self.recv()?))
    }
}

/// A pipe for bytes, which are received into memory that is there already.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Bytes {
    sender: BytesConnection,
    receiver: BytesConnection,
}

impl Bytes {
    pub(crate) fn new() -> Result<Self> {
        let (sender, receiver) = pipe_bytes()?;
        Ok(Self { sender, receiver })
    }
}

struct BytesReceiver(BytesConnection, Vec<u8>);

impl Way for Bytes {
    type Item = Vec<u8>;

    fn producer(self) -> Result<impl Put<Vec<u8>>> {
        Ok(self.sender)
    }

    fn consumer(self) -> Result<impl Take<Vec<u8>>> {
        Ok(BytesReceiver(self.receiver, vec![0; LARGE]))
    }
}

impl Put<Vec<u8>> for BytesConnection {
    fn put(&mut self, item: &Vec<u8>) -> Result {
        Ok(self.send(item)?)
    }
}

impl Take<Vec<u8>> for BytesReceiver {
    fn take<R>(&mut self, look: impl FnOnce(&Vec<u8>) -> R) -> Result<R> {
        let len = self.0.recv_into(&mut self.1)?;
        if len == self.1.len() { Ok(look(&self.1)) } else { Err(format!("{len} bytes have arrived").into()) }
    }
}

/// How many messages that are lent are under way at most: as many as of the peer's.
const LENT_UNDER_WAY: usize = 2;

/// Messages that are written and looked at where the queue has them.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Lent {
    queue: Queue<Vec<u8>>,
    bytes: usize,
}

impl Lent {
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        Ok(Self { queue: Queue::bounded(LENT_UNDER_WAY)?, bytes })
    }
}

impl Way for Lent {
    type Item = Ends;

    fn producer(self) -> Result<impl Put<Ends>> {
        Ok(self)
    }

    fn consumer(self) -> Result<impl Take<Ends>> {
        Ok(self)
    }
}

impl Put<Ends> for Lent {
    fn put(&mut self, item: &Ends) -> Result {
        let mut loan = self.queue.lend(self.bytes)?;
        item.write(&mut loan);
        Ok(loan.put()?)
    }
}

impl Take<Ends> for Lent {
    fn take<R>(&mut self, look: impl FnOnce(&Ends) -> R) -> Result<R> {
        let message = self.queue.get_lent()?;
        let arrived = message.len() == self.bytes;
        if arrived { Ok(look(&Ends::of(&message)?)) } else { Err("a message has arrived with another length".into()) }
    }
}
