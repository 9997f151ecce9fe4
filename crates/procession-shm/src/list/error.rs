//! What can go wrong with a list.

use std::string::FromUtf8Error;

use super::{LIST_ITEM_BYTES_MAX, LIST_ITEMS_MAX};

/// Why a list could not be made, or an item of it read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// More items than a list may have.
    #[error("cannot make a shareable list of more than {} items: split it", LIST_ITEMS_MAX)]
    TooManyItems,
    /// An item is larger than Python can describe.
    #[error(
        "item {index} has {bytes} bytes, an item of a shareable list at most {}: put it into shared memory of its own",
        LIST_ITEM_BYTES_MAX
    )]
    ItemTooLarge {
        /// Which item.
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// A new item is longer than the slot that the first one was given.
    #[error(
        "{bytes} bytes do not fit into the slot of item {index}, which has {slot}: make the list with an item there \
         that is as long as any to come"
    )]
    DoesNotFit {
        /// Which item.
        index: usize,
        /// The new item's length.
        bytes: usize,
        /// The length of the slot.
        slot: usize,
    },
    /// An index beyond the end.
    #[error("there is no item {index} in a shareable list of {len}")]
    Index {
        /// The index.
        index: usize,
        /// How many items there are.
        len: usize,
    },
    /// A text that is none. The bytes are in the error.
    #[error(
        "item {index} is marked as text and is not UTF-8: set it anew; lists that Python makes cut long text that is \
         not ASCII: {error}"
    )]
    NotText {
        /// Which item.
        index: usize,
        /// What is wrong with the bytes, and the bytes.
        error: FromUtf8Error,
    },
    /// The memory holds no list, or not all of it.
    #[error("this shared memory holds no shareable list: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The place of an item, or its kind, is not what any writer leaves.
    #[error("item {index} of a shareable list is damaged, or was just being written: {reason}")]
    DamagedItem {
        /// Which item.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
}
