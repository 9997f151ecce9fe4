//! What this project makes: queues that processes share.

use procession_benches::Result;
use procession_ipc::Queue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::way::{Item, Put, Take, Way};

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
