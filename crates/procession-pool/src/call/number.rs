//! An item of a reply that is a number.
//!
//! Relies on nothing but its tag.

use super::NUMBER;

/// An item that is a number of up to eight bytes, as the processor's registers hold it on the way: what is written in parts
/// and read as a whole would wait until it has arrived in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NumberItem(u128);

impl NumberItem {
    /// Room for the tag and the number.
    pub(crate) const ROOM: usize = size_of::<u128>();

    /// The item that a number with these bytes is; `None` for a longer one.
    #[inline]
    pub(super) fn of(number: &[u8]) -> Option<Self> {
        let mut bytes = [0; size_of::<u64>()];
        bytes.get_mut(..number.len())?.copy_from_slice(number);
        let tag = NUMBER | number.len() as u8;
        Some(Self(u128::from(u64::from_le_bytes(bytes)) << u8::BITS | u128::from(tag)))
    }

    /// Its bytes, and how many of them there are.
    #[inline]
    pub(crate) fn bytes(self) -> ([u8; Self::ROOM], usize) {
        (self.0.to_le_bytes(), 1 + usize::from(self.0 as u8 & !NUMBER))
    }
}
