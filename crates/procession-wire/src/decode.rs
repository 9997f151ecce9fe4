//! From bytes to values: the counterpart of [`encode`](crate::encode), which trusts no byte.
//!
//! Relies on [`scope`](crate::scope) for descriptors and on [`Deserializer`] for the form.

use crate::{
    DEPTH_MAX, DecodeError, DecodeErrorKind, Descriptor, UNSIZED_ITEMS_MAX, bulk,
    encode::SHORT_PARTS_END,
    scope::{ReceiveScope, Slot},
};
use deserializer::Deserializer;
use serde::de::{Deserialize, DeserializeOwned};
use std::{
    any::type_name,
    fmt::{Debug, Formatter},
    os::fd::OwnedFd,
    slice,
};

mod bytes;
mod deserializer;

/// Reads values one after the other out of one message.
///
/// The descriptors that no value asks for are closed when the decoder is dropped.
///
/// # Python
///
/// `multiprocessing.reduction.ForkingPickler.loads`.
///
/// # Examples
///
/// ```
/// use procession_wire::Decoder;
///
/// let mut decoder = Decoder::new([1, 3, b'a', b'b', b'c'], Vec::new());
/// assert_eq!(decoder.value::<Option<String>>()?.as_deref(), Some("abc"));
/// decoder.finish()?;
/// # Ok::<(), procession_wire::DecodeError>(())
/// ```
pub struct Decoder {
    body: Box<dyn AsRef<[u8]> + Send>,
    position: usize,
    /// Where the part ends that is being read.
    end: usize,
    /// The type of the last value.
    last: &'static str,
    table: Vec<Slot>,
}

impl Decoder {
    /// A decoder of these bytes, which may be a `Vec`, an array or a memory mapping.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Decoder;
    ///
    /// let mut decoder = Decoder::new(vec![42], Vec::new());
    /// assert_eq!(decoder.value::<u8>()?, 42);
    /// # Ok::<(), procession_wire::DecodeError>(())
    /// ```
    #[must_use]
    pub fn new(body: impl AsRef<[u8]> + Send + 'static, descriptors: Vec<OwnedFd>) -> Self {
        Decoder {
            end: body.as_ref().len(),
            body: Box::new(body),
            position: 0,
            last: "message",
            table: table(descriptors),
        }
    }

    pub(crate) fn with_table(body: Vec<u8>, descriptors: Vec<Descriptor>) -> Self {
        let table = descriptors.into_iter().map(Slot::Here).collect();
        Decoder { end: body.len(), body: Box::new(body), position: 0, last: "message", table }
    }

    /// Reads the next value.
    ///
    /// # Errors
    ///
    /// The bytes are not those of a `T`. The decoder then stands before the value as it did; descriptors
    /// that the value had taken are closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Decoder;
    ///
    /// let mut decoder = Decoder::new([1, 2], Vec::new());
    /// assert_eq!(decoder.value::<bool>()?, true);
    /// assert!(decoder.value::<bool>().is_err());
    /// assert_eq!(decoder.value::<u8>()?, 2);
    /// # Ok::<(), procession_wire::DecodeError>(())
    /// ```
    #[inline]
    pub fn value<T: DeserializeOwned + 'static>(&mut self) -> Result<T, DecodeError> {
        let rest = (*self.body).as_ref().get(self.position..self.end).unwrap_or_default();
        let (value, read) = value(rest, &mut self.table)?;
        self.position += read;
        self.last = type_name::<T>();
        Ok(value)
    }

    /// True when nothing is left to be read.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procession_wire::Decoder::new([], Vec::new()).is_at_end());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// How many bytes have been read.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procession_wire::Decoder::new([1, 2], Vec::new()).position(), 0);
    /// ```
    #[inline]
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Passes over so many bytes and gives them; `None` if fewer are left.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut decoder = procession_wire::Decoder::new([1, 2, 3], Vec::new());
    /// assert_eq!(decoder.bytes(2), Some([1, 2].as_slice()));
    /// assert_eq!(decoder.bytes(2), None);
    /// ```
    #[inline]
    pub fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.position.checked_add(count).filter(|&end| end <= self.end)?;
        let bytes = (*self.body).as_ref().get(self.position..end)?;
        self.position = end;
        Some(bytes)
    }

    /// Passes over all that is left and gives it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut decoder = procession_wire::Decoder::new([1, 2, 3], Vec::new());
    /// assert_eq!(decoder.bytes(1), Some([1].as_slice()));
    /// assert_eq!(decoder.rest(), [2, 3]);
    /// assert!(decoder.is_at_end());
    /// ```
    #[inline]
    pub fn rest(&mut self) -> &[u8] {
        let rest = (*self.body).as_ref().get(self.position..self.end).unwrap_or_default();
        self.position = self.end;
        rest
    }

    /// Reads what [`Encoder::part`](crate::Encoder::part) wrote. The decoder then stands after the part, whatever became of
    /// it, by an error or by a panic: whoever cannot read one part can go on with the next.
    ///
    /// # Errors
    ///
    /// That of `read`; bytes of the part are left; the message ends before the part does, and the decoder is at its end then.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Encoder;
    ///
    /// let mut encoder = Encoder::new();
    /// encoder.part(|part| part.value(&300_u16))?;
    /// encoder.part(|part| part.value(&"two".to_string()))?;
    /// let mut decoder = encoder.finish().into_decoder();
    /// assert!(decoder.part(|part| part.value::<u8>()).is_err());
    /// assert_eq!(decoder.part(|part| part.value::<String>())?, "two");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn part<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, DecodeError>) -> Result<R, DecodeError> {
        let end = self.end;
        let part_end = self.part_end()?;
        self.end = part_end;
        let part = Part { decoder: self, part_end, end };
        let value = read(part.decoder)?;
        finish(part_end.saturating_sub(part.decoder.position), part.decoder.last)?;
        Ok(value)
    }

    /// Passes over a part.
    ///
    /// # Errors
    ///
    /// The message ends before the part does, and the decoder is at its end then.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut decoder = procession_wire::Decoder::new([1, 7, 8], Vec::new());
    /// decoder.skip_part()?;
    /// assert_eq!(decoder.value::<u8>()?, 8);
    /// # Ok::<(), procession_wire::DecodeError>(())
    /// ```
    #[inline]
    pub fn skip_part(&mut self) -> Result<(), DecodeError> {
        self.position = self.part_end()?;
        Ok(())
    }

    /// Reads how long the part is that begins here, and says where it ends.
    #[inline]
    fn part_end(&mut self) -> Result<usize, DecodeError> {
        let short = (*self.body).as_ref().get(self.position).copied().filter(|&first| first < SHORT_PARTS_END as u8);
        let declared = match short {
            Some(short) if self.position < self.end => {
                self.position += 1;
                usize::from(short)
            }
            _ => self.value::<usize>().inspect_err(|_| self.position = self.end)?,
        };
        let remaining = self.end - self.position;
        if declared > remaining {
            self.position = self.end;
            return Err(DecodeError::new(DecodeErrorKind::LengthBeyondEnd { declared, remaining }));
        }
        Ok(self.position + declared)
    }

    /// Ends the message, after the last value.
    ///
    /// # Errors
    ///
    /// Bytes are left: the sender wrote something else than was read.
    ///
    /// # Examples
    ///
    /// ```
    /// let decoder = procession_wire::Decoder::new([0], Vec::new());
    /// assert!(decoder.finish().is_err());
    /// ```
    pub fn finish(self) -> Result<(), DecodeError> {
        finish((*self.body).as_ref().len().saturating_sub(self.position), self.last)
    }
}

/// While a part is read.
struct Part<'d> {
    decoder: &'d mut Decoder,
    part_end: usize,
    /// Where what it is a part of ends.
    end: usize,
}

impl Drop for Part<'_> {
    #[inline]
    fn drop(&mut self) {
        (self.decoder.position, self.decoder.end) = (self.part_end, self.end);
    }
}

impl Debug for Decoder {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Decoder");
        text.field("bytes", &(*self.body).as_ref().len());
        text.field("position", &self.position);
        text.field("descriptors", &self.table.len()).finish()
    }
}

/// The table of descriptors that arrived.
#[inline]
pub(crate) fn table(descriptors: Vec<OwnedFd>) -> Vec<Slot> {
    if descriptors.is_empty() {
        return Vec::new();
    }
    descriptors.into_iter().map(|owned| Slot::Here(Descriptor::from(owned))).collect()
}

/// Reads the value at the start of `bytes`; also tells how many bytes it took.
#[inline]
pub(crate) fn value<T: DeserializeOwned + 'static>(
    bytes: &[u8],
    table: &mut Vec<Slot>,
) -> Result<(T, usize), DecodeError> {
    let mut input = Input { rest: bytes.iter(), unsized_items: 0, unread: 0 };
    if bulk::is_bulk::<T>() {
        let value = input.primitive::<&[u8]>().and_then(bulk::from_raw::<T>);
        let value = value.map(|value| (value, bytes.len() - input.left()));
        return value.map_err(|error| error.about(type_name::<T>()));
    }
    if bulk::is_number::<T>() {
        let value = T::deserialize(Deserializer { input: &mut input, depth: DEPTH_MAX });
        let value = value.map(|value| (value, bytes.len() - input.left()));
        return value.map_err(|error| error.about(type_name::<T>()));
    }
    let scope = ReceiveScope::enter(table);
    match T::deserialize(Deserializer { input: &mut input, depth: DEPTH_MAX }) {
        Ok(value) => Ok((value, bytes.len() - input.left())),
        Err(error) => {
            let refused = scope.refused().map(DecodeErrorKind::Descriptor);
            Err(refused.map_or(error, DecodeError::new).about(type_name::<T>()))
        }
    }
}

/// The check after the last value.
#[inline]
pub(crate) fn finish(left: usize, last: &'static str) -> Result<(), DecodeError> {
    if left == 0 {
        return Ok(());
    }
    Err(DecodeError::new(DecodeErrorKind::TrailingBytes { count: left }).about(last))
}

/// What the deserializers of one value, one inside the other, share.
struct Input<'de> {
    /// The bytes that were not read yet, as an iterator: to take one moves a single pointer.
    rest: slice::Iter<'de, u8>,
    /// Items of this value that took no bytes so far.
    unsized_items: usize,
    /// Items that arrived and that no visitor asked for.
    unread: usize,
}

impl<'de> Input<'de> {
    /// How many bytes were not read yet.
    #[inline]
    fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, DecodeError> {
        match self.rest.next() {
            Some(byte) => Ok(*byte),
            None => Err(DecodeError::new(DecodeErrorKind::UnexpectedEnd)),
        }
    }

    /// Reads one value that holds no other values.
    #[inline]
    fn primitive<T: Deserialize<'de>>(&mut self) -> Result<T, DecodeError> {
        match postcard::take_from_bytes(self.rest.as_slice()) {
            Ok((value, rest)) => {
                self.rest = rest.iter();
                Ok(value)
            }
            Err(error) => Err(DecodeError::new(error.into())),
        }
    }

    /// Reads how many items follow, and refuses what cannot follow.
    #[inline]
    fn item_count(&mut self) -> Result<usize, DecodeError> {
        let declared = self.primitive::<usize>()?;
        let unsized_left = UNSIZED_ITEMS_MAX - self.unsized_items;
        if declared > self.left().saturating_add(unsized_left) {
            let remaining = self.left();
            return Err(DecodeError::new(DecodeErrorKind::LengthBeyondEnd { declared, remaining }));
        }
        Ok(declared)
    }

    /// So many items were read since `start` bytes were left; charged as the encoder charges them.
    #[inline]
    fn items_read(&mut self, items: usize, start: usize) -> Result<(), DecodeError> {
        let unsized_items = self.unsized_items + items.saturating_sub(start - self.left());
        if unsized_items > UNSIZED_ITEMS_MAX {
            return Err(DecodeError::new(DecodeErrorKind::TooManyUnsizedItems));
        }
        self.unsized_items = unsized_items;
        Ok(())
    }

    /// Refuses a value whose visitor left items behind: what follows would be read in their place.
    #[inline]
    fn all_read<T>(&self, value: T) -> Result<T, DecodeError> {
        if self.unread == 0 {
            return Ok(value);
        }
        Err(DecodeError::new(DecodeErrorKind::UnreadItems { left: self.unread }))
    }

    #[inline]
    fn signature(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }
}
