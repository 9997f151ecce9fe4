//! Results as they come.
//!
//! Relies on [`source`](super::source), [`reading`](super::reading), and on [`inbox`](crate::inbox), which tells what has come.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use procession_launch::Passable;
use procession_sys::Deadline;

use crate::cell::{Backend, Chunk, Notice};
use crate::error::TaskError;
use crate::inbox::Inbox;
use crate::map::reading::Reading;
use crate::map::source::Source;

/// The results of a function for the items of an input, as they come: `imap_unordered` of a pool.
///
/// As [`Imap`](crate::Imap) in everything but the order. Items of one chunk come together.
///
/// # Python
/// The iterator that `Pool.imap_unordered()` gives.
pub struct ImapUnordered<'e, R> {
    source: Source<'e>,
    /// What is under way, each under its place here.
    slots: Vec<Option<Chunk>>,
    free: Vec<usize>,
    inbox: Arc<Inbox>,
    reading: Option<Reading>,
    result: PhantomData<fn() -> R>,
}

impl<'e, R: Passable> ImapUnordered<'e, R> {
    pub(super) fn new(source: Source<'e>) -> Self {
        let inbox = Arc::default();
        let mut imap = Self { source, slots: Vec::new(), free: Vec::new(), inbox, reading: None, result: PhantomData };
        imap.top_up();
        imap
    }

    /// The next result that comes, if the wait for it lasts no longer than that; else [`TaskError::Timeout`].
    ///
    /// # Python
    /// `IMapUnorderedIterator.next(timeout)`.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.next_until(Deadline::after(timeout), || TaskError::Timeout)
    }

    /// The next result if one has come, else [`TaskError::WouldBlock`].
    pub fn try_next(&mut self) -> Option<Result<R, TaskError>> {
        self.next_until(Deadline::NOW, || TaskError::WouldBlock)
    }

    fn next_until(&mut self, deadline: Deadline, late: fn() -> TaskError) -> Option<Result<R, TaskError>> {
        loop {
            if let Some(item) = self.reading.as_mut().and_then(Reading::next) {
                return Some(item);
            }
            self.end_reading();
            self.top_up();
            if self.free.len() == self.slots.len() {
                return self.source.end().map(|rest| Err(rest.error.into()));
            }
            let Some(token) = self.inbox.take().or_else(|| self.inbox.wait(self.backend(), deadline)) else {
                return Some(Err(late()));
            };
            self.reading = self.slots[token].take().map(Reading::new);
            self.free.push(token);
            self.top_up();
        }
    }

    fn end_reading(&mut self) {
        let Some(reading) = self.reading.take() else { return };
        if let Some((items, nanos)) = reading.ran() {
            self.source.pace().ran(items, nanos);
        }
        if let Some(again) = reading.again() {
            let chunk = self.source.submit_again(again);
            self.watch(chunk);
        }
    }

    fn top_up(&mut self) {
        while self.slots.len() - self.free.len() < self.source.window() {
            if self.source.is_slow() && (self.reading.is_some() || self.inbox.has_news()) {
                return;
            }
            let Some(chunk) = self.source.next() else { return };
            self.watch(chunk);
        }
    }

    fn watch(&mut self, chunk: Chunk) {
        let cell = Arc::clone(&chunk.cell);
        let token = match self.free.pop() {
            Some(token) => {
                self.slots[token] = Some(chunk);
                token
            }
            None => {
                self.slots.push(Some(chunk));
                self.slots.len() - 1
            }
        };
        if !cell.notify(Arc::clone(&self.inbox) as Arc<dyn Notice>, token) {
            self.inbox.tell(token);
        }
    }

    fn backend(&self) -> Option<Arc<dyn Backend>> {
        self.slots.iter().flatten().find(|chunk| !chunk.cell.is_done())?.cell.backend()
    }
}

impl<R: Passable> Iterator for ImapUnordered<'_, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(Deadline::NEVER, || TaskError::Timeout)
    }
}

impl<R> Drop for ImapUnordered<'_, R> {
    fn drop(&mut self) {
        for chunk in self.slots.iter().flatten() {
            chunk.cell.cancel(false);
        }
    }
}

impl<R> fmt::Debug for ImapUnordered<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = self.slots.len() - self.free.len();
        f.debug_struct("ImapUnordered").field("chunks", &chunks).finish_non_exhaustive()
    }
}
