//! A list of a few kinds of items that Rust and Python programs share.
//!
//! Relies on `memory.rs` for the segment, on `layout.rs` for what is where in it, on `kind.rs` for how an item is marked
//! and on `lengths.rs` for the exact lengths of texts, which Python's layout does not have.

mod error;
mod item;
mod kind;
mod layout;
mod lengths;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use procession_sys::SharedMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::error::ListError;
pub use self::item::ShareableItem;
use self::kind::{FORMAT_BYTES, Kind};
use self::layout::{ENTRY_BYTES, LENGTHS_MAGIC, Layout, WORD, slot_for};
use self::lengths::Entry;
use crate::{SharedMemory, ShmError};

/// Items of a list at most: what a damaged one makes a reader look at is bounded, and 400 MB of them are no list.
pub const LIST_ITEMS_MAX: usize = 1 << 24;

/// Bytes of a text or bytes in a list at most: with a byte to spare and rounded up to a multiple of 8, Python writes its
/// length in seven digits.
pub const LIST_ITEM_BYTES_MAX: usize = 9_999_991;

/// A list of fixed length that several processes share, also with Python: a handle, whose clones are the same list.
///
/// An item is nothing, a truth value, a number, a text or bytes. It can be replaced by one of any kind that fits into
/// the slot which the first one was given: 8 bytes for what is neither text nor bytes, otherwise the next multiple of 8
/// above the length in bytes.
///
/// Its layout is that of CPython, so each program reads and writes what the other has made. Text and bytes come back
/// with the exact length that they were written with, trailing NULs included. Only what Python has written has none, as
/// it does not keep them; where Python leaves the very bytes that we wrote last, they count as ours.
///
/// An item is read and written as a whole, but not at once: while one process writes, others may see an error or a
/// text that is half of each. Where that matters, take a lock of `procession-sync`. A process that dies while it writes
/// an item leaves that item so; it can be set anew.
///
/// # Python
/// `multiprocessing.shared_memory.ShareableList`.
///
/// # Examples
/// ```
/// use procession_shm::ShareableList;
///
/// let list = ShareableList::from_items(["naïve\0".into(), 1.into(), 2.5.into()])?;
/// list.set(1, "seven b")?;
/// assert_eq!(list.get(0)?, "naïve\0".into());
/// assert_eq!(list.index(&2.5.into())?, Some(2));
/// assert!(list.set(2, "more than eight").is_err());
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
#[derive(Clone)]
pub struct ShareableList {
    memory: SharedMemory,
    map: Arc<SharedMap>,
    layout: Layout,
    /// Whether there is a table of lengths, which Python's lists do not have.
    has_lengths: bool,
}

impl ShareableList {
    /// A list without a name.
    ///
    /// # Errors
    /// [`ListError::TooManyItems`], [`ListError::ItemTooLarge`]; otherwise as [`SharedMemory::create`].
    pub fn from_items(items: impl IntoIterator<Item = ShareableItem>) -> Result<Self, ShmError> {
        Self::create(items, SharedMemory::create)
    }

    /// A list that any process of this user, also one in Python, can open by its name.
    ///
    /// Who opens the name before this returns may be told that the list is just being made. In Python, `unlink` it
    /// from one program alone, and mind that CPython before 3.13 removes, at its end, also what it has only opened.
    ///
    /// Python's `ShareableList(sequence, name=name)`.
    ///
    /// # Errors
    /// [`ListError::TooManyItems`], [`ListError::ItemTooLarge`]; otherwise as [`SharedMemory::create_named`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::ShareableList;
    ///
    /// let name = format!("example-list-{}", std::process::id());
    /// let list = ShareableList::create_named(&name, ["Ada".into(), 36.into()])?;
    /// ShareableList::open(&name)?.set(1, 37)?;
    /// assert_eq!(list.get(1)?, 37.into());
    /// list.unlink()?;
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn create_named(name: &str, items: impl IntoIterator<Item = ShareableItem>) -> Result<Self, ShmError> {
        Self::create(items, |bytes| SharedMemory::create_named(name, bytes))
    }

    /// The list of this name, also one that Python has made.
    ///
    /// Python's `ShareableList(name=name)`.
    ///
    /// # Errors
    /// [`ListError::Damaged`]; otherwise as [`SharedMemory::open`].
    pub fn open(name: &str) -> Result<Self, ShmError> {
        Self::from_memory(SharedMemory::open(name)?)
    }

    /// Removes the list's name. Those who have the list keep it.
    ///
    /// Python's `ShareableList.shm.unlink`.
    ///
    /// # Errors
    /// As [`SharedMemory::unlink`].
    pub fn unlink(&self) -> Result<(), ShmError> {
        self.memory.unlink()
    }

    /// The list that shared memory holds, whoever has made it.
    ///
    /// Items are checked when they are read.
    ///
    /// # Errors
    /// [`ListError::Damaged`].
    pub fn from_memory(memory: SharedMemory) -> Result<Self, ShmError> {
        let map = memory.mapping();
        let number = |at| read_word(&map, at).ok().map(i64::from_ne_bytes);
        let layout = Layout::parse(number(0).unwrap_or(-1), number, map.len())?;
        let has_lengths =
            layout.bytes() <= map.len() && read_word(&map, layout.magic()).is_ok_and(|magic| magic == LENGTHS_MAGIC);
        if layout.items() == 0 && !has_lengths && layout.magic() < map.len() {
            let reason = "it has room for items and none yet: if it is just being made, try again".into();
            return Err(ListError::Damaged { reason }.into());
        }
        Ok(Self { memory, map, layout, has_lengths })
    }

    fn create(
        items: impl IntoIterator<Item = ShareableItem>,
        memory: impl FnOnce(usize) -> Result<SharedMemory, ShmError>,
    ) -> Result<Self, ShmError> {
        let items: Vec<_> = items.into_iter().take(LIST_ITEMS_MAX + 1).collect();
        let mut data_bytes = 0;
        let mut offsets = vec![0];
        for (index, item) in items.iter().enumerate() {
            let bytes = variable_part(item).map_or(0, <[u8]>::len);
            if bytes > LIST_ITEM_BYTES_MAX {
                return Err(ListError::ItemTooLarge { index, bytes }.into());
            }
            data_bytes += slot_for(bytes);
            offsets.push(data_bytes as i64);
        }
        let layout = Layout::new(items.len(), data_bytes).ok_or(ListError::TooManyItems)?;
        let memory = memory(layout.bytes())?;
        let list = Self { map: memory.mapping(), memory, layout, has_lengths: true };
        list.fill(&offsets, items)?;
        Ok(list)
    }

    /// Writes a list into memory of zeros. The number of items comes last, so that a list which is not yet whole is told
    /// from one without items.
    fn fill(&self, offsets: &[i64], items: Vec<ShareableItem>) -> Result<(), ShmError> {
        for (index, offset) in offsets.iter().enumerate() {
            self.write(self.layout.offset(index), &offset.to_ne_bytes())?;
        }
        for (index, item) in items.into_iter().enumerate() {
            self.set(index, item)?;
        }
        self.write(self.layout.magic(), &LENGTHS_MAGIC)?;
        self.write(0, &(self.layout.items() as i64).to_ne_bytes())
    }

    /// How many items it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout.items()
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One item.
    ///
    /// # Errors
    /// [`ListError::Index`]; [`ListError::NotText`] and [`ListError::DamagedItem`] for what another process has written.
    pub fn get(&self, index: usize) -> Result<ShareableItem, ShmError> {
        let slot = self.slot(index)?;
        Ok(match self.kind(index, &slot)? {
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

    /// Replaces one item, also by one of another kind.
    ///
    /// # Errors
    /// [`ListError::DoesNotFit`], and nothing is changed; [`ListError::Index`], [`ListError::DamagedItem`],
    /// [`ShmError::ReadOnly`].
    pub fn set(&self, index: usize, item: impl Into<ShareableItem>) -> Result<(), ShmError> {
        let item = item.into();
        let slot = self.slot(index)?;
        let kind = Kind::of(&item, slot.len());
        let bytes = match &item {
            ShareableItem::None => vec![0; WORD],
            ShareableItem::Bool(value) => vec![0, 0, 0, 0, 0, 0, 0, u8::from(*value)],
            ShareableItem::Int(value) => value.to_ne_bytes().to_vec(),
            ShareableItem::Float(value) => value.to_ne_bytes().to_vec(),
            ShareableItem::Str(text) => padded(index, text.as_bytes(), slot.len())?,
            ShareableItem::Bytes(bytes) => padded(index, bytes, slot.len())?,
        };
        // The entry of what was there before is none of what is written now, and until the new one stands, Python's rule
        // tells the length.
        let entry = variable_part(&item).map_or(Entry::NONE, |item| Entry::of(item.len(), kind, &bytes));
        self.write(self.layout.format(index), &kind.format())?;
        self.write(self.layout.code(index), &[kind.code()])?;
        self.write(slot.start, &bytes)?;
        match self.has_lengths {
            true => self.write(self.layout.entry(index), &entry.to_bytes()),
            false => Ok(()),
        }
    }

    /// The items, each as it is when the iterator comes to it.
    pub fn iter(&self) -> impl Iterator<Item = Result<ShareableItem, ShmError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// All items.
    ///
    /// # Errors
    /// As [`ShareableList::get`].
    pub fn to_vec(&self) -> Result<Vec<ShareableItem>, ShmError> {
        self.iter().collect()
    }

    /// How many items are equal to this one.
    ///
    /// # Errors
    /// As [`ShareableList::get`].
    pub fn count(&self, item: &ShareableItem) -> Result<usize, ShmError> {
        self.iter().try_fold(0, |count, found| Ok(count + usize::from(found? == *item)))
    }

    /// The index of the first item that is equal to this one.
    ///
    /// # Errors
    /// As [`ShareableList::get`] for the items before it.
    pub fn index(&self, item: &ShareableItem) -> Result<Option<usize>, ShmError> {
        for (index, found) in self.iter().enumerate() {
            if found? == *item {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// How Python's `struct` module would unpack an item: `q`, `d`, `xxxxxxx?` for a truth value, `xxxxxx?x` for none,
    /// and as `16s` text and bytes, the number being that of the slot's bytes.
    ///
    /// # Errors
    /// [`ListError::Index`], [`ListError::DamagedItem`].
    pub fn format(&self, index: usize) -> Result<String, ShmError> {
        Ok(self.kind(index, &self.slot(index)?)?.to_string())
    }

    /// The memory that it is in.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Where an item's slot is. Offsets are looked at anew each time: others may have written them meanwhile.
    fn slot(&self, index: usize) -> Result<Range<usize>, ShmError> {
        if index >= self.len() {
            return Err(ListError::Index { index, len: self.len() }.into());
        }
        let offset = |index| self.word(self.layout.offset(index)).map(i64::from_ne_bytes);
        Ok(self.layout.slot(index, offset(index)?, offset(index + 1)?)?)
    }

    /// What an item is marked as, which fits into its slot.
    fn kind(&self, index: usize, slot: &Range<usize>) -> Result<Kind, ShmError> {
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
fn variable_part(item: &ShareableItem) -> Option<&[u8]> {
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

impl fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareableList").field("len", &self.len()).field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Serialize for ShareableList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.memory.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_memory(SharedMemory::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
