//! Where everything in a list is.
//!
//! The first five parts are CPython's `ShareableList`; Python does not look at what comes after them. All numbers are in
//! native byte order, all places but those of the codes are multiples of 8.
//!
//! | part | bytes |
//! |---|---|
//! | how many items there are | 8 |
//! | for each item where its slot begins within the data, and where the last one ends | 8 × (items + 1) |
//! | the data: the slots | a multiple of 8 for each item |
//! | for each item its format | 8 × items |
//! | for each item its code | items |
//! | zeros up to a multiple of 8 | 0 to 7 |
//! | [`LENGTHS_MAGIC`] | 8 |
//! | for each item its exact length, and a fingerprint of what was written with it | 16 × items |
//!
//! Relies on nothing in the memory that is not compared with the memory's size.

use std::ops::Range;

use super::kind::FORMAT_BYTES;
use super::{LIST_ITEM_BYTES_MAX, LIST_ITEMS_MAX, ListError};

/// Bytes of a number, and what slots are a multiple of.
pub(super) const WORD: usize = 8;

/// Bytes of the longest slot: a multiple of 8 with as many digits as a format has room for.
const SLOT_BYTES_MAX: usize = slot_for(LIST_ITEM_BYTES_MAX);

/// What our lists have after Python's.
pub(super) const LENGTHS_MAGIC: [u8; WORD] = *b"lengths\x01";

/// Bytes of an entry of the table of lengths.
pub(super) const ENTRY_BYTES: usize = 2 * WORD;

/// The slot that an item of this many bytes is given: with at least one byte to spare, as Python does.
pub(super) const fn slot_for(bytes: usize) -> usize {
    WORD * (bytes / WORD + 1)
}

/// How a list is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    items: usize,
    data_bytes: usize,
}

impl Layout {
    /// The layout of so many items with so much data, unless it could not even be added up.
    pub(super) fn new(items: usize, data_bytes: usize) -> Option<Self> {
        let layout = Self { items, data_bytes };
        let possible = items <= LIST_ITEMS_MAX && data_bytes.is_multiple_of(WORD);
        (possible && data_bytes <= LIST_ITEMS_MAX.saturating_mul(SLOT_BYTES_MAX)).then_some(layout)
    }

    /// What two numbers say that were read from memory of `len` bytes.
    ///
    /// # Errors
    /// [`ListError::Damaged`].
    pub(super) fn parse(
        items: i64,
        data_bytes: impl FnOnce(usize) -> Option<i64>,
        len: usize,
    ) -> Result<Self, ListError> {
        let damaged = |reason: String| ListError::Damaged { reason };
        let items = usize::try_from(items).ok().filter(|&items| items <= LIST_ITEMS_MAX);
        let items = items.ok_or_else(|| damaged("the number of items is none that a list can have".into()))?;
        let too_short = || damaged(format!("its {len} bytes are too few for {items} items"));
        let data = data_bytes(Self { items, data_bytes: 0 }.offset(items)).ok_or_else(too_short)?;
        let layout = usize::try_from(data).ok().and_then(|data| Self::new(items, data));
        let layout =
            layout.ok_or_else(|| damaged(format!("its slots would end at {data}, which is no place for it")))?;
        if layout.python_bytes() > len { Err(too_short()) } else { Ok(layout) }
    }

    pub(super) fn items(self) -> usize {
        self.items
    }

    /// Where the offset of an item is, or that of the data's end.
    pub(super) fn offset(self, index: usize) -> usize {
        WORD * (1 + index)
    }

    fn data(self) -> usize {
        WORD * (self.items + 2)
    }

    /// Where the format of an item is.
    pub(super) fn format(self, index: usize) -> usize {
        self.data() + self.data_bytes + FORMAT_BYTES * index
    }

    /// Where the code of an item is.
    pub(super) fn code(self, index: usize) -> usize {
        self.format(self.items) + index
    }

    /// How much of the memory Python knows.
    pub(super) fn python_bytes(self) -> usize {
        self.code(self.items)
    }

    /// Where the magic of the table of lengths is.
    pub(super) fn magic(self) -> usize {
        self.python_bytes().next_multiple_of(WORD)
    }

    /// Where the entry of an item in the table of lengths is.
    pub(super) fn entry(self, index: usize) -> usize {
        self.magic() + WORD + ENTRY_BYTES * index
    }

    /// How long the memory is with the table of lengths.
    pub(super) fn bytes(self) -> usize {
        self.entry(self.items)
    }

    /// Where the slot between two offsets is.
    ///
    /// # Errors
    /// [`ListError::DamagedItem`] for offsets that no writer leaves.
    pub(super) fn slot(self, index: usize, begin: i64, end: i64) -> Result<Range<usize>, ListError> {
        let wrong = || {
            let reason = format!("its slot is from {begin} to {end} in {} bytes of data", self.data_bytes);
            ListError::DamagedItem { index, reason }
        };
        let place = |offset| usize::try_from(offset).ok().filter(|offset| offset.is_multiple_of(WORD));
        let (begin, end) = place(begin).zip(place(end)).ok_or_else(wrong)?;
        let right = end <= self.data_bytes && (begin + WORD..=begin.saturating_add(SLOT_BYTES_MAX)).contains(&end);
        if right { Ok(self.data() + begin..self.data() + end) } else { Err(wrong()) }
    }
}
