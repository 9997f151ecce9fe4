//! Queues: what tasks put and take.
//!
//! Relies on `items.rs`, which all queues are.

use std::os::fd::AsFd;

use procession_sys::{Deadline, Interest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::asynchronous::{Awaited, Bell, Lines, Way, when};
use crate::channel::Channel;
use crate::handle::Handle;
use crate::items::Items;
use crate::{GetError, PutError, Queue};

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

/// What cannot be done when there is no reactor.
pub(super) const WAIT: &str = "wait in a task";

impl<T: Serialize + DeserializeOwned + 'static> Queue<T> {
    /// Puts an item, as soon as there is room for it; a task waits, no thread.
    ///
    /// # Errors
    /// As [`Queue::put`]; never [`PutError::Disconnected`].
    pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put_async(item).await
    }

    /// Takes an item, as soon as there is one; a task waits, no thread.
    ///
    /// # Errors
    /// As [`Queue::get`]; never [`GetError::Disconnected`].
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.get_async().await
    }
}
