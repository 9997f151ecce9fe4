//! A segment: bytes that several processes map.
//!
//! Relies on `procession-sys` for the file and the mapping. Bytes are copied in and out; nothing here refers to them.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use procession_sys::{
    Access, RecordLock, SharedMap, file_identity, file_size, is_record_locked, is_writable, reopen, reserve_file,
    set_file_size, try_lock_record, whole_pages,
};
use procession_wire::{Descriptor, once};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{self, Name};
use crate::{SharedMemoryBuilder, ShmError};

/// Bytes that several processes map: a handle, whose clones are the same memory.
///
/// Passing it to a child or through a channel copies no byte, whatever the size. Without a name the kernel counts the
/// holders: with the last handle in the last process the memory is gone, also when all are killed. A process that dies
/// while it writes leaves what it has written.
///
/// Reads and writes of several processes at the same time are not ordered and may be seen in part; a lock is
/// `procession-sync`'s to give.
///
/// # Python
/// `multiprocessing.shared_memory.SharedMemory`.
///
/// Source: memfd_create(2), mmap(2).
///
/// # Examples
/// ```
/// use procession_shm::SharedMemory;
///
/// let memory = SharedMemory::create(1 << 20)?;
/// memory.write(4, b"bytes")?;
/// let mut bytes = [0; 5];
/// memory.clone().read(4, &mut bytes)?;
/// assert_eq!(&bytes, b"bytes");
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
#[derive(Clone)]
pub struct SharedMemory(Arc<Segment>);

/// What the handles of one process share.
struct Segment {
    file: Descriptor,
    /// What others open it by.
    name: Option<Name>,
    /// Replaced by a longer one after the segment has grown.
    map: RwLock<Arc<SharedMap>>,
}

/// The byte of a segment that those lock who were given a handle that can write. Locks keep nobody from accessing it.
const HOLDERS_BYTE: u64 = 0;

/// Tells the keys in messages of segments that can be written to, which are their files' numbers, from those of others.
const HELD_KEY: u64 = 0x7365_676d_656e_7401;

/// Tells the keys in messages of other segments, which are their descriptors' numbers, from those of others.
const SEGMENT_KEY: u64 = 0x7365_676d_656e_7400;

impl SharedMemory {
    /// A new segment of `bytes` zeros, without a name, sparse: pages take memory when they are first written.
    ///
    /// # Errors
    /// [`ShmError::Empty`] for 0 bytes, [`ShmError::Create`] beyond what the system has or allows, [`ShmError::Map`].
    pub fn create(bytes: usize) -> Result<Self, ShmError> {
        Self::builder(bytes).create()
    }

    /// A segment of `bytes` zeros with choices: see [`SharedMemoryBuilder`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::SharedMemory;
    ///
    /// let memory = SharedMemory::builder(1 << 20).prefault(true).create()?; // No page is missing later.
    /// assert_eq!(memory.len(), 1 << 20);
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn builder(bytes: usize) -> SharedMemoryBuilder {
        SharedMemoryBuilder::new(bytes)
    }

    /// A handle for a file that is known to be a segment.
    pub(crate) fn over(file: Descriptor, name: Option<Name>) -> Result<Self, ShmError> {
        let map = RwLock::new(Arc::new(map_whole(&file)?));
        Ok(Self(Arc::new(Segment { file, name, map })))
    }

    /// Its file, and its name if it has one.
    pub(crate) fn named_file(&self) -> (&Descriptor, Option<&Name>) {
        (&self.0.file, self.0.name.as_ref())
    }

    /// Bytes in it now: another handle, here or in another process, may have made it grow.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    #[must_use]
    pub fn len(&self) -> usize {
        let bytes = file_size(&self.0.file).ok().and_then(|bytes| usize::try_from(bytes).ok());
        bytes.unwrap_or_else(|| self.0.map.read().len())
    }

    /// Copies bytes out, from `at` on.
    ///
    /// # Errors
    /// [`ShmError::OutOfRange`]; `into` is as it was then.
    pub fn read(&self, at: usize, into: &mut [u8]) -> Result<(), ShmError> {
        let len = into.len();
        let map = self.reaching(at, len)?;
        map.read(at, into).map_err(|error| ShmError::access(error, at, len, map.len()))
    }

    /// Copies bytes in, from `at` on.
    ///
    /// # Errors
    /// [`ShmError::OutOfRange`], [`ShmError::ReadOnly`].
    pub fn write(&self, at: usize, from: &[u8]) -> Result<(), ShmError> {
        let map = self.reaching(at, from.len())?;
        map.write(at, from).map_err(|error| ShmError::access(error, at, from.len(), map.len()))
    }

    /// Makes it `bytes` long, for all its holders; new bytes are zero. One that is as long already, or longer,
    /// stays as it is, and that is no error.
    ///
    /// Other handles see the new length at once, and reach the new bytes at their next access. A segment never becomes
    /// shorter, so nobody's access to what there was ever fails. One of huge pages has whole ones.
    ///
    /// # Errors
    /// [`ShmError::Create`] beyond what the system has or allows, [`ShmError::NoSpace`] for a named one where `/dev/shm`
    /// is full, [`ShmError::ReadOnly`], [`ShmError::Map`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::SharedMemory;
    ///
    /// let memory = SharedMemory::create(10)?;
    /// let other = memory.clone();
    /// memory.grow(1 << 20)?;
    /// other.write((1 << 20) - 3, b"end")?;
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn grow(&self, bytes: usize) -> Result<(), ShmError> {
        if self.is_read_only() {
            return Err(ShmError::ReadOnly);
        }
        if self.len() < bytes {
            self.lengthen(bytes)?;
        }
        self.reaching(0, bytes).map(drop)
    }

    fn lengthen(&self, bytes: usize) -> Result<(), ShmError> {
        let file = &self.0.file;
        let refused = |error| match &self.0.name {
            Some(name) => names::refused(name, bytes as u64, error),
            None => ShmError::Create { bytes: bytes as u64, error },
        };
        let whole = whole_pages(file, bytes as u64).map_err(refused)?;
        // It never becomes shorter again: one that is too long to be mapped could not be passed on any more.
        SharedMap::check_room(file, whole as usize).map_err(|error| ShmError::Map { bytes: whole, error })?;
        let grown = match self.0.name {
            // Of files with names a system has only so much room: it is set aside, or refused, now.
            Some(_) => reserve_file(file, whole),
            None => set_file_size(file, whole),
        };
        // Another process may have made it longer still, and then the seal refused what would shrink it.
        grown.or_else(|error| if self.len() < bytes { Err(refused(error)) } else { Ok(()) })
    }

    /// True for a handle that cannot write.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.map.read().access() == Access::ReadOnly
    }

    /// A handle for the same memory that cannot write, nor can the processes that it is passed to through it.
    ///
    /// It keeps an honest process from mistakes. A hostile one of the same user can open the file anew.
    ///
    /// # Errors
    /// [`ShmError::System`] when no descriptors are left.
    pub fn read_only(&self) -> Result<Self, ShmError> {
        let file = reopen(&self.0.file, Access::ReadOnly).map_err(ShmError::system("open for reading"))?;
        Self::over(file.into(), self.0.name.clone())
    }

    /// The mapping, which reaches `at + len` if the segment does.
    fn reaching(&self, at: usize, len: usize) -> Result<RwLockReadGuard<'_, Arc<SharedMap>>, ShmError> {
        let end = at.saturating_add(len);
        let map = self.0.map.read();
        if end <= map.len() {
            return Ok(map);
        }
        drop(map); // Who locks it twice waits for a writer between the two, who waits for them.
        if end > self.len() {
            return Ok(self.0.map.read());
        }
        let mut map = self.0.map.write();
        // Another thread may have replaced it meanwhile, by one that reaches farther than what is mapped now would.
        if end > map.len() {
            *map = Arc::new(map_whole(&self.0.file)?);
        }
        Ok(RwLockWriteGuard::downgrade(map))
    }

    /// Attaches the file to the message in work; gives its position.
    ///
    /// What can write travels by a description of its own, which is locked for as long as it is under way or held by the
    /// receiver: who freezes the memory sees by that lock that somebody else has it, or will.
    fn enclose(&self) -> io::Result<u32> {
        if self.0.name.is_some() || self.is_read_only() {
            let key = (self.0.file.as_fd().as_raw_fd() as u64, SEGMENT_KEY);
            return once::attach_shared(key, &self.0.file).map_err(io::Error::other);
        }
        // The file's number, as the descriptor's may be another file's when the message's next value is written.
        let (_, number) = file_identity(&self.0.file)?;
        let locked = || {
            let file = reopen(&self.0.file, Access::ReadWrite)?;
            try_lock_record(&file, HOLDERS_BYTE, RecordLock::Shared)?;
            Ok(file)
        };
        once::attach((number, HELD_KEY), locked).map(|(position, _)| position)
    }

    /// The file, if nobody else has a handle that can write, and unmaps it; the handle back otherwise. One with a name
    /// is never the only one.
    pub(crate) fn into_file(self) -> Result<Descriptor, Self> {
        if self.0.name.is_some() || is_record_locked(&self.0.file, HOLDERS_BYTE).unwrap_or(true) {
            return Err(self);
        }
        Arc::try_unwrap(self.0).map(|segment| segment.file).map_err(Self)
    }

    /// The mapping as it is now; it stays mapped as long as somebody holds it.
    pub(crate) fn mapping(&self) -> Arc<SharedMap> {
        Arc::clone(&self.0.map.read())
    }

    /// The mapping, which reaches so far if the segment does: whoever holds another handle may have made it grow.
    pub(crate) fn mapping_to(&self, end: usize) -> Result<Arc<SharedMap>, ShmError> {
        self.reaching(end, 0).map(|map| Arc::clone(&map))
    }
}

/// Maps all of a file, for what its descriptor allows.
fn map_whole(file: &Descriptor) -> Result<SharedMap, ShmError> {
    let bytes = file_size(file).map_err(ShmError::system("look at"))?;
    let access = match is_writable(file).map_err(ShmError::system("look at"))? {
        true => Access::ReadWrite,
        false => Access::ReadOnly,
    };
    let len = usize::try_from(bytes).map_err(|_| ShmError::foreign("it is larger than this process's memory"))?;
    SharedMap::map(file, len, access).map_err(|error| ShmError::Map { bytes, error })
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name.as_ref().map(Name::as_str);
        f.debug_struct("SharedMemory").field("name", &name).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let position = self.enclose().map_err(serde::ser::Error::custom)?;
        (position, self.name()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (position, name) = <(u32, Option<String>)>::deserialize(deserializer)?;
        let file = once::detach(position).map_err(serde::de::Error::custom)?;
        let name = names::check_arrived(&file, name).map_err(serde::de::Error::custom)?;
        Self::over(file, name).map_err(serde::de::Error::custom)
    }
}
