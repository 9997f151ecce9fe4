//! A list of a few kinds of items that Rust and Python programs share.
//!
//! Relies on `memory.rs` for the segment and on `cells.rs` for the items in it. Its parts stand below in the order in
//! which they are best read.

mod error;
mod item;

mod kind; // How an item is marked.
mod layout; // What is where.
mod lengths; // What Python does not keep.

mod cells; // A list in memory.
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::cells::{Cells, Plan};
pub use self::error::ListError;
pub use self::item::ShareableItem;
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
/// An item is read and written as a whole, but not at once: while one process writes, others may see an error, a text
/// that is half of each, or the bits of one kind as another, such as an integer's as a float. Where that matters, take a
/// lock of `procession-sync`. A process that dies while it writes an item leaves that item so; it can be set anew.
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
    cells: Cells,
}

impl ShareableList {
    /// A list without a name.
    ///
    /// # Errors
    /// [`ListError::TooManyItems`], [`ListError::ItemTooLarge`]; otherwise as [`SharedMemory::create`].
    pub fn from_items(items: impl IntoIterator<Item = ShareableItem>) -> Result<Self, ShmError> {
        let plan = Plan::new(items)?;
        let memory = SharedMemory::create(plan.bytes())?;
        plan.fill(memory.mapping())?;
        Self::from_memory(memory)
    }

    /// A list that any process of this user, also one in Python, can open by its name.
    ///
    /// It appears under its name whole. Python removes, at its end, the name of each list that it has opened, unless its
    /// resource tracker is told otherwise.
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
        let plan = Plan::new(items)?;
        Self::from_memory(SharedMemory::create_named_filled(name, plan.bytes(), |map| plan.fill(map))?)
    }

    /// The same under a name that nobody has yet, as [`SharedMemory::create_with_new_name`] makes it: see
    /// [`ShareableList::name`].
    ///
    /// # Errors
    /// As [`ShareableList::create_named`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::ShareableList;
    ///
    /// let list = ShareableList::create_with_new_name(["Ada".into()])?;
    /// let name = list.name().unwrap_or_default(); // For whoever is to open it.
    /// assert_eq!(ShareableList::open(name)?.get(0)?, "Ada".into());
    /// list.unlink()?;
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn create_with_new_name(items: impl IntoIterator<Item = ShareableItem>) -> Result<Self, ShmError> {
        let plan = Plan::new(items)?;
        Self::from_memory(SharedMemory::create_with_new_name_filled(plan.bytes(), |map| plan.fill(map))?)
    }

    /// The name that others can open it by, if it was created or opened by one. It may have been removed since.
    ///
    /// Python's `ShareableList.shm.name`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.memory.name()
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

    /// Removes the list's name, also through a handle that is read-only. Those who have the list keep it.
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
        let cells = Cells::find(memory.mapping_to(memory.len())?)?;
        Ok(Self { memory, cells })
    }

    /// How many items it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
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
    /// Text that Python has cut, which counts characters where its slots count bytes, is `NotText` if it is cut within a
    /// character; cut between two it is a shorter text, which nobody can tell from what was meant.
    pub fn get(&self, index: usize) -> Result<ShareableItem, ShmError> {
        self.cells.get(index)
    }

    /// Replaces one item, also by one of another kind.
    ///
    /// # Errors
    /// [`ListError::DoesNotFit`], and nothing is changed; [`ListError::Index`], [`ListError::DamagedItem`],
    /// [`ShmError::ReadOnly`].
    pub fn set(&self, index: usize, item: impl Into<ShareableItem>) -> Result<(), ShmError> {
        self.cells.set(index, &item.into())
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
        Ok(self.cells.kind(index)?.to_string())
    }

    /// The memory that it is in.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }
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
