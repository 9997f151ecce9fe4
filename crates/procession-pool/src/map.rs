//! One function for many items: the verbs of a pool, over any executor.
//!
//! Items are submitted in chunks; a chunk is one task, and its report tells of each item by itself. So a map costs little, and
//! still an item that fails, or that kills its worker, is lost alone.

mod feed; // From the input to chunks,
mod pace; // how large they are,
mod source; // how many are under way;

mod reading; // and back to items.

mod gather;
mod ordered; // How results are had: in order,
mod unordered; // as they come, // or all at once, later.

use std::fmt;
use std::iter;
use std::num::NonZeroUsize;
use std::sync::Arc;

use procession_launch::{Arguments, Passable, Target};

pub use crate::map::feed::FILL_TIME_MAX;
pub use crate::map::ordered::Imap;
pub use crate::map::pace::{
    CHUNK_BYTES_MAX, CHUNK_ITEMS_MAX, CHUNK_TIME, GIVEN_CHUNK_BYTES_MAX, WINDOW_CHUNKS, WINDOW_CHUNKS_MAX,
};
pub use crate::map::unordered::ImapUnordered;

use crate::async_result::AsyncResult;
use crate::error::{SubmitError, TaskError};
use crate::executor::Executor;
use crate::map::feed::{Feed, Feeder};
use crate::map::pace::Pace;
use crate::map::source::{Source, Unsubmitted};

/// The verbs that call one function for many items, with chunks of a size. Made by `chunked` of a pool.
///
/// # Examples
/// ```
/// use procession_pool::ThreadPool;
///
/// let pool = ThreadPool::new(2)?;
/// let squares = pool.chunked(64).map(|n: u64| n * n, 0..1000)?;
/// assert_eq!(squares[31], 961);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Mapper<'e> {
    executor: Arc<dyn Executor + 'e>,
    chunk: Option<NonZeroUsize>,
}

impl<'e> Mapper<'e> {
    /// With chunks that adapt to the time that items take.
    pub(crate) fn new(executor: Arc<dyn Executor + 'e>) -> Self {
        Self { executor, chunk: None }
    }

    /// With chunks of so many items.
    pub(crate) fn chunked(executor: Arc<dyn Executor + 'e>, items: usize) -> Self {
        let chunk = NonZeroUsize::new(items);
        assert!(chunk.is_some(), "a chunk has at least one item");
        Self { executor, chunk }
    }

    /// The results of `function` for all items, in their order.
    ///
    /// # Errors
    /// The error of the item with the lowest index, after all have ended.
    ///
    /// # Panics
    /// As the input does, after the items before that have ended.
    pub fn map<F, I>(&self, function: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<(I::Item,)>,
        I: IntoIterator<Item: Passable>,
    {
        self.starmap(function, items.into_iter().map(|item| (item,)))
    }

    /// As [`map`](Self::map), with items that are tuples of arguments.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    ///
    /// # Panics
    /// As [`map`](Self::map).
    pub fn starmap<F, I>(&self, function: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<I::Item>,
        I: IntoIterator<Item: Arguments>,
    {
        let items = items.into_iter();
        let mut results = Vec::with_capacity(room(&items));
        let mut failure = None;
        let take = |result| match result {
            Ok(value) if failure.is_none() => results.push(value),
            Ok(_) => {}
            Err(error) => _ = failure.get_or_insert(error),
        };
        let rest = Imap::new(self.source(function, items)).for_all(take);
        failure.or_else(|| rest.map(|rest| rest.error.into())).map_or(Ok(results), Err)
    }

    /// What has come of each item, in their order.
    ///
    /// If the pool ends meanwhile, items that were submitted and not done are [`TaskError::Terminated`], and the others
    /// [`TaskError::NotSubmitted`]. The input is not read any further then: what is left of one that says how many items it has
    /// left, as ranges and vectors do, is counted (up to 16,777,216); of another one the items are told that were read.
    ///
    /// # Errors
    /// The pool took no more tasks before the first item was submitted.
    ///
    /// # Panics
    /// As [`map`](Self::map).
    pub fn map_results<F, I>(&self, function: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, SubmitError>
    where
        F: Target<(I::Item,)>,
        I: IntoIterator<Item: Passable>,
    {
        let items = items.into_iter();
        let mut results = Vec::with_capacity(room(&items));
        let source = self.source(function, items.map(|item| (item,)));
        match Imap::new(source).for_all(|result| results.push(result)) {
            Some(Unsubmitted { error, is_all: true, .. }) => return Err(error),
            Some(Unsubmitted { error, items, .. }) => {
                let error = TaskError::from(error);
                results.extend(iter::repeat_with(|| Err(error.clone())).take(items.min(ROOM_MAX)));
            }
            None => {}
        }
        Ok(results)
    }

    /// The results as they can be had, in the order of the items, which are read as results are taken.
    pub fn imap<'i, F, I>(&self, function: F, items: I) -> Imap<'i, F::Output>
    where
        'e: 'i,
        F: Target<(I::Item,)>,
        I: IntoIterator<Item: Passable, IntoIter: 'i>,
    {
        Imap::new(self.source(function, items.into_iter().map(|item| (item,))))
    }

    /// The results as they come, whichever item they are of.
    pub fn imap_unordered<'i, F, I>(&self, function: F, items: I) -> ImapUnordered<'i, F::Output>
    where
        'e: 'i,
        F: Target<(I::Item,)>,
        I: IntoIterator<Item: Passable, IntoIter: 'i>,
    {
        ImapUnordered::new(self.source(function, items.into_iter().map(|item| (item,))))
    }

    fn source<'i, F, A, I>(&self, function: F, items: I) -> Source<'i>
    where
        'e: 'i,
        F: Target<A>,
        A: Arguments,
        I: Iterator<Item = A> + 'i,
    {
        let feed = Feeder::new(function, items).map(|feed| Box::new(feed) as Box<dyn Feed + 'i>);
        Source::new(Arc::clone(&self.executor) as Arc<dyn Executor + 'i>, feed, Pace::new(self.chunk))
    }
}

impl Mapper<'static> {
    /// Submits all items, and gives a handle of their results.
    ///
    /// # Errors
    /// An item cannot be encoded, or the pool takes no more tasks: nothing runs that has not begun.
    ///
    /// # Panics
    /// As the input does; nothing was submitted then.
    pub fn map_async<F, I>(&self, function: F, items: I) -> Result<AsyncResult<Vec<F::Output>>, SubmitError>
    where
        F: Target<(I::Item,)>,
        I: IntoIterator<Item: Passable>,
    {
        self.starmap_async(function, items.into_iter().map(|item| (item,)))
    }

    /// As [`map_async`](Self::map_async), with items that are tuples of arguments.
    ///
    /// # Errors
    /// As [`map_async`](Self::map_async).
    ///
    /// # Panics
    /// As [`map_async`](Self::map_async).
    pub fn starmap_async<F, I>(&self, function: F, items: I) -> Result<AsyncResult<Vec<F::Output>>, SubmitError>
    where
        F: Target<I::Item>,
        I: IntoIterator<Item: Arguments>,
    {
        let feed = Box::new(Feeder::new(function, items.into_iter())?);
        gather::map_async(Arc::clone(&self.executor), feed, self.chunk)
    }
}

/// How many results memory is got for before the first one is there: more come by and by. And how many items are told at most
/// that they were not submitted, and not even read.
const ROOM_MAX: usize = 1 << 24;

fn room(items: &impl Iterator) -> usize {
    items.size_hint().0.min(ROOM_MAX)
}

impl fmt::Debug for Mapper<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapper").field("chunk", &self.chunk).finish_non_exhaustive()
    }
}
