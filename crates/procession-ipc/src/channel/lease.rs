//! Blocks that this process holds.
//!
//! Relies on `store.rs` for what a block is.

use procession_shm::arena::Owner;
use procession_sys::fail_point;

use super::Channel;
use crate::store::{Block, Store};

/// A block that this process holds; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(super) channel: Channel,
    pub(super) block: Block,
    pub(super) own: Owner,
    /// False once the block is an item's.
    pub(super) is_held: bool,
}

impl Lease {
    /// Leaves the block to the item that it was put as.
    pub(crate) fn leave(mut self) {
        self.is_held = false;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.channel.store
    }

    pub(crate) fn place(&self) -> usize {
        self.channel.store.place(self.block)
    }

    /// Where the block begins in this process's memory.
    #[inline]
    pub(crate) fn first(&self) -> *mut u8 {
        self.store().map().as_ptr().wrapping_add(self.place())
    }

    pub(crate) fn block(&self) -> Block {
        self.block
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.store().block_bytes(self.block)
    }

    /// Who holds it: this process, unless it was forked since.
    pub(crate) fn owner(&self) -> Owner {
        self.own
    }

    #[inline]
    pub(crate) fn is_own(&self) -> bool {
        self.channel.slot.is_own_name(self.own)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What a forked child has copied is its parent's.
        fail_point!("channel: block to free");
        if self.is_held && self.channel.slot.own_name().ok() == Some(self.own) {
            self.channel.store.free(self.block, self.own);
            self.channel.tell_of_room();
        }
    }
}
