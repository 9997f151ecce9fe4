//! What objects and servers are called: random numbers that are never used again.

use std::fmt;

use procession_sys::random_bytes;
use serde::{Deserialize, Serialize};

/// An object's name, in all processes: 128 random bits, which nobody guesses and nothing else ever has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId([u8; Self::BYTES]);

impl ObjectId {
    /// How many bytes it has.
    pub const BYTES: usize = 16;

    /// What a server itself is called by its clients.
    pub(crate) const SERVER: Self = Self([0; Self::BYTES]);

    pub(crate) fn random() -> std::io::Result<Self> {
        random_bytes().map(Self)
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
