//! What a list holds.
//!
//! Relies on nothing else here: an item is an owned value, copied into and out of the list.

use std::num::TryFromIntError;

use serde::{Deserialize, Serialize};

/// One item of a [`ShareableList`](crate::ShareableList): what Python can hold in one as well.
///
/// Items are equal when kind and value are. Floats are compared by value, so NaN equals nothing and -0.0 equals 0.0.
/// Other than in Python, `1`, `1.0` and `true` are three different items.
///
/// # Examples
/// ```
/// use procession_shm::ShareableItem;
///
/// assert_eq!(ShareableItem::from(1_u8), ShareableItem::Int(1));
/// assert_eq!(ShareableItem::from(None::<&str>), ShareableItem::None);
/// assert_ne!(ShareableItem::from(f64::NAN), ShareableItem::Float(f64::NAN));
/// assert!(ShareableItem::try_from(u64::MAX).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShareableItem {
    /// Nothing.
    #[default]
    None,
    /// True or false.
    Bool(bool),
    /// A number without a fraction; Python's `int` as far as it has 64 bits.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

macro_rules! becomes {
    ($($from:ty => |$value:ident| $item:expr),* $(,)?) => {$(
        impl From<$from> for ShareableItem {
            fn from($value: $from) -> Self {
                $item
            }
        }
    )*};
}

becomes! {
    bool => |value| Self::Bool(value),
    i8 => |value| Self::Int(value.into()),
    i16 => |value| Self::Int(value.into()),
    i32 => |value| Self::Int(value.into()),
    i64 => |value| Self::Int(value),
    u8 => |value| Self::Int(value.into()),
    u16 => |value| Self::Int(value.into()),
    u32 => |value| Self::Int(value.into()),
    f32 => |value| Self::Float(value.into()),
    f64 => |value| Self::Float(value),
    &str => |value| Self::Str(value.to_owned()),
    String => |value| Self::Str(value),
    &[u8] => |value| Self::Bytes(value.to_vec()),
    Vec<u8> => |value| Self::Bytes(value),
}

impl<const N: usize> From<&[u8; N]> for ShareableItem {
    fn from(value: &[u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for ShareableItem {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, T::into)
    }
}

macro_rules! may_not_fit {
    ($($number:ty),*) => {$(
        impl TryFrom<$number> for ShareableItem {
            type Error = TryFromIntError;

            fn try_from(value: $number) -> Result<Self, TryFromIntError> {
                i64::try_from(value).map(Self::Int)
            }
        }
    )*};
}

may_not_fit!(u64, usize, isize, u128, i128);
