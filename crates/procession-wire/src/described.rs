//! A wrapper for types that plain postcard cannot carry: CBOR, which names everything it holds.
//!
//! Relies on ciborium for the bytes and on [`Checked`] to hold ciborium to what this crate promises.

use crate::{DEPTH_MAX, EncodeError, scope::Trial};
use checked::Checked;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::{
    fmt::Formatter,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

mod checked;

/// A value that travels together with its description.
///
/// Types that are `#[serde(untagged)]`, `flatten`ed or tagged inside, that skip fields, or that hold dynamic
/// values, need to be told by the bytes what follows. Wrapped in this they may go wherever other values go, at
/// the price of larger messages and slower encoding. Descriptors inside are carried as usual. Inside another
/// self-describing format, `Described` is invisible.
///
/// Serde tries the forms of an untagged type one after the other. If such a type holds itself in several forms
/// that begin alike, then bytes from a hostile peer can make it try for very long; tag the type instead.
///
/// # Errors
///
/// An option directly inside an option is refused, because the format has one null.
///
/// # Examples
///
/// ```
/// use procession_wire::{Described, decode, encode};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(untagged)]
/// enum Setting {
///     Number(i64),
///     Text(String),
/// }
///
/// let sent = vec![Setting::Number(3), Setting::Text("on".into())];
/// assert!(decode::<Vec<Setting>>(encode(&sent)?).is_err());
///
/// let message = encode(&Described(sent))?;
/// let arrived: Described<Vec<Setting>> = decode(message)?;
/// assert_eq!(arrived[1], Setting::Text("on".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Described<T>(pub T);

impl<T> Described<T> {
    /// The value itself.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procession_wire::Described(5).into_inner(), 5);
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Described<T> {
    fn from(value: T) -> Self {
        Described(value)
    }
}

impl<T> Deref for Described<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Described<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Described<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NAME, &self.0)
    }
}

impl<'de, T: de::DeserializeOwned> Deserialize<'de> for Described<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, DescribedVisitor(PhantomData))
    }
}

/// By this name our serializer and deserializer know that the newtype's content is CBOR in a byte string.
pub(crate) const NAME: &str = "procession_wire::Described";

/// What ciborium counts as depth, which is one more if the innermost value is an enum.
const RECURSION_MAX: usize = DEPTH_MAX + 1;

/// The value as CBOR.
pub(crate) fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    match ciborium::into_writer(&Checked::new(value), &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(ciborium::ser::Error::Value(message)) => Err(checked::kind_of(message)),
        Err(ciborium::ser::Error::Io(error)) => Err(ser::Error::custom(error)),
    }
}

struct DescribedVisitor<T>(PhantomData<T>);

impl<'de, T: de::DeserializeOwned> de::Visitor<'de> for DescribedVisitor<T> {
    type Value = Described<T>;

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("a described value")
    }

    /// Our own deserializer hands over the byte string.
    fn visit_bytes<E: de::Error>(self, mut bytes: &[u8]) -> Result<Described<T>, E> {
        let _trial = Trial::begin();
        let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, RECURSION_MAX);
        let value = value.map_err(|error| match error {
            ciborium::de::Error::Io(_) => E::custom("the description ends too early; the message is damaged"),
            ciborium::de::Error::Syntax(at) => E::custom(format_args!("the description is damaged at byte {at}")),
            ciborium::de::Error::Semantic(_, message) => E::custom(message),
            ciborium::de::Error::RecursionLimitExceeded => {
                E::custom(format_args!("the value nests deeper than {DEPTH_MAX} levels"))
            }
        })?;
        if !bytes.is_empty() {
            return Err(E::custom(format_args!(
                "{} bytes follow the described value; the message is damaged",
                bytes.len()
            )));
        }
        Ok(Described(value))
    }

    /// Any other format describes itself, or has to cope as it would without this wrapper.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Described<T>, D::Error> {
        T::deserialize(deserializer).map(Described)
    }
}
