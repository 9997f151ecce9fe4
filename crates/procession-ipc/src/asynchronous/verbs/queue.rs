//! Queues: what tasks put and take.
//!
//! Relies on `items.rs`, which all queues are.

use std::os::fd::AsFd;

use procession_sys::{Deadline, Interest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::WAIT;
use crate::asynchronous::{Awaited, Bell, Lines, Way, when};
use crate::channel::Channel;
use crate::handle::Handle;
use crate::items::Items;
use crate::{Consumer, GetError, JoinableQueue, Producer, PutError, Queue, SimpleQueue};

impl Awaited for Items {
    fn lines(&self) -> &Lines {
        &self.lines
    }

    fn bell(&self, way: Way) -> Bell<'_> {
        let fd = match way {
            Way::In => self.ends.bell(),
            Way::Out => self.ends.producers.as_ref().map_or_else(|| self.ends.bell(), AsFd::as_fd),
        };
        Bell { position: way as usize, fd, interest: Interest::Read }
    }

    fn arm(&self, way: Way) -> bool {
        match way {
            Way::In => self.channel.arm(),
            Way::Out => self.channel.arm_for_room(),
        }
        Awaited::is_ready(self, way)
    }

    fn is_ready(&self, way: Way) -> bool {
        // What somebody who puts needs is known to who tries.
        way == Way::Out || self.channel.len() > 0 || self.ends.is_closed()
    }

    fn settle(&self, way: Way) {
        let ends = &self.ends;
        if ends.is_closed() {
            return;
        }
        match (way, &ends.consumers, &ends.producers) {
            (Way::In, Some(link), _) => self.channel.silence(link),
            (Way::Out, _, Some(link)) => Channel::silence_room(link),
            _ => {}
        }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        self.lines.forget(self.ends.fds());
    }
}

impl<T> Handle<T> {
    async fn put_async(&self, item: T) -> Result<(), PutError<T>>
    where
        T: Serialize + 'static,
    {
        let mut item = Some(item);
        let put = when(&self.items, Way::Out, || match self.put(item.take()?, Deadline::NOW) {
            Err(PutError::Full(again) | PutError::Busy(again)) => {
                item = Some(again);
                None
            }
            done => Some(done),
        });
        match put.await {
            Ok(done) => done,
            Err(error) => {
                let item = item.expect("what was not put is here");
                Err(PutError::System { item, doing: WAIT, error })
            }
        }
    }

    async fn get_async(&self) -> Result<T, GetError>
    where
        T: DeserializeOwned + 'static,
    {
        let got = when(&self.items, Way::In, || match self.get(Deadline::NOW) {
            Err(GetError::Empty | GetError::Busy) => None,
            done => Some(done),
        });
        got.await.unwrap_or_else(|error| Err(GetError::System { doing: WAIT, error }))
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Queue<T> {
    /// As [`Queue::put`] in a task: waits for room.
    ///
    /// A future that is dropped has put the item or dropped it, and is done if it has put it. Waiting for memory that others have
    /// borrowed ([`Lent`](crate::Lent)), it looks every 50 ms.
    ///
    /// # Errors
    /// As [`Queue::put`], but never [`PutError::Disconnected`]: another task could use this very handle. A
    /// [`Producer`] knows.
    pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put_async(item).await
    }

    /// As [`Queue::get`] in a task: waits for an item.
    ///
    /// A future that is dropped has taken nothing. Tasks that wait by one handle, or its clones, are served in the order in
    /// which they came.
    ///
    /// # Errors
    /// As [`Queue::get`], but never [`GetError::Disconnected`]: another task could use this very handle. A
    /// [`Consumer`] knows.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::Queue;
    ///
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// let queue = Queue::<u64>::bounded(2)?;
    /// let items = queue.clone();
    /// let producer = std::thread::spawn(move || (1..=10).try_for_each(|n| items.put(n))); // Or another process.
    /// let sum = runtime.block_on(async {
    ///     let mut sum = 0;
    ///     for _ in 1..=10 {
    ///         sum += queue.get_async().await?;
    ///     }
    ///     Ok::<u64, procession_ipc::GetError>(sum)
    /// })?;
    /// assert_eq!(sum, 55);
    /// # producer.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.get_async().await
    }
}

impl<T: Serialize + 'static> Producer<T> {
    /// As [`Producer::put`] in a task: waits for room.
    ///
    /// # Errors
    /// As [`Producer::put`].
    pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put_async(item).await
    }
}

impl<T: DeserializeOwned + 'static> Consumer<T> {
    /// As [`Consumer::get`] in a task: waits for an item.
    ///
    /// # Errors
    /// As [`Consumer::get`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{GetError, Queue};
    ///
    /// // Without any runtime.
    /// futures_lite::future::block_on(async {
    ///     let (producer, consumer) = Queue::<u32>::bounded(10)?.split()?;
    ///     producer.put_async(7).await?;
    ///     drop(producer);
    ///     assert_eq!(consumer.get_async().await?, 7);
    ///     assert!(matches!(consumer.get_async().await, Err(GetError::Disconnected)));
    ///     # Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.get_async().await
    }
}

impl<T: Serialize + DeserializeOwned + 'static> JoinableQueue<T> {
    /// As [`JoinableQueue::put`] in a task; see [`Queue::put_async`].
    ///
    /// # Errors
    /// As [`Queue::put_async`].
    pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put_async(item).await
    }

    /// As [`JoinableQueue::get`] in a task; see [`Queue::get_async`].
    ///
    /// # Errors
    /// As [`JoinableQueue::get`] and [`Queue::get_async`].
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.get_async().await
    }
}

impl<T: Serialize + DeserializeOwned + 'static> SimpleQueue<T> {
    /// As [`SimpleQueue::put`] in a task; see [`Queue::put_async`].
    ///
    /// # Errors
    /// As [`Queue::put_async`].
    pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put_async(item).await
    }

    /// As [`SimpleQueue::get`] in a task; see [`Queue::get_async`].
    ///
    /// # Errors
    /// As [`Queue::get_async`].
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.get_async().await
    }
}
