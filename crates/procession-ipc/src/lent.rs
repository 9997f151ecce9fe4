//! Numbers where they are in a queue's memory: taken without a copy, or put without one.
//!
//! Relies on `channel.rs` for blocks that this process holds.
//!
//! # Safety
//! [`Numbers`] shows a block that this process holds by the store's own word: a block goes from producer to holder to
//! queue and back by single exchanges, so among those who keep to the protocol one process has it, and in that process one
//! lease. A peer that writes the words as it likes could have one block come twice: so every block that is shown is in
//! [`SHOWN`] for as long, by the file that it is in, and is refused a second time. A copy in a forked child shows nothing:
//! the block is held in the parent's name. A block is within the mapping by the store's geometry, which this process has
//! computed, and the lease keeps the mapping. Any bits are numbers. What is not excluded is a peer that writes into a block
//! that it does not hold, and a reference that a forked child inherits with its parent's stack.

#![expect(unsafe_code, reason = "shows a block of a queue's memory as the numbers in it")]

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, slice};

use parking_lot::Mutex;
use procession_sys::{Deadline, Mapping, file_identity, map_sealed};
use procession_wire::bulk::Number;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Body, Content, INLINE_BYTES_MAX, Incoming, Lease, Outgoing};
use crate::handle::Handle;
use crate::items::{Items, decoded, not_put};
use crate::store::BLOCK_BYTES_MAX;
use crate::{GetError, PutError};

/// A block by its file, its number there, and who holds it: a forked child has its parent's, and holds others.
type Key = ((u64, u64), u64, u32);

/// The blocks that are shown in this process.
static SHOWN: Mutex<BTreeSet<Key>> = Mutex::new(BTreeSet::new());

/// A block's entry there.
struct Shown(Key);

impl Shown {
    /// Enters a block, unless it is entered.
    fn enter(lease: &Lease) -> io::Result<Option<Self>> {
        let key = (file_identity(lease.store().file())?, lease.block().word(), lease.owner().word());
        let is_new = SHOWN.lock().insert(key);
        Ok(is_new.then(|| Self(key))) // Made only if it is to be dropped.
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        SHOWN.lock().remove(&self.0);
    }
}

/// The numbers in a block that this process holds.
struct Numbers<N> {
    _shown: Shown, // Before the lease, whose block somebody else may have as soon as it is dropped.
    lease: Lease,
    len: usize,
    _of: PhantomData<N>,
}

impl<N: Number> Numbers<N> {
    /// So many in the block of a lease.
    fn of(lease: Lease, len: usize) -> Result<Self, GetError> {
        let has_room = size_of::<N>().checked_mul(len).is_some_and(|bytes| bytes as u64 <= lease.bytes_max());
        if !has_room || !lease.first().cast::<N>().is_aligned() {
            return Err(GetError::Corrupt { reason: "numbers stand where they cannot" });
        }
        let shown = Shown::enter(&lease).map_err(|error| GetError::System { doing: "show the memory", error })?;
        let shown = shown.ok_or(GetError::Corrupt { reason: "one block came twice" })?;
        Ok(Self { _shown: shown, lease, len, _of: PhantomData })
    }

    /// # Panics
    /// In a forked child, which does not hold what its parent does.
    #[inline]
    fn assert_own(&self) {
        assert!(self.lease.is_own(), "these numbers were lent to the process that this one was forked from");
    }

    #[inline]
    fn numbers(&self) -> &[N] {
        self.assert_own();
        // SAFETY: so many are mapped there, aligned, as `of` has checked; nobody changes them (see the top of this file).
        unsafe { slice::from_raw_parts(self.lease.first().cast(), self.len) }
    }

    #[inline]
    fn numbers_mut(&mut self) -> &mut [N] {
        self.assert_own();
        // SAFETY: as above, in a mapping for reading and writing; nobody else sees them.
        unsafe { slice::from_raw_parts_mut(self.lease.first().cast(), self.len) }
    }
}

/// Numbers that were taken out of a queue and are still where they were put: a slice.
///
/// Dropping it gives the memory back to the queue, for whose producers it is not there until then: for every one that is
/// kept there is room for less. Small items, of up to 16 KiB, are copies that this owns; larger ones are not copied.
///
/// # Crashes and fork
/// A process that dies gives its memory back. In a forked child the copy shows nothing: the parent has the memory. A
/// reference that was had before the fork is not a `Lent`: it must not be used in the child, which cannot tell.
///
/// # Panics
/// Whoever looks at a copy in a forked child.
///
/// # Examples
/// ```
/// use procession_ipc::Queue;
///
/// let queue = Queue::<Vec<f64>>::unbounded()?;
/// queue.put(vec![0.5; 100_000])?;
/// let numbers = queue.get_lent()?;
/// assert_eq!(numbers.iter().sum::<f64>(), 50_000.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the queue has its memory back as soon as this is dropped"]
pub struct Lent<N: Number>(Place<N>);

enum Place<N> {
    Own(Vec<N>),
    Block(Numbers<N>),
    File(Mapping),
}

impl<N: Number> Deref for Lent<N> {
    type Target = [N];

    #[inline]
    fn deref(&self) -> &[N] {
        match &self.0 {
            Place::Own(numbers) => numbers,
            Place::Block(numbers) => numbers.numbers(),
            Place::File(bytes) => bytemuck::cast_slice(bytes),
        }
    }
}

impl<N: Number> AsRef<[N]> for Lent<N> {
    fn as_ref(&self) -> &[N] {
        self
    }
}

impl<N: Number + fmt::Debug> fmt::Debug for Lent<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}

/// The item that has come, where it is.
pub(crate) fn lent<N>(incoming: Incoming, buffer: &mut Vec<u8>) -> Result<Lent<N>, GetError>
where
    N: Number + DeserializeOwned,
{
    const CROOKED: GetError = GetError::Corrupt { reason: "numbers came that are no whole number of them" };
    let Incoming { content, is_raw, descriptors } = incoming;
    match content {
        Content::Leased(lease, bytes) if is_raw => {
            let bytes = bytes as usize; // A block's.
            if !bytes.is_multiple_of(size_of::<N>()) {
                return Err(CROOKED);
            }
            Ok(Lent(Place::Block(Numbers::of(lease, bytes / size_of::<N>())?)))
        }
        Content::File(file, bytes) if is_raw => {
            let bytes = map_sealed(&file, bytes);
            let bytes = bytes.map_err(|error| GetError::System { doing: "map a large item", error })?;
            bytemuck::try_cast_slice::<u8, N>(&bytes).map_err(|_| CROOKED)?;
            Ok(Lent(Place::File(bytes)))
        }
        content => decoded(Incoming { content, is_raw, descriptors }, buffer).map(|own| Lent(Place::Own(own))),
    }
}

/// Memory of a queue for an item that its producer writes in place: a slice of numbers.
///
/// [`put`](Self::put) makes it an item without copying it. Dropping it instead gives the memory back. What is in it at first
/// is not specified: zeros, or numbers of earlier items. More than 64 MiB, and little enough to stand in the queue's ring,
/// are in this process's own memory, and are copied once when they are put.
///
/// # Crashes and fork
/// As [`Lent`].
///
/// # Panics
/// Whoever looks at a copy in a forked child.
///
/// # Examples
/// ```
/// use procession_ipc::Queue;
///
/// let queue = Queue::<Vec<u32>>::bounded(2)?;
/// let mut loan = queue.lend(100_000)?;
/// loan.fill(7);
/// loan.put()?;
/// assert_eq!(queue.get()?, vec![7; 100_000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the queue has its memory back as soon as this is dropped"]
pub struct Loan<N: Number> {
    memory: Memory<N>,
    handle: Handle<Vec<N>>,
}

enum Memory<N> {
    Own(Vec<N>),
    Block(Box<Numbers<N>>), // So that an error with a loan in it is no larger than others.
}

/// Who puts a loan has that one's handle, and the one that it came from.
const OWN_HANDLES: usize = 2;

impl<N: Number + Serialize> Loan<N> {
    /// So many numbers, as soon as there is memory for them.
    pub(crate) fn of(handle: &Handle<Vec<N>>, len: usize, deadline: Deadline) -> Result<Self, PutError<()>> {
        let bytes = size_of::<N>().checked_mul(len).ok_or_else(too_large)?;
        if bytes <= INLINE_BYTES_MAX || bytes as u64 > BLOCK_BYTES_MAX {
            let mut own = Vec::new();
            own.try_reserve_exact(len).map_err(|_| too_large())?;
            own.resize(len, N::zeroed());
            return Ok(Self { memory: Memory::Own(own), handle: handle.clone() });
        }
        let lease = handle.items.lend(bytes as u64, deadline, 1)?;
        let numbers =
            Numbers::of(lease, len).map_err(|_| PutError::Corrupt { item: (), reason: "one block came twice" })?;
        Ok(Self { memory: Memory::Block(Box::new(numbers)), handle: handle.clone() })
    }

    /// Puts the numbers into the queue, as soon as there is room for one more item.
    ///
    /// # Errors
    /// As [`Queue::put`](crate::Queue::put), with the loan.
    pub fn put(self) -> Result<(), PutError<Self>> {
        self.put_until(Deadline::NEVER)
    }

    /// Puts the numbers into the queue if there is room for one more item.
    ///
    /// # Errors
    /// As [`Queue::try_put`](crate::Queue::try_put), with the loan.
    pub fn try_put(self) -> Result<(), PutError<Self>> {
        self.put_until(Deadline::NOW)
    }

    /// Puts the numbers into the queue, if there is room for one more item within so long.
    ///
    /// # Errors
    /// As [`Queue::put_timeout`](crate::Queue::put_timeout), with the loan.
    pub fn put_timeout(self, timeout: Duration) -> Result<(), PutError<Self>> {
        self.put_until(Deadline::after(timeout))
    }

    fn put_until(self, deadline: Deadline) -> Result<(), PutError<Self>> {
        let Self { memory, handle } = self;
        match memory {
            Memory::Own(own) => {
                let sent = handle.items.put(own, deadline, OWN_HANDLES);
                sent.map_err(|error| error.map(|own| Self { memory: Memory::Own(own), handle }))
            }
            Memory::Block(numbers) => match put_block(&handle.items, numbers, deadline) {
                Ok(()) => Ok(()),
                Err(error) => Err(error.map(|memory| Self { memory, handle })),
            },
        }
    }
}

/// Puts a block as an item; when it cannot be, the numbers come back.
fn put_block<N: Number>(
    items: &Arc<Items>,
    numbers: Box<Numbers<N>>,
    deadline: Deadline,
) -> Result<(), PutError<Memory<N>>> {
    if !numbers.lease.is_own() {
        let error = io::ErrorKind::PermissionDenied.into();
        let doing = "put what was lent to the process that this one was forked from";
        return Err(PutError::System { item: Memory::Block(numbers), doing, error });
    }
    // As soon as it is an item somebody here may take it, and be shown it.
    let Numbers { _shown, lease, len, _of } = *numbers;
    drop(_shown);
    let body = Body::Leased(&lease, (len * size_of::<N>()) as u64);
    match items.send(Outgoing { body, descriptors: &[] }, deadline, OWN_HANDLES) {
        Ok(()) => {
            lease.leave();
            Ok(())
        }
        Err(unsent) => {
            // It was this process's all the time, unless a peer has forged that it was not.
            let numbers =
                Numbers::of(lease, len).map_or(Memory::Own(Vec::new()), |numbers| Memory::Block(Box::new(numbers)));
            Err(not_put(numbers, unsent))
        }
    }
}

fn too_large() -> PutError<()> {
    PutError::System { item: (), doing: "have so much memory", error: io::ErrorKind::OutOfMemory.into() }
}

impl<N: Number> Deref for Loan<N> {
    type Target = [N];

    #[inline]
    fn deref(&self) -> &[N] {
        match &self.memory {
            Memory::Own(numbers) => numbers,
            Memory::Block(numbers) => numbers.numbers(),
        }
    }
}

impl<N: Number> DerefMut for Loan<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [N] {
        match &mut self.memory {
            Memory::Own(numbers) => numbers,
            Memory::Block(numbers) => numbers.numbers_mut(),
        }
    }
}

impl<N: Number> fmt::Debug for Loan<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("queue", &self.handle).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use procession_sys::Deadline;

    use super::*;
    use crate::Queue;

    #[test]
    fn a_block_that_a_peer_makes_come_twice_is_shown_once() {
        let queue = Queue::<Vec<u8>>::unbounded().unwrap();
        let lease = || queue.0.items.lend(100_000, Deadline::NOW, 1).unwrap();
        let (first, second) = (lease(), lease());
        let shown = Shown::enter(&first).unwrap().expect("it is not shown");
        assert!(Shown::enter(&first).unwrap().is_none());
        assert!(Shown::enter(&second).unwrap().is_some(), "it is another block");
        drop(shown);
        let numbers = Numbers::<u64>::of(first, 100).map_err(drop).expect("it is not shown any more");
        assert_eq!(numbers.numbers().len(), 100);
        let too_many = usize::try_from(second.bytes_max()).unwrap() / 8 + 1;
        assert!(Numbers::<u64>::of(second, too_many).is_err());
        let file = file_identity(queue.0.items.channel.store().file()).unwrap();
        let shown = || SHOWN.lock().iter().filter(|(of, ..)| *of == file).count();
        assert_eq!(shown(), 1);
        drop(numbers);
        assert_eq!(shown(), 0);
    }
}
