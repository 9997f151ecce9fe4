//! What maps read from: makes chunks of the input, and submits them, a bounded number ahead.
//!
//! Relies on [`feed`](super::feed) and [`pace`](super::pace).

use std::any::Any;
use std::sync::Arc;

use crate::cell::{Cell, Chunk, Outcome, Promise};
use crate::error::{SubmitError, TaskError};
use crate::executor::Executor;
use crate::intake::Hold;
use crate::map::feed::{Feed, Filled, Stop};
use crate::map::pace::Pace;
use crate::map::reading::Again;
use crate::task::Task;

/// What is left of the input.
enum Input {
    Open,
    Ended,
    /// It has panicked, which goes on where the results are taken, after those before.
    Panicked(Box<dyn Any + Send>),
}

/// An input on its way into an executor.
pub(super) struct Source<'e> {
    executor: Arc<dyn Executor + 'e>,
    /// Keeps the executor open for the rest of the input, and for what is lost with workers, until all results were taken.
    hold: Option<Hold>,
    feed: Option<Box<dyn Feed + 'e>>,
    pace: Pace,
    input: Input,
    /// What comes after the chunk that was made last: an item that cannot be encoded.
    refused: Option<TaskError>,
    /// True once there was a chunk.
    has_begun: bool,
    /// What cannot be submitted any more, until somebody is told.
    unsubmitted: Option<Unsubmitted>,
    is_slow: bool,
}

/// The end of an input that was not submitted.
pub(super) struct Unsubmitted {
    pub(super) error: SubmitError,
    /// How many items it is: those that were read, and those that are left if the input says how many.
    pub(super) items: usize,
    /// Nothing was submitted before.
    pub(super) is_all: bool,
}

impl<'e> Source<'e> {
    pub(super) fn new(
        executor: Arc<dyn Executor + 'e>,
        feed: Result<Box<dyn Feed + 'e>, SubmitError>,
        pace: Pace,
    ) -> Self {
        let (feed, unsubmitted) = match feed {
            Ok(feed) => (Some(feed), None),
            Err(error) => (None, Some(Unsubmitted { error, items: 0, is_all: true })),
        };
        let (hold, input) = (Some(Hold::of_this_thread()), Input::Open);
        Self { executor, hold, feed, pace, input, refused: None, has_begun: false, unsubmitted, is_slow: false }
    }

    /// How many chunks may be under way.
    pub(super) fn window(&self) -> usize {
        self.executor.parallelism().max(1).saturating_mul(self.pace.window())
    }

    /// True if reading more of the input takes long: whoever has a result waiting gives that out first.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    pub(super) fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    /// Submits the next chunk; `None` when there is none.
    pub(super) fn next(&mut self) -> Option<Chunk> {
        if let Some(error) = self.refused.take() {
            self.has_begun = true;
            return Some(failed(error, 1));
        }
        if self.unsubmitted.is_some() || !matches!(self.input, Input::Open) {
            return None;
        }
        let feed = self.feed.as_mut()?;
        let items = self.pace.items(feed.left(), self.executor.parallelism()).min(self.executor.chunk_items_max());
        let Filled { call, items, stop, is_slow } = feed.fill(items, self.pace.bytes());
        self.is_slow = is_slow;
        match stop {
            Stop::Full => {}
            Stop::Ended => self.input = Input::Ended,
            Stop::Refused(error) => self.refused = Some(SubmitError::Arguments { error }.into()),
            Stop::Panicked(panic) => self.input = Input::Panicked(panic),
        }
        let Some(call) = call else { return self.next() };
        match submit(&*self.executor, call, items, self.hold.as_ref()?) {
            Ok(cell) => {
                self.has_begun = true;
                Some(Chunk { cell, items })
            }
            Err(error) => {
                self.give_up(error, items);
                None
            }
        }
    }

    /// Reads no more: so many items were read that cannot be submitted. The input may have no end, or be waiting for something
    /// that does not come any more, so what is left of it is counted by what it says itself.
    fn give_up(&mut self, error: SubmitError, items: u32) {
        let refused = usize::from(self.refused.take().is_some());
        let left = match (&self.input, &self.feed) {
            (Input::Open, Some(feed)) => feed.left().unwrap_or(0),
            _ => 0,
        };
        let items = (items as usize + refused).saturating_add(left);
        self.unsubmitted = Some(Unsubmitted { error, items, is_all: !self.has_begun });
    }

    /// Submits what a dead worker had not begun.
    pub(super) fn submit_again(&mut self, again: Again) -> Chunk {
        resubmit(&*self.executor, again, self.hold.get_or_insert_with(Hold::of_this_thread))
    }

    /// What is to be told after the last result: that the input was not submitted to its end.
    ///
    /// # Panics
    /// As the input did.
    pub(super) fn end(&mut self) -> Option<Unsubmitted> {
        self.hold = None;
        if let Input::Panicked(panic) = std::mem::replace(&mut self.input, Input::Ended) {
            std::panic::resume_unwind(panic);
        }
        self.input = Input::Ended;
        self.unsubmitted.take()
    }
}

/// Submits what is left of a chunk. If that fails, its items do.
pub(super) fn resubmit(executor: &dyn Executor, Again { call, items }: Again, hold: &Hold) -> Chunk {
    match submit(executor, call, items, hold) {
        Ok(cell) => Chunk { cell, items },
        Err(error) => failed(error.into(), items),
    }
}

pub(super) fn submit(
    executor: &(dyn Executor + '_),
    call: crate::call::Call,
    items: u32,
    hold: &Hold,
) -> Result<Arc<Cell>, SubmitError> {
    let (task, cell) = Task::of_map(call, items, hold);
    executor.submit_raw(task)?;
    Ok(cell)
}

/// Items that were never submitted.
fn failed(error: TaskError, items: u32) -> Chunk {
    let cell = Arc::default();
    let told = Promise::of(&cell).resolve(Outcome::failed(error));
    debug_assert!(told.is_ok(), "nobody else has it");
    Chunk { cell, items }
}
