//! The elements of an array one after the other, at the speed of memory.
//!
//! Relies on a block that is filled by one copy and iterated over from there: a loop over it is one that the compiler
//! can make wide, which a loop of volatile accesses is not.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;

use super::bits::Block;
use super::view::View;
use crate::{Shareable, ShmError};

/// The elements of a [`SharedArray`](crate::SharedArray) or a [`SharedPart`](crate::SharedPart).
///
/// They are copied some 4 KiB at a time: what another process writes is seen, or not, depending on whether it comes
/// before the copy.
pub struct SharedIter<'a, T: Shareable> {
    view: &'a View<T>,
    /// Those that are still to come and in no block.
    rest: Range<usize>,
    /// Not here but boxed, and filled without a call: so what changes with each element, here and in the loop around it,
    /// can stay in registers.
    block: Box<Block<T>>,
    /// How many of the block's have been given out.
    taken: usize,
}

impl<'a, T: Shareable> SharedIter<'a, T> {
    pub(super) fn new(view: &'a View<T>) -> Self {
        const { assert!(T::ANY_BITS, "not all bits are a value of this type: use `try_iter`, which checks them") };
        Self { view, rest: 0..view.len(), block: Box::new(Block::new()), taken: 0 }
    }

    /// What is in the block and not given out yet.
    #[inline]
    fn at_hand(&self) -> &[T] {
        &self.block.values()[self.taken..]
    }

    /// Fills the block with the next elements. False if there are none.
    #[inline]
    fn refill(&mut self) -> bool {
        let loaded = self.view.load_any_bits(&mut self.block, self.rest.start, self.rest.len());
        self.rest.start += loaded;
        self.taken = 0;
        loaded > 0
    }
}

impl<T: Shareable> Iterator for SharedIter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(value) = self.block.get(self.taken) {
                self.taken += 1;
                return Some(value);
            }
            if !self.refill() {
                return None;
            }
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.at_hand().len() + self.rest.len();
        (left, Some(left))
    }

    fn nth(&mut self, n: usize) -> Option<T> {
        let skipped = n.min(self.at_hand().len());
        self.taken += skipped;
        let left = n - skipped;
        if left > 0 {
            self.rest.start = self.rest.end.min(self.rest.start.saturating_add(left));
        }
        self.next()
    }

    /// Block by block.
    #[inline]
    fn fold<B, F: FnMut(B, T) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = self.at_hand().iter().fold(init, |folded, &value| f(folded, value));
        while self.refill() {
            folded = self.at_hand().iter().fold(folded, |folded, &value| f(folded, value));
        }
        folded
    }
}

impl<T: Shareable> DoubleEndedIterator for SharedIter<'_, T> {
    fn next_back(&mut self) -> Option<T> {
        if self.rest.is_empty() {
            return self.block.pop(self.taken);
        }
        self.rest.end -= 1;
        self.view.get(self.rest.end).ok()
    }
}

impl<T: Shareable> ExactSizeIterator for SharedIter<'_, T> {}

impl<T: Shareable> FusedIterator for SharedIter<'_, T> {}

impl<T: Shareable> fmt::Debug for SharedIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedIter").field("left", &self.len()).finish_non_exhaustive()
    }
}

/// The elements of an array of a type of which not all bits are a value, each checked.
#[derive(Debug)]
pub struct SharedTryIter<'a, T: Shareable> {
    view: &'a View<T>,
    rest: Range<usize>,
}

impl<'a, T: Shareable> SharedTryIter<'a, T> {
    pub(super) fn new(view: &'a View<T>) -> Self {
        Self { view, rest: 0..view.len() }
    }
}

impl<T: Shareable> Iterator for SharedTryIter<'_, T> {
    type Item = Result<T, ShmError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.rest.next().map(|index| self.view.get(index))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        self.rest.nth(n).map(|index| self.view.get(index))
    }
}

impl<T: Shareable> DoubleEndedIterator for SharedTryIter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.rest.next_back().map(|index| self.view.get(index))
    }
}

impl<T: Shareable> ExactSizeIterator for SharedTryIter<'_, T> {}

impl<T: Shareable> FusedIterator for SharedTryIter<'_, T> {}
