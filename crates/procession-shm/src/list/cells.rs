//! A list in mapped memory: making it, finding it, reading and writing its items.
//!
//! Relies on `layout.rs` for what is where, on `kind.rs` for how an item is marked and on `lengths.rs` for the exact
//! lengths of texts, which Python's layout does not have.

use std::ops::Range;
use std::sync::Arc;

use procession_sys::SharedMap;

use super::item::ShareableItem;
use super::kind::{FORMAT_BYTES, Kind};
use super::layout::{ENTRY_BYTES, LENGTHS_MAGIC, Layout, WORD, slot_for};
use super::lengths::Entry;
use super::{LIST_ITEM_BYTES_MAX, LIST_ITEMS_MAX, ListError};
use crate::ShmError;

/// Items that a list is to be made of, each with its slot.
pub(super) struct Plan {
    items: Vec<ShareableItem>,
    /// Where each slot begins, and where the last one ends.
    offsets: Vec<usize>,
    layout: Layout,
}

impl Plan {
    /// # Errors
    /// [`ListError::TooManyItems`], [`ListError::ItemTooLarge`].
    pub(super) fn new(items: impl IntoIterator<Item = ShareableItem>) -> Result<Self, ListError> {
        let items = items.into_iter();
        if items.size_hint().0 > LIST_ITEMS_MAX {
            return Err(ListError::TooManyItems); // Before memory is taken for them.
        }
        let items: Vec<_> = items.take(LIST_ITEMS_MAX + 1).collect();
        let mut offsets = vec![0];
        let mut end = 0;
        for (index, item) in items.iter().enumerate() {
            let bytes = variable_part(item).map_or(0, <[u8]>::len);
            if bytes > LIST_ITEM_BYTES_MAX {
                return Err(ListError::ItemTooLarge { index, bytes });
            }
            end += slot_for(bytes);
            offsets.push(end);
        }
        let layout = Layout::new(items.len(), end).ok_or(ListError::TooManyItems)?;
        Ok(Self { items, offsets, layout })
    }

    /// How much memory the list takes.
    pub(super) fn bytes(&self) -> usize {
        self.layout.bytes()
    }

    /// Writes the list into memory of zeros. The number of items comes last: until then there is no list.
    ///
    /// # Errors
    /// [`ShmError::OutOfRange`] for memory that is shorter than [`Plan::bytes`], [`ShmError::ReadOnly`].
    pub(super) fn fill(&self, map: Arc<SharedMap>) -> Result<(), ShmError> {
        let Self { items, offsets, layout } = self;
        let cells = Cells { map, layout: *layout, has_lengths: true };
        for (index, &offset) in offsets.iter().enumerate() {
            cells.write(layout.offset(index), &(offset as i64).to_ne_bytes())?;
        }
        for (index, item) in items.iter().enumerate() {
            cells.set(index, item)?;
        }
        cells.write(layout.magic(), &LENGTHS_MAGIC)?;
        cells.write(0, &(layout.items() as i64).to_ne_bytes())
    }
}

/// A list as it is in memory that others may change at any moment.
#[derive(Clone)]
pub(super) struct Cells {
    map: Arc<SharedMap>,
    pub(super) layout: Layout,
    /// Whether there is a table of lengths, which Python's lists do not have.
    pub(super) has_lengths: bool,
}

impl Cells {
    /// The list that memory holds.
    ///
    /// # Errors
    /// [`ListError::Damaged`].
    pub(super) fn find(map: Arc<SharedMap>) -> Result<Self, ListError> {
        let number = |at| read_word(&map, at).ok().map(i64::from_ne_bytes);
        let layout = Layout::parse(number(0).unwrap_or(-1), number, map.len())?;
        let has_lengths =
            layout.bytes() <= map.len() && read_word(&map, layout.magic()).is_ok_and(|magic| magic == LENGTHS_MAGIC);
        if layout.items() == 0 && !has_lengths && layout.magic() < map.len() {
            let reason = "it has room for items and none yet: if it is just being made, try again".into();
            return Err(ListError::Damaged { reason });
        }
        Ok(Self { map, layout, has_lengths })
    }

    pub(super) fn len(&self) -> usize {
        self.layout.items()
    }

    /// # Errors
    /// [`ListError::Index`], [`ListError::NotText`], [`ListError::DamagedItem`].
    pub(super) fn get(&self, index: usize) -> Result<ShareableItem, ShmError> {
        let slot = self.slot(index)?;
        Ok(match self.kind_in(index, &slot)? {
            Kind::Int => ShareableItem::Int(i64::from_ne_bytes(self.word(slot.start)?)),
            Kind::Float => ShareableItem::Float(f64::from_ne_bytes(self.word(slot.start)?)),
            Kind::Bool => ShareableItem::Bool(self.word(slot.start)?[WORD - 1] != 0),
            Kind::None => ShareableItem::None,
            kind @ Kind::Bytes(_) => ShareableItem::Bytes(self.content(index, slot.start, kind)?),
            kind @ Kind::Text(_) => {
                let text = String::from_utf8(self.content(index, slot.start, kind)?);
                ShareableItem::Str(text.map_err(|error| ListError::NotText { index, error })?)
            }
        })
    }

    /// # Errors
    /// [`ListError::Index`], [`ListError::DoesNotFit`], [`ListError::DamagedItem`], [`ShmError::ReadOnly`].
    pub(super) fn set(&self, index: usize, item: &ShareableItem) -> Result<(), ShmError> {
        let slot = self.slot(index)?;
        let kind = Kind::of(item, slot.len());
        let (word, long);
        let bytes: &[u8] = match item {
            ShareableItem::None => &[0; WORD],
            ShareableItem::Bool(value) => &[0, 0, 0, 0, 0, 0, 0, u8::from(*value)],
            ShareableItem::Int(value) => {
                word = value.to_ne_bytes();
                &word
            }
            ShareableItem::Float(value) => {
                word = value.to_ne_bytes();
                &word
            }
            ShareableItem::Str(_) | ShareableItem::Bytes(_) => {
                long = padded(index, variable_part(item).unwrap_or_default(), slot.len())?;
                &long
            }
        };
        self.write(self.layout.format(index), &kind.format())?;
        self.write(self.layout.code(index), &[kind.code()])?;
        self.write(slot.start, bytes)?;
        if !self.has_lengths {
            return Ok(());
        }
        // Until it stands, the old one is of other bytes, so that Python's rule tells the length.
        let entry = variable_part(item).map_or(Entry::NONE, |item| Entry::of(item.len(), kind, bytes));
        self.write(self.layout.entry(index), &entry.to_bytes())
    }

    /// What an item is marked as.
    ///
    /// # Errors
    /// [`ListError::Index`], [`ListError::DamagedItem`].
    pub(super) fn kind(&self, index: usize) -> Result<Kind, ShmError> {
        self.kind_in(index, &self.slot(index)?)
    }

    /// Where an item's slot is. Offsets are looked at anew each time: others may have written them meanwhile.
    fn slot(&self, index: usize) -> Result<Range<usize>, ShmError> {
        if index >= self.len() {
            return Err(ListError::Index { index, len: self.len() }.into());
        }
        let offset = |index| self.word(self.layout.offset(index)).map(i64::from_ne_bytes);
        Ok(self.layout.slot(index, offset(index)?, offset(index + 1)?)?)
    }

    /// What an item is marked as that has this slot, into which it fits.
    fn kind_in(&self, index: usize, slot: &Range<usize>) -> Result<Kind, ShmError> {
        let format: [u8; FORMAT_BYTES] = self.word(self.layout.format(index))?;
        let mut code = [0];
        self.read(self.layout.code(index), &mut code)?;
        let kind = Kind::parse(format, code[0]).filter(|kind| kind.bytes() <= slot.len());
        let kind = kind.ok_or_else(|| {
            let (format, code, slot) = (format.escape_ascii(), code[0], slot.len());
            let reason = format!("a slot of {slot} bytes is not marked by the format {format} and the code {code}");
            ListError::DamagedItem { index, reason }
        });
        Ok(kind?)
    }

    /// A text's or bytes' bytes: as many as were written if we wrote them, otherwise all up to the trailing zeros.
    fn content(&self, index: usize, at: usize, kind: Kind) -> Result<Vec<u8>, ShmError> {
        let mut bytes = vec![0; kind.bytes()];
        self.read(at, &mut bytes)?;
        let entry = self.entry(index)?;
        let exact = entry.and_then(|entry| entry.length_of(kind, &bytes));
        let until_zeros = || bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(exact.unwrap_or_else(until_zeros));
        Ok(bytes)
    }

    fn entry(&self, index: usize) -> Result<Option<Entry>, ShmError> {
        if !self.has_lengths {
            return Ok(None);
        }
        let mut entry = [0; ENTRY_BYTES];
        self.read(self.layout.entry(index), &mut entry)?;
        Ok(Some(Entry::from_bytes(entry)))
    }

    fn word(&self, at: usize) -> Result<[u8; WORD], ShmError> {
        read_word(&self.map, at)
    }

    fn read(&self, at: usize, into: &mut [u8]) -> Result<(), ShmError> {
        let len = into.len();
        self.map.read(at, into).map_err(|error| ShmError::access(error, at, len, self.map.len()))
    }

    fn write(&self, at: usize, from: &[u8]) -> Result<(), ShmError> {
        self.map.write(at, from).map_err(|error| ShmError::access(error, at, from.len(), self.map.len()))
    }
}

fn read_word(map: &SharedMap, at: usize) -> Result<[u8; WORD], ShmError> {
    let mut word = [0; WORD];
    map.read(at, &mut word).map_err(|error| ShmError::access(error, at, WORD, map.len()))?;
    Ok(word)
}

/// What of an item may be of any length: a text's or bytes' bytes.
pub(super) fn variable_part(item: &ShareableItem) -> Option<&[u8]> {
    match item {
        ShareableItem::Str(text) => Some(text.as_bytes()),
        ShareableItem::Bytes(bytes) => Some(bytes),
        ShareableItem::None | ShareableItem::Bool(_) | ShareableItem::Int(_) | ShareableItem::Float(_) => None,
    }
}

/// Bytes with the zeros that fill a slot.
fn padded(index: usize, bytes: &[u8], slot: usize) -> Result<Vec<u8>, ListError> {
    if bytes.len() > slot {
        return Err(ListError::DoesNotFit { index, bytes: bytes.len(), slot });
    }
    let mut padded = bytes.to_vec();
    padded.resize(slot, 0);
    Ok(padded)
}
