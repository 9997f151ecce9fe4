//! Where everything stands in an arena's file. All of it is constant: nothing that is read from the file says where
//! anything else is.
//!
//! | bytes from | what stands there |
//! |---|---|
//! | 0 | magic (8 bytes), version (4), size of the file (8, at 16) |
//! | 64 | owners ever used (4); for each class, the first slot that may be free (4 each, from 68), and how many were ever used (4 each, from 84) |
//! | [`OWNERS_AT`] | per owner: its process's number (4), how often the owner's number was given away (4), when and where the process began (8) |
//! | [`SLOTS_AT`] | per slot, [`SLOT_BYTES`]: state (8), kind (8), length (4), whether it was ever sent (4) |
//! | [`COUNTS_AT`] | per owner, [`COUNTS_STRIDE`]: one count (4) per slot |
//! | [`STORAGE_AT`] | the slots' own bytes, class after class |
//!
//! The file is sparse, and a page of it takes memory when it is first touched: counts stand together by owner, so that
//! there are pages only for owners that exist.
//!
//! Beside its bytes the file has locks, which only the kernel stores: byte `e` is owner `e`'s life, and byte
//! [`SLOT_LOCKS_AT`]` + i` is locked by messages with a reference to slot `i`.

/// How many processes can use one arena at the same time.
///
/// A pool has a worker for each processor, and few machines have more than this. Each owner in use costs a count for
/// each slot, and each attempt to free a slot looks at each owner's.
pub const OWNERS_MAX: u32 = 256;

/// The most bytes in a slot: a page. What is larger is worth a segment of its own, [`SharedMemory`](crate::SharedMemory).
pub const SLOT_BYTES_MAX: usize = 4096;

/// Slots of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// Bytes in each.
    pub(super) bytes: usize,
    /// How many there are.
    pub(super) slots: u32,
    /// The number of the first.
    pub(super) first: u32,
    /// Where the first one's bytes are.
    pub(super) storage: usize,
}

/// Bytes and number of the slots of each class.
const SIZES: [(usize, u32); CLASSES] = [(64, 4096), (256, 1024), (1024, 512), (SLOT_BYTES_MAX, 256)];

/// How many sizes there are.
pub(super) const CLASSES: usize = 4;

/// The sizes, smallest first.
pub(super) const CLASS: [Class; CLASSES] = {
    let mut classes = [Class { bytes: 0, slots: 0, first: 0, storage: 0 }; CLASSES];
    let (mut first, mut storage, mut at) = (0, STORAGE_AT, 0);
    while at < CLASSES {
        let (bytes, slots) = SIZES[at];
        classes[at] = Class { bytes, slots, first, storage };
        first += slots;
        storage += bytes * slots as usize;
        at += 1;
    }
    classes
};

/// Slots in an arena, of all sizes.
pub(super) const SLOTS: u32 = {
    let (mut slots, mut at) = (0, 0);
    while at < CLASSES {
        slots += SIZES[at].1;
        at += 1;
    }
    slots
};

/// What tells an arena from other memory files.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"procaren");

/// Changes with everything in this file.
pub(super) const VERSION: u32 = 2;

pub(super) const MAGIC_AT: usize = 0;
pub(super) const VERSION_AT: usize = 8;
pub(super) const SIZE_AT: usize = 16;
pub(super) const OWNERS_USED_AT: usize = 64;
pub(super) const HINTS_AT: usize = 68;
pub(super) const REACHES_AT: usize = HINTS_AT + 4 * CLASSES;

pub(super) const OWNERS_AT: usize = 4096;

/// What is kept of each owner.
pub(super) const OWNER_BYTES: usize = 16;

pub(super) const PID_AT: usize = 0;
pub(super) const TIMES_AT: usize = 4;
pub(super) const BEGAN_AT: usize = 8;

pub(super) const SLOTS_AT: usize = OWNERS_AT + OWNER_BYTES * OWNERS_MAX as usize;

/// What is kept of each slot.
pub(super) const SLOT_BYTES: usize = 32;

pub(super) const STATE_AT: usize = 0;
pub(super) const KIND_AT: usize = 8;
pub(super) const LEN_AT: usize = 16;
pub(super) const SENT_AT: usize = 20;

pub(super) const COUNTS_AT: usize = (SLOTS_AT + SLOT_BYTES * SLOTS as usize).next_multiple_of(PAGE);

/// One owner's counts: whole pages, so that no other owner's are touched with them.
pub(super) const COUNTS_STRIDE: usize = (4 * SLOTS as usize).next_multiple_of(PAGE);

pub(super) const STORAGE_AT: usize = COUNTS_AT + COUNTS_STRIDE * OWNERS_MAX as usize;

/// Bytes in an arena's file.
pub(super) const FILE_BYTES: usize = {
    let last = CLASS[CLASSES - 1];
    last.storage + last.bytes * last.slots as usize
};

/// The byte whose locks are references to slot 0.
pub(super) const SLOT_LOCKS_AT: u64 = 1 << 16;

/// The smallest page that Linux has on the machines that this is for.
const PAGE: usize = 4096;

const _: () = assert!(REACHES_AT + 4 * CLASSES <= OWNERS_AT);
const _: () = assert!(SENT_AT + 4 <= SLOT_BYTES && SLOT_BYTES.is_multiple_of(8) && SLOTS_AT.is_multiple_of(SLOT_BYTES));
const _: () = assert!(COUNTS_AT.is_multiple_of(PAGE) && STORAGE_AT.is_multiple_of(PAGE));
const _: () = assert!(SLOT_LOCKS_AT > OWNERS_MAX as u64);
const _: () = assert!(OWNERS_MAX < super::state::STAMP_END && SLOTS < u32::MAX);

/// The smallest class whose slots have so many bytes; `None` when they have not.
pub(super) fn class_for(bytes: usize) -> Option<usize> {
    CLASS.iter().position(|class| bytes <= class.bytes)
}

/// The class of a slot; `None` for a number that no slot has.
pub(super) fn class_of(slot: u32) -> Option<&'static Class> {
    const { &CLASS }.iter().find(|class| slot >= class.first && slot - class.first < class.slots)
}

/// Where a slot's bytes are.
pub(super) fn storage_of(slot: u32) -> Option<usize> {
    class_of(slot).map(|class| class.storage + class.bytes * (slot - class.first) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_tile_the_storage() {
        let mut end = STORAGE_AT;
        for slot in 0..SLOTS {
            let class = class_of(slot).unwrap();
            assert_eq!(storage_of(slot), Some(end));
            assert!(end.is_multiple_of(64), "a slot begins at a line of the cache");
            end += class.bytes;
        }
        assert_eq!(end, FILE_BYTES);
        assert_eq!((class_of(SLOTS), storage_of(u32::MAX)), (None, None));
    }

    #[test]
    fn a_request_gets_the_smallest_class_that_holds_it() {
        for (bytes, class) in [(0, 0), (64, 0), (65, 1), (1024, 2), (SLOT_BYTES_MAX, 3)] {
            assert_eq!(class_for(bytes), Some(class), "{bytes}");
        }
        assert_eq!(class_for(SLOT_BYTES_MAX + 1), None);
    }

    #[test]
    fn the_book_has_these_places() {
        let page = include_str!("../../../../docs/src/reference/segment-layout.md").replace(',', "");
        let sizes = CLASS.map(|class| format!("{} of {}", class.slots, class.bytes)).join(" ");
        let sizes = sizes.replacen(" of 64", " of 64 bytes", 1);
        for row in [
            format!("the size of the file: {FILE_BYTES} |"),
            format!("| {VERSION_AT} | 4 | the version of this layout: {VERSION} |"),
            format!("| {OWNERS_USED_AT} | 4 |"),
            format!("| {HINTS_AT} | 4 × {CLASSES} |"),
            format!("| {REACHES_AT} | 4 × {CLASSES} |"),
            format!("| {OWNERS_AT} | {OWNER_BYTES} × {OWNERS_MAX} |"),
            format!("| {SLOTS_AT} | {SLOT_BYTES} × {SLOTS} |"),
            format!("| {COUNTS_AT} | {COUNTS_STRIDE} × {OWNERS_MAX} |"),
            format!("| {STORAGE_AT} | 2 MiB | the slots: {sizes} |"),
            format!("| 0 to {} | the process", OWNERS_MAX - 1),
            format!("| {SLOT_LOCKS_AT} + i | each message"),
        ] {
            assert!(page.contains(&row), "the page lacks: {row}");
        }
    }
}
