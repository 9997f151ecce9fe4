//! From values to bytes: postcard's form, wrapped so that nothing is written which cannot be read back.
//!
//! Relies on [`scope`](crate::scope) for descriptors and on [`Serializer`] for the form.

use crate::{
    EncodeError, EncodeErrorKind, Message, bulk, names,
    scope::{Attached, SendScope},
};
use procession_sys::want_huge_pages;
use serde::{Serialize, ser};
use serializer::Serializer;
use std::{
    any::type_name,
    fmt::{Debug, Formatter},
};

mod serializer;

pub(crate) use serializer::{FORM_BITS, Form};

/// How deep values may nest, in both directions.
///
/// A debug build takes some 3 KiB of stack for one level of a usual type, so hostile bytes stay well within
/// the 2 MiB of a thread that Rust starts. Each container, option, newtype and variant with content is a level,
/// so this is about twice the nesting that JSON libraries allow by default.
pub const DEPTH_MAX: usize = 256;

/// How many items that take no bytes, such as `()`, one value may hold in all its sequences and maps.
///
/// Any other item costs the sender a byte, so the length of the message bounds the work; these need a bound
/// of their own. A million takes the receiver some milliseconds.
pub const UNSIZED_ITEMS_MAX: usize = 1 << 20;

/// Writes values one after the other into one message.
///
/// A function's arguments are one value each, so that bulk data is recognized in each of them. A value that
/// fails leaves neither bytes nor descriptors behind, and the encoder stays usable.
///
/// # Python
///
/// `multiprocessing.reduction.ForkingPickler`.
///
/// # Examples
///
/// ```
/// use procession_wire::Encoder;
///
/// let mut encoder = Encoder::new();
/// encoder.value(&7_u32)?;
/// encoder.value(&vec![1.0_f64, 2.0])?; // Raw: one byte for the length, then 16.
/// assert_eq!(encoder.finish().bytes().len(), 1 + 1 + 16);
/// # Ok::<(), procession_wire::EncodeError>(())
/// ```
pub struct Encoder {
    output: Output,
    descriptors: Vec<Attached>,
}

impl Encoder {
    /// An encoder whose message is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procession_wire::Encoder::new().finish().bytes().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Encoder::with_buffer(Vec::new())
    }

    /// An encoder that writes into this buffer's memory, whose content is thrown away.
    ///
    /// A channel that takes the bytes out of each message saves the allocation of the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Encoder;
    ///
    /// let mut encoder = Encoder::with_buffer(Vec::with_capacity(4096));
    /// encoder.value(&1_u8)?;
    /// let (bytes, _descriptors) = encoder.finish().into_parts();
    /// assert_eq!((bytes.len(), bytes.capacity()), (1, 4096));
    /// # Ok::<(), procession_wire::EncodeError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        let postcard = postcard::Serializer { output: Bytes(buffer) };
        Encoder { output: Output { postcard, unsized_items: 0 }, descriptors: Vec::new() }
    }

    /// Writes one more value.
    ///
    /// # Errors
    ///
    /// The value holds what the byte format cannot express, or its `Serialize` implementation failed. What
    /// the value had written by then is removed.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Encoder;
    /// use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};
    ///
    /// let mut encoder = Encoder::new();
    /// encoder.value(&300_u16)?;
    /// let not_text = PathBuf::from(OsStr::from_bytes(&[0xff]));
    /// assert!(encoder.value(&("left behind?", not_text)).is_err());
    /// assert_eq!(encoder.finish().bytes(), [0xac, 0x02]);
    /// # Ok::<(), procession_wire::EncodeError>(())
    /// ```
    #[inline]
    pub fn value<T: Serialize + 'static>(&mut self, value: &T) -> Result<(), EncodeError> {
        if let Some(raw) = bulk::raw(value) {
            self.output.bulk(raw);
            return Ok(());
        }
        if bulk::is_number::<T>() {
            return self.output.primitive(value);
        }
        self.lent(value)
    }

    /// Writes one more value that may borrow, for whoever reads its owned form: a `&str` for a `String`, a tuple of references
    /// for a tuple of values.
    ///
    /// Numbers do not travel raw this way, so what is read as a `Vec` or boxed slice of numbers by itself is for
    /// [`value`](Self::value).
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut lent, mut owned) = (procession_wire::Encoder::new(), procession_wire::Encoder::new());
    /// lent.lent(&("text", &[1, 2][..]))?;
    /// owned.value(&("text".to_owned(), vec![1, 2]))?;
    /// assert_eq!(lent.finish().bytes(), owned.finish().bytes());
    /// # Ok::<(), procession_wire::EncodeError>(())
    /// ```
    #[inline]
    pub fn lent<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let before = self.output.len();
        let scope = SendScope::enter(&mut self.descriptors);
        let mut attempt = Attempt { output: &mut self.output, before, keep: false };
        match value.serialize(Serializer { output: &mut *attempt.output, depth: DEPTH_MAX }) {
            Ok(()) => {
                attempt.keep = true;
                scope.keep();
                Ok(())
            }
            Err(error) => {
                let refused = scope.refused().map(EncodeErrorKind::Descriptor);
                Err(refused.map_or(error, EncodeError::new).about(type_name::<T>()))
            }
        }
    }

    /// Writes a part that begins with its own length, so that whoever cannot read it can go on after it.
    ///
    /// # Errors
    ///
    /// That of `write`; nothing of the part is left then, nor when `write` panics.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut encoder = procession_wire::Encoder::new();
    /// encoder.part(|part| part.value(&7_u8))?;
    /// assert_eq!(encoder.finish().bytes(), [1, 7]);
    /// # Ok::<(), procession_wire::EncodeError>(())
    /// ```
    #[inline]
    pub fn part(&mut self, write: impl FnOnce(&mut Self) -> Result<(), EncodeError>) -> Result<(), EncodeError> {
        let (start, descriptors) = (self.output.len(), self.descriptors.len());
        Begun { encoder: self, start, descriptors, keep: false }.written_by(write)
    }

    /// Writes these bytes as they are, for whoever reads them with [`Decoder::bytes`](crate::Decoder::bytes).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut encoder = procession_wire::Encoder::new();
    /// encoder.bytes(&[1, 2]);
    /// assert_eq!(encoder.finish().bytes(), [1, 2]);
    /// ```
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// How many bytes have been written.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procession_wire::Encoder::new().position(), 0);
    /// ```
    #[inline]
    #[must_use]
    pub fn position(&self) -> usize {
        self.output.len()
    }

    #[inline]
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.output.postcard.output.0
    }

    /// The message with everything that was written.
    ///
    /// # Examples
    ///
    /// ```
    /// let message = procession_wire::Encoder::new().finish();
    /// assert_eq!(message.descriptor_count(), 0);
    /// ```
    #[inline]
    #[must_use]
    pub fn finish(self) -> Message {
        let bytes = self.output.postcard.output.0;
        if self.descriptors.is_empty() {
            return Message::new(bytes, Vec::new()); // Most messages have none, and some take nanoseconds.
        }
        let descriptors = self.descriptors.into_iter().map(|attached| attached.descriptor).collect();
        Message::new(bytes, descriptors)
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::new()
    }
}

impl Debug for Encoder {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Encoder");
        text.field("bytes", &self.output.len());
        text.field("descriptors", &self.descriptors.len()).finish()
    }
}

/// A part that is being written.
struct Begun<'e> {
    encoder: &'e mut Encoder,
    start: usize,
    descriptors: usize,
    keep: bool,
}

impl Begun<'_> {
    #[inline]
    fn written_by(mut self, write: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>) -> Result<(), EncodeError> {
        self.encoder.buffer().push(0); // Most lengths take one byte.
        write(self.encoder)?;
        self.keep = true;
        let start = self.start;
        let len = self.encoder.output.len() - start - 1;
        if len < SHORT_PARTS_END {
            self.encoder.buffer()[start] = len as u8;
        } else {
            self.encoder.buffer().splice(start..=start, bulk::length_prefix(len).as_ref().iter().copied());
        }
        Ok(())
    }
}

/// The first length that takes more than a byte.
pub(crate) const SHORT_PARTS_END: usize = 0x80;

impl Drop for Begun<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.keep {
            self.encoder.buffer().truncate(self.start);
            self.encoder.descriptors.truncate(self.descriptors);
        }
    }
}

/// Takes a value's bytes back unless it was written whole; also when it panics.
struct Attempt<'e> {
    output: &'e mut Output,
    before: usize,
    keep: bool,
}

impl Drop for Attempt<'_> {
    #[inline]
    fn drop(&mut self) {
        self.output.unsized_items = 0;
        if !self.keep {
            self.output.postcard.output.0.truncate(self.before);
        }
    }
}

/// Where postcard puts its bytes.
struct Bytes(Vec<u8>);

impl postcard::ser_flavors::Flavor for Bytes {
    type Output = Vec<u8>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// What the serializers of one value, one inside the other, share.
struct Output {
    postcard: postcard::Serializer<Bytes>,
    /// Items of this value that took no bytes so far.
    unsized_items: usize,
}

impl Output {
    #[inline]
    fn len(&self) -> usize {
        self.postcard.output.0.len()
    }

    /// Writes one value that holds no other values.
    #[inline]
    fn primitive<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(&mut self.postcard).map_err(ser::Error::custom)
    }

    /// Writes raw numbers: their length in bytes, then themselves, in memory that is got in one piece.
    fn bulk(&mut self, raw: &[u8]) {
        let buffer = &mut self.postcard.output.0;
        let prefix = bulk::length_prefix(raw.len());
        buffer.reserve_exact(prefix.as_ref().len() + raw.len());
        want_huge_pages(buffer.spare_capacity_mut());
        buffer.extend_from_slice(prefix.as_ref());
        buffer.extend_from_slice(raw);
    }

    /// So many items were written since the output was `start` long.
    ///
    /// Only those that no byte accounts for are charged: the rest are bounded by the bytes themselves.
    #[inline]
    fn items_written(&mut self, items: usize, start: usize) -> Result<(), EncodeError> {
        self.unsized_items += items.saturating_sub(self.len() - start);
        if self.unsized_items > UNSIZED_ITEMS_MAX {
            return Err(EncodeError::new(EncodeErrorKind::TooManyUnsizedItems));
        }
        Ok(())
    }

    /// What stands before a variant: its number and form, and the signature of its name.
    #[inline]
    fn variant(&mut self, index: u32, form: Form, name: &str) -> Result<(), EncodeError> {
        self.primitive(&(u64::from(index) << FORM_BITS | form as u64))?;
        self.signature(names::signature(name));
        Ok(())
    }

    #[inline]
    fn signature(&mut self, signature: u16) {
        self.postcard.output.0.extend_from_slice(&signature.to_le_bytes());
    }
}
