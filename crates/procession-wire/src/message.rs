//! What one encode produced, and the one-shot helpers.

use crate::{DecodeError, Decoder, Descriptor, EncodeError, Encoder};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::{Debug, Formatter},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Bytes and the descriptors that go with them.
///
/// Dropping a message closes only those descriptors that nobody else holds; a clone shares them.
///
/// # Examples
///
/// ```
/// use procession_wire::{Descriptor, encode};
/// use std::{fs::File, os::fd::OwnedFd};
///
/// let file = Descriptor::from(OwnedFd::from(File::open("/dev/null")?));
/// let message = encode(&(1_u8, file))?;
/// assert_eq!(message.bytes(), [1, 0]); // The number, and the position in the table.
/// assert_eq!(message.descriptors().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Message {
    bytes: Vec<u8>,
    descriptors: Vec<Descriptor>,
}

impl Message {
    pub(crate) fn new(bytes: Vec<u8>, descriptors: Vec<Descriptor>) -> Self {
        Message { bytes, descriptors }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The descriptors, in the order in which they must arrive.
    pub fn descriptors(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.descriptors.iter().map(AsFd::as_fd)
    }

    /// How many descriptors there are.
    #[must_use]
    pub fn descriptor_count(&self) -> usize {
        self.descriptors.len()
    }

    /// The bytes and the descriptors by themselves.
    ///
    /// # Examples
    ///
    /// ```
    /// let (bytes, descriptors) = procession_wire::encode(&"abc")?.into_parts();
    /// assert_eq!((bytes.len(), descriptors.len()), (4, 0));
    /// # Ok::<(), procession_wire::EncodeError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<Descriptor>) {
        (self.bytes, self.descriptors)
    }

    /// The reverse of [`into_parts`](Self::into_parts); also of a piece of the bytes with all of the descriptors, if the
    /// piece is whole values.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::{Encoder, Message, decode};
    ///
    /// let mut encoder = Encoder::new();
    /// encoder.value(&1_u8)?;
    /// encoder.value(&2_u8)?;
    /// let (bytes, descriptors) = encoder.finish().into_parts();
    /// assert_eq!(decode::<u8>(Message::from_parts(bytes[1..].to_vec(), descriptors))?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_parts(bytes: Vec<u8>, descriptors: Vec<Descriptor>) -> Self {
        Self::new(bytes, descriptors)
    }

    /// A decoder of this message in the same process, which shares the sender's descriptors.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut decoder = procession_wire::encode(&5_u64)?.into_decoder();
    /// assert_eq!(decoder.value::<u64>()?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_decoder(self) -> Decoder {
        Decoder::with_table(self.bytes, self.descriptors)
    }
}

impl Debug for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Message");
        text.field("bytes", &self.bytes.len());
        text.field("descriptors", &self.descriptors.len()).finish()
    }
}

/// Encodes one value as a message.
///
/// # Errors
///
/// As [`Encoder::value`].
///
/// # Examples
///
/// ```
/// assert_eq!(procession_wire::encode(&Some(300_u16))?.bytes(), [1, 0xac, 0x02]);
/// # Ok::<(), procession_wire::EncodeError>(())
/// ```
pub fn encode<T: Serialize + 'static>(value: &T) -> Result<Message, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.value(value)?;
    Ok(encoder.finish())
}

/// Decodes the one value of a message in the process that encoded it.
///
/// # Errors
///
/// As [`Decoder::value`] and [`Decoder::finish`].
///
/// # Examples
///
/// ```
/// use procession_wire::{decode, encode};
///
/// assert_eq!(decode::<Vec<String>>(encode(&vec!["a", "b"])?)?, ["a", "b"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode<T: DeserializeOwned + 'static>(message: Message) -> Result<T, DecodeError> {
    let mut decoder = message.into_decoder();
    let value = decoder.value()?;
    decoder.finish()?;
    Ok(value)
}

/// Decodes the one value of a message that lies in borrowed memory, such as a ring's.
///
/// # Errors
///
/// As [`Decoder::value`] and [`Decoder::finish`].
///
/// # Examples
///
/// ```
/// assert_eq!(procession_wire::decode_slice::<u32>(&[7], Vec::new())?, 7);
/// # Ok::<(), procession_wire::DecodeError>(())
/// ```
#[inline]
pub fn decode_slice<T: DeserializeOwned + 'static>(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<T, DecodeError> {
    let mut table = crate::decode::table(descriptors);
    let (value, read) = crate::decode::value(bytes, &mut table)?;
    crate::decode::finish(bytes.len() - read, std::any::type_name::<T>())?;
    Ok(value)
}
