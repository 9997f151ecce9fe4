//! The items of a sequence that are bytes in all likelihood, of which there may be millions.
//!
//! What each of them costs is what this file is about. While all items have been bytes, the next one is where their number
//! says, and nothing is written to memory to read it. An item of another kind ends that, and is read as everywhere else, by
//! [`Deserializer`].

use super::Input;
use super::deserializer::Deserializer;
use crate::DecodeError;
use serde::de::{self, DeserializeSeed, Visitor};

/// Has so many items visited.
#[inline]
pub(super) fn visit<'de, V: Visitor<'de>>(
    input: &mut Input<'de>,
    depth: usize,
    len: usize,
    visitor: V,
) -> Result<V::Value, DecodeError> {
    // Of fewer bytes than items not all items are bytes.
    let bytes = input.rest.as_slice().get(..len).unwrap_or_default();
    let mut sequence = Sequence { input, depth, len, bytes };
    visitor.visit_seq(Items { sequence: &mut sequence, given: 0 })
}

/// A sequence that is being read.
struct Sequence<'i, 'de> {
    input: &'i mut Input<'de>,
    /// The depth of the items.
    depth: usize,
    /// How many there are.
    len: usize,
    /// The items, while all that were read were bytes; the input still has them. Otherwise none.
    bytes: &'de [u8],
}

impl Sequence<'_, '_> {
    /// Takes away from the input what was read as bytes. From here on it says itself where the next item is.
    #[inline]
    fn settle(&mut self, read: usize) {
        if !self.bytes.is_empty() {
            self.input.rest = without(self.input.rest.as_slice(), read).iter();
            self.bytes = &[];
        }
    }
}

#[cold] // Once for a sequence.
#[inline(never)]
fn without(bytes: &[u8], read: usize) -> &[u8] {
    bytes.get(read..).unwrap_or_default()
}

/// Gives out the items of a sequence.
///
/// Two words, which a visitor gets in registers: the count stays there, and no item costs a write of it to memory.
struct Items<'s, 'i, 'de> {
    sequence: &'s mut Sequence<'i, 'de>,
    /// How many were given out.
    given: usize,
}

impl Drop for Items<'_, '_, '_> {
    /// Reports what was not asked for.
    #[inline]
    fn drop(&mut self) {
        self.sequence.settle(self.given);
        self.sequence.input.unread += self.sequence.len - self.given;
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.given >= self.sequence.bytes.len() {
            self.sequence.settle(self.given);
            if self.given == self.sequence.len {
                return Ok(None);
            }
        }
        let given = self.given;
        let value = seed.deserialize(Item(self))?;
        if self.given == given {
            Item(self).of_any_kind(); // It is one that is not read at all.
        }
        Ok(Some(value))
    }

    /// At most what the remaining bytes can hold, so that a lying length reserves nothing.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some((self.sequence.len - self.given).min(self.sequence.input.left()))
    }
}

/// Reads the next item, which there is.
struct Item<'a, 's, 'i, 'de>(&'a mut Items<'s, 'i, 'de>);

impl<'a, 'de> Item<'a, '_, '_, 'de> {
    /// What reads an item that may be of any kind.
    #[inline]
    fn of_any_kind(self) -> Deserializer<'a, 'de> {
        let Items { sequence, given } = self.0;
        sequence.settle(*given);
        *given += 1;
        Deserializer { input: sequence.input, depth: sequence.depth }
    }
}

/// Has the other deserializer read an item.
macro_rules! of_any_kind {
    ($($method:ident($($argument:ident: $type:ty),*)),* $(,)?) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, DecodeError> {
                self.of_any_kind().$method($($argument,)* visitor)
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for Item<'_, '_, '_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let Some(byte) = self.0.sequence.bytes.get(self.0.given) else {
            return self.of_any_kind().deserialize_u8(visitor);
        };
        self.0.given += 1;
        visitor.visit_u8(*byte)
    }

    of_any_kind! {
        deserialize_any(),
        deserialize_bool(),
        deserialize_i8(),
        deserialize_i16(),
        deserialize_i32(),
        deserialize_i64(),
        deserialize_i128(),
        deserialize_u16(),
        deserialize_u32(),
        deserialize_u64(),
        deserialize_u128(),
        deserialize_f32(),
        deserialize_f64(),
        deserialize_char(),
        deserialize_str(),
        deserialize_string(),
        deserialize_bytes(),
        deserialize_byte_buf(),
        deserialize_option(),
        deserialize_unit(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_seq(),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
        deserialize_identifier(),
        deserialize_ignored_any(),
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}
