//! Serde's view of the encoder: every value, however deep, passes through [`Serializer`].
//!
//! Postcard only ever sees primitives. Relies on [`names`] for what tells fields and variants apart.

use super::Output;
use crate::{EncodeError, EncodeErrorKind, described, names};
use serde::{Serialize, ser};
use std::fmt::{Display, Write};

/// The form of a variant's content, in the two lowest bits of the variant's number.
///
/// Serde's derive turns a newtype variant whose field is skipped on one side into a unit variant there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Unit = 0,
    Newtype = 1,
    Tuple = 2,
    Struct = 3,
}

/// How many bits a [`Form`] takes.
pub(crate) const FORM_BITS: u32 = 2;

/// The most room that is made for items before they are written. Some take no bytes, and are many.
const RESERVED_MAX: usize = 1 << 20;

/// Writes one value at one depth.
pub(super) struct Serializer<'o> {
    pub(super) output: &'o mut Output,
    /// How many levels may still follow below.
    pub(super) depth: usize,
}

impl<'o> Serializer<'o> {
    /// The depth of what this value holds.
    #[inline]
    fn descend(&self) -> Result<usize, EncodeError> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(depth),
            None => Err(EncodeError::new(EncodeErrorKind::TooDeep)),
        }
    }

    #[inline]
    fn nested<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        let depth = self.descend()?;
        value.serialize(Serializer { output: self.output, depth })
    }

    #[inline]
    fn items(self, container: &'static str, declared: usize) -> Result<Items<'o>, EncodeError> {
        let depth = self.descend()?;
        let start = self.output.len();
        Ok(Items { output: self.output, depth, container, declared, written: 0, start })
    }

    #[inline]
    fn counted_items(self, container: &'static str, len: Option<usize>) -> Result<Items<'o>, EncodeError> {
        let Some(len) = len else {
            return Err(EncodeError::new(EncodeErrorKind::UnknownLength));
        };
        self.output.primitive(&len)?;
        // Most items take a byte at least.
        self.output.postcard.output.0.reserve(len.min(RESERVED_MAX));
        self.items(container, len)
    }

    #[inline]
    fn fields(self, container: &'static str, declared: usize) -> Result<Fields<'o>, EncodeError> {
        self.output.primitive(&declared)?;
        let signature_at = self.output.len();
        self.output.signature(0);
        let items = self.items(container, declared)?;
        Ok(Fields { items, names: names::SEED, signature_at })
    }
}

/// Hands primitives to postcard.
macro_rules! primitives {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), EncodeError> {
                self.output.primitive(&value)
            }
        )*
    };
}

impl<'o> ser::Serializer for Serializer<'o> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Items<'o>;
    type SerializeTuple = Items<'o>;
    type SerializeTupleStruct = Items<'o>;
    type SerializeTupleVariant = Items<'o>;
    type SerializeMap = Items<'o>;
    type SerializeStruct = Fields<'o>;
    type SerializeStructVariant = Fields<'o>;

    primitives! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_str: &str,
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.output.postcard.output.0.push(value); // As postcard has it, but there are many of these.
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        let postcard = &mut self.output.postcard;
        ser::Serializer::serialize_bytes(postcard, value).map_err(ser::Error::custom)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.output.primitive(&0_u8)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        self.output.primitive(&1_u8)?;
        self.nested(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, index: u32, variant: &'static str) -> Result<(), EncodeError> {
        self.output.variant(index, Form::Unit, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        if name == described::NAME {
            return self.serialize_bytes(&described::to_bytes(value)?);
        }
        self.nested(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.output.variant(index, Form::Newtype, variant)?;
        self.nested(value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Items<'o>, EncodeError> {
        self.counted_items("sequence", len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Items<'o>, EncodeError> {
        self.items("tuple", len)
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Items<'o>, EncodeError> {
        self.counted_items(name, Some(len))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Items<'o>, EncodeError> {
        self.output.variant(index, Form::Tuple, variant)?;
        self.counted_items(variant, Some(len))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Items<'o>, EncodeError> {
        self.counted_items("map", len)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields<'o>, EncodeError> {
        self.fields(name, len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fields<'o>, EncodeError> {
        self.output.variant(index, Form::Struct, variant)?;
        self.fields(variant, len)
    }

    /// What serde does itself, but bytes are written at once, not each when there is room for it.
    #[inline]
    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, items: I) -> Result<(), EncodeError> {
        let mut items = items.into_iter();
        let (least, most) = items.size_hint();
        let mut sequence = self.serialize_seq((most == Some(least)).then_some(least))?;
        if names::is_a_byte::<I::Item>() {
            sequence.bytes(items)?;
        } else {
            items.try_for_each(|item| sequence.item(&item))?;
        }
        sequence.finish_counted()
    }

    /// Formats once into memory: a `Display` that gives another text the second time would break the length.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        let mut text = String::new();
        write!(text, "{value}").map_err(ser::Error::custom)?;
        self.serialize_str(&text)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Writes the items of a sequence, tuple or map and holds the type to the number it declared.
pub(super) struct Items<'o> {
    output: &'o mut Output,
    /// The depth of the items.
    depth: usize,
    container: &'static str,
    declared: usize,
    written: usize,
    /// How long the output was before the first item.
    start: usize,
}

impl Items<'_> {
    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Serializer { output: self.output, depth: self.depth })
    }

    #[inline]
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.written += 1;
        self.value(value)
    }

    /// The same as [`item`](Self::item) of each, for bytes.
    fn bytes<T: Serialize>(&mut self, items: impl Iterator<Item = T>) -> Result<(), EncodeError> {
        let buffer = &mut self.output.postcard.output.0;
        let mut are_bytes = true;
        let bytes = items.map(|item| {
            let mut byte = postcard::Serializer { output: OneByte(None) };
            are_bytes &= item.serialize(&mut byte).is_ok();
            byte.output.0.unwrap_or_else(|| {
                are_bytes = false;
                0
            })
        });
        buffer.extend(bytes);
        self.written = buffer.len() - self.start;
        if are_bytes { Ok(()) } else { Err(ser::Error::custom("a byte has not been serialized as one")) }
    }

    /// Ends a container whose length is the type's own.
    #[inline]
    fn finish(&self) -> Result<(), EncodeError> {
        if self.written == self.declared {
            return Ok(());
        }
        let (container, declared) = (self.container, self.declared);
        Err(EncodeError::new(EncodeErrorKind::WrongLength { container, declared }))
    }

    /// Ends a container whose length is the value's own, so that the receiver must guard against it.
    #[inline]
    fn finish_counted(self) -> Result<(), EncodeError> {
        self.finish()?;
        self.output.items_written(self.written, self.start)
    }
}

impl ser::SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish_counted()
    }
}

impl ser::SerializeTuple for Items<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Items<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Items<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeMap for Items<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.value(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish_counted()
    }
}

/// Where postcard puts a byte that is to be the only one.
struct OneByte(Option<u8>);

impl postcard::ser_flavors::Flavor for OneByte {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.replace(byte).map_or(Ok(()), |_| Err(postcard::Error::SerializeBufferFull))
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Writes the fields of a struct, whose names are signed in the place left for that.
pub(super) struct Fields<'o> {
    items: Items<'o>,
    names: u64,
    signature_at: usize,
}

impl Fields<'_> {
    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        self.names = names::mix(self.names, name);
        self.items.written += 1;
        self.items.value(value)
    }

    #[cold]
    fn skip(&self, field: &'static str) -> EncodeError {
        let container = self.items.container;
        EncodeError::new(EncodeErrorKind::SkippedField { container, field })
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        let signature = names::fold(self.names).to_le_bytes();
        let buffer = &mut self.items.output.postcard.output.0;
        if let Some(place) = buffer.get_mut(self.signature_at..self.signature_at + signature.len()) {
            place.copy_from_slice(&signature);
        }
        self.items.finish()
    }
}

impl ser::SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        self.field(name, value)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), EncodeError> {
        Err(self.skip(name))
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Fields<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        self.field(name, value)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), EncodeError> {
        Err(self.skip(name))
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}
