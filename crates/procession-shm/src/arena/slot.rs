//! The handle of a slot.
//!
//! Relies on `process.rs` for the arena, and on `procession_wire::once` for one descriptor in a message, however many
//! slots.
//!
//! # Safety
//! A handle keeps its arena's view, and so the mapping, for as long as it lives. The address that it keeps of its slot is
//! within the mapping by the slot's number and class, which do not change.

#![expect(unsafe_code, reason = "has at hand where a slot's words are, for whoever counts in nanoseconds")]

use std::fmt;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use procession_sys::AccessError;
use procession_wire::once;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::books::Found;
use super::error::ArenaError;
use super::layout::{class_for, storage_of};
use super::owner::Owner;
use super::process::{self, Arena};

/// A few bytes that several processes share: a handle, whose clones are the same bytes.
///
/// For building what processes share; see [the module](super) for what holds it. Passed to a child or through a channel it
/// costs no descriptor of its own: one goes with the message, however many slots are in it. When its process
/// dies, its references are given up with it; the bytes stay as they are for the others.
///
/// Bytes are zero at first. They are aligned to 64 bytes.
///
/// Cloning and dropping take no lock, so they may happen anywhere, also in a signal handler unless it drops the last
/// handle of all slots: that frees memory of this process.
///
/// Source: fcntl_locking(2), memfd_create(2).
///
/// # Examples
/// ```
/// use procession_shm::arena::Slot;
///
/// let slot = Slot::allocate(16, 7)?;
/// slot.write(4, b"text")?;
/// let mut bytes = [0; 4];
/// slot.clone().read(4, &mut bytes)?;
/// assert_eq!(&bytes, b"text");
/// assert!(slot.write(13, b"text").is_err());
/// # Ok::<(), procession_shm::arena::ArenaError>(())
/// ```
pub struct Slot {
    arena: Arc<Arena>,
    pub(super) found: Found,
    /// Where its bytes are in the arena's mapping.
    at: usize,
    /// The same as an address, and how many whole double words there are.
    words: (*const AtomicU64, usize),
}

// SAFETY: the address is that of atomics in a mapping that any thread may use and that lives as long as the handle.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    /// A slot of `bytes` zeros, at most [`SLOT_BYTES_MAX`](super::SLOT_BYTES_MAX). `kind` tells those who receive it what
    /// it holds: a number of the caller's, which [`Slot::expect`] compares.
    ///
    /// # Errors
    /// [`ArenaError::TooLarge`]; [`ArenaError::System`] when a new arena is needed and there is no descriptor or no memory.
    pub fn allocate(bytes: usize, kind: u64) -> Result<Self, ArenaError> {
        let class = class_for(bytes).ok_or(ArenaError::TooLarge { bytes })?;
        let (arena, found) = process::allocate(class, bytes as u32, kind)?; // At most a class's bytes.
        Ok(Self::of(arena, found))
    }

    /// As [`Slot::allocate`], in an arena in which nothing else ever is.
    ///
    /// Whoever has a handle of a slot has the whole arena mapped, and may write into it: this is for what is shared with a
    /// stranger, who then sees nothing but this slot. Each process that has the slot pays one descriptor and one mapping
    /// for it, which takes some 30 KiB of memory in all.
    ///
    /// # Errors
    /// [`ArenaError::TooLarge`]; [`ArenaError::System`] when there is no descriptor or no memory.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::arena::{Slot, statistics};
    ///
    /// let usual = Slot::allocate(8, 1)?;
    /// let before = statistics();
    /// let apart = Slot::allocate_apart(8, 1)?;
    /// let _next = Slot::allocate(8, 1)?; // Beside the first.
    /// assert_eq!(statistics().arenas, before.arenas + 1);
    /// # drop((usual, apart));
    /// # Ok::<(), procession_shm::arena::ArenaError>(())
    /// ```
    pub fn allocate_apart(bytes: usize, kind: u64) -> Result<Self, ArenaError> {
        let class = class_for(bytes).ok_or(ArenaError::TooLarge { bytes })?;
        let (arena, found) = process::allocate_apart(class, bytes as u32, kind)?; // At most a class's bytes.
        Ok(Self::of(arena, found))
    }

    /// A handle for a reference that was counted.
    pub(super) fn of(arena: Arc<Arena>, found: Found) -> Self {
        let at = storage_of(found.slot).unwrap_or_default(); // Whoever found it has checked its number.
        let count = found.len as usize / size_of::<AtomicU64>();
        let words: &[AtomicU64] = arena.books.map().atomic_u64s(at, count).unwrap_or_default();
        let words = (words.as_ptr(), words.len());
        Self { arena, found, at, words }
    }

    /// Itself if it holds what is expected.
    ///
    /// # Errors
    /// [`ArenaError::WrongKind`].
    pub fn expect(self, kind: u64) -> Result<Self, ArenaError> {
        let Found { slot, kind: found, .. } = self.found;
        if found == kind { Ok(self) } else { Err(ArenaError::WrongKind { slot, expected: kind, found }) }
    }

    /// Bytes in it, as many as were asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len as usize
    }

    /// True for a slot without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.len == 0
    }

    /// What it says it holds.
    #[must_use]
    pub fn kind(&self) -> u64 {
        self.found.kind
    }

    /// True for handles of the same bytes.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let identity = |slot: &Self| (slot.arena.identity(), slot.found.slot, slot.found.generation);
        identity(self) == identity(other)
    }

    /// Whether any other living process has a handle of the same bytes, or a message that is under way holds one, this
    /// process's own messages included. When it is false nobody else can come to have one but by this process.
    ///
    /// A process that has died counts no more as soon as the kernel has closed its descriptors, whether or not anybody
    /// has [collected](super::collect) what it left; a child that this process is forking counts already. How many handles
    /// this process has is its own affair. True for a handle that is not counted ([`ArenaError::NotCounted`]), of which
    /// nobody can tell.
    ///
    /// Costs a look at each process's count, a system call for each process that has one, and one more for a slot that was
    /// ever sent. A reference that is passed on meanwhile is not missed.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::arena::Slot;
    ///
    /// let slot = Slot::allocate(8, 1)?;
    /// let _same = slot.clone();
    /// assert!(!slot.is_held_by_others());
    /// let message = procession_wire::encode(&slot)?;
    /// assert!(slot.is_held_by_others());
    /// drop(message);
    /// assert!(!slot.is_held_by_others());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_held_by_others(&self) -> bool {
        self.arena.is_held_by_others(self.found.slot)
    }

    /// How many handles of the same bytes this process has, clones of this one and those that came in messages. None for a
    /// handle that is not counted ([`ArenaError::NotCounted`]).
    ///
    /// # Examples
    /// ```
    /// use procession_shm::arena::Slot;
    ///
    /// let slot = Slot::allocate(8, 1)?;
    /// let same: Slot = procession_wire::decode(procession_wire::encode(&slot)?)?;
    /// assert_eq!((slot.handles(), same.handles()), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn handles(&self) -> u32 {
        self.arena.handles(self.found.slot)
    }

    /// As whom the slot's arena knows this process: what a word of the slot may say to name it.
    ///
    /// A forked child is known by another name than its parent. So is a process that comes back to an arena after it has
    /// dropped its last handle there.
    ///
    /// # Errors
    /// [`ArenaError::NotCounted`].
    #[inline]
    pub fn own_name(&self) -> Result<Owner, ArenaError> {
        self.arena.name().ok_or(ArenaError::NotCounted)
    }

    /// Whether it is this process that a word of the slot names: the cheaper question for whoever has a name at hand. False
    /// where [`Slot::own_name`] fails.
    #[inline]
    #[must_use]
    pub fn is_own_name(&self, owner: Owner) -> bool {
        self.arena.is_called(owner)
    }

    /// Whether a process is alive that a word of the slot names, runs the same program still, and has a handle of any slot
    /// of the arena. The kernel tells, at once when it ends, for the price of a system call.
    #[must_use]
    pub fn is_alive(&self, owner: Owner) -> bool {
        self.arena.is_alive(owner)
    }

    /// The same, and false as soon as the kernel is ending the process: what it held is as it will stay then, but a
    /// process of a gigabyte counts as alive for a tenth of a second more, for as long as its memory is being freed.
    ///
    /// This looks into `/proc` and costs some 50 us. Where that shows another PID namespace than the process's, it says
    /// what [`Slot::is_alive`] does.
    #[must_use]
    pub fn goes_on(&self, owner: Owner) -> bool {
        self.arena.goes_on(owner)
    }

    /// The number of a process that a word of the slot names, in the namespace that it runs in; `None` when its place in
    /// the arena is another's by now.
    #[must_use]
    pub fn pid_of(&self, owner: Owner) -> Option<u32> {
        self.arena.books.pid(owner)
    }

    /// All of it in double words, without what is left when its bytes are no multiple of eight.
    ///
    /// Nothing is checked on the way: also a handle that is not counted ([`ArenaError::NotCounted`]) shows words, which may
    /// be another object's by now.
    #[inline]
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        let (first, count) = self.words;
        // SAFETY: as many are mapped there for as long as `self` lives (see the top of this file), writable and aligned;
        // others may change atomics meanwhile.
        unsafe { slice::from_raw_parts(first, count) }
    }

    /// A word in it.
    ///
    /// # Errors
    /// [`ArenaError::OutOfRange`], [`ArenaError::NotCounted`].
    #[inline]
    pub fn atomic_u32(&self, at: usize) -> Result<&AtomicU32, ArenaError> {
        let place = self.place(at, 4)?;
        self.arena.books.map().atomic_u32(place).map_err(|error| self.refused(error, at, 4))
    }

    /// A double word in it.
    ///
    /// # Errors
    /// As [`Slot::atomic_u32`].
    #[inline]
    pub fn atomic_u64(&self, at: usize) -> Result<&AtomicU64, ArenaError> {
        let place = self.place(at, 8)?;
        self.arena.books.map().atomic_u64(place).map_err(|error| self.refused(error, at, 8))
    }

    /// Copies bytes out. What others write meanwhile may be seen in part.
    ///
    /// # Errors
    /// As [`Slot::atomic_u32`].
    pub fn read(&self, at: usize, into: &mut [u8]) -> Result<(), ArenaError> {
        let place = self.place(at, into.len())?;
        let len = into.len();
        self.arena.books.map().read(place, into).map_err(|error| self.refused(error, at, len))
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// As [`Slot::atomic_u32`].
    pub fn write(&self, at: usize, from: &[u8]) -> Result<(), ArenaError> {
        let place = self.place(at, from.len())?;
        self.arena.books.map().write(place, from).map_err(|error| self.refused(error, at, from.len()))
    }

    /// Where its bytes are mapped in this process, for whoever guards them by a lock. What is done with the address is
    /// theirs to justify.
    ///
    /// # Errors
    /// [`ArenaError::NotCounted`].
    pub fn as_ptr(&self) -> Result<*mut u8, ArenaError> {
        Ok(self.arena.books.map().as_ptr().wrapping_add(self.place(0, 0)?))
    }

    /// Where `len` bytes are in the mapping, if they are the slot's.
    #[inline]
    fn place(&self, at: usize, len: usize) -> Result<usize, ArenaError> {
        self.arena.owner().ok_or(ArenaError::NotCounted)?;
        match at.checked_add(len) {
            Some(end) if end <= self.len() => Ok(self.at + at),
            _ => Err(ArenaError::OutOfRange { at, len, size: self.len() }),
        }
    }

    #[cold]
    fn refused(&self, _: AccessError, at: usize, len: usize) -> ArenaError {
        ArenaError::OutOfRange { at, len, size: self.len() }
    }
}

impl Clone for Slot {
    fn clone(&self) -> Self {
        self.arena.add(self.found.slot, self.found.generation);
        Self { arena: Arc::clone(&self.arena), found: self.found, at: self.at, words: self.words }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.arena.give_up(self.found.slot);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { slot, generation, kind, len } = self.found;
        let mut text = f.debug_struct("Slot");
        text.field("slot", &slot).field("generation", &generation).field("kind", &kind).field("len", &len);
        text.finish_non_exhaustive()
    }
}

/// What a message says of a slot: where its arena's descriptor is, which slot, which generation.
type Sent = (u32, u32, u32);

impl Serialize for Slot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.arena.owner().ok_or_else(|| ser::Error::custom(ArenaError::NotCounted))?;
        let open = || self.arena.open_for_message();
        let (position, message) = once::attach(self.arena.identity(), open).map_err(ser::Error::custom)?;
        self.arena.books.send(message, self.found.slot).map_err(ser::Error::custom)?;
        let sent: Sent = (position, self.found.slot, self.found.generation);
        sent.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (position, slot, generation) = Sent::deserialize(deserializer)?;
        // Held until the reference is counted, though the message holds it, too.
        let message = once::detach(position).map_err(de::Error::custom)?;
        let arena = process::arrive(&message).map_err(de::Error::custom)?;
        let found = arena.receive(slot, generation).map_err(de::Error::custom)?;
        Ok(Self::of(arena, found))
    }
}
