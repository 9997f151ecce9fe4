//! Serde's view of the decoder: every value, however deep, passes through [`Deserializer`].
//!
//! Postcard only ever sees primitives. Relies on [`names`] for what tells fields and variants apart.

use super::{Input, bytes};
use crate::{
    DecodeError, DecodeErrorKind, described,
    encode::{FORM_BITS, Form},
    names,
};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// Reads one value at one depth.
pub(super) struct Deserializer<'i, 'de> {
    pub(super) input: &'i mut Input<'de>,
    /// How many levels may still follow below.
    pub(super) depth: usize,
}

impl<'i, 'de> Deserializer<'i, 'de> {
    /// What reads the values that this value holds.
    #[inline]
    fn nested(self) -> Result<Self, DecodeError> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Deserializer { input: self.input, depth }),
            None => Err(DecodeError::new(DecodeErrorKind::TooDeep)),
        }
    }

    #[inline]
    fn items<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        let nested = self.nested()?;
        let value = visitor.visit_seq(Items { input: nested.input, depth: nested.depth, left: len })?;
        nested.input.all_read(value)
    }

    /// The fields of a tuple struct or a tuple variant, which have no names.
    #[inline]
    fn counted_items<V: Visitor<'de>>(
        self,
        container: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let found = self.input.primitive::<usize>()?;
        if found != len {
            return Err(DecodeError::new(DecodeErrorKind::Fields { container, found }));
        }
        self.items(len, visitor)
    }

    #[inline]
    fn fields<V: Visitor<'de>>(
        self,
        container: &'static str,
        names: &[&str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let found = self.input.primitive::<usize>()?;
        let signature = self.input.signature()?;
        // A field with an alias is listed under each of its names. Then the list proves nothing, and only
        // what the visitor asks for shows how many fields it has.
        let listed = found == names.len();
        if found > names.len() || listed && signature != names::list_signature(names) {
            return Err(DecodeError::new(DecodeErrorKind::Fields { container, found }));
        }
        let nested = self.nested()?;
        let mut fields = Fields { input: nested.input, depth: nested.depth, left: found, listed };
        match visitor.visit_seq(&mut fields) {
            Ok(value) if fields.left == 0 => Ok(value),
            Err(error) if listed => Err(error),
            Ok(_) | Err(_) => Err(DecodeError::new(DecodeErrorKind::Fields { container, found })),
        }
    }
}

/// Lets postcard read primitives.
macro_rules! primitives {
    ($($method:ident $visit:ident: $type:ty),* $(,)?) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
                visitor.$visit(self.input.primitive::<$type>()?)
            }
        )*
    };
}

/// Refuses to guess what follows.
macro_rules! self_describing {
    ($($method:ident),* $(,)?) => {
        $(
            fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
                Err(DecodeError::new(DecodeErrorKind::SelfDescribing))
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for Deserializer<'_, 'de> {
    type Error = DecodeError;

    primitives! {
        deserialize_bool visit_bool: bool,
        deserialize_i8 visit_i8: i8,
        deserialize_i16 visit_i16: i16,
        deserialize_i32 visit_i32: i32,
        deserialize_i64 visit_i64: i64,
        deserialize_i128 visit_i128: i128,
        deserialize_u16 visit_u16: u16,
        deserialize_u32 visit_u32: u32,
        deserialize_u64 visit_u64: u64,
        deserialize_u128 visit_u128: u128,
        deserialize_f32 visit_f32: f32,
        deserialize_f64 visit_f64: f64,
        deserialize_char visit_char: char,
        deserialize_str visit_borrowed_str: &'de str,
        deserialize_string visit_borrowed_str: &'de str,
        deserialize_bytes visit_borrowed_bytes: &'de [u8],
        deserialize_byte_buf visit_borrowed_bytes: &'de [u8],
    }

    self_describing! {
        deserialize_any,
        deserialize_ignored_any,
        deserialize_identifier,
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u8(self.input.byte()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.input.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.nested()?),
            _ => {
                let reason = "the mark of an option is neither 0 nor 1";
                Err(DecodeError::new(DecodeErrorKind::Malformed { reason }))
            }
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == described::NAME {
            return visitor.visit_borrowed_bytes(self.input.primitive()?);
        }
        visitor.visit_newtype_struct(self.nested()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let len = self.input.item_count()?;
        let nested = self.nested()?;
        let start = nested.input.left();
        let value = if names::is_of_bytes::<V::Value>() {
            bytes::visit(nested.input, nested.depth, len, visitor)?
        } else {
            visitor.visit_seq(Items { input: nested.input, depth: nested.depth, left: len })?
        };
        nested.input.items_read(len, start)?;
        nested.input.all_read(value)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.items(len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.counted_items(name, len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let len = self.input.item_count()?;
        let nested = self.nested()?;
        let start = nested.input.left();
        let value = visitor.visit_map(Items { input: nested.input, depth: nested.depth, left: len })?;
        nested.input.items_read(len, start)?;
        nested.input.all_read(value)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.fields(name, fields, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(Enum { deserializer: self, name, variants })
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Gives out the items of a sequence, tuple or map.
struct Items<'i, 'de> {
    input: &'i mut Input<'de>,
    /// The depth of the items.
    depth: usize,
    /// How many were not given out yet.
    left: usize,
}

impl<'de> Items<'_, 'de> {
    #[inline]
    fn item<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(Deserializer { input: self.input, depth: self.depth })
    }

    /// At most what the remaining bytes can hold, so that a lying length reserves nothing.
    #[inline]
    fn hint(&self) -> usize {
        self.left.min(self.input.left())
    }
}

impl Drop for Items<'_, '_> {
    /// Reports what was not asked for. The visitor owns the items, so that their count can stay in a register.
    #[inline]
    fn drop(&mut self) {
        self.input.unread += self.left;
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.item(seed).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.item(seed).map(Some)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        self.item(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

/// Gives out the fields of a struct.
struct Fields<'i, 'de> {
    input: &'i mut Input<'de>,
    /// The depth of the fields.
    depth: usize,
    /// How many were not given out yet.
    left: usize,
    /// Whether as many came as the type lists.
    listed: bool,
}

impl<'de> de::SeqAccess<'de> for Fields<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.left == 0 {
            // `None` would let `#[serde(default)]` fill a field whose bytes were read as another field.
            let found = 0;
            let missing = DecodeErrorKind::Fields { container: "struct", found };
            return if self.listed { Ok(None) } else { Err(DecodeError::new(missing)) };
        }
        let value = seed.deserialize(Deserializer { input: self.input, depth: self.depth })?;
        self.left -= 1;
        Ok(Some(value))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// Gives out a variant's name, and then its content.
struct Enum<'i, 'de> {
    deserializer: Deserializer<'i, 'de>,
    name: &'static str,
    variants: &'static [&'static str],
}

impl<'i, 'de> de::EnumAccess<'de> for Enum<'i, 'de> {
    type Error = DecodeError;
    type Variant = Variant<'i, 'de>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Variant<'i, 'de>), DecodeError> {
        let input = &mut *self.deserializer.input;
        let number = input.primitive::<u64>()?;
        let signature = input.signature()?;
        let index = u32::try_from(number >> FORM_BITS).unwrap_or(u32::MAX);
        let refuse = DecodeErrorKind::Variant { container: self.name, index };
        let Some(variant) = find(self.variants, index, signature) else {
            return Err(DecodeError::new(refuse));
        };
        // By name and not by number: a variant that only one side skips shifts the numbers.
        let value = seed.deserialize(IntoDeserializer::<DecodeError>::into_deserializer(variant))?;
        let form = number & ((1 << FORM_BITS) - 1);
        let content = Variant { deserializer: self.deserializer, form, name: self.name, variant, index };
        Ok((value, content))
    }
}

/// The variant of this signature: the one at `index` if it fits, otherwise the only one that fits.
#[inline]
fn find(variants: &[&'static str], index: u32, signature: u16) -> Option<&'static str> {
    let fits = |name: &&&'static str| names::signature(name) == signature;
    if let Some(variant) = variants.get(index as usize).filter(fits) {
        return Some(variant);
    }
    let mut fitting = variants.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(variant), None) => Some(variant),
        _ => None,
    }
}

/// A variant's content.
struct Variant<'i, 'de> {
    deserializer: Deserializer<'i, 'de>,
    /// The sender's [`Form`].
    form: u64,
    name: &'static str,
    variant: &'static str,
    index: u32,
}

impl<'i, 'de> Variant<'i, 'de> {
    #[inline]
    fn content(self, form: Form) -> Result<Deserializer<'i, 'de>, DecodeError> {
        if self.form == form as u64 {
            return Ok(self.deserializer);
        }
        let (container, index) = (self.name, self.index);
        Err(DecodeError::new(DecodeErrorKind::Variant { container, index }))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        self.content(Form::Unit).map(|_| ())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(self.content(Form::Newtype)?.nested()?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        let variant = self.variant;
        self.content(Form::Tuple)?.counted_items(variant, len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let variant = self.variant;
        self.content(Form::Struct)?.fields(variant, fields, visitor)
    }
}
