//! What is in a value, values of what Rust has, and comparison of the two.
//!
//! Relies on nothing.

use std::borrow::Cow;
use std::ops::Index;

use crate::data::equal::{self, Rule};
use crate::data::items::{Items, Map, Set};
use crate::data::{BigInteger, Data, integer};

/// What [`Index`] gives for what is not there.
static NULL: Data = Data::Null;

impl Data {
    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// True or false; `None` for any other value, also for a number.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// An integer that is an `i64`.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// assert_eq!(Data::from(7).as_i64(), Some(7));
    /// assert_eq!(Data::from(u64::MAX).as_i64(), None);
    /// assert_eq!(Data::from(7.0).as_i64(), None);
    /// ```
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// An integer that is a `u64`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_u128().and_then(|value| value.try_into().ok())
    }

    /// An integer that is an `i128`.
    #[must_use]
    pub fn as_i128(&self) -> Option<i128> {
        match self {
            Self::Integer(value) => Some(i128::from(*value)),
            Self::BigInteger(value) => value.to_i128(),
            _ => None,
        }
    }

    /// An integer that is a `u128`.
    #[must_use]
    pub fn as_u128(&self) -> Option<u128> {
        match self {
            Self::Integer(value) => (*value).try_into().ok(),
            Self::BigInteger(value) => value.to_u128(),
            _ => None,
        }
    }

    /// A float, or an integer that a float has exactly.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// assert_eq!(Data::from(1).as_f64(), Some(1.0));
    /// assert_eq!(Data::from(i64::MAX).as_f64(), None);
    /// ```
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Integer(value) => {
                let float = *value as f64;
                matches!(integer::of_float(float), Some(Self::Integer(back)) if back == *value).then_some(float)
            }
            Self::BigInteger(value) => value.to_f64(),
            _ => None,
        }
    }

    /// Text; `None` for any other value, also for a text with lone surrogates.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(value) = self { Some(value) } else { None }
    }

    /// Bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    /// The values of a list or a tuple.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[Data]> {
        if let Self::List(items) | Self::Tuple(items) = self { Some(items) } else { None }
    }

    /// A map.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(value) = self { Some(value) } else { None }
    }

    /// A set.
    #[must_use]
    pub fn as_set(&self) -> Option<&Set> {
        if let Self::Set(value) = self { Some(value) } else { None }
    }

    /// The value of a map's key, or the value at a place, from 0, in a list or a tuple.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// let data = Data::map([("sizes", Data::list([64, 256]))]);
    /// assert_eq!(data.get("sizes").and_then(|sizes| sizes.get(1)), Some(&Data::from(256)));
    /// assert_eq!(data.get("names"), None);
    /// ```
    #[must_use]
    pub fn get(&self, key: impl Into<Data>) -> Option<&Data> {
        let key = key.into();
        match self {
            Self::Map(map) => map.get(&key),
            Self::List(items) | Self::Tuple(items) => items.get(usize::try_from(key.as_i64()?).ok()?),
            _ => None,
        }
    }
}

/// The value of a map's key; null if it is not there, or if this is no map.
impl Index<&str> for Data {
    type Output = Data;

    fn index(&self, key: &str) -> &Data {
        let Self::Map(map) = self else { return &NULL };
        map.iter().find(|(other, _)| other.as_str() == Some(key)).map_or(&NULL, |(_, value)| value)
    }
}

/// The value at a place in a list or a tuple; null if there is none, or if this is neither.
impl Index<usize> for Data {
    type Output = Data;

    fn index(&self, at: usize) -> &Data {
        self.as_slice().and_then(|items| items.get(at)).unwrap_or(&NULL)
    }
}

/// Values that are made of others, and compared with them.
macro_rules! values {
    ($($type:ty: $value:ident => $made:expr),* $(,)?) => {
        $(
            impl From<$type> for Data {
                fn from($value: $type) -> Self {
                    $made
                }
            }

            impl PartialEq<$type> for Data {
                fn eq(&self, other: &$type) -> bool {
                    equal::same(self, &Data::from(*other), Rule::Values)
                }
            }
        )*
    };
}

values! {
    bool: value => Self::Bool(value),
    i8: value => Self::Integer(value.into()),
    i16: value => Self::Integer(value.into()),
    i32: value => Self::Integer(value.into()),
    i64: value => Self::Integer(value),
    u8: value => Self::Integer(value.into()),
    u16: value => Self::Integer(value.into()),
    u32: value => Self::Integer(value.into()),
    u64: value => Self::from(u128::from(value)),
    usize: value => Self::from(value as u128),
    isize: value => Self::from(value as i128),
    f32: value => Self::Float(value.into()),
    f64: value => Self::Float(value),
}

/// Values that are made of others by way of those.
macro_rules! made {
    ($($type:ty: $value:ident => $made:expr),* $(,)?) => {
        $(
            impl From<$type> for Data {
                fn from($value: $type) -> Self {
                    $made
                }
            }
        )*
    };
}

made! {
    (): _nothing => Self::Null,
    char: value => Self::from(value.to_string()),
    &str: value => Self::Text(value.into()),
    String: value => Self::Text(value.into()),
    Box<str>: value => Self::Text(value),
    Cow<'_, str>: value => Self::Text(value.into()),
    &[u8]: value => Self::Bytes(value.into()),
    Vec<u8>: value => Self::Bytes(value.into()),
    Box<[u8]>: value => Self::Bytes(value),
    BigInteger: value => Self::BigInteger(value),
    Vec<Data>: value => Self::List(value.into()),
    Items: value => Self::List(value),
    Map: value => Self::Map(value),
    Set: value => Self::Set(value),
}

impl<const N: usize> From<&[u8; N]> for Data {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl<T: Into<Data>> From<Option<T>> for Data {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Data>> FromIterator<T> for Data {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::list(items)
    }
}

impl<K: Into<Data>, V: Into<Data>> FromIterator<(K, V)> for Data {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self::map(pairs)
    }
}

impl PartialEq<str> for Data {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Data {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<String> for Data {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == Some(other)
    }
}
