//! Many numbers as raw bytes, copied in one piece.
//!
//! A `Vec<T>` or `Box<[T]>` whose `T` is a number travels as its length in bytes and its memory, in the
//! machine's own byte order (sender and receiver run on one machine): by itself where it is the whole value
//! given to [`Encoder::value`](crate::Encoder::value), and as a field with
//! `#[serde(with = "procession_wire::bulk")]`. Anywhere else it travels number by number, as postcard does
//! it. Relies on bytemuck for what is a number.
//!
//! # Examples
//!
//! ```
//! use procession_wire::{decode, encode};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Image {
//!     width: u32,
//!     #[serde(with = "procession_wire::bulk")]
//!     pixels: Vec<u8>,
//! }
//!
//! let image = Image { width: 640, pixels: vec![7; 640 * 480] };
//! let arrived: Image = decode(encode(&image)?)?;
//! assert_eq!(arrived.pixels, image.pixels);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{DecodeError, DecodeErrorKind};
use bytemuck::Pod;
use procession_sys::{SharedMap, populate};
use sealed::Memory;
use serde::{Deserializer, Serializer, de};
use std::{
    any::{Any, TypeId},
    fmt::{Debug, Formatter},
    marker::PhantomData,
    sync::Arc,
};

/// What may be sent as raw bytes: `Vec<T>` and `Box<[T]>` of numbers.
///
/// The trait is sealed. Numbers are `u8` to `u128`, `i8` to `i128`, `usize`, `isize`, `f32` and `f64`.
pub trait Bulk: sealed::Bulk {}

impl<T: Number> Bulk for Vec<T> {}
impl<T: Number> Bulk for Box<[T]> {}

/// A number: any bytes of its size are one. The trait is sealed.
pub trait Number: Pod + sealed::Number {}

/// Writes a field of numbers as raw bytes.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<B: Bulk, S: Serializer>(field: &B, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(field.bytes())
}

/// Reads a field of numbers from raw bytes.
///
/// # Errors
///
/// The bytes are no whole number of numbers, or there are fewer than announced.
pub fn deserialize<'de, B: Bulk, D: Deserializer<'de>>(deserializer: D) -> Result<B, D::Error> {
    deserializer.deserialize_byte_buf(RawVisitor(PhantomData))
}

/// The memory of a value that [`Encoder::value`](crate::Encoder::value) would send raw; `None` for any other.
///
/// With it a channel can write [`length_prefix`] and these bytes to their destination without encoding them
/// into memory first; together they are the message that the encoder would make.
///
/// # Examples
///
/// ```
/// use procession_wire::{bulk, encode};
///
/// let value = vec![1_u16, 2, 3];
/// let raw = bulk::raw(&value).unwrap();
/// let message = [bulk::length_prefix(raw.len()).as_ref(), raw].concat();
/// assert_eq!(message, encode(&value)?.bytes());
/// assert!(bulk::raw(&"text").is_none());
/// # Ok::<(), procession_wire::EncodeError>(())
/// ```
#[inline]
#[must_use]
pub fn raw<T: 'static>(value: &T) -> Option<&[u8]> {
    if !is_bulk::<T>() {
        return None;
    }
    raw_of_any(value)
}

/// The memory of a value that is sent raw, which is kept as it is: a `Vec` or a box of numbers that needs no copy in a message.
///
/// A clone shares it.
#[derive(Clone)]
pub struct RawNumbers(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl RawNumbers {
    /// Takes a value over; gives it back if its type is not sent raw, or if it has fewer bytes than `least`.
    ///
    /// # Errors
    /// The value itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::bulk::RawNumbers;
    ///
    /// let numbers = RawNumbers::of(vec![1_u16, 2, 3], 6).unwrap();
    /// assert_eq!(numbers.as_ref(), [1_u16, 2, 3].map(u16::to_ne_bytes).concat());
    /// assert_eq!(RawNumbers::of("text", 0).unwrap_err(), "text");
    /// assert!(RawNumbers::of(vec![1_u16], 3).is_err());
    /// ```
    pub fn of<T: 'static>(value: T, least: usize) -> Result<Self, T> {
        if raw(&value).is_none_or(|raw| raw.len() < least) {
            return Err(value);
        }
        let mut slot = Some(value);
        let kept = keep_any(&mut slot);
        // What was not kept is there.
        slot.map_or_else(|| Ok(Self(kept.unwrap_or_else(|| Arc::new([])))), Err)
    }
}

impl AsRef<[u8]> for RawNumbers {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Debug for RawNumbers {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawNumbers").field("bytes", &self.as_ref().len()).finish()
    }
}

/// A value whose memory can be looked at as bytes.
struct Kept<B>(B);

impl<B: Bulk> AsRef<[u8]> for Kept<B> {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// A value that is sent raw, from its memory in a mapping that processes share; `None` for a type that is not.
///
/// The counterpart of [`raw`] for a channel whose bodies lie in shared memory: the numbers are copied once, straight into
/// the memory of the value. What others write there meanwhile may be seen in part.
///
/// # Errors
///
/// The bytes are no whole number of numbers, or are not all in the mapping; nothing was allocated.
///
/// # Examples
///
/// ```
/// use procession_sys::{Access, MemoryFile, SharedMap, memory_file};
/// use procession_wire::bulk;
///
/// let file = memory_file("numbers", &MemoryFile { bytes: 4096, huge_page_bits: None })?;
/// let map = SharedMap::map(&file, 4096, Access::ReadWrite)?;
/// let sent = vec![1.5_f64, 2.5];
/// map.write(64, bulk::raw(&sent).unwrap()).unwrap();
/// let arrived: Vec<f64> = bulk::copied_from(&map, 64, 16).unwrap()?;
/// assert_eq!(arrived, sent);
/// assert!(bulk::copied_from::<String>(&map, 64, 16).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
#[must_use]
pub fn copied_from<T: 'static>(map: &SharedMap, at: usize, bytes: usize) -> Option<Result<T, DecodeError>> {
    is_bulk::<T>().then(|| made_of(Memory::Shared { map, at, bytes }))
}

/// The same from memory that nobody changes: a sealed file's, or a message's own.
///
/// # Errors
/// The bytes are no whole number of numbers; nothing was allocated.
///
/// # Examples
///
/// ```
/// use procession_wire::bulk;
///
/// let sent = vec![1.5_f64, 2.5];
/// let arrived: Vec<f64> = bulk::copied_of(bulk::raw(&sent).unwrap()).unwrap()?;
/// assert_eq!(arrived, sent);
/// assert!(bulk::copied_of::<String>(b"text").is_none());
/// # Ok::<(), procession_wire::DecodeError>(())
/// ```
#[must_use]
pub fn copied_of<T: 'static>(bytes: &[u8]) -> Option<Result<T, DecodeError>> {
    is_bulk::<T>().then(|| from_raw(bytes))
}

/// What stands before raw bytes: their number, as postcard writes one.
///
/// # Examples
///
/// ```
/// assert_eq!(procession_wire::bulk::length_prefix(300).as_ref(), [0xac, 0x02]);
/// ```
#[must_use]
pub fn length_prefix(len: usize) -> LengthPrefix {
    let mut prefix = LengthPrefix { bytes: [0; LENGTH_BYTES_MAX], used: 0 };
    if let Ok(written) = postcard::to_slice(&len, &mut prefix.bytes) {
        prefix.used = written.len();
    }
    prefix
}

/// The bytes of a [`length_prefix`].
#[derive(Debug, Clone, Copy)]
pub struct LengthPrefix {
    bytes: [u8; LENGTH_BYTES_MAX],
    used: usize,
}

impl AsRef<[u8]> for LengthPrefix {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

/// What postcard takes at most for a length.
const LENGTH_BYTES_MAX: usize = 10;

mod sealed {
    use super::{DecodeError, SharedMap};

    pub trait Bulk: Sized {
        /// The memory of the numbers.
        fn bytes(&self) -> &[u8];

        /// Numbers with this memory.
        fn made_of(memory: Memory<'_>) -> Result<Self, DecodeError>;
    }

    pub trait Number {}

    /// Where numbers are read from.
    #[derive(Debug, Clone, Copy)]
    pub enum Memory<'a> {
        /// A message.
        Own(&'a [u8]),
        /// What other processes may change.
        Shared {
            /// Where it is mapped.
            map: &'a SharedMap,
            /// Where it begins there.
            at: usize,
            /// How long it is.
            bytes: usize,
        },
    }
}

impl Memory<'_> {
    fn len(&self) -> usize {
        match *self {
            Self::Own(bytes) => bytes.len(),
            Self::Shared { bytes, .. } => bytes,
        }
    }
}

impl<T: Number> sealed::Bulk for Vec<T> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }

    #[inline]
    fn made_of(memory: Memory<'_>) -> Result<Self, DecodeError> {
        let (len, item) = (memory.len(), size_of::<T>());
        if !len.is_multiple_of(item) {
            return Err(DecodeError::new(DecodeErrorKind::BulkLength { bytes: len, item }));
        }
        match memory {
            Memory::Own(bytes) => Ok(copied(bytes)),
            Memory::Shared { map, at, .. } => map.read_vec(at, len / item).map_err(|_| beyond_the_mapping()),
        }
    }
}

/// The numbers of a whole number of them.
#[inline]
fn copied<T: Number>(bytes: &[u8]) -> Vec<T> {
    let mut numbers = Vec::with_capacity(bytes.len() / size_of::<T>());
    populate(numbers.spare_capacity_mut());
    match bytemuck::try_cast_slice(bytes) {
        Ok(aligned) => numbers.extend_from_slice(aligned),
        Err(_) => numbers.extend(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>)),
    }
    numbers
}

#[cold]
fn beyond_the_mapping() -> DecodeError {
    DecodeError::new(DecodeErrorKind::Malformed { reason: "the numbers are not all in the shared memory" })
}

impl<T: Number> sealed::Bulk for Box<[T]> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }

    #[inline]
    fn made_of(memory: Memory<'_>) -> Result<Self, DecodeError> {
        Vec::made_of(memory).map(Vec::into_boxed_slice)
    }
}

/// Implements what depends on the list of all numbers.
macro_rules! numbers {
    ($($number:ty),* $(,)?) => {
        $(
            impl sealed::Number for $number {}
            impl Number for $number {}
        )*

        /// Whether values of this type are sent raw. Optimized builds know the answer at compile time.
        #[inline]
        pub(crate) fn is_bulk<T: 'static>() -> bool {
            let this = TypeId::of::<T>();
            $(this == TypeId::of::<Vec<$number>>() || this == TypeId::of::<Box<[$number]>>() ||)* false
        }

        /// Whether values of this type are single numbers, which hold no descriptor.
        #[inline]
        #[must_use]
        pub fn is_number<T: 'static>() -> bool {
            let this = TypeId::of::<T>();
            $(this == TypeId::of::<$number>() ||)* false
        }

        /// The memory of a single number, for whoever knows at the other end that one of this type comes; `None` for a value of
        /// any other type. Optimized builds know at compile time which it is.
        ///
        /// # Examples
        ///
        /// ```
        /// use procession_wire::bulk;
        ///
        /// let bytes = bulk::number_bytes(&7_u32).unwrap();
        /// assert_eq!(bulk::number_from::<u32>(bytes), Some(7));
        /// assert!(bulk::number_bytes(&"seven").is_none());
        /// ```
        #[inline]
        #[must_use]
        pub fn number_bytes<T: 'static>(value: &T) -> Option<&[u8]> {
            let value: &dyn Any = value;
            $(
                if let Some(number) = value.downcast_ref::<$number>() {
                    return Some(bytemuck::bytes_of(number));
                }
            )*
            None
        }

        /// The number with this memory; `None` for a type that is none, and for another length.
        #[inline]
        #[must_use]
        pub fn number_from<T: 'static>(bytes: &[u8]) -> Option<T> {
            let mut slot: Option<T> = None;
            let any: &mut dyn Any = &mut slot;
            $(
                if let Some(slot) = any.downcast_mut::<Option<$number>>() {
                    *slot = bytemuck::try_pod_read_unaligned(bytes).ok();
                }
            )*
            slot
        }

        #[inline]
        fn raw_of_any(value: &dyn Any) -> Option<&[u8]> {
            $(
                if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                    return Some(sealed::Bulk::bytes(numbers));
                }
                if let Some(numbers) = value.downcast_ref::<Box<[$number]>>() {
                    return Some(sealed::Bulk::bytes(numbers));
                }
            )*
            None
        }

        /// Takes what is in the slot, an `Option` of a type that is sent raw.
        fn keep_any(slot: &mut dyn Any) -> Option<Arc<dyn AsRef<[u8]> + Send + Sync>> {
            $(
                if let Some(slot) = slot.downcast_mut::<Option<Vec<$number>>>() {
                    return slot.take().map(|numbers| Arc::new(Kept(numbers)) as Arc<_>);
                }
                if let Some(slot) = slot.downcast_mut::<Option<Box<[$number]>>>() {
                    return slot.take().map(|numbers| Arc::new(Kept(numbers)) as Arc<_>);
                }
            )*
            None
        }

        /// Fills the slot, an `Option` of a type that is sent raw.
        #[inline]
        fn fill_any(slot: &mut dyn Any, memory: Memory<'_>) -> Result<(), DecodeError> {
            $(
                if let Some(slot) = slot.downcast_mut::<Option<Vec<$number>>>() {
                    *slot = Some(sealed::Bulk::made_of(memory)?);
                    return Ok(());
                }
                if let Some(slot) = slot.downcast_mut::<Option<Box<[$number]>>>() {
                    *slot = Some(sealed::Bulk::made_of(memory)?);
                    return Ok(());
                }
            )*
            Ok(())
        }
    };
}

numbers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

/// The value of a type for which [`is_bulk`] holds.
#[inline]
pub(crate) fn from_raw<T: 'static>(bytes: &[u8]) -> Result<T, DecodeError> {
    made_of(Memory::Own(bytes))
}

#[inline]
fn made_of<T: 'static>(memory: Memory<'_>) -> Result<T, DecodeError> {
    let mut slot: Option<T> = None;
    fill_any(&mut slot, memory)?;
    slot.ok_or_else(|| DecodeError::new(DecodeErrorKind::Malformed { reason: "the type is not sent raw" }))
}

struct RawVisitor<B>(PhantomData<B>);

impl<B: Bulk> de::Visitor<'_> for RawVisitor<B> {
    type Value = B;

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("the raw bytes of numbers")
    }

    #[inline]
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<B, E> {
        B::made_of(Memory::Own(bytes)).map_err(|error| E::custom(error.kind()))
    }
}

#[cfg(test)]
mod tests {
    use procession_sys::{Access, MemoryFile, memory_file};

    use super::*;

    const BYTES: usize = 4096;

    #[test]
    fn what_is_copied_from_shared_memory_is_what_was_written_or_an_error() {
        let file = memory_file("test", &MemoryFile { bytes: BYTES as u64, huge_page_bits: None }).unwrap();
        let map = SharedMap::map(&file, BYTES, Access::ReadWrite).unwrap();
        let numbers: Vec<i32> = (-100..100).collect();
        let len = raw(&numbers).unwrap().len();
        for at in [0, 1, 64, 333, BYTES - len] {
            map.write(at, raw(&numbers).unwrap()).unwrap();
            assert_eq!(copied_from::<Vec<i32>>(&map, at, len).unwrap().unwrap(), numbers);
            assert_eq!(*copied_from::<Box<[i32]>>(&map, at, len).unwrap().unwrap(), numbers);
        }
        let refused = |at, bytes| copied_from::<Vec<i32>>(&map, at, bytes).unwrap().unwrap_err();
        assert_eq!(refused(0, 7).kind(), &DecodeErrorKind::BulkLength { bytes: 7, item: 4 });
        for (at, bytes) in [(BYTES - 3, 4), (0, BYTES + 4), (usize::MAX, 4), (0, usize::MAX - 3)] {
            assert_eq!(refused(at, bytes).kind(), beyond_the_mapping().kind());
        }
        assert!(copied_from::<Vec<bool>>(&map, 0, 4).is_none());
    }
}
