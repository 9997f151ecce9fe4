//! Why a value could not be encoded or decoded.
//!
//! Each error names the type that was handed to [`Encoder::value`](crate::Encoder::value) or
//! [`Decoder::value`](crate::Decoder::value) and what to do about it. The errors are one pointer wide, so
//! that the hot paths which return them stay small. Relies on thiserror.

use crate::{DEPTH_MAX, DESCRIPTORS_MAX, UNSIZED_ITEMS_MAX};
use std::fmt::Display;

/// A value could not be encoded; nothing of it is left in the message.
///
/// # Examples
///
/// ```
/// use procession_wire::{EncodeErrorKind, encode};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Job {
///     #[serde(skip_serializing_if = "Option::is_none")]
///     retries: Option<u8>,
/// }
///
/// let error = encode(&Job { retries: None }).unwrap_err();
/// assert!(matches!(error.kind(), EncodeErrorKind::SkippedField { field: "retries", .. }));
/// assert!(error.to_string().contains("Described"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode `{}`: {}", .0.value, .0.kind)]
pub struct EncodeError(Box<Failure<EncodeErrorKind>>);

/// A value could not be decoded; it is still in the message, unread.
///
/// # Examples
///
/// ```
/// use procession_wire::{DecodeErrorKind, Decoder};
///
/// let mut decoder = Decoder::new([2_u8], Vec::new());
/// let error = decoder.value::<bool>().unwrap_err();
/// assert!(matches!(error.kind(), DecodeErrorKind::Malformed { .. }));
/// assert!(error.to_string().starts_with("cannot decode `bool`"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode `{}`: {}", .0.value, .0.kind)]
pub struct DecodeError(Box<Failure<DecodeErrorKind>>);

/// Why a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// A field was left out by `#[serde(skip_serializing_if = "…")]`.
    #[error(
        "field `{field}` of `{container}` is left out, which the receiver could not notice; \
         wrap the value in `Described`, or write the field always"
    )]
    SkippedField {
        /// The struct or variant.
        container: &'static str,
        /// The field that is missing.
        field: &'static str,
    },

    /// A sequence or a map did not say how long it is, as `#[serde(flatten)]` does not.
    #[error(
        "a sequence or map does not tell its length (`#[serde(flatten)]` does this); \
         wrap the value in `Described`, or collect the items first"
    )]
    UnknownLength,

    /// A `Serialize` implementation wrote more or fewer items than it said.
    #[error(
        "`{container}` wrote another number of items than the {declared} that it declared; \
         correct its `Serialize` implementation"
    )]
    WrongLength {
        /// The struct, or `sequence` or `map`.
        container: &'static str,
        /// How many items it had promised.
        declared: usize,
    },

    /// The value nests deeper than [`DEPTH_MAX`].
    #[error("the value nests deeper than {DEPTH_MAX} levels; keep the nodes in a `Vec` and link them by index")]
    TooDeep,

    /// The value holds more than [`UNSIZED_ITEMS_MAX`] items that take no bytes, such as `()`.
    #[error("more than {UNSIZED_ITEMS_MAX} items take no bytes; send their number instead")]
    TooManyUnsizedItems,

    /// An option inside an option was to be written by `Described`.
    #[error(
        "`Described` cannot tell `Some(None)` or `Some(())` from `None`; \
         use an enum of your own instead of the inner option"
    )]
    AmbiguousOption,

    /// A descriptor was refused.
    #[error(transparent)]
    Descriptor(DescriptorError),

    /// The type's own `Serialize` implementation failed.
    #[error("{0}")]
    Custom(String),
}

/// Why a value could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The message ends before the value does.
    #[error("the message ends in the middle of the value; send and receive the same type")]
    UnexpectedEnd,

    /// The bytes are not what the type asks for.
    #[error("{reason}; send and receive the same type")]
    Malformed {
        /// What is wrong with them.
        reason: &'static str,
    },

    /// The struct was written with other fields than it is read with.
    #[error(
        "`{container}` was written with {found} fields, which are not those that it is read with; \
         some are skipped on one side only: wrap the value in `Described`, or skip on both sides"
    )]
    Fields {
        /// The struct.
        container: &'static str,
        /// How many fields arrived.
        found: usize,
    },

    /// The variant is not among those that the type reads, or has another shape.
    #[error(
        "variant number {index} of `{container}` is not one that the receiver reads in this form; \
         give it the same name and fields for serializing and deserializing, or wrap the value in `Described`"
    )]
    Variant {
        /// The enum.
        container: &'static str,
        /// The sender's number of the variant.
        index: u32,
    },

    /// The type wants to be told what follows, which these bytes do not.
    #[error(
        "the type asks the bytes what they are (`untagged`, `flatten`, `tag = \"…\"` and dynamic values do this), \
         which they do not say; wrap the value in `Described` on both sides"
    )]
    SelfDescribing,

    /// The value nests deeper than [`DEPTH_MAX`].
    #[error("the value nests deeper than {DEPTH_MAX} levels; no honest sender can have written it")]
    TooDeep,

    /// The value holds more than [`UNSIZED_ITEMS_MAX`] items that take no bytes.
    #[error("more than {UNSIZED_ITEMS_MAX} items take no bytes; no honest sender can have written them")]
    TooManyUnsizedItems,

    /// A declared length goes beyond the end of the message.
    #[error("a length of {declared} was declared with {remaining} bytes left; the message is damaged")]
    LengthBeyondEnd {
        /// The items that should follow.
        declared: usize,
        /// The bytes that do.
        remaining: usize,
    },

    /// Raw numbers whose bytes do not divide into whole numbers.
    #[error("{bytes} bytes are no whole number of items of {item} bytes; send and receive the same type")]
    BulkLength {
        /// The bytes that arrived.
        bytes: usize,
        /// What one item takes.
        item: usize,
    },

    /// The type's `Deserialize` implementation stopped before the end of a sequence or map.
    #[error("{left} items of a sequence or map were left unread; correct the `Deserialize` implementation")]
    UnreadItems {
        /// How many were left.
        left: usize,
    },

    /// The last value was read and bytes are left.
    #[error("{count} bytes follow the last value; send and receive the same number of values")]
    TrailingBytes {
        /// How many bytes were left.
        count: usize,
    },

    /// A descriptor was refused.
    #[error(transparent)]
    Descriptor(DescriptorError),

    /// The type's own `Deserialize` implementation failed.
    #[error("{0}")]
    Custom(String),
}

/// Why a descriptor could not travel inside a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The handle was serialized or deserialized by something other than an encoder or a decoder.
    #[error(
        "a descriptor can only travel inside a message; pass the handle as an argument or \
         send it through a channel instead of serializing it by hand"
    )]
    OutsideMessage,

    /// The message carries [`DESCRIPTORS_MAX`] descriptors already.
    #[error("one message carries at most {DESCRIPTORS_MAX} descriptors; send several messages")]
    TooMany,

    /// The value names a descriptor that did not arrive.
    #[error("descriptor {index} did not arrive with the message; no honest sender can have written it")]
    Missing {
        /// Its position in the message's table.
        index: u32,
    },

    /// The value names a descriptor for the second time.
    #[error("descriptor {index} was taken already; each one is given out once")]
    Taken {
        /// Its position in the message's table.
        index: u32,
    },
}

impl EncodeError {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &EncodeErrorKind {
        &self.0.kind
    }

    /// The type that was to be encoded.
    #[must_use]
    pub fn value(&self) -> &'static str {
        self.0.value
    }

    #[cold]
    pub(crate) fn new(kind: EncodeErrorKind) -> Self {
        EncodeError(Box::new(Failure { value: "value", kind }))
    }

    /// The same error about a value of the type of this name.
    #[cold]
    pub(crate) fn about(mut self, value: &'static str) -> Self {
        self.0.value = value;
        self
    }
}

impl DecodeError {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.0.kind
    }

    /// The type that was to be decoded.
    #[must_use]
    pub fn value(&self) -> &'static str {
        self.0.value
    }

    #[cold]
    pub(crate) fn new(kind: DecodeErrorKind) -> Self {
        DecodeError(Box::new(Failure { value: "value", kind }))
    }

    /// The same error about a value of the type of this name: for whoever decodes a type of its own in parts.
    #[cold]
    #[must_use]
    pub fn about(mut self, value: &'static str) -> Self {
        self.0.value = value;
        self
    }
}

/// What went wrong, and with which type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure<K> {
    value: &'static str,
    kind: K,
}

impl serde::ser::Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        EncodeError::new(EncodeErrorKind::Custom(message.to_string()))
    }
}

impl serde::de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        DecodeError::new(DecodeErrorKind::Custom(message.to_string()))
    }
}

/// What postcard found wrong with the bytes, in our words.
impl From<postcard::Error> for DecodeErrorKind {
    #[cold]
    fn from(error: postcard::Error) -> Self {
        let reason = match error {
            postcard::Error::DeserializeUnexpectedEnd => return DecodeErrorKind::UnexpectedEnd,
            postcard::Error::DeserializeBadVarint => "an integer is too large for its type",
            postcard::Error::DeserializeBadBool => "a bool is neither 0 nor 1",
            postcard::Error::DeserializeBadChar => "a char is no Unicode scalar value",
            postcard::Error::DeserializeBadUtf8 => "a string is not UTF-8",
            _ => "the bytes do not fit the type",
        };
        DecodeErrorKind::Malformed { reason }
    }
}
