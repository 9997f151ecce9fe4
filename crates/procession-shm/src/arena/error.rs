//! What can go wrong with a slot.

use std::io;

use super::layout::{OWNERS_MAX, SLOT_BYTES_MAX};
use crate::error::remedy;

/// Why a slot could not be had or used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArenaError {
    /// No slot is that large.
    #[error("a slot has at most {SLOT_BYTES_MAX} bytes: use `SharedMemory` for {bytes}")]
    TooLarge {
        /// The size that was asked for.
        bytes: usize,
    },
    /// As many processes use the arena as can.
    #[error("{OWNERS_MAX} processes use this arena already: let some of them end or drop what they share")]
    NoOwner,
    /// A slot that was freed came in a message, which can only be from a process that breaks the rules.
    #[error("slot {slot} of an arena was freed after this handle was made: whoever sent it did not hold it")]
    Stale {
        /// The slot's number.
        slot: u32,
    },
    /// A slot that holds something else.
    #[error("slot {slot} of an arena holds another kind of object ({found:#x}) than is expected ({expected:#x})")]
    WrongKind {
        /// The slot's number.
        slot: u32,
        /// What it should hold.
        expected: u64,
        /// What it says it holds.
        found: u64,
    },
    /// What came from another process is no arena, or not of this version of the library.
    #[error("this is no arena that can be used: {reason}")]
    Foreign {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The handle was copied by a fork that had no means to count it.
    #[error(
        "this handle was copied by a fork that could not count it, as descriptors or an arena's {OWNERS_MAX} owners had \
         run out: make the object in the child, or send it there"
    )]
    NotCounted,
    /// An access beyond the end, or one to a word that is not aligned.
    #[error("cannot access {len} bytes at {at} of a slot of {size} bytes")]
    OutOfRange {
        /// Where it began.
        at: usize,
        /// How many bytes it was to be.
        len: usize,
        /// How many there are.
        size: usize,
    },
    /// The system refused something.
    #[error("cannot {action} an arena of shared memory: {error}{}", remedy(.error))]
    System {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl ArenaError {
    /// For `map_err`: what the system said to an action.
    pub(super) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { action, error }
    }
}
