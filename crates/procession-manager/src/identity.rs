//! What objects and servers are called: random numbers that are never used again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use procession_sys::random_bytes;
use serde::{Deserialize, Serialize};

use crate::value::Form;

/// An object's name, in all processes: 127 random bits, which nobody guesses and nothing else ever has, and one that tells
/// how its values are written. As text it is 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId([u8; Self::BYTES]);

impl ObjectId {
    /// How many bytes it has.
    pub const BYTES: usize = 16;

    /// What a server itself is called by its clients.
    pub(crate) const SERVER: Self = Self([0; Self::BYTES]);

    /// In the last byte: the object's calls, and the values that it holds, are [`Data`](crate::Data).
    const DATA: u8 = 1;

    pub(crate) fn random(form: Form) -> std::io::Result<Self> {
        let mut bytes: [u8; Self::BYTES] = random_bytes()?;
        bytes[Self::BYTES - 1] &= !Self::DATA;
        if form == Form::Data {
            bytes[Self::BYTES - 1] |= Self::DATA;
        }
        Ok(Self(bytes))
    }

    /// How values go to the object, and come from it.
    #[inline]
    pub(crate) fn form(self) -> Form {
        if self.0[Self::BYTES - 1] & Self::DATA == 0 { Form::Native } else { Form::Data }
    }

    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }

    #[inline]
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

/// The object that a call was for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CalledObject {
    /// What it is called in all processes.
    pub id: ObjectId,
    /// The name under which this process got it, or published it. None if it did neither.
    pub name: Option<Arc<str>>,
}

impl CalledObject {
    /// One of which no other name is known; none if the server itself was called.
    pub(crate) fn of(id: ObjectId) -> Option<Self> {
        (id != ObjectId::SERVER).then_some(Self { id, name: None })
    }
}

/// Its name, or else its number.
impl fmt::Display for CalledObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?}"),
            None => write!(f, "object {}", self.id),
        }
    }
}

/// A text is not the name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an object's name is 32 hexadecimal digits")]
pub struct NoObjectId;

impl FromStr for ObjectId {
    type Err = NoObjectId;

    fn from_str(text: &str) -> Result<Self, NoObjectId> {
        let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
        let pairs = digits.filter(|digits| digits.len() == 2 * Self::BYTES).ok_or(NoObjectId)?;
        Ok(Self(std::array::from_fn(|at| pairs[2 * at] << 4 | pairs[2 * at + 1])))
    }
}
