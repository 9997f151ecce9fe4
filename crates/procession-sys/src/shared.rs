//! Memory that other processes may change at any moment, read and written without ever being a reference to data.
//!
//! Whoever maps a file that others map as well cannot have `&[u8]` of it: the compiler takes for granted that nobody
//! changes what a reference shows. So bytes are copied in and out, single values are moved by volatile accesses, and
//! the only references are those to atomics.
//!
//! # Safety
//! A [`SharedMap`] owns its mapping, so every address within its length is mapped for as long as it lives. Each access
//! checks its bounds, its alignment, and that a mapping that is written to is writable. Values leave as `MaybeUninit`:
//! what the bits mean is the caller's to judge. Copies are made by instructions that the compiler does not look into, or
//! by volatile accesses, so it assumes nothing of what others do meanwhile. A file that another process makes shorter
//! takes pages away and kills whoever touches them (SIGBUS), which breaks no rule of the language; files sealed against
//! it cannot be made shorter.

#![expect(unsafe_code, reason = "touches memory that other processes change")]

use std::io;
use std::mem::{self, MaybeUninit};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64};

use bytemuck::AnyBitPattern;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::copying::{clear, copy};
use crate::room::populate;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading alone.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

impl Access {
    /// What a file is opened for.
    pub(crate) fn rights(self) -> OFlags {
        match self {
            Self::ReadOnly => OFlags::RDONLY,
            Self::ReadWrite => OFlags::RDWR,
        }
    }
}

/// Why an access did not take place. Nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// It would reach beyond the mapping's end.
    OutOfRange,
    /// The mapping is read-only.
    ReadOnly,
    /// The place is no multiple of what the type needs.
    Misaligned,
}

/// A shared mapping of the beginning of a file.
#[derive(Debug)]
pub struct SharedMap {
    raw: MmapRaw,
    access: Access,
}

impl SharedMap {
    /// Maps the first `len` bytes of a file, which is at least that long.
    ///
    /// # Errors
    /// `InvalidInput` for no bytes at all, `InvalidData` for a file that is shorter, `EACCES` for a descriptor that
    /// does not allow the access, `EPERM` for a file that is sealed against it, `ENOMEM`.
    pub fn map(file: impl AsFd, len: usize, access: Access) -> io::Result<Self> {
        if len == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a mapping has at least one byte"));
        }
        if crate::file_size(&file)? < len as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is shorter than what is to be mapped"));
        }
        let mut options = MmapOptions::new();
        options.len(len);
        let raw = match access {
            Access::ReadOnly => options.map_raw_read_only(&file.as_fd()),
            Access::ReadWrite => options.map_raw(&file.as_fd()),
        };
        Ok(Self { raw: raw?, access })
    }

    /// Whether this process could map so many bytes of a file, which may have fewer yet.
    ///
    /// # Errors
    /// `ENOMEM`, `EOVERFLOW` or `InvalidInput` for more than there are addresses for.
    pub fn check_room(file: impl AsFd, len: usize) -> io::Result<()> {
        MmapOptions::new().len(len).map_raw_read_only(&file.as_fd()).map(drop)
    }

    /// Bytes mapped; at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// What it was mapped for.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Where the mapping begins, for whoever guards accesses by a lock inside it. What is done with the address is
    /// theirs to justify.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.raw.as_mut_ptr()
    }

    /// Copies bytes out. What others write meanwhile may be seen in part.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`].
    #[inline]
    pub fn read(&self, at: usize, into: &mut [u8]) -> Result<(), AccessError> {
        let from = self.place(at, into.len())?;
        // SAFETY: `place` has checked that as many bytes are mapped there; the buffer is exclusively ours.
        unsafe { copy(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies the memory of values out, as many as `into` has room for. What others write meanwhile may be seen in
    /// part, also of one value. What the bits mean is the caller's to judge.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`].
    #[inline]
    pub fn read_values<T: Copy>(&self, at: usize, into: &mut [MaybeUninit<T>]) -> Result<(), AccessError> {
        let bytes = size_of_val(into);
        let from = self.place(at, bytes)?;
        // SAFETY: as many bytes are mapped there; the buffer is exclusively ours, and takes any bytes.
        unsafe { copy(from, into.as_mut_ptr().cast(), bytes) };
        Ok(())
    }

    /// Copies values out, of which any bits are some, into memory that is written once. What others write meanwhile may be
    /// seen in part, also of one value.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], before any memory is asked for.
    #[inline]
    pub fn read_vec<T: AnyBitPattern>(&self, at: usize, count: usize) -> Result<Vec<T>, AccessError> {
        let bytes = size_of::<T>().checked_mul(count).ok_or(AccessError::OutOfRange)?;
        let from = self.place(at, bytes)?;
        let mut values = Vec::<T>::with_capacity(count);
        populate(values.spare_capacity_mut());
        // SAFETY: as many bytes are mapped there, and the vector, which is ours, has as much room.
        unsafe { copy(from, values.as_mut_ptr().cast(), bytes) };
        // SAFETY: so many have just been written from memory that is all initialized, and any bits are values.
        unsafe { values.set_len(count) };
        Ok(values)
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::ReadOnly`].
    #[inline]
    pub fn write(&self, at: usize, from: &[u8]) -> Result<(), AccessError> {
        let into = self.writable_place(at, from.len())?;
        // SAFETY: as many bytes are mapped there, writable, and no reference to data shows them.
        unsafe { copy(from.as_ptr(), into, from.len()) };
        Ok(())
    }

    /// Copies the memory of values in.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::ReadOnly`].
    #[inline]
    pub fn write_values<T: Copy>(&self, at: usize, from: &[T]) -> Result<(), AccessError> {
        let bytes = size_of_val(from);
        let into = self.writable_place(at, bytes)?;
        // SAFETY: as many bytes are mapped there, writable; padding is copied as memory, never looked at.
        unsafe { copy(from.as_ptr().cast(), into, bytes) };
        Ok(())
    }

    /// One value's memory: in one piece where that is 1, 2, 4 or 8 bytes at a multiple of as many, whatever it is made
    /// of.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::Misaligned`].
    #[inline]
    pub fn load<T: Copy>(&self, at: usize) -> Result<MaybeUninit<T>, AccessError> {
        let from = aligned::<T>(self.place(at, size_of::<T>())?)?;
        // SAFETY: as many bytes are mapped there, aligned.
        Ok(unsafe { load_whole(from) })
    }

    /// Writes one value: in one piece where it is 1, 2, 4 or 8 bytes at a multiple of as many, whatever it is made of.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::ReadOnly`], [`AccessError::Misaligned`].
    #[inline]
    pub fn store<T: Copy>(&self, at: usize, value: T) -> Result<(), AccessError> {
        let into = aligned::<T>(self.writable_place(at, size_of::<T>())?)?;
        // SAFETY: as many bytes are mapped there, writable, aligned, and no reference to data shows them.
        unsafe { store_whole(into, value) };
        Ok(())
    }

    /// Makes a range zero.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::ReadOnly`].
    pub fn zero(&self, range: Range<usize>) -> Result<(), AccessError> {
        let len = range.end.checked_sub(range.start).ok_or(AccessError::OutOfRange)?;
        let into = self.writable_place(range.start, len)?;
        // SAFETY: as many bytes are mapped there, writable, and no reference to data shows them.
        unsafe { clear(into, len) };
        Ok(())
    }

    /// A word that processes share.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::ReadOnly`], [`AccessError::Misaligned`].
    #[inline]
    pub fn atomic_u32(&self, at: usize) -> Result<&AtomicU32, AccessError> {
        self.atomic_u32s(at, 1).map(|words| &words[0])
    }

    /// A double word that processes share.
    ///
    /// # Errors
    /// As [`SharedMap::atomic_u32`].
    #[inline]
    pub fn atomic_u64(&self, at: usize) -> Result<&AtomicU64, AccessError> {
        self.atomic_u64s(at, 1).map(|words| &words[0])
    }

    /// Words that processes share.
    ///
    /// # Errors
    /// As [`SharedMap::atomic_u32`].
    #[inline]
    pub fn atomic_u32s(&self, at: usize, count: usize) -> Result<&[AtomicU32], AccessError> {
        let first = self.atomics::<AtomicU32>(at, count)?;
        // SAFETY: mapped writable and aligned for as long as `self` is borrowed; atomics may change under a reference.
        Ok(unsafe { std::slice::from_raw_parts(first, count) })
    }

    /// Double words that processes share.
    ///
    /// # Errors
    /// As [`SharedMap::atomic_u32`].
    #[inline]
    pub fn atomic_u64s(&self, at: usize, count: usize) -> Result<&[AtomicU64], AccessError> {
        let first = self.atomics::<AtomicU64>(at, count)?;
        // SAFETY: mapped writable and aligned for as long as `self` is borrowed; atomics may change under a reference.
        Ok(unsafe { std::slice::from_raw_parts(first, count) })
    }

    /// Has the kernel bring the whole mapping into memory now, so that no later access waits for it.
    ///
    /// # Errors
    /// `ENOMEM`; `EINVAL` before Linux 5.14, which only touching every page could replace.
    pub fn prefault(&self) -> io::Result<()> {
        let populate = match self.access {
            Access::ReadOnly => memmap2::Advice::PopulateRead,
            Access::ReadWrite => memmap2::Advice::PopulateWrite,
        };
        self.raw.advise(populate)
    }

    #[inline]
    fn atomics<A>(&self, at: usize, count: usize) -> Result<*const A, AccessError> {
        let bytes = size_of::<A>().checked_mul(count).ok_or(AccessError::OutOfRange)?;
        Ok(aligned::<A>(self.writable_place(at, bytes)?)?.cast_const())
    }

    /// The address of `len` bytes from `at` on, if they are mapped.
    #[inline]
    fn place(&self, at: usize, len: usize) -> Result<*mut u8, AccessError> {
        if at.checked_add(len).is_none_or(|end| end > self.raw.len()) {
            return Err(AccessError::OutOfRange);
        }
        // SAFETY: within the mapping, or one past its end.
        Ok(unsafe { self.raw.as_mut_ptr().add(at) })
    }

    #[inline]
    fn writable_place(&self, at: usize, len: usize) -> Result<*mut u8, AccessError> {
        match self.access {
            Access::ReadOnly => Err(AccessError::ReadOnly),
            Access::ReadWrite => self.place(at, len),
        }
    }
}

impl From<AccessError> for io::Error {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::OutOfRange => Errno::RANGE.into(),
            AccessError::ReadOnly => Errno::ROFS.into(),
            AccessError::Misaligned => Errno::INVAL.into(),
        }
    }
}

#[inline]
fn aligned<T>(place: *mut u8) -> Result<*mut T, AccessError> {
    let place = place.cast::<T>();
    if place.is_aligned() { Ok(place) } else { Err(AccessError::Misaligned) }
}

/// Reads a value, by the access of an integer where there is one of its size that may stand there: the compiler moves
/// what has fields or elements one by one.
///
/// # Safety
/// A `T` can be read at `from`, which is aligned for it.
#[inline]
unsafe fn load_whole<T: Copy>(from: *const T) -> MaybeUninit<T> {
    match size_of::<T>() {
        // SAFETY: as large as the value, and aligned.
        2 if from.cast::<u16>().is_aligned() => unsafe { load_as::<T, u16>(from) },
        // SAFETY: as above.
        4 if from.cast::<u32>().is_aligned() => unsafe { load_as::<T, u32>(from) },
        // SAFETY: as above.
        8 if from.cast::<u64>().is_aligned() => unsafe { load_as::<T, u64>(from) },
        // SAFETY: as the caller vouches; any bytes are a `MaybeUninit`.
        _ => unsafe { from.cast::<MaybeUninit<T>>().read_volatile() },
    }
}

/// # Safety
/// A `W`, which is as large as a `T`, can be read at `from`, which is aligned for both.
#[inline]
unsafe fn load_as<T: Copy, W: Copy>(from: *const T) -> MaybeUninit<T> {
    // SAFETY: as the caller vouches; any bytes are a `MaybeUninit`.
    let word = unsafe { from.cast::<MaybeUninit<W>>().read_volatile() };
    // SAFETY: as large, and any bytes are a `MaybeUninit`.
    unsafe { mem::transmute_copy(&word) }
}

/// Writes a value as [`load_whole`] reads it.
///
/// # Safety
/// A `T` can be written at `into`, which is aligned for it.
#[inline]
unsafe fn store_whole<T: Copy>(into: *mut T, value: T) {
    match size_of::<T>() {
        // SAFETY: as large as the value, and aligned.
        2 if into.cast::<u16>().is_aligned() => unsafe { store_as::<T, u16>(into, value) },
        // SAFETY: as above.
        4 if into.cast::<u32>().is_aligned() => unsafe { store_as::<T, u32>(into, value) },
        // SAFETY: as above.
        8 if into.cast::<u64>().is_aligned() => unsafe { store_as::<T, u64>(into, value) },
        // SAFETY: as the caller vouches.
        _ => unsafe { into.write_volatile(value) },
    }
}

/// # Safety
/// A `W`, which is as large as a `T`, can be written at `into`, which is aligned for both.
#[inline]
unsafe fn store_as<T: Copy, W: Copy>(into: *mut T, value: T) {
    // SAFETY: as large, and any bytes are a `MaybeUninit`.
    let word: MaybeUninit<W> = unsafe { mem::transmute_copy(&value) };
    // SAFETY: as the caller vouches.
    unsafe { into.cast::<MaybeUninit<W>>().write_volatile(word) };
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::{MemoryFile, memory_file};

    const BYTES: usize = 4 << 12;

    fn maps() -> (SharedMap, SharedMap) {
        let file = memory_file("test", &MemoryFile { bytes: BYTES as u64, huge_page_bits: None }).unwrap();
        let map = |access| SharedMap::map(&file, BYTES, access).unwrap();
        (map(Access::ReadWrite), map(Access::ReadOnly))
    }

    #[test]
    fn bytes_of_any_length_and_place_arrive() {
        let (here, there) = maps();
        let bytes: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        for (at, len) in [(0, 0), (0, 1), (3, 7), (5, 8), (1, 255), (2, 256), (9, 4097), (0, BYTES), (BYTES, 0)] {
            here.zero(0..BYTES).unwrap();
            here.write(at, &bytes[..len]).unwrap();
            let mut all = vec![0xff; BYTES];
            there.read(0, &mut all).unwrap();
            assert!(all[..at].iter().chain(&all[at + len..]).all(|&byte| byte == 0), "{at} {len}");
            assert_eq!(all[at..at + len], bytes[..len]);
        }
    }

    #[test]
    fn bytes_arrive_whatever_the_distance_within_pages_is() {
        let (here, there) = maps();
        let bytes: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        here.write(0, &bytes).unwrap();
        for distance in (0..70).chain([2048, 4031, 4032, 4033, 4095]) {
            for len in [63, 64, 65, 191, 1023, 1024, 1025, 4095, 4097] {
                let mut copy = vec![0xff; BYTES];
                // From a page's second byte on, to a place so far behind it.
                let into = copy.as_ptr().align_offset(4096) + 1 + distance;
                there.read(1, &mut copy[into..into + len]).unwrap();
                assert_eq!(copy[into..into + len], bytes[1..=len], "{distance} {len}");
                assert!(copy[..into].iter().chain(&copy[into + len..]).all(|&byte| byte == 0xff), "{distance} {len}");
                here.zero(0..BYTES).unwrap();
                here.write(1, &bytes[distance..distance + len]).unwrap();
                let mut all = vec![0xff; BYTES];
                there.read(0, &mut all).unwrap();
                assert_eq!(all[1..=len], bytes[distance..distance + len]);
                assert!(all[0] == 0 && all[len + 1..].iter().all(|&byte| byte == 0));
                here.write(0, &bytes).unwrap();
            }
        }
    }

    #[test]
    fn any_range_is_made_zero_and_nothing_else() {
        let (here, there) = maps();
        for range in [0..0, 0..1, 3..14, 5..12, 8..16, 1..300, 7..BYTES, 0..BYTES] {
            here.write(0, &[0xff; BYTES]).unwrap();
            here.zero(range.clone()).unwrap();
            let mut all = vec![1; BYTES];
            there.read(0, &mut all).unwrap();
            for (at, byte) in all.into_iter().enumerate() {
                assert_eq!(byte, if range.contains(&at) { 0 } else { 0xff }, "{range:?} {at}");
            }
        }
    }

    #[test]
    fn values_and_atomics_are_the_same_memory() {
        let (here, there) = maps();
        here.store(8, 0x0102_0304_u32).unwrap();
        here.atomic_u32(8).unwrap().fetch_add(1, Ordering::Relaxed);
        // SAFETY: any bits are a number.
        assert_eq!(unsafe { there.load::<u32>(8).unwrap().assume_init() }, 0x0102_0305);
        here.write_values(16, &[1.5_f64, -2.5]).unwrap();
        let mut values = [MaybeUninit::<f64>::uninit(); 2];
        there.read_values(16, &mut values).unwrap();
        // SAFETY: any bits are a number.
        assert_eq!(values.map(|value| unsafe { value.assume_init() }), [1.5, -2.5]);
    }

    #[test]
    fn vectors_of_numbers_come_from_anywhere_and_no_further_than_the_end() {
        let (here, there) = maps();
        let numbers: Vec<u64> = (0..1000).map(|number| number * number).collect();
        for at in [0, 1, 4, 8, 123, BYTES - 8000] {
            here.write_values(at, &numbers).unwrap();
            assert_eq!(there.read_vec::<u64>(at, 1000).unwrap(), numbers);
        }
        assert!(there.read_vec::<f32>(BYTES, 0).unwrap().is_empty());
        for (at, count) in [(BYTES - 7, 1), (0, BYTES / 8 + 1), (0, usize::MAX), (8, usize::MAX / 8), (usize::MAX, 1)] {
            assert_eq!(there.read_vec::<u64>(at, count), Err(AccessError::OutOfRange), "{at} {count}");
        }
    }

    #[test]
    fn values_of_bytes_stand_anywhere() {
        let (here, there) = maps();
        fn kept<const N: usize>(here: &SharedMap, there: &SharedMap) {
            for at in 0..16 {
                let value: [u8; N] = std::array::from_fn(|index| (at + 3 * index + 1) as u8);
                here.zero(0..BYTES).unwrap();
                here.store(at, value).unwrap();
                let mut around = [0; 40];
                there.read(0, &mut around).unwrap();
                assert_eq!(around[at..at + N], value);
                assert_eq!(around.iter().filter(|&&byte| byte != 0).count(), N, "{at}: {around:?}");
                // SAFETY: any bits are numbers.
                assert_eq!(unsafe { there.load::<[u8; N]>(at).unwrap().assume_init() }, value);
            }
        }
        kept::<1>(&here, &there);
        kept::<2>(&here, &there);
        kept::<3>(&here, &there);
        kept::<4>(&here, &there);
        kept::<7>(&here, &there);
        kept::<8>(&here, &there);
        kept::<16>(&here, &there);
    }

    #[test]
    fn what_is_not_there_or_not_allowed_is_an_error() {
        let (here, there) = maps();
        for at in [BYTES - 3, BYTES, usize::MAX] {
            assert_eq!(here.read(at, &mut [0; 4]), Err(AccessError::OutOfRange));
            assert_eq!(here.write(at, &[0; 4]), Err(AccessError::OutOfRange));
            assert_eq!(here.load::<u32>(at).unwrap_err(), AccessError::OutOfRange);
        }
        assert_eq!(here.atomic_u64s(8, usize::MAX / 4).unwrap_err(), AccessError::OutOfRange);
        assert_eq!(here.atomic_u32(2).unwrap_err(), AccessError::Misaligned);
        assert_eq!(here.zero(Range { start: 2, end: 1 }), Err(AccessError::OutOfRange));
        assert_eq!(there.write(0, &[1]), Err(AccessError::ReadOnly));
        assert_eq!(there.store(0, 1_u8), Err(AccessError::ReadOnly));
        assert_eq!(there.atomic_u32(0).unwrap_err(), AccessError::ReadOnly);
        let file = memory_file("test", &MemoryFile { bytes: 10, huge_page_bits: None }).unwrap();
        assert_eq!(SharedMap::map(&file, 11, Access::ReadOnly).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(SharedMap::map(&file, 0, Access::ReadOnly).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
