//! From values without a type to values of types: a deserializer whose input is [`Data`].
//!
//! Relies on [`native`](super::native) for the name by which a `Data` asks for itself.

use std::any::type_name;
use std::vec;

use serde::de::value::{SeqDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, Visitor};

use crate::data::error::{DataError, DataErrorKind, Step};
use crate::data::items::Items;
use crate::data::{DATA_DEPTH_MAX, Data, native};
use crate::scope;

/// Makes a value of a type of one without.
///
/// The [module](crate::data) says what becomes what. Types that ask what follows (`untagged`, `flatten`, `tag = ".."`) work; but
/// as serde keeps what it tries in a form of its own, a [`Data`] in them has lists instead of tuples and sets, and no integer of
/// more than 64 bits.
///
/// # Errors
/// The value is not one of that type; the value nests deeper than [`DATA_DEPTH_MAX`], where options and newtypes count as levels
/// too.
///
/// # Examples
///
/// ```
/// use procession_manager::{Data, from_data};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Job {
///     name: String,
///     #[serde(default)]
///     retries: u8,
///     scale: f32,
/// }
///
/// let job: Job = from_data(Data::map([("name", Data::from("resize")), ("scale", Data::from(2))]))?;
/// assert_eq!((job.name.as_str(), job.retries, job.scale), ("resize", 0, 2.0));
/// # Ok::<(), procession_manager::data::DataError>(())
/// ```
pub fn from_data<T: DeserializeOwned>(data: Data) -> Result<T, DataError> {
    scope::convert(|| T::deserialize(Deserializer { data, depth: DATA_DEPTH_MAX }))
        .map_err(|error| error.about(type_name::<T>(), true))
}

/// Gives out one value, at one depth.
struct Deserializer {
    data: Data,
    /// How many levels may still follow below.
    depth: usize,
}

impl Deserializer {
    /// The depth of what this value holds.
    fn inner(&self) -> Result<usize, DataError> {
        self.depth.checked_sub(1).ok_or_else(|| DataError::new(DataErrorKind::TooDeep))
    }

    /// The same value, inside an option or a newtype.
    fn wrapped(self) -> Result<Self, DataError> {
        Ok(Self { depth: self.inner()?, data: self.data })
    }

    fn integer<T: TryFrom<i128> + TryFrom<u128>>(&self, expected: &'static str) -> Result<T, DataError> {
        if !matches!(self.data, Data::Integer(_) | Data::BigInteger(_)) {
            return Err(DataError::unexpected(&self.data, &expected));
        }
        let signed = self.data.as_i128().and_then(|number| T::try_from(number).ok());
        let number = signed.or_else(|| self.data.as_u128().and_then(|number| T::try_from(number).ok()));
        number.ok_or_else(|| self.out_of_range(expected))
    }

    fn float(&self, expected: &'static str) -> Result<f64, DataError> {
        match self.data {
            Data::Float(float) => Ok(float),
            Data::Integer(_) | Data::BigInteger(_) => self.data.as_f64().ok_or_else(|| self.out_of_range(expected)),
            _ => Err(DataError::unexpected(&self.data, &expected)),
        }
    }

    #[cold]
    fn out_of_range(&self, expected: &'static str) -> DataError {
        DataError::new(DataErrorKind::OutOfRange { number: self.data.to_string(), expected })
    }

    /// Gives out values in order, of which there must be so many if the type says so.
    fn row<'de, V: Visitor<'de>>(self, len: Option<usize>, visitor: V) -> Result<V::Value, DataError> {
        let depth = self.inner()?;
        let items = match self.data {
            Data::List(items) | Data::Tuple(items) => items,
            Data::Set(items) if len.is_none() => Items::from(items.into_vec()),
            Data::Bytes(bytes) => {
                wrong_length(bytes.len(), len, &visitor)?;
                let mut bytes = SeqDeserializer::new(bytes.into_iter());
                let value = visitor.visit_seq(&mut bytes)?;
                return bytes.end().map(|()| value);
            }
            other => return Err(DataError::unexpected(&other, &visitor)),
        };
        wrong_length(items.len(), len, &visitor)?;
        let mut row = Row { items: items.into_iter(), at: 0, depth };
        let value = visitor.visit_seq(&mut row)?;
        wrong_length(row.at + row.items.len(), Some(row.at), &"fewer")?;
        Ok(value)
    }

    fn fields<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        let depth = self.inner()?;
        let Data::Map(map) = self.data else {
            return Err(DataError::unexpected(&self.data, &visitor));
        };
        let mut fields = Fields { pairs: map.into_iter(), next: None, at: 0, depth };
        let value = visitor.visit_map(&mut fields)?;
        wrong_length(fields.at + fields.pairs.len(), Some(fields.at), &"fewer")?;
        Ok(value)
    }
}

fn wrong_length(found: usize, len: Option<usize>, expected: &dyn Expected) -> Result<(), DataError> {
    match len {
        Some(len) if len != found => Err(de::Error::invalid_length(found, expected)),
        _ => Ok(()),
    }
}

/// Gives out numbers as the type that is asked for.
macro_rules! numbers {
    ($read:ident: $($method:ident $visit:ident $type:ident),* $(,)?) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
                visitor.$visit(self.$read(stringify!($type))?)
            }
        )*
    };
}

/// Gives out text.
macro_rules! texts {
    ($($method:ident),* $(,)?) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
                match self.data {
                    Data::Text(text) => visitor.visit_string(text.into()),
                    other => Err(DataError::unexpected(&other, &visitor)),
                }
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for Deserializer {
    type Error = DataError;

    numbers! {
        integer:
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
    }

    numbers!(float: deserialize_f64 visit_f64 f64);

    texts!(deserialize_char, deserialize_str, deserialize_string, deserialize_identifier);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.data {
            Data::Null => visitor.visit_unit(),
            Data::Bool(value) => visitor.visit_bool(value),
            Data::Integer(value) => visitor.visit_i64(value),
            Data::BigInteger(_) => {
                if let Some(value) = self.data.as_u64() {
                    return visitor.visit_u64(value);
                }
                if let Some(value) = self.data.as_i128() {
                    return visitor.visit_i128(value);
                }
                visitor.visit_u128(self.integer("integer of 128 bits")?)
            }
            Data::Float(value) => visitor.visit_f64(value),
            Data::Bytes(bytes) => visitor.visit_byte_buf(bytes.into()),
            Data::Text(text) => visitor.visit_string(text.into()),
            Data::List(_) | Data::Tuple(_) | Data::Set(_) => self.row(None, visitor),
            Data::Map(_) => self.fields(visitor),
            Data::Surrogates(_) | Data::Opaque(_) | Data::Object(_) => Err(DataError::unexpected(&self.data, &visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.data {
            Data::Bool(value) => visitor.visit_bool(value),
            other => Err(DataError::unexpected(&other, &visitor)),
        }
    }

    /// Rounds a float, as there is no other way to have one of these; an integer must be one.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        let wide = self.float("f32")?;
        let float = wide as f32;
        let is_rounded = f64::from(float) != wide && !wide.is_nan();
        if is_rounded && (!matches!(self.data, Data::Float(_)) || float.is_infinite()) {
            return Err(self.out_of_range("f32"));
        }
        visitor.visit_f32(float)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.data {
            Data::Bytes(bytes) => visitor.visit_byte_buf(bytes.into()),
            Data::List(_) | Data::Tuple(_) => self.row(None, visitor),
            other => Err(DataError::unexpected(&other, &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.data {
            Data::Null => visitor.visit_none(),
            _ => visitor.visit_some(self.wrapped()?),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match &self.data {
            Data::Null => visitor.visit_unit(),
            Data::Tuple(items) if items.is_empty() => visitor.visit_unit(),
            other => Err(DataError::unexpected(other, &visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, DataError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DataError> {
        if name == native::NAME {
            return visitor.visit_byte_buf(native::to_bytes(&self.data)?);
        }
        if name == native::OBJECT {
            let Data::Object(proxy) = self.data else { return Err(DataError::unexpected(&self.data, &visitor)) };
            let name = proxy.object().to_bytes();
            scope::offer(*proxy);
            return visitor.visit_bytes(&name);
        }
        visitor.visit_newtype_struct(self.wrapped()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        self.row(None, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DataError> {
        self.row(Some(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DataError> {
        self.row(Some(len), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        self.fields(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        self.fields(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        let depth = self.inner()?;
        let expected = "a variant's name, or a map of one to its content,";
        match self.data {
            Data::Text(name) => visitor.visit_enum(Variant { name: name.into(), content: None, depth }),
            Data::Map(map) if map.len() == 1 => match map.into_pairs().pop() {
                Some((Data::Text(name), content)) => {
                    visitor.visit_enum(Variant { name: name.into(), content: Some(content), depth })
                }
                other => Err(DataError::unexpected(&other.unwrap_or_default().0, &expected)),
            },
            other => Err(DataError::unexpected(&other, &expected)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

/// Gives out values in order.
struct Row {
    items: vec::IntoIter<Data>,
    /// How many were given out.
    at: usize,
    /// The depth of each.
    depth: usize,
}

impl<'de> de::SeqAccess<'de> for Row {
    type Error = DataError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DataError> {
        let Some(data) = self.items.next() else { return Ok(None) };
        let at = self.at;
        self.at += 1;
        let item = seed.deserialize(Deserializer { data, depth: self.depth });
        item.map(Some).map_err(|error| error.inside(Step::Index(at)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// Gives out pairs.
struct Fields {
    pairs: vec::IntoIter<(Data, Data)>,
    /// The value of the key that was given out, and the key itself to name the place, unless it holds others.
    next: Option<(Data, Data)>,
    /// How many were given out.
    at: usize,
    /// The depth of each.
    depth: usize,
}

impl<'de> de::MapAccess<'de> for Fields {
    type Error = DataError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DataError> {
        let Some((key, value)) = self.pairs.next() else { return Ok(None) };
        self.at += 1;
        let place = if key.as_container().is_none() { key.clone() } else { Data::from("…") };
        let read = seed.deserialize(Deserializer { data: key, depth: self.depth });
        let read = read.map_err(|error| error.inside(Step::of_key(&place)))?;
        self.next = Some((place, value));
        Ok(Some(read))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DataError> {
        let (place, data) = self.next.take().unwrap_or_default();
        let read = seed.deserialize(Deserializer { data, depth: self.depth });
        read.map_err(|error| error.inside(Step::of_key(&place)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.pairs.len())
    }
}

/// Gives out a variant's name, and then its content.
struct Variant {
    name: String,
    content: Option<Data>,
    depth: usize,
}

impl<'de> de::EnumAccess<'de> for Variant {
    type Error = DataError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DataError> {
        let name: StringDeserializer<DataError> = self.name.clone().into_deserializer();
        let variant = seed.deserialize(name)?;
        Ok((variant, self))
    }
}

impl Variant {
    /// Has the content read as the variant's is.
    fn content<T>(
        self,
        expected: &str,
        read: impl FnOnce(Deserializer) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let place = Step::Field(self.name);
        let Some(data) = self.content else {
            return Err(DataError::unexpected(&Data::Null, &expected).inside(place));
        };
        read(Deserializer { data, depth: self.depth }).map_err(|error| error.inside(place))
    }
}

impl<'de> de::VariantAccess<'de> for Variant {
    type Error = DataError;

    fn unit_variant(self) -> Result<(), DataError> {
        match self.content {
            None | Some(Data::Null) => Ok(()),
            Some(other) => {
                let error = DataError::unexpected(&other, &"no content");
                Err(error.inside(Step::Field(self.name)))
            }
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DataError> {
        self.content("the variant's content", |content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DataError> {
        self.content("the variant's content", |content| content.row(Some(len), visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        self.content("the variant's content", |content| content.fields(visitor))
    }
}
