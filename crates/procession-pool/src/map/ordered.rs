//! Results in the order of the input, as they can be had.
//!
//! Relies on [`source`](super::source) and [`reading`](super::reading).

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use procession_launch::Passable;
use procession_sys::Deadline;

use crate::cell::Chunk;
use crate::error::TaskError;
use crate::map::reading::Reading;
use crate::map::source::{Source, Unsubmitted};

/// The results of a function for the items of an input, in their order: `imap` of a pool, `map` of an executor.
///
/// The input is read as results are taken, some chunks ahead, so that it may be endless. An item that fails is an error in
/// its place, and the next ones follow. If the executor ends meanwhile, what was submitted has its results or is
/// [`TaskError::Terminated`], one [`TaskError::NotSubmitted`] stands for all the rest, and is the last. If the input panics, the results of the items before it come out first; then the panic
/// goes on in whoever takes them. Dropping it cancels what has not begun.
///
/// # Python
/// The iterator that `Pool.imap()` and `Executor.map()` give.
pub struct Imap<'e, R> {
    source: Source<'e>,
    window: VecDeque<Chunk>,
    reading: Option<Reading>,
    result: PhantomData<fn() -> R>,
}

impl<'e, R: Passable> Imap<'e, R> {
    pub(super) fn new(source: Source<'e>) -> Self {
        let mut imap = Self { source, window: VecDeque::new(), reading: None, result: PhantomData };
        imap.top_up();
        imap
    }

    /// The next result, if the wait for it lasts no longer than that.
    ///
    /// When the time is up it gives [`TaskError::Timeout`], and the same result is waited for by the next call.
    ///
    /// # Python
    /// `IMapIterator.next(timeout)`.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.next_until(Deadline::after(timeout), || TaskError::Timeout)
    }

    /// The next result if it is there, else [`TaskError::WouldBlock`].
    pub fn try_next(&mut self) -> Option<Result<R, TaskError>> {
        self.next_until(Deadline::NOW, || TaskError::WouldBlock)
    }

    #[inline]
    fn next_until(&mut self, deadline: Deadline, late: fn() -> TaskError) -> Option<Result<R, TaskError>> {
        loop {
            if let Some(item) = self.reading.as_mut().and_then(Reading::next) {
                return Some(item);
            }
            match self.next_chunk(deadline) {
                Some(true) => {}
                Some(false) => return Some(Err(late())),
                None => return self.source.end().map(|rest| Err(rest.error.into())),
            }
        }
    }

    /// Goes on to the next chunk; false if it has not ended in time, `None` if there is none.
    fn next_chunk(&mut self, deadline: Deadline) -> Option<bool> {
        self.end_reading();
        self.top_up();
        let first = self.window.front()?;
        if !first.cell.wait(deadline) {
            return Some(false);
        }
        self.reading = self.window.pop_front().map(Reading::new);
        self.top_up();
        Some(true)
    }

    /// Leaves the chunk that was read: learns from it, and submits what is to be submitted anew.
    fn end_reading(&mut self) {
        let Some(reading) = self.reading.take() else { return };
        if let Some((items, nanos)) = reading.ran() {
            self.source.pace().ran(items, nanos);
        }
        if let Some(again) = reading.again() {
            self.window.push_front(self.source.submit_again(again));
        }
    }

    /// True if a result can be had without waiting.
    fn has_next(&self) -> bool {
        self.reading.is_some() || self.window.front().is_some_and(|chunk| chunk.cell.is_done())
    }

    fn top_up(&mut self) {
        while self.window.len() < self.source.window() && !(self.source.is_slow() && self.has_next()) {
            let Some(chunk) = self.source.next() else { return };
            self.window.push_back(chunk);
        }
    }

    /// Hands all results to `take`, in order, and gives what was not submitted.
    pub(super) fn for_all(mut self, mut take: impl FnMut(Result<R, TaskError>)) -> Option<Unsubmitted> {
        while self.next_chunk(Deadline::NEVER).is_some() {
            if let Some(reading) = &mut self.reading {
                reading.read_all(&mut take);
            }
        }
        self.source.end()
    }
}

impl<R: Passable> Iterator for Imap<'_, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(Deadline::NEVER, || TaskError::Timeout)
    }
}

impl<R> Drop for Imap<'_, R> {
    fn drop(&mut self) {
        for chunk in &self.window {
            chunk.cell.cancel(false);
        }
    }
}

impl<R> fmt::Debug for Imap<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("chunks", &self.window.len()).finish_non_exhaustive()
    }
}
