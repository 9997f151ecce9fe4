//! From a chunk that has ended back to its items: each result to its own, and what is lost to nobody else.
//!
//! Relies on the replies of [`call`](crate::call). A worker that dies has reported the items that it had finished; the next one
//! is what it was running, and gets the error; what follows is submitted anew.

use procession_launch::Passable;

use crate::call::{self, Call, Item, Items, Load, RAN};
use crate::cell::{Chunk, End};
use crate::error::TaskError;
use crate::future::{no_result, result_of};

/// What of a chunk is to be submitted anew.
pub(super) struct Again {
    pub(super) call: Call,
    pub(super) items: u32,
}

/// The items of a chunk that has ended, from the first on.
#[derive(Debug)]
pub(super) struct Reading {
    chunk: Chunk,
    /// How many items have not been read.
    left: u32,
    /// How many bytes of the report, and how many parcels, have been read.
    bytes: usize,
    parcels: usize,
    /// How many items are not in this chunk any more.
    again: u32,
}

impl Reading {
    pub(super) fn new(chunk: Chunk) -> Self {
        Self { left: chunk.items, chunk, bytes: 0, parcels: 0, again: 0 }
    }

    /// The report as far as there is one.
    #[inline]
    fn report(end: &End) -> Items<'_> {
        let none = Items::of(&[], &[]);
        match end {
            End::Failed(failure) => failure.partial.as_ref().map_or(none, |reply| reply.items()),
            end => end.items().unwrap_or(none),
        }
    }

    /// The next item, if there is one.
    #[inline]
    pub(super) fn next<R: Passable>(&mut self) -> Option<Result<R, TaskError>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let Some(end) = self.chunk.cell.end() else { return Some(Err(TaskError::WouldBlock)) };
        let (bytes, parcels) = Self::report(end).rest();
        let mut items = Items::of(&bytes[self.bytes..], &parcels[self.parcels..]);
        let result = items.next::<R>().and_then(result_of);
        if result.is_some() {
            let (rest, rest_parcels) = items.rest();
            (self.bytes, self.parcels) = (bytes.len() - rest.len(), parcels.len() - rest_parcels.len());
        }
        Some(result.unwrap_or_else(|| Err(self.missing())))
    }

    /// Reads all that is left. As [`Self::next`] for each, without looking for its place.
    pub(super) fn read_all<R: Passable>(&mut self, take: &mut impl FnMut(Result<R, TaskError>)) {
        self.read_numbers(take);
        while let Some(result) = self.next() {
            take(result);
        }
    }

    /// Reads as long as there are numbers.
    #[inline]
    fn read_numbers<R: Passable>(&mut self, take: &mut impl FnMut(Result<R, TaskError>)) {
        let Some(end) = self.chunk.cell.end() else { return };
        let (bytes, parcels) = Self::report(end).rest();
        let mut items = Items::of(&bytes[self.bytes..], &parcels[self.parcels..]);
        self.left -= items.numbers(self.left as usize, |number| take(Ok(number))) as u32; // At most as many.
        self.bytes = bytes.len() - items.rest().0.len();
    }

    /// Why there is nothing of the item that is being read, and what that means for those after it.
    #[cold]
    fn missing(&mut self) -> TaskError {
        match self.chunk.cell.end() {
            Some(End::Failed(failure)) => {
                if is_of_one(&failure.error) && failure.call.is_some() {
                    self.again = std::mem::take(&mut self.left);
                }
                failure.error.clone()
            }
            Some(End::Cancelled) => TaskError::Cancelled,
            _ => no_result(),
        }
    }

    /// For how long the chunk ran, once all of its items were read.
    pub(super) fn ran(&self) -> Option<(usize, u64)> {
        let (bytes, parcels) = Self::report(self.chunk.cell.end()?).rest();
        match Items::of(&bytes[self.bytes..], &parcels[self.parcels..]).next::<()>()? {
            Item::Ran(nanos) => Some((self.chunk.items as usize, nanos)),
            _ => None,
        }
    }

    /// What is to be submitted anew, once all items were read that are here.
    pub(super) fn again(&self) -> Option<Again> {
        if self.again == 0 {
            return None;
        }
        let Some(End::Failed(failure)) = self.chunk.cell.end() else { return None };
        let (bytes, descriptors) = failure.call.as_ref()?.arguments.clone().into_message().into_parts();
        let rest = procession_wire::Message::from_parts(
            call::without_items(bytes, self.chunk.items - self.again)?,
            descriptors,
        );
        Some(Again {
            call: Call { function: failure.call.as_ref()?.function, arguments: Load::Encoded(rest) },
            items: self.again,
        })
    }

    /// Passes over the items without decoding them, for who wants to know what is to be submitted anew.
    pub(super) fn skip_all(&mut self) {
        let Some(end @ End::Failed(_)) = self.chunk.cell.end() else { return };
        let mut items = Self::report(end);
        let whole = (0..self.left).take_while(|_| items.tag() != Some(RAN) && items.skip().is_some()).count();
        self.left -= whole as u32;
        if self.left > 0 {
            self.left -= 1;
            let _ = self.missing();
        }
    }
}

/// True for an error that only the item has that was being run.
fn is_of_one(error: &TaskError) -> bool {
    matches!(error, TaskError::WorkerDied { .. } | TaskError::TimedOut { .. })
}
