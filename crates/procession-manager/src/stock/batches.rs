//! What an object holds, asked for in batches.
//!
//! Relies on a method that takes where the last batch has ended, and gives some values and where they end.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BATCH_BYTES, BATCH_DESCRIPTORS, ITEMS_A_BATCH};
use crate::error::CallError;
use crate::proxy::{MethodName, RawProxy};
use crate::server::Given;

/// Values one after the other.
pub(super) struct Batches<C> {
    raw: RawProxy,
    method: MethodName,
    /// Where the last batch has ended.
    at: C,
    batch: std::vec::IntoIter<Given>,
    is_over: bool,
}

impl<C: Serialize + DeserializeOwned + 'static> Batches<C> {
    pub(super) fn new(raw: &RawProxy, method: MethodName, at: C) -> Self {
        Self { raw: raw.clone(), method, at, batch: Vec::new().into_iter(), is_over: false }
    }

    /// Asks for more, if there is nothing left and may be more.
    fn fetch(&mut self) -> Result<(), CallError> {
        if self.batch.len() > 0 || self.is_over {
            return Ok(());
        }
        let at = self.raw.pack(self.method, &self.at)?;
        let mut results = self.raw.call_packed(self.method, vec![at])?;
        self.at = results.pop().unwrap_or_default().result(self.method)?;
        self.is_over = results.is_empty();
        self.batch = results.into_iter();
        Ok(())
    }

    /// The next value, asked for if need be; after an error there is none.
    pub(super) fn next<T: DeserializeOwned + 'static>(&mut self) -> Option<Result<T, CallError>> {
        let next = self.fetch().and_then(|()| self.batch.next().map(|value| value.result(self.method)).transpose());
        self.end_after(next)
    }

    /// The next two values, which are in the same batch; after an error there are none.
    pub(super) fn next_pair<K, V>(&mut self) -> Option<Result<(K, V), CallError>>
    where
        K: DeserializeOwned + 'static,
        V: DeserializeOwned + 'static,
    {
        let next = self.fetch().and_then(|()| {
            // Both are taken before one of them is read.
            let Some((key, value)) = self.batch.next().zip(self.batch.next()) else { return Ok(None) };
            Ok(Some((key.result(self.method)?, value.result(self.method)?)))
        });
        self.end_after(next)
    }

    /// What comes next, and if that is an error nothing more.
    fn end_after<T>(&mut self, next: Result<Option<T>, CallError>) -> Option<Result<T, CallError>> {
        if next.is_err() {
            self.is_over = true;
            self.batch = Vec::new().into_iter();
        }
        next.transpose()
    }
}

impl<C> fmt::Debug for Batches<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("raw", &self.raw).field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

/// What a batch has so far.
#[derive(Debug, Default)]
pub(super) struct Size {
    items: usize,
    bytes: usize,
    descriptors: usize,
}

impl Size {
    /// Counts one more item; false if there is no room for it. There is for one, whatever that has.
    pub(super) fn add(&mut self, bytes: usize, descriptors: usize) -> bool {
        let is_full = self.items == ITEMS_A_BATCH
            || self.bytes > BATCH_BYTES
            || self.items > 0 && self.descriptors + descriptors > BATCH_DESCRIPTORS;
        if !is_full {
            self.items += 1;
            self.bytes += bytes;
            self.descriptors += descriptors;
        }
        !is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many such items are in a batch.
    fn room_for(bytes: usize, descriptors: usize) -> usize {
        let mut size = Size::default();
        (0..2 * ITEMS_A_BATCH).take_while(|_| size.add(bytes, descriptors)).count()
    }

    #[test]
    fn a_batch_has_so_many_items_bytes_and_descriptors_or_one_item() {
        assert_eq!(room_for(1, 0), ITEMS_A_BATCH);
        assert_eq!(room_for(BATCH_BYTES / 2, 0), 3, "but for the last item");
        assert_eq!(room_for(2 * BATCH_BYTES, 0), 1);
        assert_eq!(room_for(1, 5), BATCH_DESCRIPTORS / 5);
        assert_eq!(room_for(1, BATCH_DESCRIPTORS + 1), 1);
    }
}
